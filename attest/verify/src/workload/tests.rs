use super::*;
use crate::log::{Quoted, Replay, builder::*, verify};
use strongroom_protocol::Bytes;

const ROOT_HASH: &str = "4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c4c";
const OTHER: &str = "5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c";

/// What is claimed of a machine that booted by this log, of which these PCRs are quoted.
fn of_boot(log: &Writer, explained: &[u8], command_line: Option<&str>) -> WorkloadClaims {
    let bytes = log.bytes();
    let parsed = BootLog::parse(&bytes).unwrap();
    let replay = Replay::of(&parsed).unwrap();
    let values: BTreeMap<u8, Vec<u8>> = (0..16).map(|pcr| (pcr, replay.value(HashAlg::Sha256, pcr).unwrap())).collect();
    let values = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
    let (_, boot) = verify(&bytes, Some(&Quoted { bank: HashAlg::Sha256, values, explained })).unwrap();
    let seen = parsed.in_bank(HashAlg::Sha256);
    claims(&Sources { boot: Some((&seen, &boot)), command_line, ..Sources::default() })
}

/// A boot by GRUB, with this kernel command line.
fn by_grub(line: &str) -> Writer {
    let mut log = boot();
    log.events.retain(|event| event.pcr != 8);
    grub(&mut log, line);
    log
}

fn grub(log: &mut Writer, line: &str) {
    let command = format!("linux {}", line.replace('"', ""));
    for (label, text) in [("grub_cmd: ", command.as_str()), ("kernel_cmdline: ", line)] {
        text_event(log, 8, &format!("{label}{text}\0"), text);
    }
}

fn text_event(log: &mut Writer, pcr: u32, data: &str, text: &str) {
    log.events.push(measured(pcr, EventType::IPL, text.as_bytes(), data));
}

const ALL: [u8; 8] = [8, 9, 11, 12, 13, 14, 15, 4];

#[test]
fn l9_a_caller_is_measured_if_ima_measured_its_executable() {
    let files = Measured {
        entries: 2,
        bytes: 0,
        violations: 0,
        boot_aggregate_checked: true,
        pcr: Bytes::default(),
        files: BTreeMap::from([
            (format!("sha256:{ROOT_HASH}"), "/bin/job".into()),
            (format!("sha512:{OTHER}"), "/x".into()),
        ]),
    };
    let of = |files, executable| claims(&Sources { files, executable, ..Sources::default() }).caller_measured;
    assert_eq!(of(Some(&files), Some(ROOT_HASH)), Some(true));
    for other in [OTHER, "", "/bin/job", "4C"] {
        assert_eq!(of(Some(&files), Some(other)), Some(false), "{other}");
    }
    assert_eq!((of(None, Some(ROOT_HASH)), of(Some(&files), None)), (None, None));
    let verdict = |executable| {
        let sources = Sources { files: Some(&files), executable, ..Sources::default() };
        examine(&sources).0.verdict("L9")
    };
    assert_eq!(verdict(Some(ROOT_HASH)), Some(Verdict::Passed));
    assert_eq!(verdict(Some(OTHER)), Some(Verdict::Refused));
    assert_eq!(verdict(None), Some(Verdict::NotChecked));
}

#[test]
fn l9_a_verity_root_is_read_from_the_command_line_that_grub_measured() {
    let root = |line: &str| of_boot(&by_grub(line), &ALL, None).verity_root;
    for line in [
        format!("/vmlinuz ro roothash={ROOT_HASH}"),
        format!("/vmlinuz systemd.verity_root_hash={ROOT_HASH} usrhash={OTHER}"),
        format!("/vmlinuz usrhash={ROOT_HASH} quiet"),
        format!("/vmlinuz dm=\"1 vroot none ro 1,0 4077568 verity root_hexdigest={ROOT_HASH} salt=00\""),
        format!("/vmlinuz roothash={ROOT_HASH} systemd.verity_root_hash={ROOT_HASH}"),
    ] {
        assert_eq!(root(&line).as_deref(), Some(ROOT_HASH), "{line}");
    }
    for line in [
        "/vmlinuz ro".to_owned(),
        format!("/vmlinuz roothash={ROOT_HASH} roothash={OTHER}"),
        format!("/vmlinuz roothash={}", &ROOT_HASH[1..]),
        format!("/vmlinuz roothash={}", ROOT_HASH.to_uppercase()),
        format!("/vmlinuz roothash= usrhash={ROOT_HASH}"),
        format!("/vmlinuz noroothash={ROOT_HASH}"),
    ] {
        assert_eq!(root(&line), None, "{line}");
    }
}

