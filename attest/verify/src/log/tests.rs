use super::{builder::*, guid::Guid, *};
use strongroom_protocol::claims::Authority;

/// What a log is refused for, after one change.
fn refused(change: impl FnOnce(&mut Writer)) -> LogRefused {
    let mut log = boot();
    verify(&log.bytes(), None).expect("the log is right before the change");
    change(&mut log);
    verify(&log.bytes(), None).expect_err("the change makes it wrong")
}

fn accepted(change: impl FnOnce(&mut Writer)) -> BootClaims {
    let mut log = boot();
    change(&mut log);
    verify(&log.bytes(), None).unwrap().1
}

#[test]
fn l1_a_log_is_crypto_agile_and_whole() {
    let bytes = boot().bytes();
    let log = BootLog::parse(&bytes).unwrap();
    assert_eq!(log.algorithms(), [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha384]);
    assert_eq!(log.events().len(), boot().events.len());
    assert!(!log.padded());
    for end in 0..bytes.len() {
        // Cut at an event's end the rest is a log; what is missing is found later, by L3 or L7.
        match BootLog::parse(&bytes[..end]) {
            Ok(shorter) => assert!(shorter.events().len() < log.events().len()),
            Err(error) => assert!(matches!(error, LogRefused::L1Truncated { .. }), "{end}: {error}"),
        }
    }
    assert!(matches!(BootLog::parse(b""), Err(LogRefused::L1Truncated { event: 0, .. })));
    let too_long = vec![0; strongroom_protocol::limits::BOOT_LOG + 1];
    assert!(matches!(BootLog::parse(&too_long), Err(LogRefused::L1TooLong { .. })));
}

#[test]
fn l1_logs_of_sha1_are_refused_by_name() {
    // A TCG_PCR_EVENT of TPM 1.2: PCR, type, one SHA-1 digest, data.
    let old = [&0_u32.to_le_bytes()[..], &8_u32.to_le_bytes(), &[5; 20], &2_u32.to_le_bytes(), b"v1"].concat();
    let error = BootLog::parse(&old).unwrap_err();
    assert_eq!((error.clone(), error.is_malformed()), (LogRefused::L1Sha1Format, false));
    let mut garbage = old;
    garbage[0] = 0xff;
    assert!(BootLog::parse(&garbage).unwrap_err().is_malformed());
}

#[test]
fn l1_each_event_has_one_digest_of_each_algorithm() {
    let bytes = boot().bytes();
    let first = header(&boot().algorithms).len();
    let count = first + 8;
    let id = count + 4;
    for (at, value) in [(count, 2), (count, 4), (id, 0x0b), (id, 0x12)] {
        let mut wrong = bytes.clone();
        wrong[at] = value;
        assert!(matches!(BootLog::parse(&wrong), Err(LogRefused::L1Digests { event: 1, .. })), "{at} {value}");
    }
    let mut wrong = bytes;
    wrong[first + 4] = 8;
    wrong[first] = 24;
    assert_eq!(BootLog::parse(&wrong).unwrap_err(), LogRefused::L1Pcr { event: 1, pcr: 24 });
}

#[test]
fn l1_the_header_is_checked() {
    let log = Writer { algorithms: vec![HashAlg::Sha256], events: Vec::new() }.bytes();
    assert!(BootLog::parse(&log).unwrap().events().is_empty());
    // PCR, type, digest, number of algorithms (none, too many), digest size, vendorInfoSize.
    for (at, value) in [(0, 1), (4, 4), (8, 1), (56, 0), (56, 9), (62, 20), (64, 1)] {
        let mut wrong = log.clone();
        wrong[at] = value;
        assert!(BootLog::parse(&wrong).unwrap_err().is_malformed(), "{at}");
    }
    let twice = Writer { algorithms: vec![HashAlg::Sha256; 2], events: Vec::new() }.bytes();
    assert!(matches!(BootLog::parse(&twice), Err(LogRefused::L1Header { .. })));
}

#[test]
fn l1_digests_of_sha1_alone_are_refused_by_name() {
    let mut log = boot();
    log.algorithms = vec![HashAlg::Sha1];
    let error = verify(&log.bytes(), None).unwrap_err();
    assert_eq!((error.row(), error.is_malformed()), ("L1", false));
    let examined = examine(&log.bytes(), None);
    assert!(examined.refusal("L1").unwrap().contains("SHA-256") && examined.replay.is_some());
    log.algorithms = vec![HashAlg::Sha512];
    assert_eq!(verify(&log.bytes(), None).unwrap().1.boot_path.images.len(), 1);
}

