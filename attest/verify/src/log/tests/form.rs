//! How a log is laid out, and what extends what: rows L1 and L2.

use super::{
    super::{builder::*, *},
    *,
};

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
    assert_eq!(verify(&log.bytes(), None).unwrap().1.boot_path.unwrap().images.len(), 1);
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
    assert_eq!((with.startup_locality(), claims.startup_locality), (3, Some(3)));
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
        assert_eq!(accepted(|log| log.events[0].data[16] = allowed).startup_locality, Some(allowed));
    }
}

#[test]
fn l2_hardware_may_measure_before_startup() {
    let mut log = boot();
    log.events[0] = measured(0, EventType::EFI_HCRTM_EVENT, b"boot block", *b"HCRTM");
    let plain = values_of(&log);
    assert_eq!(compare(&log, &plain, &[0, 4]).unwrap().startup_locality, Some(0));
    // What the machine holds where a hash sequence before startup left 4.
    let mut told = log.clone();
    told.insert(0, event(0, EventType::NO_ACTION, *b"StartupLocality\0\x04"));
    let from_four = values_of(&told);
    assert_ne!(from_four[&0], plain[&0]);
    assert_eq!(compare(&log, &from_four, &[0, 4]).unwrap().startup_locality, Some(4));
    assert_eq!(compare(&told, &from_four, &[0, 4]).unwrap().startup_locality, Some(4));
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
