//! What a vault releases to a machine that measures, and what it refuses.

use super::{
    parts,
    site::{Site, Told, done, open},
};
use strongroom_tests::measured::{Software, root};

/// What `strongroom explain` says, where the vault refused for exactly these reasons.
fn refused(told: Told, expected: &[&str]) -> String {
    let Told::Refused { reasons, explained } = told else { panic!("opened, and not refused for {expected:?}") };
    println!("--- {expected:?}\n{explained}");
    assert_eq!(reasons, expected);
    explained
}

/// The digest that was opened.
fn opened(told: Told) -> String {
    match told {
        Told::Opened(digest) => digest,
        Told::Refused { reasons, explained } => panic!("refused for {reasons:?}: {explained}"),
    }
}

#[test]
fn a_measured_node_opens_what_references_allow_and_nothing_that_they_do_not() {
    let Some(parts) = parts("a_measured_node_opens_what_references_allow_and_nothing_that_they_do_not") else { return };
    let mut site = Site::found(&parts, &[]);
    let mut guest = site.enrol(&Software::default());
    site.refer_and_seal(&mut guest, None);

    let digest = opened(site.tell(&open(&mut guest, root::PROGRAM)));
    println!("opened in the guest: SHA-256 {digest}");
    assert_eq!(digest, site.digest());

    // Another program, in memory: IMA does not measure what lies in a tmpfs.
    done(&mut guest, "cp /usr/bin/strongroom /run/unmeasured && echo >>/run/unmeasured");
    let explained = refused(site.tell(&open(&mut guest, "/run/unmeasured")), &["caller_not_measured"]);
    assert!(explained.contains("workload.caller_measured"), "{explained}");

    // Another program, on the disk. From now on nothing is released until the next boot, whoever asks.
    let explained = refused(site.tell(&open(&mut guest, root::ANOTHER)), &["file_not_listed"]);
    assert!(explained.contains(root::ANOTHER), "{explained}");
    refused(site.tell(&open(&mut guest, root::PROGRAM)), &["file_not_listed"]);
    guest.shut_down().unwrap();
}

#[test]
#[ignore = "long: `make test-long` runs it"]
fn another_command_line_or_initramfs_is_refused_and_named() {
    let Some(parts) = parts("another_command_line_or_initramfs_is_refused_and_named") else { return };
    let mut site = Site::found(&parts, &[]);
    let usual = Software::default();
    let mut guest = site.enrol(&usual);
    site.refer_and_seal(&mut guest, None);
    guest.shut_down().unwrap();

    let line = Software { command_line: format!("{} single", usual.command_line), ..usual.clone() };
    let initramfs = Software { mark: "another".into(), ..usual.clone() };
    for (changed, name) in [(line, "kernel command line"), (initramfs, "initrd")] {
        let mut guest = site.boot(&changed);
        let explained = refused(site.tell(&open(&mut guest, root::PROGRAM)), &["reference_mismatch"]);
        for said in ["tpm.pcrs.9".to_owned(), format!("PCR 9 differs: {name}\n")] {
            assert!(explained.contains(&said), "{said} in {explained}");
        }
        guest.shut_down().unwrap();
    }

    // The usual one again is let in.
    let mut guest = site.boot(&usual);
    let digest = opened(site.tell(&open(&mut guest, root::PROGRAM)));
    assert_eq!(digest, site.digest());
}
