//! What the log leads to: row L7, and what systems measure after it.

use super::{
    super::{builder::*, *},
    *,
};

#[test]
fn l7_the_log_leads_to_what_was_quoted() {
    let log = boot();
    let mut values = values_of(&log);
    let all: Vec<u8> = (0..16).collect();
    assert_eq!(compare(&log, &values, &all).unwrap().explained, all);
    for pcr in 0..16 {
        let right = values.insert(pcr, vec![7; 32]).unwrap();
        let error = compare(&log, &values, &all).unwrap_err();
        assert!(matches!(error, LogRefused::L7Differs { pcr: found, .. } if found == pcr), "{error}");
        let others: Vec<u8> = all.iter().copied().filter(|&other| other != pcr).collect();
        compare(&log, &values, &others).unwrap();
        values.insert(pcr, right);
    }
    values.remove(&9);
    assert_eq!(compare(&log, &values, &all).unwrap_err(), LogRefused::L7NotQuoted { pcr: 9 });
    let mut other = boot();
    other.algorithms = vec![HashAlg::Sha384];
    let error = verify(
        &other.bytes(),
        Some(&Quoted { bank: HashAlg::Sha256, values: BTreeMap::from([(0, &[0; 32][..])]), explained: &[0] }),
    );
    assert_eq!(error.unwrap_err(), LogRefused::L7Bank { bank: HashAlg::Sha256 });
}

#[test]
fn l7_one_change_to_an_event_is_seen() {
    let values = values_of(&boot());
    let mut log = boot();
    let at = log.place(4, EventType::EFI_BOOT_SERVICES_APPLICATION);
    log.events[at].measured = b"another grub".to_vec();
    assert!(matches!(compare(&log, &values, &[0, 4]), Err(LogRefused::L7Differs { pcr: 4, .. })));
    compare(&log, &values, &[0, 7]).unwrap();
}

#[test]
fn l5_a_missing_exit_from_boot_services_is_named() {
    let steps = [
        "Exit Boot Services Invocation",
        "Exit Boot Services Returned with Failure",
        "Exit Boot Services Returned with Success",
    ];
    let mut short = boot();
    short.events.truncate(short.events.len() - 2);
    for (missing, tolerance) in [
        (vec![0, 2], Tolerance::ExitBootServicesMissing),
        (vec![0, 1], Tolerance::ExitBootServicesFailureMissing),
        (vec![0, 1, 2], Tolerance::ExitBootServicesRetryMissing),
    ] {
        let mut whole = short.clone();
        whole.events.extend(missing.iter().map(|&step: &usize| action(5, steps[step])));
        assert_eq!(compare(&short, &values_of(&whole), &[4, 5]).unwrap().tolerances, [tolerance]);
    }
    let mut more = short.clone();
    more.events.extend([action(5, steps[0]), action(5, steps[2]), action(5, "Anything")]);
    assert!(compare(&short, &values_of(&more), &[5]).is_err());
    // A log that shows the exit has nothing to be added.
    let mut twice = boot();
    twice.events.extend([action(5, steps[0]), action(5, steps[2])]);
    assert!(compare(&boot(), &values_of(&twice), &[5]).is_err());
}

#[test]
fn l6_pcr_11_goes_on_by_phases() {
    let mut log = boot();
    unified(&mut log);
    let mut values = values_of(&log);
    let extend =
        |value: &[u8], word: &str| HashAlg::Sha256.digest(&[value, &HashAlg::Sha256.digest(&[word.as_bytes()])]);
    assert!(compare(&log, &values, &[11]).unwrap().phases.unwrap().is_empty());
    for (count, word) in PHASES.iter().enumerate() {
        let next = extend(&values[&11], word);
        values.insert(11, next);
        assert_eq!(compare(&log, &values, &[11]).unwrap().phases.unwrap(), PHASES[..=count]);
    }
    // An initrd without systemd extends nothing.
    let started = values_of(&log)[&11].clone();
    let ready = extend(&extend(&started, "sysinit"), "ready");
    values.insert(11, ready.clone());
    assert_eq!(compare(&log, &values, &[11]).unwrap().phases.unwrap(), ["sysinit", "ready"]);
    values.insert(11, extend(&ready, "sysinit"));
    assert!(matches!(compare(&log, &values, &[11]), Err(LogRefused::L7Differs { pcr: 11, .. })));
    let other = extend(&values[&11], "anything");
    values.insert(11, other);
    assert!(matches!(compare(&log, &values, &[11]), Err(LogRefused::L7Differs { pcr: 11, .. })));
    // Phases follow an image: without one they are somebody's who only says so.
    let bare = boot();
    let mut values = values_of(&bare);
    values.insert(11, vec![0; 32]);
    assert!(compare(&bare, &values, &[11]).unwrap().phases.unwrap().is_empty());
    values.insert(11, extend(&[0; 32], "ready"));
    assert!(matches!(compare(&bare, &values, &[11]), Err(LogRefused::L7Differs { pcr: 11, .. })));
}

