//! Attacks on the protocol, each with what the client or the vault says to it.

mod answers;
mod enrolments;
mod evidence;
mod floods;
mod leases;
mod logs;
mod statements;
mod vaults;

pub(crate) use statements::key_tree;

use crate::world::{Shared, World};
use std::sync::Arc;
use strongroom::Error;
use strongroom_protocol::{Code, Problem};
use strongroom_tests::Reply;

static WORLD: Shared = Shared::new();
const ASSET: &str = "prize";

/// A vault with two approved nodes and an asset that both may open.
fn world() -> Arc<World> {
    WORLD.get(|| {
        let world = World::with::<2>(&[]);
        world.asset(ASSET, |_| ());
        world
    })
}

/// Prints what was said to an attack, for whoever reads the log.
fn told(attack: &str, said: &str) {
    println!("{attack:60} → {said}");
}

/// The client does not believe it, and says so in these words.
#[track_caller]
fn not_believed<T>(attack: &str, result: Result<T, Error>, words: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{attack}: believed"));
    told(attack, &format!("client: {error}"));
    assert!(matches!(error, Error::NotBelieved(_)), "{attack}: {error}");
    assert!(error.to_string().contains(words), "{attack}: {error}");
}

/// The vault refuses with this status and code; the problem document, to look at more.
#[track_caller]
fn refused(attack: &str, reply: &Reply, code: Code) -> Problem {
    let problem = reply.problem().unwrap_or_else(|e| panic!("{attack}: {e}"));
    let parts = [problem.detail.clone(), problem.field.clone().map(|f| format!("field {f}"))];
    let more = [problem.row.clone().map(|r| format!("row {r}")), problem.decision_id.map(|d| format!("decision {d}"))];
    let reasons = (!problem.reasons.is_empty()).then(|| format!("reasons {}", problem.reasons.join(", ")));
    let said: Vec<_> = parts.into_iter().chain(more).chain([reasons]).flatten().collect();
    told(attack, &format!("vault: {} {}: {}", problem.status, problem.code.as_str(), said.join("; ")));
    assert_eq!(problem.code, code, "{attack}: {problem:?}");
    assert_eq!(problem.status, code.status(), "{attack}: {problem:?}");
    problem
}

/// The evidence is refused by this row, before there is a decision.
#[track_caller]
fn evidence_refused(attack: &str, reply: &Reply, row: &str) {
    let problem = refused(attack, reply, Code::EvidenceRefused);
    assert_eq!(problem.row.as_deref(), Some(row), "{attack}: {problem:?}");
    assert_eq!(problem.decision_id, None, "{attack}: noise became a decision");
}

/// The field is malformed.
#[track_caller]
fn malformed(attack: &str, reply: &Reply, field: &str) {
    let problem = refused(attack, reply, Code::Malformed);
    assert_eq!(problem.field.as_deref(), Some(field), "{attack}: {problem:?}");
}
