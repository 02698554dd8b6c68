//! The commands of `strongroomd`.

mod accept;
mod backup;
mod doctor;
mod init;
mod output;
mod recover;
mod serve;
mod stopped;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::{path::PathBuf, process::ExitCode};
use strongroom_attest::Pins;

pub use init::{Made, make};
pub use output::complain;

const AFTER: &str = "\
Exit codes:
  0  done
  1  refused, failed, or a check did not hold
  2  wrong usage

Example: strongroomd init --dir /var/lib/strongroom && strongroomd serve --config /var/lib/strongroom/strongroomd.toml";

/// The Strongroom key service: gives keys of model weights, datasets and checkpoints to attested nodes.
#[derive(Debug, Parser)]
#[command(name = "strongroomd", version, after_help = AFTER)]
pub struct Arguments {
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new vault in a directory: keys, database, TLS certificates, configuration, join file, first token.
    #[command(after_help = "Example: strongroomd init --dir /var/lib/strongroom --url https://vault.example:8443")]
    Init {
        /// The directory to make the vault in; made if it is missing, refused if it has anything in it.
        #[arg(long)]
        dir: PathBuf,
        /// What clients call the vault by.
        #[arg(long, default_value = "https://127.0.0.1:8443")]
        url: String,
        /// The person that the first token, of role admin, is for.
        #[arg(long, default_value = "admin")]
        person: String,
        /// Keep state and ledger in PostgreSQL: a file with the keys of [store.postgres] (see the
        /// configuration's reference). The database has to be there, empty, and owned by its role.
        #[arg(long, value_name = "FILE")]
        postgres: Option<PathBuf>,
        /// Waive four eyes. For development only: the ledger and every page say so.
        #[arg(long)]
        development_waive_four_eyes: bool,
    },
    /// Serve.
    #[command(after_help = "Example: strongroomd serve --config /var/lib/strongroom/strongroomd.toml")]
    Serve {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Check a vault that is not running, or running, and say what to do about what is wrong.
    #[command(after_help = "Example: strongroomd doctor --config /var/lib/strongroom/strongroomd.toml")]
    Doctor {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Copy the database, consistently, while the vault serves. The root key is not in it.
    #[command(after_help = "Example: strongroomd backup --config strongroomd.toml --to /backup/vault-2026-01-31.db")]
    Backup {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The copy to make; never overwritten.
        #[arg(long)]
        to: PathBuf,
    },
    /// Make a token of role admin for a vault in which nobody has one any more. The vault is stopped first.
    #[command(after_help = "Example: strongroomd recover-admin --config strongroomd.toml --person ada --out ada.token")]
    RecoverAdmin {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// The person that the token is for.
        #[arg(long)]
        person: String,
        /// The file to write the token to, mode 0600; never overwritten.
        #[arg(long)]
        out: PathBuf,
    },
    /// Go on with a database that went back in time, as after a restore, without what is lost. The vault, with all
    /// its replicas, is stopped first; the ledger records it.
    #[command(after_help = "Example: strongroomd accept-restore --config strongroomd.toml --size 450 --person ada")]
    AcceptRestore {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// How many entries the restored database's ledger has, as `doctor` says.
        #[arg(long)]
        size: u64,
        /// The person who decides.
        #[arg(long)]
        person: String,
    },
    /// Print the OpenAPI document.
    #[command(after_help = "Example: strongroomd openapi > docs/openapi.json")]
    Openapi,
    /// Print completions for a shell.
    #[command(after_help = "Example: strongroomd completions bash > /etc/bash_completion.d/strongroomd")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Runs a command, trusting the roots that this release was reviewed with. Results go to standard output, everything
/// else to standard error.
pub async fn run(arguments: Arguments) -> ExitCode {
    run_with(arguments, Pins::built_in().clone()).await
}

/// [`run`] with other pinned roots. They are data of the program, as a test's vault has its own; no argument and no
/// configuration names them.
pub async fn run_with(arguments: Arguments, pins: Pins) -> ExitCode {
    let json = arguments.json;
    let done = match arguments.command {
        Command::Init { dir, url, person, postgres, development_waive_four_eyes } => {
            init::run(&dir, &url, &person, postgres.as_deref(), development_waive_four_eyes, json).await
        }
        Command::Serve { config } => serve::run(&config, pins, json).await,
        Command::Doctor { config } => doctor::run(&config, pins, json).await,
        Command::Backup { config, to } => backup::run(&config, &to, json).await,
        Command::RecoverAdmin { config, person, out } => recover::run(&config, &person, &out, json).await,
        Command::AcceptRestore { config, size, person } => accept::run(&config, size, &person, json).await,
        Command::Openapi => openapi(),
        Command::Completions { shell } => {
            let mut command = <Arguments as clap::CommandFactory>::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "strongroomd", &mut script);
            output::text(script).map(|()| ExitCode::SUCCESS)
        }
    };
    match done {
        Ok(code) => code,
        Err(error) if json => {
            if let Err(unprinted) = output::json(&serde_json::json!({ "error": format!("{error:#}") })) {
                complain(format_args!("{error:#}; {unprinted:#}"));
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn openapi() -> Result<ExitCode> {
    output::text(crate::openapi::document_text()?).map(|()| ExitCode::SUCCESS)
}

/// The system's clock, for certificates and for checking the database's clock.
fn system_time() -> time::OffsetDateTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates are judged by the system's clock, and so is the database's"
    )]
    time::OffsetDateTime::now_utc()
}
