use super::{
    super::{builder::*, guid::Guid},
    *,
};
use std::collections::BTreeMap;

fn hints(events: Vec<Written>) -> Vec<String> {
    let bytes = Writer { algorithms: vec![HashAlg::Sha256], events }.bytes();
    listed(&BootLog::parse(&bytes).unwrap(), HashAlg::Sha256).into_iter().map(|event| event.hint).collect()
}

fn events(change: impl FnOnce(&mut Writer)) -> Vec<ReferenceEvent> {
    let mut log = boot();
    change(&mut log);
    listed(&BootLog::parse(&log.bytes()).unwrap(), HashAlg::Sha256)
}

/// `UEFI_IMAGE_LOAD_EVENT` with a path on a disk.
fn loaded(path: &str) -> Vec<u8> {
    let name = utf16(&format!("{path}\0"));
    let length = u16::try_from(name.len() + 4).unwrap().to_le_bytes();
    [&[0; 32][..], &[4, 4], &length, &name, &[0x7f, 0xff, 4, 0]].concat()
}

#[test]
fn events_say_what_they_are() {
    let list = signature_list(Guid::CERT_X509, b"certificate");
    let hints = hints(vec![
        event(0, EventType::S_CRTM_VERSION, utf16("GCE Virtual Firmware v1\0")),
        measured(0, EventType::EFI_PLATFORM_FIRMWARE_BLOB, b"x", [0x820_000_u64, 0x10].map(u64::to_le_bytes).concat()),
        config("SecureBoot", &[1]),
        config("PK", &[]),
        config("db", &list),
        separator(7),
        measured(4, EventType::EFI_BOOT_SERVICES_APPLICATION, b"grub", loaded(r"\EFI\BOOT\grubx64.efi")),
        measured(8, EventType::IPL, b"quiet", *b"kernel_cmdline: quiet\0"),
        event(12, EventType::IPL, utf16("quiet splash\0")),
        measured(
            9,
            EventType::EVENT_TAG,
            b"x",
            [&0x8f3b_22ec_u32.to_le_bytes()[..], b"\x0d\0\0\0Linux initrd\0"].concat(),
        ),
        measured(2, EventType::EFI_BOOT_SERVICES_DRIVER, b"x", [0; 5]),
        measured(1, EventType(0x99), b"x", *b"\x01\x02ACPI DATA\xff"),
    ]);
    assert_eq!(
        hints,
        [
            "EV_S_CRTM_VERSION GCE Virtual Firmware v1",
            "EV_EFI_PLATFORM_FIRMWARE_BLOB 16 bytes at 0x820000",
            "EV_EFI_VARIABLE_DRIVER_CONFIG SecureBoot 01",
            "EV_EFI_VARIABLE_DRIVER_CONFIG PK empty",
            "EV_EFI_VARIABLE_DRIVER_CONFIG db 1 certificates, 0 other entries",
            "EV_SEPARATOR zeros",
            r"EV_EFI_BOOT_SERVICES_APPLICATION \EFI\BOOT\grubx64.efi",
            "EV_IPL kernel_cmdline: quiet",
            "EV_IPL quiet splash",
            "EV_EVENT_TAG 0x8f3b22ec Linux initrd",
            "EV_EFI_BOOT_SERVICES_DRIVER 5 bytes",
            "0x00000099 ACPI DATA",
        ]
    );
}

#[test]
fn hints_are_one_line_that_no_terminal_obeys() {
    let long = "é".repeat(HINT);
    let hints = hints(vec![
        event(8, EventType::IPL, *b"quiet\x1b[2J\nroot=/dev/sda \"x\" a\\b\0"),
        event(8, EventType::IPL, "a\u{202e}b"),
        event(8, EventType::IPL, long.as_str()),
    ]);
    assert_eq!(hints[0], "EV_IPL quiet\\u{1b}[2J\\nroot=/dev/sda \"x\" a\\b");
    assert_eq!(hints[1], "EV_IPL a\\u{202e}b");
    assert_eq!((hints[2].chars().count(), hints[2].chars().last()), (HINT, Some('…')));
}

#[test]
fn what_extends_nothing_is_not_listed() {
    let all = events(|_| {});
    assert_eq!(all.len() + 1, boot().events.len());
    assert_eq!(all[0].digest.0, HashAlg::Sha256.digest(&[&utf16("firmware 1")]));
    let bytes = boot().bytes();
    assert!(listed(&BootLog::parse(&bytes).unwrap(), HashAlg::Sha512).is_empty());
}

