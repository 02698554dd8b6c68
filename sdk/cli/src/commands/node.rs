//! `strongroom node`.

mod enroll;
mod identify;
mod identity;
mod import;
mod show;
pub(crate) mod shown;

use super::{label, labels, recorded, word};
use crate::{
    context::Context,
    output::{Answer, Failure, table},
};
use clap::Subcommand;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use strongroom::{
    Error, Options, Room,
    protocol::{
        NodeId,
        admin::{ApproveNode, NodeView, Recorded, RevokeNode},
        enrol::NodeState,
        identity::IdentityKind,
    },
};

/// Nodes.
#[derive(Subcommand)]
pub(crate) enum Node {
    /// Enrol this machine by its TPM; one without a TPM is told how an operator registers it
    #[command(
        after_help = "Example:\n  strongroom node enroll --tcti device:/dev/tpmrm0 --label rack=b7\n  strongroom node enroll --agent /run/strongroom/agent.sock --state-dir /var/lib/strongroom-agent\n  strongroom node enroll --device sev-snp --device nvidia-gpu"
    )]
    Enroll(enroll::Enroll),
    /// Register a machine that has no TPM, by what its evidence will show
    #[command(
        after_help = "Example:\n  strongroom node import --identity snp-chip:4f2a90c1d7e3b658 --identity nvidia-gpu:0a1b2c3d --site fra-1"
    )]
    Import(import::Import),
    /// Put into this node's record what its devices show, under the identity that was approved
    #[command(after_help = "Example:\n  strongroom node identify")]
    Identify(identify::Identify),
    /// What a node's record lists: evidence of anything else is not of this node
    #[command(subcommand)]
    Identity(identity::Change),
    /// Place a pending node into a site
    #[command(after_help = "Example:\n  strongroom node approve NODE_ID --site fra-1 --single-job")]
    Approve(Approve),
    /// Take a node's approval back and end its leases
    #[command(after_help = "Example:\n  strongroom node revoke NODE_ID --reason 'stolen from rack b7'")]
    Revoke(Revoke),
    /// All nodes
    #[command(after_help = "Example:\n  strongroom node list")]
    List,
    /// One node, all that its record has; by its id or by one of its identities
    #[command(after_help = "Example:\n  strongroom node show NODE_ID\n  strongroom node show nvidia-gpu:0a1b2c3d")]
    Show(show::Show),
    /// One node; without an id, this machine's
    #[command(after_help = "Example:\n  strongroom node status")]
    Status(Status),
}

/// Arguments of `node approve`.
#[derive(clap::Args)]
pub(crate) struct Approve {
    /// The node
    #[arg(allow_hyphen_values = true)]
    node: NodeId,
    /// The site that it stands in
    #[arg(long)]
    site: String,
    /// A label that policy may read
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The node runs one job only: that job may open the TPM itself
    #[arg(long)]
    single_job: bool,
}

/// Arguments of `node revoke`.
#[derive(clap::Args)]
pub(crate) struct Revoke {
    /// The node
    #[arg(allow_hyphen_values = true)]
    node: NodeId,
    /// Why; the ledger keeps it
    #[arg(long)]
    reason: String,
}

/// Arguments of `node status`.
#[derive(clap::Args)]
pub(crate) struct Status {
    /// The node; asking for another than this machine's needs a token
    #[arg(allow_hyphen_values = true)]
    node: Option<NodeId>,
}

