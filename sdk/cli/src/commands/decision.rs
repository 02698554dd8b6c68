//! `strongroom decision` and `strongroom explain`.

mod causes;

use super::{
    audit::{entries_table, fetch},
    entries,
    filter::Filter,
};
use crate::{
    context::Context,
    output::{Answer, Failure},
    plain,
};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::Value;
use std::fmt::Write as _;
use strongroom::{
    Admin,
    protocol::{
        Code, DecisionId,
        audit::{DecisionView, ProofView},
        caller::Caller,
    },
};
use strongroom_policy::explain;

/// Decisions.
#[derive(Subcommand)]
pub(crate) enum Decision {
    /// Decisions on release requests, the oldest first
    #[command(after_help = "Example:\n  strongroom decision list --last 1h --verdict denied")]
    List(Filter),
}

/// Says why.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  strongroom explain 01K3ZQ8Y6E6M1D0Q9V1S1C1X7A")]
pub(crate) struct Explain {
    /// The decision, as a refusal or `decision list` names it
    decision: DecisionId,
}

impl Decision {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self::List(mut filter) = self;
        filter.action = Some("release.decided".to_owned());
        let page = fetch(context, "/v1/decisions", &filter)?;
        Answer::new(&page, entries_table(&page))
    }
}

impl Explain {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let admin = context.admin()?;
        let view: DecisionView = admin.get(&format!("/v1/decisions/{}", self.decision))?;
        let proved = in_ledger(&admin, self.decision, &view)?;
        let field = |name: &str| plain::line(view.record.get(name).and_then(|v| v.as_str()).unwrap_or(""));
        let verdict = field("verdict");
        let mut text = format!("decision {} at ledger index {}: {verdict}\n", view.decision_id, view.index);
        for (label, name) in [("time", "time"), ("node", "node"), ("site", "site"), ("jurisdiction", "jurisdiction")] {
            if !field(name).is_empty() {
                let _ = writeln!(text, "  {label:12} {}", field(name));
            }
        }
        if let Some(caller) = view.input.get("caller").filter(|caller| !caller.is_null()) {
            let _ = writeln!(text, "  caller       {}", caller_line(caller));
        }
        for key in view.record.get("keys").and_then(|k| k.as_array()).into_iter().flatten() {
            let word =
                |name: &str| key.get(name).map(|v| plain::line(&v.to_string()).replace('"', "")).unwrap_or_default();
            let _ = writeln!(
                text,
                "  key          {}@{} {}/{}",
                word("asset"),
                word("version"),
                word("access"),
                word("scope")
            );
        }
        let policy = |name: &str| view.record.get("policy").and_then(|policy| policy.get(name)).and_then(Value::as_str);
        if let Some(digest) = policy("digest") {
            let _ = writeln!(
                text,
                "  policy       {} ({})",
                plain::line(digest),
                plain::line(policy("mode").unwrap_or("mode not told"))
            );
        }
        if !view.denials.is_empty() {
            text.push_str(&explain(&view.denials));
            text.push_str(&causes::text(&admin, &view));
        } else if verdict == "released" {
            text.push_str("no rule denied it, and the policy allows it\n");
            text.push_str(&obliged(&view.obligations));
        } else {
            text.push_str("nothing denied it\n");
        }
        let _ = match proved {
            Some(size) => writeln!(
                text,
                "checked: the record is in the ledger, under a signed checkpoint of {size} entries; claims and expectations are what the vault says"
            ),
            None => writeln!(
                text,
                "not checked: this token may not read the ledger, so the record is what the vault says; an auditor can run `strongroom audit prove {}`",
                self.decision
            ),
        };
        let mut answer = Answer::new(&view, text)?;
        if let Some(fields) = answer.json.as_object_mut() {
            fields.insert("in_ledger".to_owned(), proved.is_some().into());
        }
        Ok(answer)
    }
}

/// Who asked, as far as the agent could tell. Nodes without an agent can write anything there.
fn caller_line(caller: &Value) -> String {
    let Ok(Caller { exe, pid, pod, slurm_job, uid, unit, .. }) = Caller::deserialize(caller) else {
        return plain::line(&caller.to_string());
    };
    let mut line = format!("user {uid}, process {pid}, {}", exe.path);
    let _ = write!(line, " ({})", exe.sha256.as_deref().unwrap_or("no digest"));
    let job = slurm_job.map(|job| format!("Slurm job {}.{}", job.id, job.step));
    for part in [job, pod.map(|pod| format!("pod {}", pod.uid)), unit].into_iter().flatten() {
        let _ = write!(line, ", {part}");
    }
    plain::line(&line)
}

/// What the holder has to do, a line each.
fn obliged(obligations: &Value) -> String {
    let mut text = String::new();
    for (name, value) in obligations.as_object().into_iter().flatten() {
        let value = match value {
            Value::Array(parts) => {
                parts.iter().map(|part| part.to_string().replace('"', "")).collect::<Vec<_>>().join(", ")
            }
            other => other.to_string(),
        };
        let _ = writeln!(text, "  {:<17} {}", plain::line(name), plain::line(&value));
    }
    if text.is_empty() { text } else { format!("obligations of the holder:\n{text}") }
}

/// The size of the ledger that the decision's record is proved to be in; none where the token's roles
/// do not let it ask for a proof. A record that is not the ledger's is refused.
fn in_ledger(admin: &Admin, decision: DecisionId, view: &DecisionView) -> Result<Option<u64>, Failure> {
    let proof: ProofView = match admin.get(&format!("/v1/audit/records/{decision}/proof")) {
        Ok(proof) => proof,
        Err(error) if error.problem().is_some_and(|problem| problem.code == Code::Forbidden) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let proved = entries::proved(&proof, &decision.to_string(), admin.ledger_key())?;
    if view.decision_id != decision || view.index != proved.index || view.record != proved.record {
        return Err(Failure::refused(format!(
            "the decision that the vault explains is not the record {decision} of its ledger; do not believe this answer"
        )));
    }
    Ok(Some(proved.size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obligations_are_lines() {
        let obligations =
            serde_json::json!({ "lease_seconds": 3600, "handling": ["no_swap", "no_trace"], "x\u{1b}": true });
        assert_eq!(
            obliged(&obligations),
            "obligations of the holder:\n  handling          no_swap, no_trace\n  lease_seconds     3600\n  x\\u{1b}           true\n"
        );
        assert_eq!(obliged(&Value::Null), "");
    }
}
