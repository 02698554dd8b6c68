//! A reference manifest: what is read of it is bounded, and nothing found by chance is signed by NVIDIA.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::{
    Pins,
    nvidia::{RimKind, rim},
};

fuzz_target!(|bytes: &[u8]| {
    if let Ok((version, golden)) = rim::read_unverified(RimKind::Driver, bytes) {
        assert!(!version.is_empty() && golden.values().any(|golden| golden.active));
    }
    // What NVIDIA signed, among the seeds, may verify; whatever does is the version of its id.
    if let Ok(rim) = rim::verify("NV_GPU_DRIVER_GH100_545.00", bytes, Pins::built_in(), 1_735_689_600) {
        assert_eq!(rim.version(), "545.00");
    }
});