#[test]
fn l1_padding_is_named() {
    for byte in [0x00, 0xff] {
        let bytes = [boot().bytes(), vec![byte; 777]].concat();
        assert_eq!(verify(&bytes, None).unwrap().1.tolerances, [Tolerance::LogPadding]);
    }
    let other = [boot().bytes(), vec![1; 777]].concat();
    assert!(BootLog::parse(&other).is_err());
}

#[test]
fn l1_there_is_a_most_of_events() {
    let mut log = boot();
    log.algorithms = vec![HashAlg::Sha1];
    log.events = vec![event(8, EventType::IPL, []); MAX_EVENTS];
    assert_eq!(BootLog::parse(&log.bytes()).unwrap().events().len(), MAX_EVENTS);
    log.events.push(event(8, EventType::IPL, []));
    assert_eq!(BootLog::parse(&log.bytes()).unwrap_err(), LogRefused::L1TooManyEvents { limit: MAX_EVENTS });
}

#[test]
fn l2_the_startup_locality_is_where_pcr_0_starts() {
    let (with, claims) = verify(&boot().bytes(), None).unwrap();
    assert_eq!((with.startup_locality(), claims.startup_locality), (3, 3));
    let mut log = boot();
    log.events.remove(0);
    let (without, _) = verify(&log.bytes(), None).unwrap();
    assert_ne!(with.value(HashAlg::Sha256, 0), without.value(HashAlg::Sha256, 0));
    assert_eq!(with.value(HashAlg::Sha256, 4), without.value(HashAlg::Sha256, 4));
    assert_eq!(with.value(HashAlg::Sha384, 16).unwrap(), [0; 48]);
    assert_eq!(with.value(HashAlg::Sha512, 0), None);
    let locality = |data: &[u8]| event(0, EventType::NO_ACTION, data);
    let wrong = |change: fn(&mut Writer)| assert_eq!(refused(change).row(), "L2");
    wrong(|log| log.events[0].data[16] = 2);
    wrong(|log| log.events[0].data.truncate(16));
    wrong(|log| log.events[0].data.push(0));
    wrong(|log| log.events[0].pcr = 1);
    wrong(|log| log.events.swap(0, 1));
    let second = locality(b"StartupLocality\0\x03");
    assert_eq!(refused(|log| log.events.insert(1, second)).row(), "L2");
    for allowed in [0, 3, 4] {
        assert_eq!(accepted(|log| log.events[0].data[16] = allowed).startup_locality, allowed);
    }
}

#[test]
fn l2_hardware_may_measure_before_startup() {
    let mut log = boot();
    log.events[0] = measured(0, EventType::EFI_HCRTM_EVENT, b"boot block", *b"HCRTM");
    let plain = values_of(&log);
    assert_eq!(compare(&log, &plain, &[0, 4]).unwrap().startup_locality, 0);
    // What the machine holds where a hash sequence before startup left 4.
    let mut told = log.clone();
    told.insert(0, event(0, EventType::NO_ACTION, *b"StartupLocality\0\x04"));
    let from_four = values_of(&told);
    assert_ne!(from_four[&0], plain[&0]);
    assert_eq!(compare(&log, &from_four, &[0, 4]).unwrap().startup_locality, 4);
    assert_eq!(compare(&told, &from_four, &[0, 4]).unwrap().startup_locality, 4);
    // What the log says counts, and an event that comes later was not before startup.
    assert!(matches!(compare(&told, &plain, &[0]), Err(LogRefused::L7Differs { pcr: 0, .. })));
    log.events.swap(0, 1);
    told.events.swap(1, 2);
    assert!(matches!(compare(&log, &values_of(&told), &[0]), Err(LogRefused::L7Differs { pcr: 0, .. })));
}

