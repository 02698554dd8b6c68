//! The envelope of Azure's vTPM, and runtime data by themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;
use strongroom_attest::{
    azure::{Envelope, RuntimeData, examine},
    snp::{SnpRequirements, SnpRoots, SnpStore},
};

fuzz_target!(|bytes: &[u8]| {
    let _ = RuntimeData::parse(bytes);
    if let Ok(envelope) = Envelope::parse(bytes) {
        let _ = RuntimeData::parse(envelope.runtime_data);
    }
    let requirements = SnpRequirements::default();
    let judged = examine(bytes, &[], None, &requirements, SnpRoots::built_in(), &SnpStore::default(), 1_767_225_600);
    assert!(judged.snp.is_none_or(|snp| snp.claims.is_none()), "no certificate was given");
});
