//! A quote for people who have only a part of what a vault has: every part of row T1 judged by itself.

use super::{Evidence, Expectation, Part, Quote, TdxRefused, judge::Judge};
use crate::{Report, Verdict, rows};
use strongroom_protocol::claims::TdxClaims;

/// What became of row T1, and what could be read.
#[derive(Debug, Clone)]
pub struct Examined {
    /// Row T1. It passed only if every part of it was checked and held.
    pub report: Report,
    /// Its parts, in the order in which they are checked; empty where the bytes are no quote.
    pub parts: Vec<Part>,
    /// What the quote shows; `None` unless Intel's signatures held. Believe it only if no part refused.
    pub claims: Option<TdxClaims>,
    /// Why the bytes are no quote that can be judged.
    pub malformed: Option<TdxRefused>,
}

/// [`super::verify`] for people: what is wrong, all of it, and what was not checked.
pub fn examine(evidence: &Evidence<'_>, expect: &Expectation<'_>) -> Examined {
    let quote = match Quote::parse(evidence.quote) {
        Ok(quote) => quote,
        Err(refused) => {
            let report = Report::of_each(&rows::TDX, |_| (Verdict::Refused, Some(refused.to_string())));
            return Examined { report, parts: Vec::new(), claims: None, malformed: Some(refused) };
        }
    };
    let mut judge = Judge::new(evidence, expect, &quote);
    let parts = judge.each();
    let claims = judge.claims().ok();
    let report = Report::of_each(&rows::TDX, |_| summary(&parts));
    Examined { report, parts, claims, malformed: None }
}

/// Refused if a part was refused, with every reason; not checked if one was not that a release needs.
fn summary(parts: &[Part]) -> (Verdict, Option<String>) {
    let mut refusals: Vec<String> = Vec::new();
    for refused in parts.iter().filter_map(|part| part.outcome.as_ref().err()) {
        let text = refused.to_string();
        if !refusals.contains(&text) {
            refusals.push(text);
        }
    }
    let open = parts.iter().filter_map(|part| Some((part.title, part.outcome.as_ref().ok()?.as_ref()?)));
    let open: Vec<String> = open.map(|(title, reason)| format!("{title}: {reason}")).collect();
    if !refusals.is_empty() {
        return (Verdict::Refused, Some(refusals.join("; ")));
    }
    if open.is_empty() { (Verdict::Passed, None) } else { (Verdict::NotChecked, Some(open.join("; "))) }
}
