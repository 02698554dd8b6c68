//! What may stand where: row L3.

use super::{
    super::{builder::*, guid::Guid, *},
    *,
};

#[test]
fn l3_digests_are_of_the_data_where_the_type_promises_it() {
    for (pcr, kind) in [
        (0, EventType::S_CRTM_VERSION),
        (7, EventType::EFI_VARIABLE_DRIVER_CONFIG),
        (7, EventType::EFI_VARIABLE_AUTHORITY),
        (1, EventType::EFI_VARIABLE_BOOT),
        (5, EventType::EFI_GPT_EVENT),
        (5, EventType::EFI_ACTION),
        (3, EventType::SEPARATOR),
    ] {
        let error = refused(|log| {
            let at = log.place(pcr, kind);
            *log.events[at].data.last_mut().unwrap() ^= 1;
        });
        assert!(matches!(error, LogRefused::L3Digest { .. }), "{kind}: {error}");
    }
    // Firmware measures a boot variable's value, or all that stands in the event.
    accepted(|log| {
        let at = log.place(1, EventType::EFI_VARIABLE_BOOT);
        log.events[at].measured = log.events[at].data.clone();
    });
}

#[test]
fn l3_there_is_one_separator_in_each_pcr() {
    assert_eq!(
        refused(|log| {
            log.events.remove(log.place(3, EventType::SEPARATOR));
        }),
        LogRefused::L3NoSeparator { pcr: 3 }
    );
    for pcr in 0..8 {
        let error = refused(|log| log.events.push(separator(pcr)));
        assert!(matches!(error, LogRefused::L3Separator { problem: "it is the second of its PCR", .. }), "{error}");
    }
    for data in [[1, 0, 0, 0], [0, 0, 0, 1]] {
        let error = refused(|log| {
            let at = log.place(6, EventType::SEPARATOR);
            log.events[at] = event(6, EventType::SEPARATOR, data);
        });
        assert!(matches!(error, LogRefused::L3Separator { pcr: 6, .. }), "{error}");
    }
    accepted(|log| {
        let at = log.place(6, EventType::SEPARATOR);
        log.events[at] = event(6, EventType::SEPARATOR, [0xff; 4]);
    });
}

#[test]
fn l3_separators_do_not_hide_under_other_types() {
    for data in [[0; 4], [0xff; 4], [1, 0, 0, 0]] {
        let error = refused(|log| {
            log.insert(1, measured(7, EventType::EFI_VARIABLE_AUTHORITY, &data, data));
        });
        assert!(matches!(error, LogRefused::L3Disguised { pcr: 7, .. }), "{error}");
        let error = refused(|log| {
            log.insert(1, measured(0, EventType::EFI_PLATFORM_FIRMWARE_BLOB, &data, [0; 16]));
        });
        assert!(matches!(error, LogRefused::L3Disguised { pcr: 0, .. }), "{error}");
    }
}

#[test]
fn l3_a_boot_order_may_look_like_a_failure() {
    let order =
        |value: [u8; 4]| measured(1, EventType::EFI_VARIABLE_BOOT, &value, variable(Guid::GLOBAL, "BootOrder", &value));
    accepted(|log| {
        log.insert(1, order([1, 0, 0, 0]));
    });
    assert!(matches!(
        refused(|log| {
            log.insert(1, order([0; 4]));
        }),
        LogRefused::L3Disguised { pcr: 1, .. }
    ));
}

#[test]
fn l3_types_stand_where_they_may() {
    let misplaced = |event: Written, at_end: bool| {
        let error = refused(|log| {
            let at = if at_end { log.events.len() } else { 1 };
            log.insert(at, event);
        });
        assert!(matches!(error, LogRefused::L3Misplaced { closed, .. } if closed == at_end), "{error}");
    };
    misplaced(measured(7, EventType::IPL, b"x", []), false);
    misplaced(measured(0, EventType(0x1234), b"x", []), false);
    misplaced(config("SecureBoot", &[0]), true);
    misplaced(measured(0, EventType::EFI_PLATFORM_FIRMWARE_BLOB, b"x", [0; 16]), true);
    misplaced(measured(4, EventType(0x1234), b"x", []), true);
    misplaced(measured(4, EventType::EFI_PLATFORM_FIRMWARE_BLOB, b"a boot loader", [0; 16]), true);
    misplaced(measured(4, EventType::EFI_BOOT_SERVICES_DRIVER, b"a boot loader", [0; 32]), false);
    for pcr in [8, 13, 15] {
        let error = refused(|log| log.events.push(measured(pcr, EventType(0x1234), b"x", [])));
        assert!(matches!(error, LogRefused::L3Misplaced { closed: false, .. }), "{error}");
    }
    misplaced(measured(7, EventType::EFI_BOOT_SERVICES_APPLICATION, b"x", []), true);
}

