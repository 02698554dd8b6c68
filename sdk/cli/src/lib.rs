//! `strongroom`: the command line for jobs, custodians, security teams and auditors.
//!
//! The program is [`run`] with the devices of this machine ([`Devices::open`]). They are an argument so that a test can
//! have the whole program over stand-ins of its own; nothing that a user can say leads there.
//!
//! Each subject has its module under `commands`: arguments, help with an example, and what it
//! does. A command returns an [`output::Answer`], which is printed for people or, with `--json`, as
//! one JSON document; errors go to standard error in the same two ways, and the exit code says
//! whose turn it is (see [`output::Exit`]).

#![warn(clippy::print_stdout, clippy::print_stderr)]

mod agent;
mod commands;
mod context;
mod interrupt;
mod output;
mod plain;
mod private_file;
mod progress;
#[cfg(test)]
mod reference;
mod times;
mod work;

use clap::Parser;
use commands::Command;
use context::Context;
use std::{ffi::OsString, io::IsTerminal, path::PathBuf, process::ExitCode, sync::atomic::AtomicU64, time::Duration};
use strongroom::{
    Patience,
    collect::{AgentAddress, CollectError, CollectorConfig, Devices},
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

const EXAMPLES: &str = "Example:
  strongroom join vault.json
  strongroom open model.safetensors.sealed --asset minilm --digest";

/// What stands below the help.
fn help() -> String {
    format!("{EXAMPLES}\n\n{}", output::EXIT_CODES)
}

/// Keys and files of confidential machines: seal, open, administer, audit.
#[derive(Parser)]
#[command(
    name = "strongroom",
    version,
    max_term_width = 100,
    after_help = help()
)]
struct Cli {
    /// Where this client keeps its join file, node configuration and AK [default: /etc/strongroom for root, else ~/.config/strongroom]
    #[arg(long, global = true, value_name = "DIR", env = "STRONGROOM_HOME")]
    home: Option<PathBuf>,
    /// File with a bearer token, one line, for commands that administer or audit [default: `token` under --home]
    #[arg(long, global = true, value_name = "FILE", env = "STRONGROOM_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The node's agent: its socket's path, or `fd:N`, which `strongroom run` sets [default: what `node.json` says, else /run/strongroom/agent.sock]
    #[arg(long, global = true, value_name = "ADDRESS", env = "STRONGROOM_AGENT")]
    agent: Option<AgentAddress>,
    /// Print one JSON document instead of text; errors, warnings and progress as JSON on standard error
    #[arg(long, global = true)]
    json: bool,
    /// How long the command may wait for a vault that is busy or away, over all its requests and attempts, whatever `Retry-After` says
    #[arg(long, global = true, value_name = "DURATION", default_value = "60s", value_parser = times::duration)]
    patience: Duration,
    /// Say more of what is done, on standard error (repeat for more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

/// Milliseconds that this command has waited for the vault.
static WAITED: AtomicU64 = AtomicU64::new(0);

/// Opens the devices that a node's configuration names.
pub type OpenDevices = fn(&CollectorConfig) -> Result<Devices, CollectError>;

/// Runs one command: its arguments, the program's name first. Prints, and says how it ended.
pub fn run(arguments: impl IntoIterator<Item = OsString>, open_devices: OpenDevices) -> ExitCode {
    interrupt::survive_file_limits();
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return output::arguments(&error, wants_json(arguments.into_iter())),
    };
    log(cli.verbose, cli.json);
    let tell = if cli.json { progress::tell_json } else { progress::tell };
    let patience = Patience { total: cli.patience, tell: Some(tell), spent: Some(&WAITED) };
    let result = Context::new(cli.home, cli.token_file, cli.agent, cli.json, patience, open_devices)
        .and_then(|context| cli.command.run(&context));
    output::finish(result, cli.json)
}

/// Whether arguments that could not be read ask for JSON.
fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    arguments.take_while(|argument| argument != "--").any(|argument| argument == "--json")
}

/// Says on standard error what is done, as much of it as was asked for.
fn log(verbose: u8, json: bool) {
    let level = match verbose {
        // Standard error is then one JSON document, too.
        0 if json => LevelFilter::OFF,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    // The TPM library calls an error what is a busy TPM, or is told in our own words.
    let library = if verbose == 0 { LevelFilter::OFF } else { level };
    let shown = Targets::new().with_default(level).with_target("tss_esapi", library);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        // A standard error that is gone or full is nobody's to hear of.
        .log_internal_errors(false);
    tracing_subscriber::registry().with(lines).with(shown).init();
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn json_is_asked_for_before_the_end_of_options_only() {
        let asked = |line: &str| wants_json(line.split(' ').map(OsString::from));
        assert!(asked("strongroom --json seal") && asked("strongroom seal --json"));
        assert!(!asked("strongroom seal -- --json") && !asked("strongroom seal json"));
    }

    /// Ids are base64url: one in sixty-four begins with a hyphen.
    #[test]
    fn an_id_that_begins_with_a_hyphen_is_an_id() {
        for start in ["-i", "-v", "-h", "-V", "--", "-1"] {
            let id = format!("{start}{}", "A".repeat(41));
            for line in [
                vec!["node", "approve", &id, "--site", "fra-1", "--single-job"],
                vec!["node", "revoke", &id, "--reason", "r"],
                vec!["--json", "node", "status", &id],
                vec!["reference", "from-node", &id, "--record", "set"],
                vec!["policy", "enforce", &id, "--token-file", "t"],
                vec!["audit", "query", "--node", &id, "--json"],
            ] {
                let parsed = Cli::try_parse_from(["strongroom"].iter().chain(&line));
                assert!(parsed.is_ok(), "{line:?}: {}", parsed.err().unwrap());
            }
        }
        let lease = format!("-v{}", "A".repeat(20));
        assert!(Cli::try_parse_from(["strongroom", "lease", "revoke", &lease, "--reason", "r"]).is_ok());
        assert!(Cli::try_parse_from(["strongroom", "lease", "list", "--after", &lease]).is_ok());
        let node = format!("-v{}", "A".repeat(41));
        assert!(Cli::try_parse_from(["strongroom", "lease", "revoke", "--node", &node, "--reason", "r"]).is_ok());
    }

    /// Help is part of the product: every command that does something shows how.
    #[test]
    fn every_command_has_an_example() {
        fn walk(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
            let children: Vec<_> = command.get_subcommands().filter(|c| c.get_name() != "help").collect();
            let example = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            if children.is_empty() && !(example.contains("Example:") && example.contains(path)) {
                missing.push(path.to_owned());
            }
            for child in children {
                walk(child, &format!("{path} {}", child.get_name()), missing);
            }
        }
        let mut missing = Vec::new();
        walk(&Cli::command(), "strongroom", &mut missing);
        assert!(missing.is_empty(), "without an example in their help: {missing:?}");
    }
}
