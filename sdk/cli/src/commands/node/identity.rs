//! `strongroom node identity`.

use super::super::recorded;
use crate::{
    context::Context,
    output::{Answer, Failure},
};
use clap::Subcommand;
use strongroom::protocol::{
    NodeId,
    admin::{ChangeIdentities, Recorded},
    identity::Identity,
};

/// Changes of a node's record.
#[derive(Subcommand)]
pub(crate) enum Change {
    /// Add identities to a node's record
    #[command(after_help = "Example:\n  strongroom node identity add NODE_ID nvidia-gpu:0a1b2c3d nvidia-gpu:0a1b2c3e")]
    Add(Named),
    /// Take identities out of a node's record; its leases end
    #[command(after_help = "Example:\n  strongroom node identity remove NODE_ID nvidia-gpu:0a1b2c3d")]
    Remove(Named),
}

/// Arguments of `node identity add` and `node identity remove`.
#[derive(clap::Args)]
pub(crate) struct Named {
    /// The node
    #[arg(allow_hyphen_values = true)]
    node: NodeId,
    /// `snp-chip:HEX`, `tdx-ppid:HEX`, `nvidia-gpu:HEX` or `cloud-vm:UUID`
    #[arg(value_name = "KIND:VALUE", required = true)]
    identities: Vec<Identity>,
}

impl Change {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let (node, body, what) = match self {
            Self::Add(Named { node, identities }) => {
                let what = format!("{} added to the record of node {node}", told(&identities));
                (node, ChangeIdentities { add: identities, remove: Vec::new() }, what)
            }
            Self::Remove(Named { node, identities }) => {
                let what = format!("{} taken out of the record of node {node}; its leases ended", told(&identities));
                (node, ChangeIdentities { add: Vec::new(), remove: identities }, what)
            }
        };
        let answer: Recorded = context.admin()?.post(&format!("/v1/nodes/{node}/identities"), &body)?;
        recorded(&what, &answer)
    }
}

fn told(identities: &[Identity]) -> String {
    identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
