//! Reports of NVIDIA GPUs for `evidence verify`: rows G1 to G5.

use super::{endorsements::GivenManifest, hardware::Grounds, verdict::Found};
use serde_json::{Map, json};
use std::{collections::BTreeMap, fmt::Write as _};
use strongroom::protocol::{bytes::Bytes, evidence::NvidiaGpuEvidence};
use strongroom_attest::{
    PinKind, Pins, Verdict,
    nvidia::{
        ExaminedGpu, GpuEvidence, GpuExpectation, GpuRefused, GpuReport, Revocation, RimKind, VerifiedRim, examine,
        rim, rim_ids,
    },
};

/// The manifests of a report.
#[derive(Default)]
struct Manifests {
    driver: Option<VerifiedRim>,
    vbios: Option<VerifiedRim>,
    /// Why one that was given does not count.
    refused: Vec<String>,
}

pub(super) fn judge(item: &NvidiaGpuEvidence, grounds: &Grounds) -> Found {
    if let Err(refused) = GpuReport::parse(item.report.as_slice()) {
        return Found::malformed(refused.to_string());
    }
    let given = grounds.endorsements.certificates.iter().map(Vec::as_slice);
    let mut certificates: Vec<&[u8]> = item.certificates.iter().map(Bytes::as_slice).collect();
    // A chain that came with the report stands for itself.
    if certificates.is_empty() {
        certificates.extend(given);
    }
    let evidence = GpuEvidence { report: item.report.as_slice(), certificates };
    let manifests = Manifests::of(&evidence, grounds);
    let nonce: Option<[u8; 32]> = grounds.bound();
    let stored = grounds.endorsements.store.as_ref();
    let stored = stored.map(|store| [PinKind::NvidiaDeviceRoot, PinKind::NvidiaRimRoot].map(|kind| store.lists(kind)));
    let lists = grounds.endorsements.lists.iter().map(Vec::as_slice);
    let crls: Vec<&[u8]> = lists.chain(stored.into_iter().flatten().flatten()).collect();
    let ocsp: Vec<&[u8]> = grounds.endorsements.answers.iter().map(Vec::as_slice).collect();
    let expect = GpuExpectation {
        nonce: nonce.as_ref(),
        pins: Pins::built_in(),
        at: grounds.at,
        driver_rim: manifests.driver.as_ref(),
        vbios_rim: manifests.vbios.as_ref(),
        record: None,
        revocation: Revocation { crls: &crls, ocsp: &ocsp },
        guest: None,
        requirements: &grounds.requirements.gpu,
    };
    let mut examined = examine(&evidence, &expect);
    if let Some(row) = examined.report.rows.iter_mut().find(|row| row.row == "G3" && !manifests.refused.is_empty()) {
        let earlier = row.note.take().filter(|_| row.verdict == Verdict::Refused);
        row.verdict = Verdict::Refused;
        row.note = Some(manifests.refused.iter().cloned().chain(earlier).collect::<Vec<_>>().join("; "));
    }
    let genuine = examined.report.verdict("G2") == Some(Verdict::Passed);
    let claims: Vec<_> = examined.claims.iter().collect();
    let mut found = Found {
        rows: examined.report.rows.clone(),
        claims: Map::from_iter([("gpus".to_owned(), json!(claims))]),
        vouched: BTreeMap::from([("gpus", genuine)]),
        ..Found::default()
    };
    describe(&mut found, &examined, &evidence);
    found
}

impl Manifests {
    /// Verifies what was given; what the report asks for and was not given is looked up in the directory.
    fn of(evidence: &GpuEvidence<'_>, grounds: &Grounds) -> Self {
        let mut manifests = Self::default();
        let asked = rim_ids(evidence);
        let asked = |kind| {
            asked.as_ref().map(|ids| match kind {
                RimKind::Driver => ids.driver.clone(),
                RimKind::Vbios => ids.vbios.clone(),
            })
        };
        for manifest in &grounds.endorsements.manifests {
            let name = manifest.path.display();
            match verified(manifest, &asked, grounds.at) {
                Ok(rim) => manifests.put(rim),
                Err(refused) => manifests.refused.push(format!("{name}: {refused}")),
            }
        }
        let Some(store) = &grounds.endorsements.store else { return manifests };
        for kind in [RimKind::Driver, RimKind::Vbios] {
            let there = match kind {
                RimKind::Driver => manifests.driver.is_some(),
                RimKind::Vbios => manifests.vbios.is_some(),
            };
            let stored = asked(kind).filter(|_| !there).and_then(|id| Some((store.manifest(&id)?, id)));
            match stored.map(|(xml, id)| rim::verify(&id, xml, Pins::built_in(), grounds.at)) {
                Some(Ok(rim)) => manifests.put(rim),
                Some(Err(refused)) => manifests.refused.push(refused.to_string()),
                None => {}
            }
        }
        manifests
    }

    fn put(&mut self, rim: VerifiedRim) {
        let place = match rim.kind() {
            RimKind::Driver => &mut self.driver,
            RimKind::Vbios => &mut self.vbios,
        };
        *place = Some(rim);
    }
}

/// A manifest under the id of its file's name, else under that which the report asks for: it does not say its own.
fn verified(
    manifest: &GivenManifest,
    asked: &impl Fn(RimKind) -> Option<String>,
    at: u64,
) -> Result<VerifiedRim, GpuRefused> {
    if let Some(id) = &manifest.id {
        return rim::verify(id, &manifest.xml, Pins::built_in(), at);
    }
    // The version of a VBIOS has five parts, that of a driver two or three.
    let (version, _) = rim::read_unverified(RimKind::Driver, &manifest.xml)?;
    let kind = if version.split('.').count() == 5 { RimKind::Vbios } else { RimKind::Driver };
    let id = asked(kind).unwrap_or_default();
    rim::verify(&id, &manifest.xml, Pins::built_in(), at)
}

/// What the report says, whoever signed it.
fn describe(found: &mut Found, examined: &ExaminedGpu, evidence: &GpuEvidence<'_>) {
    let Ok(report) = GpuReport::parse(evidence.report) else { return };
    let binds = hex::encode(report.nonce);
    let mut said = Map::from_iter([("nonce".to_owned(), json!(binds))]);
    if let Some(claims) = &examined.claims {
        let _ = writeln!(
            found.text,
            "GPU {} ({}), driver {}, VBIOS {}",
            claims.device, claims.model, claims.driver_version, claims.vbios_version
        );
    }
    let _ = writeln!(found.text, "it binds: {binds}");
    if let Some(ids) = rim_ids(evidence) {
        let _ = writeln!(found.text, "manifests: {} and {}", ids.driver, ids.vbios);
        said.insert("driver_rim".to_owned(), json!(ids.driver));
        said.insert("vbios_rim".to_owned(), json!(ids.vbios));
    }
    found.members.insert("report".to_owned(), said.into());
}
