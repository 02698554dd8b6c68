//! Machines that really boot, in QEMU: what their logs show, what a vault makes of it.

mod logs;
mod release;
mod renewal;
mod site;

use strongroom_tests::measured::Parts;

/// What machines are made of here, or a word on what is missing.
fn parts(test: &str) -> Option<Parts> {
    match Parts::find() {
        Ok(parts) => Some(parts),
        Err(why) => {
            strongroom_tests::programs::skip(test, &format!("{why:#}"));
            None
        }
    }
}