#[test]
fn l3_what_vendors_do_otherwise_has_a_name() {
    let tolerated = |event: Written, at_end: bool, tolerance: Tolerance| {
        let before = accepted(|_| {});
        let mut claims = accepted(|log| {
            let at = if at_end { log.events.len() } else { 1 };
            log.insert(at, event.clone());
        });
        assert_eq!(std::mem::take(&mut claims.tolerances), [tolerance], "{event:?}");
        let nothing_read = event.pcr < 4 || event.pcr == 6 || event.pcr > 12;
        assert_eq!(claims == before, nothing_read, "{event:?}");
    };
    let late = Tolerance::FirmwareAfterSeparator;
    let order = || variable(Guid::GLOBAL, "BootOrder", &[0, 0]);
    tolerated(event(1, EventType::EFI_VARIABLE_BOOT, order()), true, late);
    tolerated(measured(1, EventType::EFI_HANDOFF_TABLES, b"tables", [0; 24]), true, late);
    // systemd-boot measures SMBIOS there.
    tolerated(measured(1, EventType::EVENT_TAG, b"smbios", [0; 8]), true, late);
    tolerated(measured(2, EventType::EFI_RUNTIME_SERVICES_DRIVER, b"card", [0; 32]), true, late);
    tolerated(measured(3, EventType::NONHOST_CONFIG, b"card", []), true, late);
    tolerated(measured(6, EventType::COMPACT_HASH, b"power on", *b"SMBIOS"), true, late);
    let vendor = Tolerance::VendorEvent;
    tolerated(measured(0, EventType::EFI_HANDOFF_TABLES2, b"x", []), false, vendor);
    tolerated(measured(0, EventType::COMPACT_HASH, b"x", []), false, vendor);
    tolerated(measured(1, EventType::EFI_PLATFORM_FIRMWARE_BLOB2, b"x", []), false, vendor);
    tolerated(measured(6, EventType::EFI_PLATFORM_FIRMWARE_BLOB, b"x", []), false, vendor);
    tolerated(event(5, EventType::EFI_VARIABLE_BOOT2, order()), true, vendor);
    tolerated(measured(13, EventType::EFI_GPT_EVENT2, b"x", []), true, vendor);
    // Windows and Linux measure into these, and nothing of it is out of place.
    for (pcr, kind) in [(13, EventType::EVENT_TAG), (14, EventType::COMPACT_HASH), (14, EventType::IPL)] {
        assert!(accepted(|log| log.events.push(measured(pcr, kind, b"x", []))).tolerances.is_empty());
    }
    // A dynamic launch, and what anybody may reset.
    for pcr in [16, 17, 23] {
        tolerated(measured(pcr, EventType(0x1000_0000), b"x", []), true, Tolerance::ResettablePcr);
    }
    let hidden = measured(0, EventType::NO_ACTION, b"a driver", *b"nothing");
    tolerated(hidden, false, Tolerance::NoActionWithDigest);
}

#[test]
fn l3_another_type_hides_nothing_from_claims() {
    let claims = accepted(|_| {});
    for (pcr, kind, others) in [
        (4, EventType::EFI_BOOT_SERVICES_APPLICATION, [EventType::IPL, EventType::EVENT_TAG]),
        (5, EventType::EFI_GPT_EVENT, [EventType::EFI_GPT_EVENT2, EventType::COMPACT_HASH]),
        (4, EventType::EFI_ACTION, [EventType::ACTION, EventType::COMPACT_HASH]),
        (5, EventType::EFI_ACTION, [EventType::ACTION, EventType::EVENT_TAG]),
        (7, EventType::EFI_VARIABLE_AUTHORITY, [EventType::EFI_SPDM_DEVICE_AUTHORITY; 2]),
        (8, EventType::IPL, [EventType::EVENT_TAG, EventType::COMPACT_HASH]),
        (9, EventType::EVENT_TAG, [EventType::IPL, EventType::COMPACT_HASH]),
    ] {
        for other in others {
            let relabelled = accepted(|log| {
                let at = log.place(pcr, kind);
                log.events[at].kind = other;
            });
            assert_eq!(relabelled, claims, "PCR {pcr} {kind} as {other}");
        }
    }
    // A program whose bytes fit into a log can stand there as a text.
    let hidden = accepted(|log| {
        let at = log.place(4, EventType::EFI_BOOT_SERVICES_APPLICATION);
        log.insert(at, action(4, "MZ"));
    });
    assert_eq!(hidden.boot_path.unwrap().images.len(), 2);
}
