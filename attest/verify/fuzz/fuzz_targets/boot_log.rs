//! A boot log: parsing, replay, every row. What is accepted replays to one value in each bank that it has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::log::{BootLog, Replay, verify};

fuzz_target!(|bytes: &[u8]| {
    let judged = verify(bytes, None);
    if let Ok(log) = BootLog::parse(bytes) {
        if let Ok(replay) = Replay::of(&log) {
            for &algorithm in log.algorithms() {
                assert!(replay.value(algorithm, 0).is_some());
            }
        }
    } else {
        assert!(judged.is_err());
    }
});
