//! The commands, one module a subject.

mod agent;
mod asset;
mod audit;
mod decision;
mod doctor;
mod endorsement;
mod entries;
mod evidence;
mod filter;
mod inspect;
mod join;
mod key;
mod lease;
mod node;
mod open;
mod policy;
mod proof;
mod reference;
mod run;
mod seal;
mod site;
mod token;
mod verify;
mod whoami;

use crate::{
    context::Context,
    output::{Answer, Failure},
};
use clap::{CommandFactory, Subcommand};
use serde::Serialize;
use strongroom::protocol::admin::Recorded;

/// Everything that can be done, by subject.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Join a vault: all the configuration that a client needs
    Join(join::Join),
    /// Nodes: enrol this one, approve, revoke, list
    #[command(subcommand)]
    Node(node::Node),
    /// Sites, each in a jurisdiction
    #[command(subcommand)]
    Site(site::Site),
    /// Reference values: the measurements that are accepted
    #[command(subcommand)]
    Reference(reference::Reference),
    /// Endorsements: what AMD, Intel, NVIDIA and TPM vendors publish about their hardware
    #[command(subcommand)]
    Endorsement(endorsement::Endorsement),
    /// Assets: models, datasets, checkpoints
    #[command(subcommand)]
    Asset(asset::Asset),
    /// Key versions of an asset
    #[command(subcommand)]
    Key(key::Key),
    /// Seal a file under a write lease
    Seal(seal::Seal),
    /// Open a sealed file in protected memory under a read lease
    Open(open::Open),
    /// What a sealed file shows without its key
    Inspect(inspect::Inspect),
    /// Policies: check, test, propose, enforce
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Tokens of people and machines that administer
    #[command(subcommand)]
    Token(token::Token),
    /// Whose token this is: person, roles, expiry, last use
    #[command(name = "whoami")]
    WhoAmI(whoami::WhoAmI),
    /// Leases: who holds keys now
    #[command(subcommand)]
    Lease(lease::Lease),
    /// Decisions on release requests
    #[command(subcommand)]
    Decision(decision::Decision),
    /// Say in words why a decision was made
    Explain(decision::Explain),
    /// The ledger: query, show, prove, export, verify
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Start a job with what protects it: no core dumps, no new rights, the agent's socket inherited
    Run(run::Run),
    /// The node's agent: owns the TPM, identifies callers, gives evidence
    Agent(agent::Agent),
    /// Evidence of this node
    #[command(subcommand)]
    Evidence(evidence::Evidence),
    /// What this machine has and lacks, with remedies
    Doctor(doctor::Doctor),
    /// Print a shell's completions
    Completions(Completions),
}

/// Prints completions.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  strongroom completions bash > /etc/bash_completion.d/strongroom")]
pub(crate) struct Completions {
    /// The shell
    shell: clap_complete::Shell,
}

impl Command {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        match self {
            Self::Join(command) => command.run(context),
            Self::Node(command) => command.run(context),
            Self::Site(command) => command.run(context),
            Self::Reference(command) => command.run(context),
            Self::Endorsement(command) => command.run(context),
            Self::Asset(command) => command.run(context),
            Self::Key(command) => command.run(context),
            Self::Seal(command) => command.run(context),
            Self::Open(command) => command.run(context),
            Self::Inspect(command) => command.run(),
            Self::Policy(command) => command.run(context),
            Self::Token(command) => command.run(context),
            Self::WhoAmI(_) => whoami::WhoAmI::run(context),
            Self::Lease(command) => command.run(context),
            Self::Decision(command) => command.run(context),
            Self::Explain(command) => command.run(context),
            Self::Audit(command) => command.run(context),
            Self::Run(command) => command.run(context),
            Self::Agent(command) => command.run(context),
            Self::Evidence(command) => command.run(context),
            Self::Doctor(command) => command.run(context),
            Self::Completions(command) => {
                let mut script = Vec::new();
                clap_complete::generate(command.shell, &mut crate::Cli::command(), "strongroom", &mut script);
                let script = String::from_utf8_lossy(&script).into_owned();
                Answer::new(&serde_json::json!({ "script": script }), script.clone())
            }
        }
    }
}

/// The answer to an administrative act.
fn recorded(what: &str, recorded: &Recorded) -> Result<Answer, Failure> {
    let mut text = format!("{what}\nrecord {} at ledger index {}", recorded.record, recorded.index);
    for warning in &recorded.warnings {
        text.push_str("\nwarning: ");
        text.push_str(warning);
    }
    Answer::new(recorded, text)
}

/// The protocol's own word for a state.
fn word(state: &impl Serialize) -> String {
    serde_json::to_value(state).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

/// An id or a name as one segment of a path: nothing in it can lead to another endpoint.
fn segment(text: &str) -> Result<&str, Failure> {
    strongroom::protocol::statement::check_asset_name(text)
        .map(|()| text)
        .map_err(|e| Failure::usage(format!("`{}` is not an id or a name: {e}", text.escape_debug())))
}

/// `name=value`, as labels are given.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is not NAME=VALUE")),
    }
}

/// Labels for people: `a=1 b=2`.
fn labels(labels: &std::collections::BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plain;

    #[test]
    fn a_segment_leads_nowhere_else() {
        for good in ["minilm", "run-17", "a.b_c", "01K3ZQ8Y6E6M1D0Q9V1S1C1X7A"] {
            assert_eq!(segment(good).unwrap(), good);
        }
        for bad in
            ["", ".", "..", "a/b", "../tokens", "a%2fb", "%2e%2e", "a?all=true", "a#b", "a b", "a\\b", "a\nb", "é"]
        {
            let refused = segment(bad).unwrap_err();
            assert_eq!(refused.exit, crate::output::Exit::Usage, "{bad}");
            assert!(!refused.message.contains('\n'), "{}", refused.message);
        }
    }

    /// Scripts go through the same escaping as everything that is printed.
    #[test]
    fn completions_are_printed_as_they_are() {
        for shell in <clap_complete::Shell as clap::ValueEnum>::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut crate::Cli::command(), "strongroom", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert_eq!(plain::lines(&script), script, "{shell}");
        }
    }
}
