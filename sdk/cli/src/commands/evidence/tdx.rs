//! Quotes of Intel TDX for `evidence verify`: row T1, with each of its parts.

use super::{hardware::Grounds, verdict::Found};
use crate::{output::Failure, plain};
use serde_json::{Map, Value, json};
use std::{collections::BTreeMap, fmt::Write as _};
use strongroom::protocol::{bytes::Bytes, evidence::TdxEvidence, requirements::Register};
use strongroom_attest::{
    Pins, Verdict,
    tdx::{Collateral, Evidence, Examined, Expectation, Part, Quote, TdxRefused, examine},
};

pub(super) fn judge(item: &TdxEvidence, grounds: &Grounds) -> Result<Found, Failure> {
    let stored = stored(item, grounds);
    let bound: Option<[u8; 64]> = grounds.bound();
    let ccel = grounds.ccel.as_deref().or(item.ccel.as_ref().map(Bytes::as_slice));
    let evidence = Evidence { quote: item.quote.as_slice(), ccel };
    let expect = Expectation {
        report_data: bound.as_ref(),
        collateral: given(item, grounds).or(stored.as_ref()),
        pins: Pins::built_in(),
        at: grounds.at,
        requirements: &grounds.requirements.tdx,
    };
    let examined = examine(&evidence, &expect);
    if let Some(refused @ (TdxRefused::T1TooLong { .. } | TdxRefused::T1Malformed { .. })) = &examined.malformed {
        return Ok(Found::malformed(refused.to_string()));
    }
    let holds = examined.report.holds();
    let mut found = Found {
        rows: examined.report.rows.clone(),
        claims: Map::from_iter([("tdx".to_owned(), json!(examined.claims.as_ref().filter(|_| holds)))]),
        vouched: BTreeMap::from([("tdx", examined.claims.is_some())]),
        ..Found::default()
    };
    describe(&mut found, &examined, item);
    if let Some(reference) = &grounds.reference {
        match examined.claims.as_ref().map(|claims| Register::try_from(claims.guest.mrtd.clone())) {
            Some(mrtd) => found.compare_launch("MRTD", &reference.tdx.mrtds, mrtd.ok())?,
            None => found.text.push_str(
                "MRTD was not compared with the reference set: Intel's signatures do not hold, or were not checked\n",
            ),
        }
    }
    Ok(found)
}

/// The collateral that was given for the quote's platform; another's, where there is no other, so that it is refused by
/// name.
fn given<'a>(item: &TdxEvidence, grounds: &'a Grounds) -> Option<&'a Collateral> {
    let key = Quote::parse(item.quote.as_slice()).ok().and_then(|quote| quote.key().ok());
    let all = &grounds.endorsements.collateral;
    all.iter().find(|collateral| Some(collateral.key()) == key.as_ref()).or(all.first())
}

/// The collateral that the directory has for the quote's platform.
fn stored(item: &TdxEvidence, grounds: &Grounds) -> Option<Collateral> {
    let key = Quote::parse(item.quote.as_slice()).ok()?.key().ok()?;
    grounds.endorsements.store.as_ref()?.tdx(&key)
}

/// What the quote says, and what became of each part.
fn describe(found: &mut Found, examined: &Examined, item: &TdxEvidence) {
    let mut parts = Vec::new();
    for Part { title, outcome } in &examined.parts {
        let (verdict, note) = match outcome {
            Ok(None) => (Verdict::Passed, None),
            Ok(Some(reason)) => (Verdict::NotChecked, Some(reason.clone())),
            Err(refused) => (Verdict::Refused, Some(refused.to_string())),
        };
        let _ = writeln!(found.text, "  {verdict:<11}  {title}");
        if let Some(note) = &note {
            let _ = writeln!(found.text, "               {}", plain::line(note));
        }
        parts.push(json!({ "title": title, "verdict": verdict, "note": note }));
    }
    found.members.insert("parts".to_owned(), Value::Array(parts));
    let Ok(quote) = Quote::parse(item.quote.as_slice()) else { return };
    let platform = quote.key().map(|key| key.to_string()).unwrap_or_default();
    let binds = hex::encode(quote.report_data());
    let _ = writeln!(found.text, "quote of version {}, platform {platform}", quote.version());
    let _ = writeln!(found.text, "it binds: {binds}");
    let mut said = json!({ "version": quote.version(), "platform": platform, "report_data": binds });
    if let (Some(claims), Some(said)) = (&examined.claims, said.as_object_mut()) {
        let _ = writeln!(found.text, "TCB: {}", claims.tcb.status);
        let _ = writeln!(found.text, "MRTD: {}", claims.guest.mrtd);
        said.insert("tcb_status".to_owned(), json!(claims.tcb.status));
        said.insert("mrtd".to_owned(), json!(claims.guest.mrtd));
    }
    found.members.insert("report".to_owned(), said);
}
