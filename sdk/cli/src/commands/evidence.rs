//! `strongroom evidence`.

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
}

impl Evidence {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let Self::Collect { statement, ask_vault } = self;
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
