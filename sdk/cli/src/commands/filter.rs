//! What to look for in the ledger: conditions that are all to be met. A name that can be none is refused,
//! since "there is nothing of it" would be a true and a useless answer.

use crate::{output::Failure, times};
use std::fmt::Write as _;
use strongroom::protocol::{NodeId, audit::AuditQuery, statement::check_asset_name};
use strongroom_ledger::{Action, ActorKind};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What to look for.
#[derive(clap::Args, Default)]
pub(crate) struct Filter {
    /// The last so much time, such as 15m or 7d
    #[arg(long, conflicts_with_all = ["from", "to"])]
    last: Option<String>,
    /// From this time on, RFC 3339
    #[arg(long, value_parser = moment)]
    from: Option<String>,
    /// Up to this time, RFC 3339
    #[arg(long, value_parser = moment)]
    to: Option<String>,
    /// Asset
    #[arg(long, value_parser = name)]
    asset: Option<String>,
    /// Node id
    #[arg(long, allow_hyphen_values = true)]
    node: Option<NodeId>,
    /// Site
    #[arg(long, value_parser = name)]
    site: Option<String>,
    /// Job id
    #[arg(long)]
    job: Option<String>,
    /// Actor, such as person:alice
    #[arg(long, value_parser = actor)]
    actor: Option<String>,
    /// Action, such as release.decided or node.*
    #[arg(long, value_parser = action)]
    pub(crate) action: Option<String>,
    /// released or denied
    #[arg(long, value_parser = ["released", "denied"])]
    verdict: Option<String>,
    /// A reason code
    #[arg(long, value_parser = reason)]
    reason: Option<String>,
    /// Only what comes after this index
    #[arg(long)]
    after: Option<u64>,
    /// At most so many
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: Option<u32>,
}

impl Filter {
    /// The query that asks for it.
    pub(super) fn query(&self) -> Result<AuditQuery, Failure> {
        let from = match &self.last {
            Some(last) => {
                let seconds = i64::try_from(times::seconds(last)?).unwrap_or(i64::MAX);
                let start = times::now().checked_sub(time::Duration::seconds(seconds));
                Some(times::rfc3339(start.unwrap_or(OffsetDateTime::UNIX_EPOCH)))
            }
            None => self.from.clone(),
        };
        Ok(AuditQuery {
            from,
            to: self.to.clone(),
            asset: self.asset.clone(),
            node: self.node.map(|node| node.to_string()),
            site: self.site.clone(),
            job: self.job.clone(),
            actor: self.actor.clone(),
            action: self.action.clone(),
            verdict: self.verdict.clone(),
            reason: self.reason.clone(),
            after: self.after,
            limit: self.limit,
        })
    }
}

/// The query as a query string; values are percent-encoded.
pub(super) fn query_string(query: &AuditQuery) -> Result<String, Failure> {
    let value = serde_json::to_value(query).map_err(|e| Failure::usage(e.to_string()))?;
    let mut parts = Vec::new();
    for (name, value) in value.as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let mut encoded = String::new();
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                encoded.push(char::from(byte));
            } else {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
        parts.push(format!("{name}={encoded}"));
    }
    Ok(parts.join("&"))
}

fn moment(text: &str) -> Result<String, String> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a time is written like 2026-01-31T12:00:00Z".to_owned()),
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    check_asset_name(text).map(|()| text.to_owned())
}

fn actor(text: &str) -> Result<String, String> {
    let known = |kind: &str| kind.parse::<ActorKind>().is_ok();
    match text.split_once(':') {
        Some((kind, id)) if known(kind) && !id.is_empty() => Ok(text.to_owned()),
        _ => {
            let kinds: Vec<String> = ActorKind::ALL.iter().map(|kind| format!("{kind}:ID")).collect();
            Err(format!("an actor is one of {}", kinds.join(", ")))
        }
    }
}

fn action(text: &str) -> Result<String, String> {
    let is_kind = |kind: &str| Action::ALL.iter().any(|action| action.kind() == kind);
    if text.parse::<Action>().is_ok() || text.strip_suffix(".*").is_some_and(is_kind) {
        return Ok(text.to_owned());
    }
    let kind = text.split('.').next().unwrap_or_default();
    let near: Vec<&str> = Action::ALL.iter().filter(|a| a.kind() == kind).map(|a| a.as_str()).collect();
    if near.is_empty() {
        let mut kinds: Vec<String> = Action::ALL.iter().map(|action| format!("{}.*", action.kind())).collect();
        kinds.dedup();
        return Err(format!("there are actions of the kinds {}", kinds.join(", ")));
    }
    Err(format!("of this kind there are {}", near.join(", ")))
}

/// Reasons are policy's own: only what can be none is refused.
fn reason(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if text.is_empty() || !text.bytes().all(plain) {
        return Err("a reason code has lower-case letters, digits and underscores only");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        filter: Filter,
    }

    fn parsed(option: &str, value: &str) -> Result<AuditQuery, String> {
        let line = Line::try_parse_from(["x", &format!("--{option}={value}")]).map_err(|e| e.to_string())?;
        Ok(line.filter.query().unwrap())
    }

    #[test]
    fn what_can_be_none_is_refused_and_not_answered_with_nothing() {
        let node = "VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVU";
        for (option, good, bad) in [
            ("verdict", "denied", vec!["maybe", "Denied", ""]),
            ("action", "node.*", vec!["nonsense.thing", "nonsense.*", "node", "release.Decided", "*", ""]),
            ("action", "release.decided", vec!["release.dec*", "release"]),
            ("node", node, vec!["short", ""]),
            ("asset", "minilm", vec!["../x", "a b", ""]),
            ("site", "fra-1", vec!["fra 1", ""]),
            ("actor", "person:olga", vec!["olga", "people:olga", "person:", ""]),
            ("reason", "jurisdiction_not_allowed", vec!["No", "a-b", ""]),
            ("from", "2026-01-01T00:00:00Z", vec!["yesterday", "2026-01-01", ""]),
            ("to", "2026-01-01T00:00:00+01:00", vec!["1767225600"]),
            ("limit", "1000", vec!["0", "1001", "many"]),
        ] {
            let query = parsed(option, good).unwrap();
            let sent = serde_json::to_value(&query).unwrap();
            let sent = &sent[option];
            assert_eq!(sent.as_str().map_or_else(|| sent.to_string(), str::to_owned), good, "{option}");
            for bad in bad {
                assert!(parsed(option, bad).is_err(), "--{option} {bad}");
            }
        }
        assert!(parsed("action", "release.x").unwrap_err().contains("release.decided"));
    }

    #[test]
    fn queries_are_percent_encoded() {
        let query = AuditQuery { actor: Some("person:a b&c".into()), limit: Some(5), ..AuditQuery::default() };
        assert_eq!(query_string(&query).unwrap(), "actor=person%3Aa%20b%26c&limit=5");
    }
}