impl Node {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Enroll(enroll) => enroll.run(context),
            Self::Import(import) => import.run(context),
            Self::Identify(_) => identify::Identify::run(context),
            Self::Identity(change) => change.run(context),
            Self::Show(show) => show.run(context),
            Self::Approve(a) => {
                let body = ApproveNode {
                    site: a.site.clone(),
                    labels: a.labels.iter().cloned().collect(),
                    single_job: a.single_job,
                };
                let vault = context.admin()?;
                let answer: Recorded = vault.post(&format!("/v1/nodes/{}/approve", a.node), &body)?;
                let warning = (!body.single_job).then(|| {
                    "approved without --single-job: the baseline policy releases nothing to a node whose jobs no agent tells apart"
                        .to_owned()
                });
                // What became of it: a node that was registered by hand waits for its first evidence all the same.
                let node: Result<NodeView, Error> = vault.get(&format!("/v1/nodes/{}", a.node));
                Ok(approved(&a, &answer, node.as_ref())?.warn(warning))
            }
            Self::Revoke(r) => {
                let body = RevokeNode { reason: r.reason };
                let answer: Recorded = context.admin()?.post(&format!("/v1/nodes/{}/revoke", r.node), &body)?;
                recorded(&format!("node {} revoked; its leases were ended", r.node), &answer)
            }
            Self::List => {
                let nodes: Vec<NodeView> = context.admin()?.get("/v1/nodes")?;
                let rows: Vec<_> = nodes.iter().map(row).collect();
                Answer::new(&nodes, table(COLUMNS, &rows))
            }
            Self::Status(status) => status.run(context),
        }
    }
}

/// What came of an approval. It is recorded; that the node cannot be looked at then is only said.
fn approved(asked: &Approve, answer: &Recorded, node: Result<&NodeView, &Error>) -> Result<Answer, Failure> {
    let Approve { node: id, site, .. } = asked;
    let (text, state, unseen) = match node {
        Ok(node) if node.state == NodeState::Approved => {
            (format!("node {id} approved into site {site}"), json!({ "state": node.state }), None)
        }
        Ok(node) => {
            let text = format!("node {id} placed into site {site}; it is {}", show::condition(node));
            let waits_for = show::waits_for(node);
            (text, json!({ "state": node.state, "waits_for": waits_for }), None)
        }
        Err(error) => {
            let unseen = format!("the act is recorded, and how the node stands could not be asked: {error}");
            (format!("node {id} placed into site {site}"), json!({}), Some(unseen))
        }
    };
    let mut told = recorded(&text, answer)?;
    if let (Some(document), Value::Object(state)) = (told.json.as_object_mut(), state) {
        document.extend(state);
    }
    Ok(told.warn(unseen))
}

impl Status {
    fn run(self, context: &Context) -> Result<Answer, Failure> {
        if let Some(node) = self.node {
            let view: NodeView = context.admin()?.get(&format!("/v1/nodes/{node}"))?;
            return Answer::new(&view, table(COLUMNS, &[row(&view)]));
        }
        if context.node_path().exists() && !context.enrolment_path().exists() {
            return Err(Failure::usage(
                "this machine did not enrol by a TPM: an operator's `strongroom node show KIND:VALUE` says how its record stands, and `strongroom doctor --node` by which identity",
            ));
        }
        let room: Room = context.room(Options::default())?;
        let state = room.enrolment(context.enrolment()?)?;
        let text = match (&state.node, &state.state) {
            (Some(node), Some(condition)) => format!(
                "node {node}: {}{}",
                word(condition),
                state.site.as_ref().map(|site| format!(", in site {site}")).unwrap_or_default()
            ),
            _ => "the enrolment was not activated".to_owned(),
        };
        Answer::new(&state, text)
    }
}

/// What people see of a node. Labels that it asks for are a wish until an operator approves them.
const COLUMNS: [&str; 9] = ["NODE", "STATE", "SITE", "IN", "LABELS", "ASKS FOR", "NAME", "TPM", "IDENTITIES"];

fn row(node: &NodeView) -> [String; 9] {
    [
        node.id.to_string(),
        word(&node.state),
        node.site.clone().unwrap_or_default(),
        node.jurisdiction.clone().unwrap_or_default(),
        labels(&node.labels),
        labels(&node.requested_labels),
        node.hostname.clone().unwrap_or_default(),
        node.tpm.clone().unwrap_or_default(),
        kinds(node),
    ]
}

/// How many identities of each kind: `tpm-ek, snp-chip, 8 nvidia-gpu`.
fn kinds(node: &NodeView) -> String {
    let mut counts: BTreeMap<IdentityKind, usize> = BTreeMap::new();
    for identity in &node.identities {
        *counts.entry(identity.kind).or_default() += 1;
    }
    let told =
        counts.iter().map(|(kind, count)| if *count == 1 { kind.to_string() } else { format!("{count} {kind}") });
    told.collect::<Vec<_>>().join(", ")
}
