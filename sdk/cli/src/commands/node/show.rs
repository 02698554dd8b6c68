//! `strongroom node show`.

use super::super::labels;
use crate::{
    context::Context,
    output::{Answer, Failure},
};
use std::str::FromStr;
use strongroom::protocol::{
    NodeId,
    admin::NodeView,
    enrol::NodeState,
    identity::{Identity, IdentityError},
};

/// Arguments of `node show`.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// The node: its id, or an identity that its record lists as KIND:VALUE
    #[arg(allow_hyphen_values = true)]
    node: NodeName,
}

/// What a node can be found by.
#[derive(Debug, Clone)]
enum NodeName {
    Id(NodeId),
    Identity(Identity),
}

impl FromStr for NodeName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(':') {
            text.parse().map(Self::Identity).map_err(|e: IdentityError| e.to_string())
        } else {
            text.parse().map(Self::Id).map_err(|e| format!("a node's id: {e}"))
        }
    }
}

impl Show {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let name = match self.node {
            NodeName::Id(id) => id.to_string(),
            NodeName::Identity(identity) => identity.to_string(),
        };
        let node: NodeView = context.admin()?.get(&format!("/v1/nodes/{name}"))?;
        Answer::new(&node, text(&node))
    }
}

/// How a node stands.
pub(super) fn condition(node: &NodeView) -> &'static str {
    match (node.state, waits_for(node)) {
        (NodeState::Pending, Some("evidence")) => "pending: it waits for its first evidence",
        (NodeState::Pending, _) => "pending: it waits for an operator",
        (NodeState::Approved, _) => "approved",
        (NodeState::Revoked, _) => "revoked",
    }
}

/// What a pending node waits for.
pub(super) fn waits_for(node: &NodeView) -> Option<&'static str> {
    let pending = node.state == NodeState::Pending;
    pending.then(|| if node.activated_at.is_none() { "evidence" } else { "approval" })
}

/// A line for each thing that the record has.
fn text(node: &NodeView) -> String {
    let state = condition(node);
    let site = match (&node.site, &node.jurisdiction) {
        (Some(site), Some(jurisdiction)) => format!("{site} in {jurisdiction}"),
        (site, _) => site.clone().unwrap_or_default(),
    };
    let single_job = if node.single_job { "yes" } else { "no" };
    let mut lines = vec![format!("node        {}", node.id), format!("state       {state}")];
    let parts = [
        ("site", site),
        ("labels", labels(&node.labels)),
        ("asks for", labels(&node.requested_labels)),
        ("single job", single_job.to_owned()),
        ("name", node.hostname.clone().unwrap_or_default()),
        ("tpm", node.tpm.clone().unwrap_or_default()),
        ("enrolled", node.enrolled_at.clone()),
        ("activated", node.activated_at.clone().unwrap_or_default()),
    ];
    lines
        .extend(parts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| format!("{name:<11} {value}")));
    lines.extend(node.identities.iter().map(|identity| format!("{:<11} {identity}", "identity")));
    lines.join("\n")
}