#[test]
fn l9_what_could_contradict_a_command_line_leaves_no_root() {
    let line = format!("/vmlinuz roothash={ROOT_HASH}");
    let root = |explained: &[u8], change: &dyn Fn(&mut Writer)| {
        let mut log = by_grub(&line);
        change(&mut log);
        of_boot(&log, explained, None).verity_root
    };
    let nothing = |_: &mut Writer| {};
    assert!(root(&ALL, &nothing).is_some() && root(&[8, 9, 11, 12], &nothing).is_some());
    // A quote has to cover the PCRs that could contradict it.
    for covered in [&[9, 11, 12][..], &[8, 11, 12], &[8, 9, 12], &[8, 9, 11], &[]] {
        assert_eq!(root(covered, &nothing), None, "{covered:?}");
    }
    // An event that cannot be read, a line beside it, another that was started, one without its command.
    assert_eq!(root(&ALL, &|log| log.events.push(measured(8, EventType::IPL, b"x", *b"y"))), None);
    assert_eq!(root(&ALL, &|log| log.events.push(event(12, EventType::IPL, utf16("init=/bin/sh\0")))), None);
    assert_eq!(root(&ALL, &|log| grub(log, "/vmlinuz single")), None);
    assert_eq!(root(&ALL, &|log| text_event(log, 8, "linux /vmlinuz single", "linux /vmlinuz single")), None);
    // What is started otherwise has no line.
    for other in ["chainloader /EFI/other.efi", "multiboot /xen.gz", "xen_hypervisor /xen.gz"] {
        assert_eq!(root(&ALL, &|log| text_event(log, 8, other, other)), None, "{other}");
    }
    // Texts that start nothing say nothing, whatever stands in them.
    let menu = format!("menuentry other {{ linux /vmlinuz roothash={OTHER} }}");
    assert!(root(&ALL, &|log| text_event(log, 8, &menu, &menu)).is_some());
    // What is put beside the line of another boot does not replace it.
    let mut other = by_grub("/vmlinuz root=/dev/sda");
    text_event(&mut other, 8, &line, &line);
    assert_eq!(of_boot(&other, &ALL, None).verity_root, None);
}

#[test]
fn l9_a_verity_root_is_read_from_a_unified_kernel_images_command_line() {
    let line = format!("quiet roothash={ROOT_HASH}\n");
    let mut log = boot();
    log.events.retain(|event| event.pcr != 8);
    for (name, content) in [(".linux", "kernel"), (".cmdline", line.as_str())] {
        let told = utf16(&format!("{name}\0"));
        log.events.push(measured(11, EventType::IPL, format!("{name}\0").as_bytes(), told.clone()));
        log.events.push(measured(11, EventType::IPL, content.as_bytes(), told));
    }
    assert_eq!(of_boot(&log, &ALL, Some(&line)).verity_root.as_deref(), Some(ROOT_HASH));
    assert_eq!(of_boot(&log, &[8, 9, 11, 12], Some(&line)).verity_root.as_deref(), Some(ROOT_HASH));
    let other = line.replace('4', "5");
    for (explained, given) in
        [(&ALL[..], None), (&ALL, Some(other.as_str())), (&ALL, Some(line.trim())), (&[8, 9, 12], Some(&line))]
    {
        assert_eq!(of_boot(&log, explained, given).verity_root, None);
    }
    // GRUB started something else before.
    grub(&mut log, &format!("/vmlinuz roothash={OTHER}"));
    assert_eq!(of_boot(&log, &ALL, Some(&line)).verity_root, None);
}

#[test]
fn l9_containers_are_named_by_texts_that_were_measured() {
    let container = |digest: &str| format!("container sha256:{digest}");
    let of = |explained: &[u8], events: &[(u32, &str, &str)]| {
        let mut log = boot();
        for (pcr, data, text) in events {
            text_event(&mut log, *pcr, data, text);
        }
        of_boot(&log, explained, None).containers.unwrap()
    };
    let (first, second) = (container(ROOT_HASH), container(OTHER));
    let both = [(13, second.as_str(), second.as_str()), (13, &first, &first)];
    assert_eq!(of(&ALL, &both), [format!("sha256:{ROOT_HASH}"), format!("sha256:{OTHER}")]);
    assert_eq!(of(&[13], &both).len(), 2);
    // PCR 13 was not quoted, holds something that cannot be read, or another text than the log says.
    assert!(of(&[8, 12], &both).is_empty());
    assert!(of(&ALL, &[(13, &first, &first), (13, "x", "y")]).is_empty());
    assert!(of(&ALL, &[(13, &first, &second)]).is_empty());
    // Another form is another text, and PCR 9 holds files that cannot be read.
    for text in
        [container("4c"), container(&ROOT_HASH.to_uppercase()), format!(" {first}"), format!("sha256:{ROOT_HASH}")]
    {
        assert!(of(&ALL, &[(13, &text, &text)]).is_empty(), "{text}");
    }
    assert!(of(&ALL, &[(9, &first, &first)]).is_empty());
    assert_eq!(of(&ALL, &[(8, &first, &first)]).len(), 1);
    // Where the quote covers no PCR in which one could be measured, nothing is known.
    assert_eq!(of_boot(&boot(), &[0, 4, 7], None).containers, None);
    assert_eq!(of_boot(&boot(), &[13], None).containers, Some(Vec::new()));
}

/// A text is the kernel's line for certain where a boot loader's command says so, and nothing could replace it.
#[test]
fn l9_a_command_line_is_certain_where_a_command_starts_it() {
    let lines = |texts: &[&str], overrides: &[&str], unread: u32| {
        let of = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let loader = Loader { texts: of(texts), overrides: of(overrides), unread, ..Loader::default() };
        certain_command_lines(&loader).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let pair = ["insmod gzio", "linux /vmlinuz ro", "/vmlinuz ro"];
    assert_eq!(lines(&pair, &[], 0), ["/vmlinuz ro"]);
    assert!(lines(&pair, &["single"], 0).is_empty() && lines(&pair, &[], 1).is_empty());
    for texts in [&["/vmlinuz ro"][..], &["chainloader /EFI/evil.efi"], &["insmod gzio"], &[], &["linux /vmlinuz ro"]] {
        assert!(lines(texts, &[], 0).is_empty(), "{texts:?}");
    }
    assert!(lines(&[&pair[..], &["multiboot /xen.gz"]].concat(), &[], 0).is_empty());
}
