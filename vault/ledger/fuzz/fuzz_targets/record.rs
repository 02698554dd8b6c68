//! Records, lines of an export, and what the store keeps: one spelling each.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_ledger::{Frontier, Record, decode_bundle, encode_bundle, parse_export_line, verify_export};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(record) = Record::parse(bytes) {
        assert_eq!(record.to_canonical().as_deref(), Ok(bytes));
    }
    if let Ok(frontier) = Frontier::from_bytes(bytes) {
        assert_eq!(frontier.to_bytes(), bytes);
        let _ = frontier.root();
    }
    if let Ok(entries) = decode_bundle(bytes) {
        assert_eq!(encode_bundle(&entries), bytes);
    }
    assert!(verify_export(bytes.split(|b| *b == b'\n').map(parse_export_line), &[], None).is_err());
});
