//! Reference values: named sets of accepted measurements, by version. One person proposes a version,
//! another puts it in force.

use super::{Act, check_name};
use crate::{
    authority::Holder,
    clock::rfc3339,
    json::{Json, Path},
    measurements,
    problem::{Answer, Refused},
    vault::{Shared, subject},
};
use axum::extract::State;
use strongroom_attest::log::events::astray;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Code, Fixed,
    admin::{FileLists, RecordReference, Recorded, ReferenceState, ReferenceValues, ReferenceView},
    evidence::PcrMap,
    requirements::Register,
    sha256,
};
use strongroom_store::{Change, Guard, model::ReferenceRow};

/// Files that a set may list, events that it may show.
const FILES: usize = 32_768;
const EVENTS: usize = 8_192;
/// Launch measurements of one kind that a set may list: with others they go into what policy reads.
const LAUNCHES: usize = 4_096;

/// `POST /v1/references`: proposes a version of a set, from what a node showed last or from given values.
pub async fn propose(
    State(vault): State<Shared>,
    holder: Holder,
    Json(request): Json<RecordReference>,
) -> Answer<Json<Recorded>> {
    check_name("name", &request.name)?;
    let (values, source) = match (request.from_node, request.values) {
        (Some(id), None) => {
            let node = vault.store.node(id).await?.ok_or_else(|| Refused::not_found("node"))?;
            let values = measurements::of_node(&vault, &node.row).await?;
            (values.ok_or_else(|| Refused::new(Code::Conflict, "the node has shown no values"))?, id.to_string())
        }
        (None, Some(values)) => (values, "import".to_owned()),
        _ => return Err(Refused::malformed("values", "give either from_node or values")),
    };
    check_values(&values)?;
    let (versions, _) = vault.store.reference_versions(&request.name).await?;
    let version = versions.last().map_or(0, |r| r.version).saturating_add(1);
    let subject = subject(SubjectKind::Reference, &request.name);
    let act = Act::by(&vault, &holder, Action::ReferenceProposed, subject).await?;
    let row = ReferenceRow {
        name: request.name,
        version,
        source,
        recorded_at: act.now(),
        proposed_by: holder.token.person.clone(),
        state: ReferenceState::Proposed,
        approved_by: None,
        values,
    };
    let act = telling(act, &row)?.saying("source", row.source.clone());
    let recorded = act.changing(Change::ProposeReference(row)).commit(&vault).await?;
    Ok(Json(Recorded { version: Some(version), ..recorded }))
}

/// `POST /v1/references/{name}/{version}/approve`: by another person than who proposed it.
pub async fn approve(
    State(vault): State<Shared>,
    Path((name, version)): Path<(String, String)>,
    holder: Holder,
) -> Answer<Json<Recorded>> {
    check_name("name", &name)?;
    let number: u32 = version.parse().map_err(|_| Refused::malformed("version", "a number from 1"))?;
    let (versions, generation) = vault.store.reference_versions(&name).await?;
    let row = versions.iter().find(|row| row.version == number);
    let row = row.ok_or_else(|| Refused::not_found("version of the reference set"))?;
    let person = &holder.token.person;
    match row.state {
        ReferenceState::Proposed => {}
        ReferenceState::InForce => return Err(Refused::new(Code::Conflict, "this version is in force already")),
        ReferenceState::Superseded => {
            let detail = "a later version was put in force: propose these values as a version of their own";
            return Err(Refused::new(Code::Conflict, detail));
        }
    }
    if row.proposed_by == *person && !vault.config.four_eyes.waived {
        tracing::warn!(%person, %name, version = number, "refused: who proposed a reference set may not approve it");
        let detail = format!("{person} proposed this version: somebody else has to approve it");
        return Err(Refused::new(Code::FourEyes, detail));
    }
    let subject = subject(SubjectKind::Reference, &name);
    let act = Act::by(&vault, &holder, Action::ReferenceApproved, subject).await?;
    let mut act = telling(act.guarded(Guard::ReferenceGeneration(generation)), row)?
        .saying("proposed_by", row.proposed_by.clone());
    if let Some(before) = versions.iter().find(|row| row.state == ReferenceState::InForce) {
        act = act.saying("supersedes", before.version);
    }
    let recorded = act.changing(Change::ApproveReference(name, number, person.clone())).commit(&vault).await?;
    Ok(Json(Recorded { version: Some(number), ..recorded }))
}

/// `GET /v1/references`: every version of every set.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<ReferenceView>>> {
    let references = vault.store.all_references().await?;
    let view = |r: ReferenceRow| ReferenceView {
        name: r.name,
        version: r.version,
        state: r.state,
        proposed_by: r.proposed_by,
        approved_by: r.approved_by,
        values: r.values,
        source: r.source,
        recorded_at: rfc3339(r.recorded_at),
    };
    Ok(Json(references.into_iter().map(view).collect()))
}

/// Says what a version holds. Lists may be longer than a record: of them it has the digest and how many.
fn telling(act: Act, row: &ReferenceRow) -> Answer<Act> {
    let values = serde_json::to_vec(&row.values).map_err(Refused::internal)?;
    let bank_and_pcrs = ReferenceValues::of(row.values.bank, row.values.pcrs.clone());
    let FileLists { accepted, forbidden, required } = &row.values.files;
    Ok(act
        .saying("version", row.version)
        .saying("values", serde_json::to_value(bank_and_pcrs).map_err(Refused::internal)?)
        .saying("values_sha256", Fixed(sha256(&values)).to_string())
        .saying("snp_measurements", row.values.snp.measurements.len())
        .saying("tdx_mrtds", row.values.tdx.mrtds.len())
        .saying("files_accepted", accepted.as_ref().map(std::collections::BTreeMap::len))
        .saying("files_forbidden", forbidden.len())
        .saying("files_required", required.len()))
}

