//! Receipts: whatever is read is written back as it was, and verifies under no key.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_ledger::Receipt;

fuzz_target!(|text: &str| {
    if let Ok(receipt) = Receipt::parse(text) {
        assert_eq!(receipt.encode(), text);
        assert!(receipt.verify(&[0; 32], &[]).is_err());
    }
});
