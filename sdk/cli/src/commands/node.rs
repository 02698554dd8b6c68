//! `strongroom node`.

mod identity;
mod import;
mod show;

use super::{label, labels, recorded};
use crate::{
    context::{Context, absolute},
    output::{Answer, Exit, Failure, table},
};
use clap::Subcommand;
use std::{collections::BTreeMap, path::PathBuf};
use strongroom::{
    Enrolled, Error, Options, Room,
    collect::{AgentAddress, AgentConfig, Collector, CollectorConfig, NodeConfig, TctiConfig},
    protocol::{
        NodeId,
        admin::{ApproveNode, NodeView, Recorded, RevokeNode},
        identity::IdentityKind,
    },
};

/// Nodes.
#[derive(Subcommand)]
pub(crate) enum Node {
    /// Enrol this machine by its TPM
    #[command(
        after_help = "Example:\n  strongroom node enroll --tcti device:/dev/tpmrm0 --label rack=b7\n  strongroom node enroll --agent /run/strongroom/agent.sock --state-dir /var/lib/strongroom-agent"
    )]
    Enroll(Enroll),
    /// Register a machine that has no TPM, by what its evidence will show
    #[command(
        after_help = "Example:\n  strongroom node import --identity snp-chip:4f2a90c1d7e3b658 --identity nvidia-gpu:0a1b2c3d --site fra-1"
    )]
    Import(import::Import),
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

/// Arguments of `node enroll`.
#[derive(clap::Args)]
pub(crate) struct Enroll {
    /// The TPM: `device:/dev/tpmrm0`, or a software TPM's `swtpm:host=127.0.0.1,port=2321`
    #[arg(long, default_value = "device:/dev/tpmrm0")]
    tcti: TctiConfig,
    /// The boot log, where it is not the kernel's
    #[arg(long, value_name = "FILE")]
    boot_log: Option<PathBuf>,
    /// The IMA log, where it is not the kernel's
    #[arg(long, value_name = "FILE")]
    ima_log: Option<PathBuf>,
    /// Where the AK is kept [default: `node` below --home]; on a node with an agent, the agent's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A label to ask for; an operator decides
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// A name for people
    #[arg(long)]
    hostname: Option<String>,
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
            Self::Identity(change) => change.run(context),
            Self::Show(show) => show.run(context),
            Self::Approve(a) => {
                let body = ApproveNode {
                    site: a.site.clone(),
                    labels: a.labels.into_iter().collect(),
                    single_job: a.single_job,
                };
                let answer: Recorded = context.admin()?.post(&format!("/v1/nodes/{}/approve", a.node), &body)?;
                let warning = (!body.single_job).then(|| {
                    "approved without --single-job: the baseline policy releases nothing to a node whose jobs no agent tells apart"
                        .to_owned()
                });
                recorded(&format!("node {} approved into site {}", a.node, a.site), &answer)
                    .map(|answer| answer.warn(warning))
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

impl Enroll {
    fn run(self, context: &Context) -> Result<Answer, Failure> {
        if context.node_path().exists() {
            return Err(Failure::usage(format!(
                "this machine is enrolled already: {} is there; remove it to enrol again",
                context.node_path().display()
            )));
        }
        let state_dir = self.state_dir.as_deref().map(absolute).transpose()?.unwrap_or_else(|| context.state_dir());
        let config = CollectorConfig {
            boot_log: self.boot_log.as_deref().map(absolute).transpose()?.into(),
            ima_log: self.ima_log.as_deref().map(absolute).transpose()?.into(),
            ..CollectorConfig::new(self.tcti, state_dir)
        };
        let node = match context.agent() {
            None => NodeConfig::Devices(config.clone()),
            Some(AgentAddress::Path(path)) => NodeConfig::Agent(AgentConfig { agent: path.clone() }),
            Some(AgentAddress::Descriptor(_)) => {
                return Err(Failure::usage(
                    "an enrolment needs the TPM, which a job's agent does not lend: unset STRONGROOM_AGENT",
                ));
            }
        };
        let room = context.room(Options::default())?;
        let collector = Collector::open(&config).map_err(Error::from)?;
        let enrolled = room.enrol(&collector, self.labels.into_iter().collect(), self.hostname)?;
        write(context, &node, &enrolled)?;
        // Where jobs open the TPM themselves, nothing tells them apart.
        let alone = if matches!(node, NodeConfig::Devices(_)) { " --single-job" } else { "" };
        Answer::new(
            &serde_json::json!({ "node": enrolled.node, "enrolment": enrolled.enrolment, "state": enrolled.state.state }),
            format!(
                "enrolled as node {}\nit waits for an operator: strongroom node approve {} --site SITE{alone}",
                enrolled.node, enrolled.node
            ),
        )
    }
}

/// Keeps how this node reaches its devices, and the enrolment to ask after.
fn write(context: &Context, config: &NodeConfig, enrolled: &Enrolled) -> Result<(), Failure> {
    let failed = |e: serde_json::Error| Failure::new(Exit::Machine, e.to_string());
    context.write(&context.enrolment_path(), enrolled.enrolment.to_string().as_bytes())?;
    context.write(&context.node_path(), &serde_json::to_vec_pretty(config).map_err(failed)?)
}

impl Status {
    fn run(self, context: &Context) -> Result<Answer, Failure> {
        if let Some(node) = self.node {
            let view: NodeView = context.admin()?.get(&format!("/v1/nodes/{node}"))?;
            return Answer::new(&view, table(COLUMNS, &[row(&view)]));
        }
        let room: Room = context.room(Options::default())?;
        let state = room.enrolment(context.enrolment()?)?;
        let text = match (&state.node, &state.state) {
            (Some(node), Some(condition)) => format!(
                "node {node}: {}{}",
                format!("{condition:?}").to_lowercase(),
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
        format!("{:?}", node.state).to_lowercase(),
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
