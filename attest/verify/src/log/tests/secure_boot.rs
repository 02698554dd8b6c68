//! PCR 7: row L4.

use super::{
    super::{builder::*, guid::Guid, *},
    *,
};
use strongroom_protocol::claims::Authority;

#[test]
fn l4_secure_boot_is_what_pcr_7_shows() {
    let state = accepted(|_| {}).secure_boot.unwrap();
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
    assert!(off.secure_boot.is_some_and(|off| !off.enabled && off.setup_mode));
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
    assert!(
        accepted(|log| before(log, action(7, "DMA Protection Disabled"))).secure_boot.unwrap().dma_protection_disabled
    );
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
    assert!(claims.secure_boot.is_some_and(|off| !off.enabled && off.setup_mode));
    for name in ["PK", "KEK", "db", "dbx"] {
        let claims = accepted(|log| {
            without_authority(log);
            let at = log.variable("SecureBoot");
            log.events[at] = config("SecureBoot", &[0]);
            let at = log.variable(name);
            log.events.remove(at);
        });
        assert_eq!(claims.tolerances, [Tolerance::SecureBootVariablesMissing], "{name}");
        assert!(!claims.secure_boot.unwrap().enabled);
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
    assert_eq!(plain.secure_boot.as_ref().unwrap().authorities[1].variable, "Shim");
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
        accepted(|log| log.events.push(event(7, EventType::EFI_VARIABLE_AUTHORITY, data)))
            .secure_boot
            .unwrap()
            .authorities
            .pop()
    };
    assert_eq!(last(owned), last(bare));
}
