//! `strongroom lease`.

use super::{recorded, word};
use crate::{
    context::Context,
    output::{Answer, Failure, table},
};
use clap::{ArgGroup, Subcommand};
use strongroom::protocol::{
    LeaseId, NodeId,
    admin::Recorded,
    lease::{LeaseQuery, LeaseView, RevokeLease, RevokeLeases, RevokedLeases},
};

/// Leases of one page: the most that the vault gives at a time.
const PAGE: u32 = 1000;

/// Leases.
#[derive(Subcommand)]
pub(crate) enum Lease {
    /// Who holds keys: live leases, or all with --all
    #[command(after_help = "Example:\n  strongroom lease list")]
    List {
        /// Those that are over, too
        #[arg(long)]
        all: bool,
        /// Only those behind this one in the list, which is newest first
        #[arg(long, value_name = "LEASE_ID", allow_hyphen_values = true)]
        after: Option<LeaseId>,
        /// At most so many; without it, all of them
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,
    },
    /// Take leases back at once: one, or those of a node, an asset, a site, or all there are
    #[command(
        after_help = "Example:\n  strongroom lease revoke LEASE_ID --reason 'incident 17'\n  strongroom lease revoke --site fra-1 --reason 'incident 17'\n  strongroom lease revoke --all --yes --reason 'incident 17'\n\nIt takes back what is held now. Who is still allowed to may ask again: revoke nodes, destroy keys, or enforce a policy that denies, to keep it so.",
        group(ArgGroup::new("which").required(true))
    )]
    Revoke {
        /// The lease
        #[arg(allow_hyphen_values = true, group = "which")]
        lease: Option<LeaseId>,
        /// Those of this node
        #[arg(long, value_name = "NODE_ID", allow_hyphen_values = true, group = "which")]
        node: Option<NodeId>,
        /// Those that hold a key of this asset
        #[arg(long, group = "which")]
        asset: Option<String>,
        /// Those of the nodes of this site
        #[arg(long, group = "which")]
        site: Option<String>,
        /// All there are, of everybody; needs --yes
        #[arg(long, group = "which", requires = "yes")]
        all: bool,
        /// Confirm --all: every job that holds a key loses it
        #[arg(long, requires = "all", conflicts_with_all = ["lease", "node", "asset", "site"])]
        yes: bool,
        /// Why; the holders and the ledger are told
        #[arg(long)]
        reason: String,
    },
}

impl Lease {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::List { all, after, limit } => list(context, all, after, limit),
            Self::Revoke { lease: Some(lease), reason, .. } => {
                let answer: Recorded =
                    context.admin()?.post(&format!("/v1/leases/{lease}/revoke"), &RevokeLease { reason })?;
                recorded(&format!("lease {lease} revoked"), &answer)
            }
            Self::Revoke { lease: None, node, asset, site, all, yes, reason } => {
                // INVARIANT: clap demands --yes beside --all; here it is asked for again.
                let request = RevokeLeases { node, asset, site, everything: all && yes, reason };
                let answer: RevokedLeases = context.admin()?.post("/v1/leases/revoke", &request)?;
                Answer::new(&answer, revoked(&answer))
            }
        }
    }
}

fn list(context: &Context, all: bool, after: Option<LeaseId>, limit: Option<usize>) -> Result<Answer, Failure> {
    let (admin, limit) = (context.admin()?, limit.unwrap_or(usize::MAX));
    let mut leases: Vec<LeaseView> = Vec::new();
    let mut query = LeaseQuery { all, after, limit: None };
    while leases.len() < limit {
        let page = u32::try_from(limit - leases.len()).unwrap_or(PAGE).min(PAGE);
        query.limit = Some(page);
        let mut more: Vec<LeaseView> = admin.get(&path(&query))?;
        let last = more.len() < page as usize;
        // A vault that answers with what was asked for before would be asked for ever.
        if more.iter().any(|lease| Some(lease.id) == query.after) {
            return Err(Failure::new(crate::output::Exit::Refused, "the vault's list of leases does not go on"));
        }
        leases.append(&mut more);
        if last {
            break;
        }
        query.after = leases.last().map(|lease| lease.id);
    }
    let rows: Vec<_> = leases
        .iter()
        .map(|l| [l.id.to_string(), word(&l.state), l.keys.join(" "), l.node.to_string(), l.expires_at.clone()])
        .collect();
    Answer::new(&leases, table(["LEASE", "STATE", "KEYS", "NODE", "EXPIRES"], &rows))
}

fn path(query: &LeaseQuery) -> String {
    let limit = query.limit.map(|limit| format!("&limit={limit}")).unwrap_or_default();
    // A lease's id is base64url, which needs no escaping in a query.
    let after = query.after.map(|after| format!("&after={after}")).unwrap_or_default();
    format!("/v1/leases?all={}{limit}{after}", query.all)
}

fn revoked(answer: &RevokedLeases) -> String {
    let leases = if answer.leases == 1 { "1 lease".to_owned() } else { format!("{} leases", answer.leases) };
    let mut lines =
        vec![format!("{leases} revoked"), format!("record {} at ledger index {}", answer.record, answer.index)];
    if !answer.decrypt_only.is_empty() {
        lines.push(format!(
            "these versions were held whole and open only, until `strongroom key rotate`: {}",
            answer.decrypt_only.join(" ")
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cli;
    use clap::Parser;

    /// One id in thirty-two begins with a hyphen or an underscore.
    #[test]
    fn any_id_names_a_lease() {
        for id in ["-5dOafZvgAdCnn9dhuVLcw", "_5dOafZvgAdCnn9dhuVLcw", "55dOafZvgAdCnn9dhuVLcw"] {
            assert!(parses(&[id]), "{id}");
            assert!(Cli::try_parse_from(["strongroom", "lease", "list", "--after", id]).is_ok(), "{id}");
            let query = LeaseQuery { all: true, after: Some(id.parse().unwrap()), limit: Some(2) };
            assert_eq!(path(&query), format!("/v1/leases?all=true&limit=2&after={id}"));
        }
    }

    fn parses(line: &[&str]) -> bool {
        let words = ["strongroom", "lease", "revoke", "--reason", "r"].iter().chain(line);
        Cli::try_parse_from(words).is_ok()
    }

    #[test]
    fn what_is_revoked_is_said_once_and_everything_twice() {
        let (lease, node) = ("A".repeat(22), "A".repeat(43));
        for good in [
            &[lease.as_str()][..],
            &["--node", &node],
            &["--asset", "minilm"],
            &["--site", "fra-1"],
            &["--all", "--yes"],
        ] {
            assert!(parses(good), "{good:?}");
        }
        for bad in [
            &[][..],
            &["--all"],
            &["--yes"],
            &["--site", "fra-1", "--yes"],
            &["--site", "fra-1", "--all", "--yes"],
            &[&lease, "--asset", "minilm"],
            &["--node", "x"],
        ] {
            assert!(!parses(bad), "{bad:?}");
        }
    }
}
