//! `strongroom decision` and `strongroom explain`.

use super::audit::{Filter, entries_table, fetch};
use crate::{
    context::Context,
    output::{Answer, Failure},
};
use clap::Subcommand;
use std::fmt::Write as _;
use strongroom::protocol::{DecisionId, audit::DecisionView};
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
        let view: DecisionView = context.admin()?.get(&format!("/v1/decisions/{}", self.decision))?;
        let field = |name: &str| view.record.get(name).and_then(|v| v.as_str()).unwrap_or("").to_owned();
        let verdict = field("verdict");
        let mut text = format!("decision {} at ledger index {}: {verdict}\n", view.decision_id, view.index);
        for (label, name) in [("time", "time"), ("node", "node"), ("site", "site"), ("jurisdiction", "jurisdiction")] {
            if !field(name).is_empty() {
                let _ = writeln!(text, "  {label:12} {}", field(name));
            }
        }
        for key in view.record.get("keys").and_then(|k| k.as_array()).into_iter().flatten() {
            let word = |name: &str| key.get(name).map(|v| v.to_string().replace('"', "")).unwrap_or_default();
            let _ = writeln!(
                text,
                "  key          {}@{} {}/{}",
                word("asset"),
                word("version"),
                word("access"),
                word("scope")
            );
        }
        if view.denials.is_empty() {
            text.push_str("nothing denied it\n");
        } else {
            text.push_str(&explain(&view.denials));
        }
        Answer::new(&view, text)
    }
}
