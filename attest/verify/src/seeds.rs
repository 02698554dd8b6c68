//! What fuzzing starts from: right inputs, written by the tests that make them, for `.ci/fuzz` to find.

use std::{fs, path::Path};

/// Keeps an input of a fuzz target, under the build directory.
pub(crate) fn keep(target: &str, name: &str, bytes: &[u8]) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz/seeds/attest-verify-fuzz").join(target);
    fs::create_dir_all(&place).unwrap();
    fs::write(place.join(name), bytes).unwrap();
}