#[test]
fn l2_events_without_action_extend_nothing() {
    let (plain, _) = verify(&boot().bytes(), None).unwrap();
    let mut log = boot();
    log.insert(5, event(7, EventType::NO_ACTION, *b"SP800-155 Event3 and more"));
    assert_eq!(verify(&log.bytes(), None).unwrap().0, plain);
}

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
fn l4_secure_boot_is_what_pcr_7_shows() {
    let state = accepted(|_| {}).secure_boot;
    assert!(state.enabled && !state.setup_mode && !state.dma_protection_disabled);
    let digest = |bytes: &[u8]| crate::quote::hex(&HashAlg::Sha256.digest(&[bytes]));
    assert_eq!(state.db.certificates, [digest(b"certificate")]);
    assert_eq!((state.dbx.certificates.len(), state.dbx.others), (0, 1));
    assert_eq!(state.authorities, [Authority { variable: "db".into(), sha256: digest(b"certificate") }]);
    for name in ["SecureBoot", "PK", "KEK", "db", "dbx"] {
        let foreign = variable(Guid([5; 16]), name, b"certificate");
        let error = refused(|log| log.events.push(event(7, EventType::EFI_VARIABLE_AUTHORITY, foreign)));
        assert!(matches!(error, LogRefused::L4Malformed { .. }), "{error}");
        let error = refused(|log| {
            let at = log.variable(name);
            log.events.remove(at);
        });
        assert!(matches!(error, LogRefused::L4Missing { variable } if variable == name), "{error}");
        let error = refused(|log| {
            let at = log.variable(name);
            let twice = log.events[at].clone();
            log.insert(at, twice);
        });
        assert!(matches!(error, LogRefused::L4Malformed { .. }), "{error}");
    }
}

#[test]
fn l4_enabled_means_keys_and_an_authority() {
    for name in ["PK", "KEK", "db"] {
        let error = refused(|log| {
            let at = log.variable(name);
            log.events[at] = config(name, &[]);
        });
        assert!(matches!(error, LogRefused::L4Inconsistent { .. }), "{error}");
    }
    let error = refused(|log| {
        log.events.remove(log.place(7, EventType::EFI_VARIABLE_AUTHORITY));
    });
    assert!(matches!(error, LogRefused::L4Inconsistent { .. }), "{error}");
    let off = accepted(|log| {
        for name in ["PK", "KEK", "db", "dbx"] {
            let at = log.variable(name);
            log.events[at] = config(name, &[]);
        }
        let at = log.variable("SecureBoot");
        log.events[at] = config("SecureBoot", &[0]);
    });
    assert!(!off.secure_boot.enabled && off.secure_boot.setup_mode);
}

#[test]
fn l4_debug_mode_and_what_cannot_be_read_are_refused() {
    let before = |log: &mut Writer, event| {
        let at = log.variable("SecureBoot");
        log.insert(at, event);
    };
    assert!(matches!(refused(|log| before(log, action(7, "UEFI Debug Mode"))), LogRefused::L4Debug { .. }));
    assert!(matches!(refused(|log| log.events.push(action(7, "UEFI Debug Mode"))), LogRefused::L4Debug { .. }));
    assert!(matches!(refused(|log| before(log, action(7, "Anything"))), LogRefused::L4Malformed { .. }));
    assert!(accepted(|log| before(log, action(7, "DMA Protection Disabled"))).secure_boot.dma_protection_disabled);
    let foreign = event(7, EventType::EFI_VARIABLE_DRIVER_CONFIG, variable(Guid([9; 16]), "SecureBoot", &[1]));
    assert!(matches!(refused(|log| before(log, foreign)), LogRefused::L4Malformed { .. }));
    let value = |name: &'static str, value: Vec<u8>| {
        let error = refused(|log| {
            let at = log.variable(name);
            log.events[at] = config(name, &value);
        });
        assert!(matches!(error, LogRefused::L4Database { variable } if variable == name), "{error}");
    };
    value("SecureBoot", vec![2]);
    value("SecureBoot", vec![1, 1]);
    let list = signature_list(Guid::CERT_X509, b"certificate");
    value("db", list[..list.len() - 1].to_vec());
    value("db", [&list[..], &[0; 28]].concat());
    // A list whose entries have no room for their owners would never end.
    let mut endless = list;
    endless[24..28].copy_from_slice(&[0; 4]);
    value("dbx", endless);
    let many = signature_list(Guid::CERT_X509, b"certificate").repeat(1024);
    accepted(|log| {
        let at = log.variable("db");
        log.events[at] = config("db", &many);
    });
    value("db", [&many[..], &signature_list(Guid::CERT_X509, b"certificate")].concat());
}

