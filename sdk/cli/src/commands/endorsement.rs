//! `strongroom endorsement`: what vendors publish about their hardware, fetched where there is a network, imported into
//! a vault that has none.

mod fetch;
mod import;
mod pin;

use super::recorded;
use crate::{
    context::Context,
    output::{Answer, Failure, table},
};
use clap::Subcommand;
use std::path::PathBuf;
use strongroom::protocol::{
    admin::Recorded,
    endorsement::{EndorsementState, EndorsementView},
};

/// Endorsements.
#[derive(Subcommand)]
pub(crate) enum Endorsement {
    /// Take certificates, revocation lists, Intel's collateral and NVIDIA's manifests into the vault
    #[command(
        after_help = "Example:\n  strongroom endorsement import fetched/\n\nA file that is refused is named, and does not stop the others; the command then ends with 1."
    )]
    Import {
        /// Files, and directories with all that is in them: DER, PEM, JSON, XML
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// What a file does not say: the id under which NVIDIA publishes a manifest, where it is not called ID.xml; `vlek`
        /// of AMD's revocation list for loaded keys, where it is not in vlek/crl
        #[arg(long, value_name = "ID")]
        id: Option<String>,
    },
    /// All endorsements
    #[command(after_help = "Example:\n  strongroom endorsement list")]
    List,
    /// What has expired or will within 14 days, and what no root vouches for; ends with 1 if there is anything
    #[command(
        after_help = "Example:\n  strongroom endorsement check || strongroom endorsement fetch --snp report.bin --to fetched"
    )]
    Check,
    /// Remove an endorsement; a revocation list goes once a second person asks for it too
    #[command(after_help = "Example:\n  strongroom endorsement remove vcek/crl/Milan.crl")]
    Remove {
        /// Its name, as `endorsement list` shows it
        name: String,
    },
    /// Fetch from AMD, Intel and NVIDIA into a directory, on a machine with a network
    Fetch(Box<fetch::Fetch>),
    /// The roots that vouch: those of the release, and TPM vendors' that two persons add
    #[command(subcommand)]
    Pin(pin::Pin),
}

impl Endorsement {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Import { files, id } => import::answer(context, &files, id.as_deref()),
            Self::List => {
                let list: Vec<EndorsementView> = context.admin()?.get("/v1/endorsements")?;
                Answer::new(&list, rows(&list))
            }
            Self::Check => {
                let mut list: Vec<EndorsementView> = context.admin()?.get("/v1/endorsements")?;
                list.retain(|one| one.state != EndorsementState::Valid || !one.vouched);
                list.sort_by(|a, b| (a.state, &a.until).cmp(&(b.state, &b.until)));
                let holds = list.is_empty();
                let text = if holds { "nothing has expired, or will within 14 days".to_owned() } else { rows(&list) };
                Ok(Answer { holds, ..Answer::new(&list, text)? })
            }
            Self::Remove { name } => {
                let answer: Recorded = context.admin()?.delete(&format!("/v1/endorsements/{}", path(&name)?))?;
                let done = if answer.warnings.is_empty() { "is removed" } else { "waits for a second person" };
                recorded(&format!("{name} {done}"), &answer)
            }
            Self::Fetch(fetch) => fetch.run(context),
            Self::Pin(pin) => pin.run(context),
        }
    }
}

/// A name as a path: nothing in it can lead to another endpoint.
fn path(name: &str) -> Result<&str, Failure> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let segment = |segment: &str| !["", ".", ".."].contains(&segment) && segment.bytes().all(plain);
    if name.split('/').all(segment) {
        Ok(name)
    } else {
        Err(Failure::usage(format!(
            "`{}` is not an endorsement's name: `endorsement list` shows them",
            name.escape_debug()
        )))
    }
}

fn rows(list: &[EndorsementView]) -> String {
    let row = |one: &EndorsementView| {
        let state = match (one.vouched, &one.removal_proposed_by) {
            (false, _) => "not vouched for: not used".to_owned(),
            (true, Some(person)) => format!("{}, {person} wants it removed", words(one.state)),
            (true, None) => words(one.state).to_owned(),
        };
        [one.name.clone(), one.content.clone(), one.subject.clone(), one.until.clone(), state]
    };
    let rows: Vec<_> = list.iter().map(row).collect();
    table(["NAME", "IS", "OF", "UNTIL", "STATE"], &rows)
}

/// A state for people.
fn words(state: EndorsementState) -> &'static str {
    match state {
        EndorsementState::Expired => "expired",
        EndorsementState::Expiring => "ends within 14 days",
        EndorsementState::NotYetValid => "not valid yet",
        EndorsementState::Valid => "valid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_nowhere_else() {
        for good in ["vcek/00aa/01.der", "vcek/crl/Milan.crl", "nvidia/rim/NV_GPU_DRIVER_GH100_550.90.07.xml"] {
            assert_eq!(path(good).unwrap(), good);
        }
        for bad in ["", "/", "a//b", "a/../b", "../tokens", "a/./b", "a?b", "a#b", "a%2fb", "a b", "/a", "a/", "é"] {
            assert_eq!(path(bad).unwrap_err().exit, crate::output::Exit::Usage, "{bad}");
        }
    }
}
