//! `strongroom evidence`.

mod explain;
mod given;
mod logs;
pub(crate) mod pcrs;
mod quote_file;
mod tpm2;
mod verdict;
mod verify;
pub(crate) mod words;

use crate::{
    context::{Context, read_capped},
    output::{Answer, Failure},
};
use clap::Subcommand;
use std::path::PathBuf;
use strongroom::{
    Error,
    collect::Wanted,
    protocol::{evidence::PcrSelection, limits},
};

/// Evidence.
#[derive(Subcommand)]
pub(crate) enum Evidence {
    /// Collect this node's evidence over the bytes of a file, as it would be sent
    #[command(after_help = "Example:\n  strongroom evidence collect --statement statement.json > evidence.json")]
    Collect {
        /// The bytes that the evidence binds; without it, none
        #[arg(long, value_name = "FILE")]
        statement: Option<PathBuf>,
        /// Take the PCRs that the vault asks for, instead of the default ones
        #[arg(long)]
        ask_vault: bool,
    },
    /// Judge evidence in files as a vault would, offline: each check by its row, with its verdict and the claims
    #[command(
        after_help = "Example:\n  strongroom evidence verify --kind tcg-log binary_bios_measurements --pcrs pcrs.json"
    )]
    Verify(verify::Verify),
    /// Say in words what logs and quotes show, and why a check refused
    #[command(after_help = "Example:\n  strongroom evidence explain binary_bios_measurements evidence.json")]
    Explain(explain::Explain),
}

impl Evidence {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let (statement, ask_vault) = match self {
            Self::Collect { statement, ask_vault } => (statement, ask_vault),
            Self::Verify(command) => return command.run(),
            Self::Explain(command) => return command.run(),
        };
        let statement = match statement {
            Some(path) => read_capped(&path, limits::STATEMENT as u64)?,
            None => Vec::new(),
        };
        let selection =
            if ask_vault { context.anonymous()?.info().pcr_selection.clone() } else { PcrSelection::default_sha256() };
        let attester = context.attester()?;
        let caller = attester.caller().map_err(Error::from)?;
        let items = attester.collect(&statement, caller.as_deref(), Wanted::whole(&selection)).map_err(Error::from)?;
        let text = serde_json::to_string_pretty(&items).unwrap_or_default();
        Answer::new(&items, text)
    }
}
