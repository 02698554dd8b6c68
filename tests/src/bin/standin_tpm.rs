//! A software TPM for a shell: makes one in a directory, runs it in the background, ends it.

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use std::{
    fs,
    path::{Path, PathBuf},
};
use strongroom_tests::Swtpm;

/// Runs a software TPM with an EK certificate.
///
/// Example: TCTI=$(standin-tpm start --dir run/tpm)
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Makes the TPM if DIR has none, powers it on in the background, and prints its TCTI.
    ///
    /// DIR then holds `tcti`, `pid`, and in `ca/` the CA: `swtpm-localca-rootca-cert.pem` (root)
    /// and `issuercert.pem`.
    Start {
        /// Where state, CA and log lie.
        #[arg(long)]
        dir: PathBuf,
        /// Certify a P-256 EK too, beside the RSA one.
        #[arg(long)]
        p256: bool,
    },
    /// Shuts the TPM down in order, and powers it off.
    Stop {
        /// As given to `start`.
        #[arg(long)]
        dir: PathBuf,
    },
    /// Stop, then start: a reboot. Prints the TCTI, which stays unless its port was taken meanwhile.
    Restart {
        /// As given to `start`.
        #[arg(long)]
        dir: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Action::Start { dir, p256 } => start(&dir, p256),
        Action::Stop { dir } => stop(&dir),
        Action::Restart { dir } => stop(&dir).and_then(|()| start(&dir, false)),
    }
}

fn start(dir: &Path, p256: bool) -> anyhow::Result<()> {
    let tpm = Swtpm::start(dir)?;
    if p256 && !dir.join("ek-p256.der").exists() {
        tpm.provision_p256_ek()?;
    }
    let tcti = tpm.tcti();
    fs::write(dir.join("tcti"), format!("{tcti}\n"))?;
    if let Some(pid) = tpm.release() {
        fs::write(dir.join("pid"), format!("{pid}\n"))?;
    }
    println!("{tcti}");
    Ok(())
}

fn stop(dir: &Path) -> anyhow::Result<()> {
    let file = dir.join("tcti");
    let tcti = fs::read_to_string(&file).with_context(|| format!("reading {}: is it running?", file.display()))?;
    let port = tcti.trim().rsplit_once("port=").and_then(|(_, port)| port.parse().ok());
    Swtpm::stop(port.with_context(|| format!("{} holds no port", file.display()))?)?;
    fs::remove_file(&file)?;
    fs::remove_file(dir.join("pid")).context("removing the pid file")
}
