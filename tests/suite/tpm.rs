//! The collector against a real TPM stack, its evidence judged by the verifier.

mod enrolment;
mod failures;
mod quotes;

use strongroom_attest::{BootCounters, QuoteExpectation, Refused, TpmClaims, quote, tpm::Public};
use strongroom_collect::{Attester as _, Collector, Enroller as _, Wanted};
use strongroom_protocol::{
    binding::tpm_extra_data,
    evidence::{Evidence, PcrSelection, Tpm2Evidence},
};
use strongroom_tests::tpm_commands;

/// A statement's bytes; the collector does not read them.
const STATEMENT: &[u8] = br#"{"v":1,"act":"release"}"#;

fn selection() -> PcrSelection {
    PcrSelection::default_sha256()
}

fn collect(collector: &Collector, caller: Option<&[u8]>) -> Tpm2Evidence {
    let mut items = collector.collect(STATEMENT, caller, Wanted::whole(&selection())).unwrap();
    assert_eq!(items.len(), 1);
    let Some(Evidence::Tpm2(item)) = items.pop() else { panic!("another kind of evidence") };
    item
}

/// Judges evidence as a vault would that enrolled this collector's EK and AK.
fn judge(
    collector: &Collector,
    evidence: &Tpm2Evidence,
    extra_data: [u8; 32],
    boot: Option<BootCounters>,
) -> Result<TpmClaims, Refused> {
    let identity = collector.identity().unwrap();
    let ek = Public::parse(&identity.ek_public).unwrap();
    let ak = Public::parse(&identity.ak_public).unwrap();
    let expect = QuoteExpectation { ak: &ak, ek_name: &ek.name(), extra_data, selection: &selection(), boot };
    quote::verify(evidence.into(), &expect)
}

/// Collects without a caller and judges it; the quote must hold.
fn claims(collector: &Collector) -> TpmClaims {
    let extra_data = tpm_extra_data("strongroom/v1/tpm", STATEMENT, None);
    judge(collector, &collect(collector, None), extra_data, None).unwrap()
}

/// Keys and sessions that are loaded in the collector's TPM.
fn left_behind(collector: &Collector) -> usize {
    let mut tpm = tpm_commands::connect(&collector.tpm().tcti().to_string()).unwrap();
    tpm_commands::loaded(&mut tpm).unwrap()
}
