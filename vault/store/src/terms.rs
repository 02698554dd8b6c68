//! What a record can be found by: terms of the inverted index, the same for every backend.
//!
//! A query is an intersection of terms over a range of indices, in the order of the log. Times grow
//! with indices, so a range of times is a range of indices too.

use strongroom_ledger::{Record, Subject, Verdict};
use strongroom_protocol::{NodeId, audit::AuditQuery};

/// The terms of a record, each once.
pub(crate) fn of_record(record: &Record) -> Vec<String> {
    let mut terms = vec![
        format!("action:{}", record.action),
        format!("kind:{}", record.action.kind()),
        format!("actor:{}", record.actor),
        of_subject(&record.subject),
    ];
    terms.extend(record.node.map(|node| format!("node:{node}")));
    terms.extend(record.site.as_ref().map(|site| format!("site:{site}")));
    terms.extend(record.job.as_ref().map(|job| format!("job:{job}")));
    terms.extend(assets(record).map(|asset| format!("asset:{asset}")));
    terms.extend(record.reasons.iter().map(|reason| format!("reason:{reason}")));
    terms.extend(record.verdict.map(|verdict| format!("verdict:{verdict}")));
    terms.extend(denied_node(record).map(denials_of));
    terms.sort_unstable();
    terms.dedup();
    terms
}

/// The term under which every record of a subject stands.
pub(crate) fn of_subject(subject: &Subject) -> String {
    format!("subject:{subject}")
}

/// The term under which the denials of a node stand, to be counted.
pub(crate) fn denials_of(node: NodeId) -> String {
    format!("denied-node:{node}")
}

/// The node that a record denies something to.
pub(crate) fn denied_node(record: &Record) -> Option<NodeId> {
    record.node.filter(|_| record.verdict == Some(Verdict::Denied))
}

/// The terms of a query, the one that usually selects the fewest records first.
pub(crate) fn of_query(query: &AuditQuery) -> Vec<String> {
    let plain = [
        ("job", &query.job),
        ("reason", &query.reason),
        ("node", &query.node),
        ("asset", &query.asset),
        ("actor", &query.actor),
        ("site", &query.site),
    ];
    let mut terms: Vec<_> =
        plain.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| format!("{name}:{value}"))).collect();
    if let Some(action) = &query.action {
        terms.push(match action.strip_suffix(".*") {
            Some(kind) => format!("kind:{kind}"),
            None => format!("action:{action}"),
        });
    }
    terms.extend(query.verdict.as_ref().map(|verdict| format!("verdict:{verdict}")));
    terms
}

/// The assets that a record concerns: those of its keys, and its subject where that is an asset or a
/// key version (`asset@version`).
fn assets(record: &Record) -> impl Iterator<Item = &str> {
    use strongroom_ledger::SubjectKind::{Asset, Key};
    let subject = match record.subject.kind {
        Asset => Some(record.subject.id.as_str()),
        Key => record.subject.id.rsplit_once('@').map(|(asset, _)| asset),
        _ => None,
    };
    record.keys.iter().map(|key| key.asset.as_str()).chain(subject)
}
