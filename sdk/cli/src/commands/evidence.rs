//! `strongroom evidence`.

mod azure;
mod contents;
mod endorsements;
mod expected;
mod explain;
mod given;
mod hardware;
mod logs;
mod nvidia;
pub(crate) mod pcrs;
mod quote_file;
mod sev_snp;
mod tdx;
mod tpm2;
mod verdict;
mod verify;
pub(crate) mod words;

use crate::{
    context::{Context, read_capped},
    output::{Answer, Failure},
    private_file::PrivateFile,
};
use clap::Subcommand;
use std::{io::Write as _, path::PathBuf};
use strongroom::{
    Error,
    collect::{AkBlob, NodeConfig, Wanted},
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
        /// Write the AK's public area (`TPMT_PUBLIC`) to this file too, for `evidence verify --ak`
        #[arg(long, value_name = "FILE")]
        ak_out: Option<PathBuf>,
        /// Where the AK is kept, if an agent keeps it
        #[arg(long, value_name = "DIR", requires = "ak_out")]
        state_dir: Option<PathBuf>,
        /// Replace the file of `--ak-out` if it is there
        #[arg(long, requires = "ak_out")]
        replace: bool,
    },
    /// Judge evidence in files as a vault would, offline: each check by its row, with its verdict and the claims
    #[command(
        after_help = "Example:\n  strongroom evidence verify --kind tcg-log binary_bios_measurements --pcrs pcrs.json"
    )]
    Verify(Box<verify::Verify>),
    /// Say in words what logs and quotes show, and why a check refused
    #[command(after_help = "Example:\n  strongroom evidence explain binary_bios_measurements evidence.json")]
    Explain(explain::Explain),
}

impl Evidence {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let (statement, ask_vault, ak_out, state_dir, replace) = match self {
            Self::Collect { statement, ask_vault, ak_out, state_dir, replace } => {
                (statement, ask_vault, ak_out, state_dir, replace)
            }
            Self::Verify(command) => return command.run(),
            Self::Explain(command) => return command.run(),
        };
        let statement = match statement {
            Some(path) => read_capped(&path, limits::STATEMENT as u64)?,
            None => Vec::new(),
        };
        // A link in its place is never followed: root may collect into a directory in which others can make one.
        let file = |path: PathBuf| Ok::<_, Failure>((path.clone(), PrivateFile::create(&path, replace, ".ak.")?));
        let ak_out = ak_out.map(file).transpose()?;
        let selection =
            if ask_vault { context.anonymous()?.info().pcr_selection.clone() } else { PcrSelection::default_sha256() };
        let attester = context.attester()?;
        let caller = attester.caller().map_err(Error::from)?;
        let items = attester.collect(&statement, caller.as_deref(), Wanted::whole(&selection)).map_err(Error::from)?;
        if let Some((path, mut file)) = ak_out {
            file.write_all(ak(context, state_dir)?.public()).map_err(|source| Failure::file(&path, source))?;
            file.commit()?;
        }
        let text = serde_json::to_string_pretty(&items).unwrap_or_default();
        Answer::new(&items, text)
    }
}

/// This node's AK, from its own directory or from the one that is named.
fn ak(context: &Context, state_dir: Option<PathBuf>) -> Result<AkBlob, Failure> {
    let state_dir = match (state_dir, context.node_config()?) {
        (Some(directory), _) => directory,
        (None, Some(NodeConfig::Devices(devices))) => devices.state_dir,
        (None, _) => {
            return Err(Failure::usage("--ak-out: this node's agent keeps the AK: give its --state-dir, as root"));
        }
    };
    AkBlob::read(&state_dir)
        .map_err(Error::from)?
        .ok_or_else(|| Failure::usage(format!("{}: there is no AK: enrol the node first", state_dir.display())))
}