fn check_values(values: &ReferenceValues) -> Answer<()> {
    let ReferenceValues { bank, pcrs: PcrMap(pcrs), snp, tdx, files, events } = values;
    let length = bank.digest_length();
    if values.accept_nothing() {
        let problem = "at least one value, or a launch measurement under values.snp or values.tdx: an empty set \
                       would match nothing";
        return Err(Refused::malformed("values.pcrs", problem));
    }
    for (name, listed) in [("values.snp", &snp.measurements), ("values.tdx", &tdx.mrtds)] {
        if listed.len() > LAUNCHES {
            return Err(Refused::malformed(name, format!("at most {LAUNCHES} launch measurements")));
        }
        if listed.contains(&Register([0; 48])) {
            return Err(Refused::malformed(name, "zeros are the measurement of nothing: leave them out"));
        }
    }
    if pcrs.values().any(|v| v.0.len() != length) {
        return Err(Refused::malformed("values.pcrs", format!("a value of this bank has {length} bytes")));
    }
    if pcrs.contains_key(&measurements::IMA_PCR) {
        let problem = "PCR 10 changes with each program that is run: list files instead";
        return Err(Refused::malformed("values.pcrs", problem));
    }
    let lists = [files.accepted.as_ref(), Some(&files.forbidden), Some(&files.required)];
    let listed = lists.into_iter().flatten().flatten();
    if listed.count() > FILES {
        return Err(Refused::malformed("values.files", format!("at most {FILES} files")));
    }
    files.check().map_err(|refused| Refused::malformed("values.files", refused.to_string()))?;
    if events.len() > EVENTS {
        return Err(Refused::malformed("values.events", format!("at most {EVENTS} events")));
    }
    // A second person approves by what the events say; those of another boot would deceive.
    let astray: Vec<String> =
        astray(events, measurements::hash_of(*bank), &values.pcrs).iter().map(u8::to_string).collect();
    if !astray.is_empty() {
        let problem = format!("those of PCR {} do not lead to its value: leave them out", astray.join(", "));
        return Err(Refused::malformed("values.events", problem));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use strongroom_protocol::{
        Bytes,
        admin::{SnpValues, TdxValues},
        evidence::PcrBank,
    };

    fn registers(count: u16) -> std::collections::BTreeSet<Register> {
        let numbered = |n: u16| {
            let mut register = [0; 48];
            register[..2].copy_from_slice(&n.to_be_bytes());
            Register(register)
        };
        (1..=count).map(numbered).collect()
    }

    fn of(pcrs: &[u8], snp: u16, tdx: u16) -> ReferenceValues {
        let pcrs: BTreeMap<_, _> = pcrs.iter().map(|&pcr| (pcr, Bytes(vec![pcr; 32]))).collect();
        let mut values = ReferenceValues::of(PcrBank::Sha256, PcrMap(pcrs));
        values.snp = SnpValues { measurements: registers(snp) };
        values.tdx = TdxValues { mrtds: registers(tdx) };
        values
    }

    #[test]
    fn a_set_accepts_pcrs_or_launch_measurements_or_both() {
        for values in [of(&[4], 0, 0), of(&[], 1, 0), of(&[], 0, 1), of(&[4], 1, 1), of(&[], 4096, 4096)] {
            assert!(check_values(&values).is_ok());
        }
        for (values, field) in
            [(of(&[], 0, 0), "values.pcrs"), (of(&[4], 4097, 0), "values.snp"), (of(&[4], 0, 4097), "values.tdx")]
        {
            let refused = format!("{:?}", check_values(&values).unwrap_err());
            assert!(refused.contains(field), "{refused}");
        }
        // What was not measured shows zeros: no software is named by them.
        let zeros = Register([0; 48]);
        let (mut snp, mut tdx) = (of(&[4], 1, 1), of(&[4], 1, 1));
        snp.snp.measurements.insert(zeros);
        tdx.tdx.mrtds.insert(zeros);
        for (values, field) in [(snp, "values.snp"), (tdx, "values.tdx")] {
            let refused = format!("{:?}", check_values(&values).unwrap_err());
            assert!(refused.contains(field) && refused.contains("zeros"), "{refused}");
        }
    }

    #[test]
    fn launch_measurements_are_48_bytes_in_lower_case() {
        let read = |digits: &str| {
            let text = format!(r#"{{"bank":"sha256","pcrs":{{}},"snp":{{"measurements":["{digits}"]}}}}"#);
            serde_json::from_str::<ReferenceValues>(&text)
        };
        let held = read(&"ab".repeat(48)).unwrap();
        assert_eq!(held.snp.measurements.len(), 1);
        for wrong in ["", &"ab".repeat(47), &"ab".repeat(49), &"AB".repeat(48), &"xy".repeat(48)] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        // Sets without any are written as they were before there were any: their digests in the ledger stand.
        let before = serde_json::to_value(of(&[4], 0, 0)).unwrap();
        assert_eq!(before.as_object().unwrap().keys().collect::<Vec<_>>(), ["bank", "pcrs"]);
    }
}