/// `bytes` with every occurrence of a text's SHA-256 digest replaced.
fn forged(bytes: &[u8], measured: &[u8], other: &[u8]) -> Vec<u8> {
    let (honest, digest) = (HashAlg::Sha256.digest(&[measured]), HashAlg::Sha256.digest(&[other]));
    let mut bytes = bytes.to_vec();
    let found = (0..bytes.len() - 32).filter(|&at| bytes[at..at + 32] == honest).collect::<Vec<_>>();
    assert!(!found.is_empty(), "nothing to forge");
    for at in found {
        bytes[at..at + 32].copy_from_slice(&digest);
    }
    bytes
}

/// A quote vouches for one bank. What a log has beside it in another is nobody's word: it names nothing, makes no
/// program a text of firmware's, and no section somebody else's.
#[test]
fn l7_claims_are_made_in_the_quoted_bank() {
    let mut log = boot();
    log.algorithms = vec![HashAlg::Sha256, HashAlg::Sha384];
    unified(&mut log);
    let bytes = log.bytes();
    let replay = Replay::of(&BootLog::parse(&bytes).unwrap()).unwrap();
    let explained: Vec<u8> = (0..16).collect();
    let claims = |bytes: &[u8], bank: HashAlg| {
        let values: BTreeMap<u8, Vec<u8>> = (0..16).map(|pcr| (pcr, replay.value(bank, pcr).unwrap())).collect();
        let values = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
        verify(bytes, Some(&Quoted { bank, values, explained: &explained })).map(|(_, claims)| claims)
    };
    let honest = claims(&bytes, HashAlg::Sha384).unwrap();
    let name = |measured: &[u8]| crate::quote::hex(&HashAlg::Sha384.digest(&[measured]));
    assert_eq!(honest.boot_path.as_ref().unwrap().images, [name(b"grub")]);
    let loader = honest.loader.as_ref().unwrap();
    assert_eq!(loader.files, [name(b"a kernel"), name(b"an initrd")]);
    assert_eq!(loader.uki.as_ref().unwrap()[".linux"], name(b"kernel"));
    for (measured, other) in [
        (&b"grub"[..], &b"another grub"[..]),
        (b"grub", b"Calling EFI Application from Boot Option"),
        (b"a kernel", b"another kernel"),
        (b"/vmlinuz ro quiet", b"/vmlinuz ro lockdown=integrity"),
        (b".linux\0", b"x"),
        (b"kernel", b"another kernel"),
        (b"Exit Boot Services Returned with Success", b"a file"),
        (&[0; 4], &[1, 0, 0, 0]),
    ] {
        let bytes = forged(&bytes, measured, other);
        assert_eq!(claims(&bytes, HashAlg::Sha384).unwrap(), honest, "{}", String::from_utf8_lossy(other));
        assert!(claims(&bytes, HashAlg::Sha256).is_err(), "the SHA-256 bank does not lead there");
    }
    // A log by itself is named by SHA-256.
    let name = crate::quote::hex(&HashAlg::Sha256.digest(&[b"grub"]));
    assert_eq!(verify(&bytes, None).unwrap().1.boot_path.unwrap().images, [name]);
}

/// A claim is there where the quote vouches for each PCR that it is read from.
#[test]
fn l7_what_is_not_quoted_is_no_claim() {
    let mut log = boot();
    unified(&mut log);
    let values = values_of(&log);
    let all: Vec<u8> = (0..16).collect();
    let there = |claims: &BootClaims| {
        let BootClaims { secure_boot, boot_path, loader, startup_locality, phases, .. } = claims;
        [secure_boot.is_some(), boot_path.is_some(), loader.is_some(), startup_locality.is_some(), phases.is_some()]
    };
    assert_eq!(there(&compare(&log, &values, &all).unwrap()), [true; 5]);
    assert_eq!(there(&compare(&log, &values, &[]).unwrap()), [false; 5], "nothing is vouched for");
    assert_eq!(there(&verify(&log.bytes(), None).unwrap().1), [true; 5], "a log by itself is what it says");
    for (pcr, expected) in [
        (7, [false, true, true, true, true]),
        (4, [true, false, true, true, true]),
        (5, [true, false, true, true, true]),
        (8, [true, true, false, true, true]),
        (9, [true, true, false, true, true]),
        (12, [true, true, false, true, true]),
        (11, [true, true, false, true, false]),
        (0, [true, true, true, false, true]),
        (6, [true; 5]),
    ] {
        let others: Vec<u8> = all.iter().copied().filter(|&other| other != pcr).collect();
        assert_eq!(there(&compare(&log, &values, &others).unwrap()), expected, "without PCR {pcr}");
    }
    // For people each PCR stands for itself.
    let held: BTreeMap<u8, &[u8]> = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
    let mut other = held.clone();
    other.insert(7, &[7; 32]);
    let examined = examine(&log.bytes(), Some(&Quoted { bank: HashAlg::Sha256, values: other, explained: &all }));
    assert!(examined.refusal("L7").is_some_and(|why| why.contains("PCR 7")));
    assert!(examined.secure_boot.is_none() && examined.boot_path.is_some() && examined.loader.is_some());
    assert!(!examined.explained.contains(&7) && examined.explained.len() == 15);
}