#[test]
fn l4_firmware_without_secure_boot_may_say_less() {
    let without_authority = |log: &mut Writer| {
        log.events.retain(|event| event.kind != EventType::EFI_VARIABLE_AUTHORITY);
    };
    let claims = accepted(|log| {
        without_authority(log);
        for name in ["SecureBoot", "PK", "KEK", "db", "dbx"] {
            let at = log.variable(name);
            log.events.remove(at);
        }
    });
    assert_eq!(claims.tolerances, [Tolerance::SecureBootVariablesMissing]);
    assert!(!claims.secure_boot.enabled && claims.secure_boot.setup_mode);
    for name in ["PK", "KEK", "db", "dbx"] {
        let claims = accepted(|log| {
            without_authority(log);
            let at = log.variable("SecureBoot");
            log.events[at] = config("SecureBoot", &[0]);
            let at = log.variable(name);
            log.events.remove(at);
        });
        assert_eq!(claims.tolerances, [Tolerance::SecureBootVariablesMissing], "{name}");
        assert!(!claims.secure_boot.enabled);
        // One that is only called something else is there, and its value would be read as nothing.
        let error = refused(|log| {
            without_authority(log);
            let at = log.variable("SecureBoot");
            log.events[at] = config("SecureBoot", &[0]);
            let at = log.variable(name);
            log.events[at].kind = EventType::EFI_VARIABLE_AUTHORITY;
        });
        assert!(matches!(error, LogRefused::L4Missing { variable } if variable == name), "{error}");
    }
    assert_eq!(
        refused(|log| log.events.retain(
            |event| event.kind != EventType::EFI_VARIABLE_DRIVER_CONFIG || event.data.ends_with(b"certificate")
        )),
        LogRefused::L4Missing { variable: "SecureBoot" }
    );
}

#[test]
fn l4_old_shims_log_more_than_they_measure() {
    let authority = |zeros: usize, more: &[u8]| {
        let measured_data = [variable(Guid([5; 16]), "Shim", b"certificate"), vec![0; zeros]].concat();
        measured(7, EventType::EFI_VARIABLE_AUTHORITY, &measured_data, [&measured_data[..], more].concat())
    };
    let plain = accepted(|log| log.events.push(authority(0, b"")));
    assert_eq!(plain.secure_boot.authorities[1].variable, "Shim");
    for (zeros, more, tolerances) in [
        (5, &b""[..], vec![]),
        (0, b"x", vec![Tolerance::ShimVariableSize]),
        (5, b"x", vec![Tolerance::ShimVariableSize]),
    ] {
        let claims = accepted(|log| log.events.push(authority(zeros, more)));
        assert_eq!((claims.secure_boot, claims.tolerances), (plain.secure_boot.clone(), tolerances));
    }
    assert!(matches!(refused(|log| log.events.push(authority(6, b""))), LogRefused::L4Malformed { .. }));
    assert!(matches!(refused(|log| log.events.push(authority(0, b"xy"))), LogRefused::L3Digest { .. }));
    // Some entries of db were measured without their owner.
    let certificate = [&[0x30, 0x82, 0, 3][..], b"der"].concat();
    let owned = variable(Guid::IMAGE_SECURITY, "db", &[&[7; 16][..], &certificate].concat());
    let bare = variable(Guid::IMAGE_SECURITY, "db", &certificate);
    let last = |data: Vec<u8>| {
        accepted(|log| log.events.push(event(7, EventType::EFI_VARIABLE_AUTHORITY, data))).secure_boot.authorities.pop()
    };
    assert_eq!(last(owned), last(bare));
}

#[test]
fn l5_the_boot_path_is_what_was_loaded() {
    let path = accepted(|_| {}).boot_path;
    assert_eq!(path.images, [crate::quote::hex(&HashAlg::Sha256.digest(&[b"grub"]))]);
    assert!(path.exit_boot_services && path.configuration.len() == 1);
    let error = refused(|log| {
        log.events.remove(log.place(4, EventType::EFI_BOOT_SERVICES_APPLICATION));
    });
    assert_eq!(error, LogRefused::L5NoImage);
    let late = measured(4, EventType::EFI_BOOT_SERVICES_APPLICATION, b"late", [0; 32]);
    assert!(matches!(refused(|log| log.events.push(late)), LogRefused::L5AfterExit { .. }));
    for step in ["Exit Boot Services Invocation", "Exit Boot Services Returned with Failure"] {
        assert!(matches!(refused(|log| log.events.push(action(5, step))), LogRefused::L5Exit { .. }));
    }
    let cut = accepted(|log| log.events.truncate(log.events.len() - 1));
    assert!(!cut.boot_path.exit_boot_services);
    let unannounced = refused(|log| {
        let at = log.events.len() - 2;
        log.events.remove(at);
    });
    assert!(matches!(unannounced, LogRefused::L5Exit { .. }));
    // EDK II measures a failure before it measures the announcement, others after it.
    for back in [1, 2] {
        let retried = accepted(|log| {
            let at = log.events.len() - back;
            log.insert(at, action(5, "Exit Boot Services Returned with Failure"));
        });
        assert_eq!(retried.boot_path, path);
    }
    let terminated = accepted(|log| {
        let at = log.events.len() - 1;
        log.events[at] = action(5, "Exit Boot Services Returned with Success\0");
    });
    assert!(terminated.boot_path.exit_boot_services);
}

