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
    // Phases follow an image: without one they are somebody's who only says so.
    let bare = boot();
    let mut values = values_of(&bare);
    values.insert(11, vec![0; 32]);
    assert!(compare(&bare, &values, &[11]).unwrap().phases.is_empty());
    values.insert(11, extend(&[0; 32], "ready"));
    assert!(matches!(compare(&bare, &values, &[11]), Err(LogRefused::L7Differs { pcr: 11, .. })));
}
