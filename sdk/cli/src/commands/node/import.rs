//! `strongroom node import`.

use super::super::{label, recorded};
use crate::{
    context::Context,
    output::{Answer, Failure},
};
use strongroom::protocol::{
    admin::{ImportNode, Recorded},
    identity::Identity,
};

/// Arguments of `node import`.
#[derive(clap::Args)]
pub(crate) struct Import {
    /// What the machine's evidence will show: `snp-chip:HEX`, `tdx-ppid:HEX`, `nvidia-gpu:HEX` or `cloud-vm:UUID`;
    /// the first that is no GPU names the node
    #[arg(long = "identity", value_name = "KIND:VALUE", required = true)]
    identities: Vec<Identity>,
    /// The site that it stands in
    #[arg(long)]
    site: String,
    /// A label that policy may read
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The node runs one job only: that job may ask for evidence itself
    #[arg(long)]
    single_job: bool,
    /// A name for people
    #[arg(long)]
    hostname: Option<String>,
}

impl Import {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let body = ImportNode {
            identities: self.identities,
            site: self.site,
            labels: self.labels.into_iter().collect(),
            single_job: self.single_job,
            hostname: self.hostname,
        };
        let answer: Recorded = context.admin()?.post("/v1/nodes/import", &body)?;
        let node = answer.node.map(|node| node.to_string()).unwrap_or_default();
        recorded(&format!("node {node} registered in site {}; it waits for its first evidence", body.site), &answer)
    }
}
