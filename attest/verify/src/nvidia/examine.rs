//! A report for people: rows G1 to G5, each judged by itself, and whatever could be read.

use super::{
    Device, Facts, GpuEvidence, GpuExpectation, GpuRefused, GpuReport, Measurements, State, check_chain,
    check_firmware, check_manifests, check_nonce, check_signature, check_state, claims, devices,
};
use crate::{Report, Verdict, nvidia::chain::Chain, rows};
use std::collections::BTreeMap;
use strongroom_protocol::claims::GpuClaims;

/// What became of each row, and the claims, if the report is a genuine GPU's and could be read.
#[derive(Debug, Clone)]
pub struct ExaminedGpu {
    /// Rows G1 to G5.
    pub report: Report,
    /// The claims; `None` unless G1 and G2 held. Believe `manifests` only if G3 held, the rest as G1 and G2 did.
    pub claims: Option<GpuClaims>,
}

/// What is left of a row: nothing, or why it was not judged.
type Outcome = Result<Option<String>, GpuRefused>;

/// [`super::verify`] for people: each row says for itself what is wrong, and one whose input was not given is not
/// checked.
pub fn examine(evidence: &GpuEvidence<'_>, expect: &GpuExpectation<'_>) -> ExaminedGpu {
    let report = GpuReport::parse(evidence.report);
    let contents = report.as_ref().map_err(Clone::clone).and_then(read);
    let chain = check_chain(evidence, expect);
    let device = chain.as_ref().ok().and_then(|chain| Device::of(chain).ok());
    let signed = genuine(report.as_ref().ok(), &chain, contents.as_ref().ok().map(|(_, facts)| facts));
    let read = contents.as_ref().ok().zip(device.as_ref()).zip(chain.as_ref().ok());

    let mut manifests = None;
    let g3 = match &read {
        None => Ok(Some("there is no report to compare with".to_owned())),
        Some((((measurements, facts), device), _)) => {
            check_manifests(facts, device, measurements, expect).map(|found| {
                let missing = found.as_ref().err().map(|(rim, id)| format!("the {rim} manifest {id} was not given"));
                manifests = found.ok();
                missing
            })
        }
    };
    let mut state = State::default();
    let g5 = match &read {
        None => Ok(Some("there is no report to judge".to_owned())),
        Some((((_, facts), device), chain)) => {
            check_state(facts, device, chain, manifests.is_some(), expect).map(|judged| {
                state = judged;
                let mut what: Vec<_> = state.unknown.iter().map(|(what, _)| what.as_str()).collect();
                // What policy lets be missing is missing all the same.
                if expect.requirements.manifest_ids.is_none() {
                    what.push("which manifests are accepted was not given (manifest_ids)");
                }
                if expect.requirements.revocation_max_age.is_none() && !state.revocation_checked {
                    what.push("nothing says whether the certificates are revoked");
                }
                (!what.is_empty()).then(|| what.join("; "))
            })
        }
    };
    let outcomes: BTreeMap<&str, Outcome> = [
        ("G1", bound(&report, contents.as_ref().err(), expect)),
        ("G2", signed),
        ("G3", g3),
        ("G4", counted(device.as_ref(), expect)),
        ("G5", g5),
    ]
    .into();
    let judged = Report::of_each(&rows::NVIDIA_GPU, |row| match outcomes.get(row) {
        Some(Ok(None)) => (Verdict::Passed, None),
        Some(Ok(Some(reason))) => (Verdict::NotChecked, Some(reason.clone())),
        Some(Err(refused)) => (Verdict::Refused, Some(refused.to_string())),
        None => (Verdict::NotChecked, None),
    });
    let holds = judged.verdict("G1") != Some(Verdict::Refused) && judged.verdict("G2") == Some(Verdict::Passed);
    let claims = match (report, contents, &device, &chain) {
        (Ok(report), Ok((measurements, facts)), Some(device), Ok(chain)) if holds => {
            Some(claims(&report, &measurements, facts, device, chain, manifests, &state))
        }
        _ => None,
    };
    ExaminedGpu { report: judged, claims }
}

fn read<'a>(report: &GpuReport<'a>) -> Result<(Measurements<'a>, Facts), GpuRefused> {
    Ok((report.measurements()?, Facts::of(&report.fields()?)?))
}

/// G1, but for its frame: what was read, and what it binds.
fn bound(
    report: &Result<GpuReport<'_>, GpuRefused>,
    contents: Option<&GpuRefused>,
    expect: &GpuExpectation<'_>,
) -> Outcome {
    let report = report.as_ref().map_err(Clone::clone)?;
    match (check_nonce(report, expect)?, contents) {
        (_, Some(refused)) => Err(refused.clone()),
        (true, None) => Ok(None),
        (false, None) => {
            let binds = crate::quote::hex(report.nonce);
            Ok(Some(format!("what the report must bind was not given; it binds {binds}")))
        }
    }
}

/// G2: chain, signature, firmware.
fn genuine(report: Option<&GpuReport<'_>>, chain: &Result<Chain<'_>, GpuRefused>, facts: Option<&Facts>) -> Outcome {
    let chain = chain.as_ref().map_err(Clone::clone)?;
    let Some(report) = report else { return Ok(Some("the chain holds; there is no report that it signed".to_owned())) };
    check_signature(report, chain)?;
    match facts {
        Some(facts) => check_firmware(facts, chain).map(|()| None),
        None => Ok(Some("chain and signature hold; the report does not name its firmware".to_owned())),
    }
}

/// G4, for one device.
fn counted(device: Option<&Device>, expect: &GpuExpectation<'_>) -> Outcome {
    match (device, expect.record) {
        (Some(device), Some(record)) => {
            devices::in_record(&device.id, record)?;
            Ok(Some(format!(
                "the GPU is one of the {} in the record; they are counted over all reports of a request",
                record.len()
            )))
        }
        (Some(device), None) => Ok(Some(format!("the node's GPUs were not given; this one is {}", device.id))),
        (None, _) => Ok(Some("there is no device to look for".to_owned())),
    }
}
