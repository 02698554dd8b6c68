//! Reports of AMD SEV-SNP for `evidence verify`: rows S1 to S9, S11 and S13.

use super::{hardware::Grounds, verdict::Found};
use crate::output::Failure;
use serde_json::{Map, Value, json};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};
use strongroom::protocol::{evidence::SevSnpEvidence, requirements::Register};
use strongroom_attest::{
    Verdict,
    snp::{ExaminedSnp, SnpEvidence, SnpExpectation, SnpRefused, examine},
};

pub(super) fn judge(item: &SevSnpEvidence, grounds: &Grounds) -> Result<Found, Failure> {
    let aux = item.aux.as_ref().map(|aux| Cow::Borrowed(aux.as_slice()));
    let aux = aux.or(grounds.endorsements.table.as_deref().map(Cow::Borrowed));
    let evidence = SnpEvidence { aux: aux.as_deref(), ..SnpEvidence::from(item) };
    let expect = SnpExpectation { report_data: grounds.bound(), requirements: &grounds.requirements.snp };
    let examined =
        grounds.with_snp(evidence.report, |roots, store| examine(&evidence, &expect, roots, store, grounds.at));
    if let Some(refused @ SnpRefused::S1Length { .. }) = examined.refused.get("S1") {
        return Ok(Found::malformed(refused.to_string()));
    }
    let mut found = Found {
        rows: examined.report.rows.clone(),
        claims: Map::from_iter([("snp".to_owned(), json!(examined.claims))]),
        vouched: BTreeMap::from([("snp", vouches(&examined))]),
        ..Found::default()
    };
    describe(&mut found, &examined);
    if let Some(reference) = &grounds.reference {
        compare(&mut found, &examined, &reference.snp.measurements)?;
    }
    Ok(found)
}

/// True if a key of AMD's signed the report, and is of this chip and TCB.
pub(super) fn vouches(examined: &ExaminedSnp) -> bool {
    ["S3", "S5", "S11"].iter().all(|row| examined.report.verdict(row) == Some(Verdict::Passed))
}

/// Holds the launch measurement against a reference set's.
pub(super) fn compare(found: &mut Found, examined: &ExaminedSnp, accepted: &BTreeSet<Register>) -> Result<(), Failure> {
    let measured = examined.attestation.as_ref().map(|report| Register(report.measurement));
    found.compare_launch("the launch measurement", accepted, measured)
}

/// What the report says, whoever signed it.
pub(super) fn describe(found: &mut Found, examined: &ExaminedSnp) {
    let Some(report) = &examined.attestation else { return };
    let product = examined.product.map(|product| product.to_string());
    let key = report.key_info.signing_key.map(|key| key.to_string());
    let text = &mut found.text;
    let _ = writeln!(
        text,
        "report of version {}: {}, privilege level {}, signed by {}",
        report.version,
        product.as_deref().unwrap_or("of a product that it does not name"),
        report.vmpl,
        key.as_deref().map_or_else(|| "nobody".to_owned(), |key| format!("a {key}")),
    );
    let chip_id = report.chip_id().map(hex::encode);
    let _ = writeln!(text, "chip: {}", chip_id.as_deref().unwrap_or("masked"));
    let said: [(&str, &str, String); 3] = [
        ("launch measurement", "measurement", hex::encode(report.measurement)),
        ("the host's data", "host_data", hex::encode(report.host_data)),
        ("it binds", "report_data", hex::encode(report.report_data)),
    ];
    let mut members = Map::from_iter([
        ("version".to_owned(), json!(report.version)),
        ("product".to_owned(), json!(product)),
        ("signing_key".to_owned(), json!(report.key_info.signing_key)),
        ("vmpl".to_owned(), json!(report.vmpl)),
        ("chip_id".to_owned(), json!(chip_id)),
        ("reported_tcb".to_owned(), json!(hex::encode(report.reported_tcb.0))),
    ]);
    for (words, name, value) in said {
        let _ = writeln!(text, "{words}: {value}");
        members.insert(name.to_owned(), json!(value));
    }
    found.members.insert("report".to_owned(), Value::Object(members));
}