#[test]
fn l6_texts_are_believed_where_the_digest_is_of_them() {
    let loader = accepted(|_| {}).loader;
    assert_eq!(loader.texts, ["insmod gzio", "/vmlinuz ro quiet"]);
    assert_eq!((loader.unread, loader.files.len()), (0, 2));
    assert_eq!(loader.uki, None);
    let lied = accepted(|log| {
        log.events.push(measured(8, EventType::IPL, b"/vmlinuz single", *b"kernel_cmdline: /vmlinuz ro quiet\0"));
    });
    assert_eq!((lied.loader.texts.len(), lied.loader.unread), (2, 1), "what was measured is not what the log says");
    // Another label hides nothing.
    let relabelled = accepted(|log| {
        log.events.push(measured(8, EventType::IPL, b"/vmlinuz single", *b"grub_cmd: /vmlinuz single\0"));
    });
    assert_eq!(relabelled.loader.texts[2], "/vmlinuz single");
    let systemd = accepted(|log| log.events.push(event(12, EventType::IPL, utf16("quiet splash\0"))));
    assert_eq!(systemd.loader.overrides, ["quiet splash"]);
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
    assert_eq!(hidden.boot_path.images.len(), 2);
}

/// The sections of a unified kernel image.
fn unified(log: &mut Writer) {
    for (name, content) in [(".linux", "kernel"), (".cmdline", "quiet"), (".initrd", "initrd")] {
        let told = utf16(&format!("{name}\0"));
        log.events.push(measured(11, EventType::IPL, format!("{name}\0").as_bytes(), told.clone()));
        log.events.push(measured(11, EventType::IPL, content.as_bytes(), told));
    }
}

#[test]
fn l6_a_unified_kernel_image_shows_its_sections() {
    let sections = accepted(unified).loader.uki.unwrap();
    assert_eq!(sections.keys().collect::<Vec<_>>(), [".cmdline", ".initrd", ".linux"]);
    assert_eq!(sections[".linux"], crate::quote::hex(&HashAlg::Sha256.digest(&[b"kernel"])));
    let wrong = |change: fn(&mut Writer)| {
        let error = refused(|log| {
            unified(log);
            change(log);
        });
        assert!(matches!(error, LogRefused::L6Section { .. }), "{error}");
    };
    wrong(|log| {
        log.events.pop();
    });
    wrong(|log| {
        let second = log.place(11, EventType::IPL) + 2;
        log.events.remove(second);
    });
    wrong(unified);
}

/// The values that a machine which booted by `log` would quote.
fn values_of(log: &Writer) -> BTreeMap<u8, Vec<u8>> {
    let bytes = log.bytes();
    let replay = Replay::of(&BootLog::parse(&bytes).unwrap()).unwrap();
    (0..16).map(|pcr| (pcr, replay.value(HashAlg::Sha256, pcr).unwrap())).collect()
}

fn compare(log: &Writer, values: &BTreeMap<u8, Vec<u8>>, explained: &[u8]) -> Result<BootClaims, LogRefused> {
    let values = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
    verify(&log.bytes(), Some(&Quoted { bank: HashAlg::Sha256, values, explained })).map(|(_, claims)| claims)
}

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
    assert!(compare(&log, &values, &[11]).unwrap().phases.is_empty());
    for (count, word) in PHASES.iter().enumerate() {
        let next = extend(&values[&11], word);
        values.insert(11, next);
        assert_eq!(compare(&log, &values, &[11]).unwrap().phases, PHASES[..=count]);
    }
    // An initrd without systemd extends nothing.
    let started = values_of(&log)[&11].clone();
    let ready = extend(&extend(&started, "sysinit"), "ready");
    values.insert(11, ready.clone());
    assert_eq!(compare(&log, &values, &[11]).unwrap().phases, ["sysinit", "ready"]);
    values.insert(11, extend(&ready, "sysinit"));
    assert!(matches!(compare(&log, &values, &[11]), Err(LogRefused::L7Differs { pcr: 11, .. })));
    let other = extend(&values[&11], "anything");
    values.insert(11, other);
    assert!(matches!(compare(&log, &values, &[11]), Err(LogRefused::L7Differs { pcr: 11, .. })));
}

