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

/// Most leases that the vault lists.
const MOST: usize = 10_000;

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
                let path = format!("/v1/leases?limit={MOST}{}", if all { "&all=true" } else { "" });
                let leases: Vec<LeaseView> = context.admin()?.get(&path)?;
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
                let text = table(["LEASE", "STATE", "KEYS", "NODE", "EXPIRES"], &rows) + cut(leases.len());
                Answer::new(&leases, text)
            }
            Self::Revoke { lease, reason } => {
                let answer: Recorded =
                    context.admin()?.post(&format!("/v1/leases/{lease}/revoke"), &RevokeLease { reason })?;
                recorded(&format!("lease {lease} revoked"), &answer)
            }
        }
    }
}

/// What is said of a list that the vault cut off: it has no further page.
fn cut(listed: usize) -> &'static str {
    if listed < MOST {
        return "";
    }
    "these are the newest 10,000, and there may be more: strongroom audit query --action 'lease.*' finds the others\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_cut_off_says_so() {
        assert_eq!(cut(MOST - 1), "");
        assert!(cut(MOST).contains("there may be more"));
    }
}
