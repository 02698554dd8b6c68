//! `strongroom lease`.

use super::recorded;
use crate::{
    context::Context,
    output::{Answer, Failure, table},
};
use clap::Subcommand;
use strongroom::protocol::{
    LeaseId,
    admin::Recorded,
    lease::{LeaseView, RevokeLease},
};

/// Leases.
#[derive(Subcommand)]
pub(crate) enum Lease {
    /// Who holds keys: live leases, or all with --all
    #[command(after_help = "Example:\n  strongroom lease list")]
    List {
        /// Those that are over, too
        #[arg(long)]
        all: bool,
    },
    /// Take a lease back at once
    #[command(after_help = "Example:\n  strongroom lease revoke LEASE_ID --reason 'incident 17'")]
    Revoke {
        /// The lease
        #[arg(allow_hyphen_values = true)]
        lease: LeaseId,
        /// Why; its holder and the ledger are told
        #[arg(long)]
        reason: String,
    },
}

impl Lease {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::List { all } => {
                let path = if all { "/v1/leases?all=true&limit=10000" } else { "/v1/leases?limit=10000" };
                let leases: Vec<LeaseView> = context.admin()?.get(path)?;
                let rows: Vec<_> = leases
                    .iter()
                    .map(|l| {
                        [
                            l.id.to_string(),
                            format!("{:?}", l.state).to_lowercase(),
                            l.keys.join(" "),
                            l.node.to_string(),
                            l.expires_at.clone(),
                        ]
                    })
                    .collect();
                Answer::new(&leases, table(["LEASE", "STATE", "KEYS", "NODE", "EXPIRES"], &rows))
            }
            Self::Revoke { lease, reason } => {
                let answer: Recorded =
                    context.admin()?.post(&format!("/v1/leases/{lease}/revoke"), &RevokeLease { reason })?;
                recorded(&format!("lease {lease} revoked"), &answer)
            }
        }
    }
}
