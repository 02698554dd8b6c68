//! A boot log: parsing, replay, every row, events for people, what runs. What is accepted replays to one value in
//! each bank that it has, and is explained by its own replay.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use strongroom_attest::{
    log::{BootLog, LogRefused, Quoted, Replay, events, examine, judge, verify},
    workload::{self, Sources},
};

const PCRS: [u8; 24] = {
    let mut pcrs = [0; 24];
    let mut pcr = 0;
    while pcr < 24 {
        pcrs[pcr as usize] = pcr;
        pcr += 1;
    }
    pcrs
};

fuzz_target!(|bytes: &[u8]| {
    let judged = verify(bytes, None);
    assert_eq!(examine(bytes, None).report.holds(), judged.is_ok());
    let Ok(log) = BootLog::parse(bytes) else {
        assert!(judged.is_err());
        return;
    };
    for &bank in log.algorithms() {
        let listed = events::listed(&log, bank);
        assert!(events::difference(&listed, &listed).is_empty());
        assert_eq!(events::difference(&listed, &[]).is_empty(), listed.is_empty());
        assert!(listed.iter().all(|event| event.hint.chars().count() <= events::HINT));
    }
    let Ok(replay) = Replay::of(&log) else { return };
    for &bank in log.algorithms() {
        let values = PCRS.map(|pcr| replay.value(bank, pcr).expect("a bank that the log has"));
        let values: BTreeMap<u8, &[u8]> = PCRS.into_iter().zip(values.iter().map(Vec::as_slice)).collect();
        let explained = verify(bytes, Some(&Quoted { bank, values, explained: &PCRS }));
        // A quote of one bank vouches for that bank alone, so another may hold what would refuse the log without it.
        let seen = log.in_bank(bank);
        let alone = Replay::of(&seen).and_then(|replay| judge(&seen, &replay, None));
        if !matches!(explained, Err(LogRefused::L1NoBank { .. })) {
            assert_eq!(explained.is_ok(), alone.is_ok());
        }
        if let Ok((_, boot)) = explained {
            let _ = workload::examine(&Sources { boot: Some((&log, &boot)), ..Sources::default() });
        }
    }
});