#[test]
fn refusals_name_their_rows() {
    let mut wrong = boot();
    wrong.events.push(separator(3));
    let text = verify(&wrong.bytes(), None).unwrap_err().to_string();
    assert!(text.starts_with("L3: "), "{text}");
}

#[test]
fn rows_are_judged_one_by_one_for_people() {
    use crate::Verdict::{NotChecked, Passed, Refused};
    let verdicts = |bytes: &[u8], quoted: Option<&Quoted<'_>>| -> Vec<_> {
        examine(bytes, quoted).report.rows.iter().map(|row| row.verdict).collect()
    };
    let right = boot();
    assert_eq!(verdicts(&right.bytes(), None), [Passed, Passed, Passed, Passed, Passed, Passed, NotChecked]);
    let values = values_of(&right);
    let values = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
    let quoted = Quoted { bank: HashAlg::Sha256, values, explained: &[0, 7] };
    assert_eq!(verdicts(&right.bytes(), Some(&quoted)), [Passed; 7]);
    let mut wrong = right;
    wrong.events.push(separator(7));
    let at = wrong.variable("SecureBoot");
    wrong.events.remove(at);
    assert_eq!(verdicts(&wrong.bytes(), Some(&quoted)), [Passed, Passed, Refused, Refused, Passed, Passed, Refused]);
    let examined = examine(&wrong.bytes(), None);
    assert!(examined.refusal("L4").unwrap().contains("SecureBoot") && examined.refusal("L5").is_none());
    assert!(examined.replay.is_some() && examined.secure_boot.is_none());
    assert_eq!(verdicts(b"", None), [Refused, NotChecked, NotChecked, NotChecked, NotChecked, NotChecked, NotChecked]);
}

#[test]
fn the_fuzzer_starts_from_logs_that_hold() {
    let mut image = boot();
    unified(&mut image);
    let mut plain = boot();
    plain.algorithms = vec![HashAlg::Sha256];
    plain.events.retain(|event| event.pcr != 7 || event.kind == EventType::SEPARATOR);
    let padded = [plain.bytes(), vec![0xff; 40]].concat();
    for (name, bytes) in [("grub", boot().bytes()), ("image", image.bytes()), ("padded", padded)] {
        verify(&bytes, None).unwrap();
        crate::seeds::keep("boot_log", name, &bytes);
    }
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let log = [header(&[HashAlg::Sha256]), bytes.clone()].concat();
            let _ = verify(&log, None);
            let _ = verify(&bytes, None);
        }

        #[test]
        fn one_changed_byte_is_refused_or_leads_elsewhere_or_is_in_no_claim(at in 0_usize..6000, bit in 0_u8..8) {
            let right = boot();
            let mut bytes = right.bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let values = values_of(&right);
            let all: Vec<u8> = (0..16).collect();
            let values: BTreeMap<u8, &[u8]> = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
            let quoted = Quoted { bank: HashAlg::Sha256, values, explained: &all };
            let before = verify(&right.bytes(), Some(&quoted)).unwrap().1;
            if let Ok((_, mut after)) = verify(&bytes, Some(&quoted)) {
                // A text that was made unreadable is counted as such; nothing else may change.
                let texts = before.loader.texts.iter().filter(|text| after.loader.texts.contains(text)).cloned().collect::<Vec<_>>();
                prop_assert_eq!(&after.loader.texts, &texts);
                prop_assert_eq!(after.loader.unread as usize, before.loader.texts.len() - texts.len());
                after.loader = before.loader.clone();
                // Another type may be one that firmware seldom has there, and is named.
                let kept = before.tolerances.iter().all(|tolerance| after.tolerances.contains(tolerance));
                prop_assert!(kept);
                after.tolerances = before.tolerances.clone();
                prop_assert_eq!(after, before, "byte {} changed a claim, and nothing noticed", at);
            }
        }
    }
}