/// The places of the changes in a PCR: in the first list, in the second.
fn places(first: &[ReferenceEvent], second: &[ReferenceEvent]) -> Vec<(u8, Vec<(usize, usize)>)> {
    let place = |place: &Option<Place>| place.as_ref().map_or(0, |place| place.position);
    let of = |change: &Change| (place(&change.first), place(&change.second));
    difference(first, second).iter().map(|found| (found.pcr, found.changes.iter().map(of).collect())).collect()
}

#[test]
fn a_difference_is_found_where_it_is() {
    let before = events(|_| {});
    assert_eq!(places(&before, &before), []);
    let changed = events(|log| {
        let at = log.place(9, EventType::EVENT_TAG);
        log.events[at].measured = b"another initrd".to_vec();
        log.insert(at, measured(8, EventType::IPL, b"single", *b"kernel_cmdline: single\0"));
        let at = log.place(8, EventType::IPL);
        log.events.remove(at);
    });
    assert_eq!(places(&before, &changed), [(8, vec![(1, 0), (0, 2)]), (9, vec![(2, 2)])]);
    let found = difference(&before, &changed);
    assert_eq!(found[1].holds, meaning(9));
    assert!(found[1].changes[0].second.as_ref().unwrap().hint.contains("Linux initrd"));
    assert_eq!(places(&changed, &before), [(8, vec![(0, 1), (2, 0)]), (9, vec![(2, 2)])]);
    assert_eq!(places(&[], &before).len(), 10);
}

#[test]
fn the_order_of_events_is_part_of_them() {
    let list = |letters: &str| -> Vec<ReferenceEvent> {
        let event = |letter: char| ReferenceEvent { pcr: 8, digest: Bytes(vec![letter as u8]), hint: String::new() };
        letters.chars().map(event).collect()
    };
    let compare = |first, second| {
        places(&list(first), &list(second)).into_iter().flat_map(|(_, places)| places).collect::<Vec<_>>()
    };
    assert_eq!(compare("abc", "acb"), [(2, 0), (0, 3)]);
    assert_eq!(compare("abcd", "xbcy"), [(1, 1), (4, 4)]);
    assert_eq!(compare("a", "aa"), [(0, 2)]);
    // Too long to look for the longest common part: by place.
    let long = "a".repeat(1100);
    assert_eq!(compare(&format!("x{long}x"), &format!("y{long}yz")).len(), 1103);
}

#[test]
fn every_pcr_has_a_meaning() {
    let mut all: Vec<&str> = (0..24).map(meaning).collect();
    all.dedup();
    assert_eq!(all.len(), 19);
    assert!(!all.contains(&meaning(24)));
}

/// Events of one PCR, and what it holds after them and more; PCR 0 began with `start`.
fn held(pcr: u8, start: u8, measured: &[&[u8]], more: &[&[u8]]) -> (Vec<ReferenceEvent>, PcrMap) {
    let digest = |of: &[u8]| HashAlg::Sha256.digest(&[of]);
    let mut value = vec![0; 32];
    value[31] = start;
    for event in measured.iter().chain(more) {
        value = HashAlg::Sha256.digest(&[&value, &digest(event)]);
    }
    let event = |event: &&[u8]| ReferenceEvent { pcr, digest: Bytes(digest(event)), hint: String::new() };
    (measured.iter().map(event).collect(), PcrMap(BTreeMap::from([(pcr, Bytes(value))])))
}

#[test]
fn events_lead_to_values_or_go_astray() {
    let astray = |(events, values): (Vec<ReferenceEvent>, PcrMap)| astray(&events, HashAlg::Sha256, &values);
    let (invocation, success) = (b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Success");
    for right in [
        held(4, 0, &[b"a", b"b"], &[]),
        held(0, 3, &[b"a"], &[]),
        held(11, 0, &[b"a"], &[b"leave-initrd", b"sysinit"]),
        held(5, 0, &[b"a"], &[invocation, success]),
        held(4, 0, &[], &[b"a"]),
    ] {
        assert!(astray(right.clone()).is_empty(), "{right:?}");
    }
    for wrong in [
        held(4, 0, &[b"a"], &[b"b"]),
        held(4, 3, &[b"a"], &[]),
        held(0, 2, &[b"a"], &[]),
        held(11, 0, &[b"a"], &[b"sysinit", b"leave-initrd"]),
        held(5, 0, &[b"a"], &[success]),
        held(9, 0, &[b"a"], &[b"sysinit"]),
    ] {
        assert_eq!(astray(wrong.clone()).len(), 1, "{wrong:?}");
    }
    let (mut events, values) = held(4, 0, &[b"a", b"b"], &[]);
    events.swap(0, 1);
    assert_eq!(astray((events, values)), BTreeSet::from([4]));
}
