//! Notes, checkpoints, verifier keys and tile paths: whatever is read is written back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_ledger::{Checkpoint, SignedCheckpoint, SignedNote, TilePath, VerifierKey};

fuzz_target!(|text: &str| {
    if let Ok(note) = SignedNote::parse(text) {
        assert_eq!(note.to_string(), text);
        assert!(note.verify(&[]).is_err());
    }
    if let Ok(signed) = SignedCheckpoint::parse(text) {
        assert_eq!(signed.to_string(), text);
    }
    if let Ok(checkpoint) = text.parse::<Checkpoint>() {
        assert_eq!(checkpoint.to_string(), text);
    }
    if let Ok(key) = text.parse::<VerifierKey>() {
        assert_eq!(key.to_string(), text);
    }
    if let Ok(path) = text.parse::<TilePath>() {
        assert_eq!(path.to_string(), text);
    }
});
