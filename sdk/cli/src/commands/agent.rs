//! `strongroom agent`.

use crate::{
    agent::{self, Limits, Listener, Rates, confine, initial_namespaces},
    context::Context,
    output::{Answer, Exit, Failure},
};
use serde_json::json;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};
use strongroom::{
    collect::{CollectorConfig, TctiConfig, agent::SOCKET},
    protocol::evidence::EvidenceKind,
};

/// How long an end waits for evidence that is being made.
const GRACE: Duration = Duration::from_secs(5);

/// Serves evidence to the jobs of this node.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  strongroom agent --tcti device:/dev/tpmrm0 --state-dir /var/lib/strongroom-agent\n  strongroom agent --device sev-snp --device nvidia-gpu"
)]
pub(crate) struct Agent {
    /// Evidence to give: tpm2, sev-snp, tdx, nvidia-gpu or azure-snp-vtpm; each has to be there
    #[arg(long = "device", value_name = "KIND", default_value = "tpm2")]
    devices: Vec<EvidenceKind>,
    /// The TPM, which nobody else on this node should be able to open
    #[arg(long, default_value = "device:/dev/tpmrm0")]
    tcti: TctiConfig,
    /// Where the AK is kept; `node enroll --state-dir` makes it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/strongroom-agent")]
    state_dir: PathBuf,
    /// The boot log, where it is not the kernel's
    #[arg(long, value_name = "FILE")]
    boot_log: Option<PathBuf>,
    /// The IMA log, where it is not the kernel's
    #[arg(long, value_name = "FILE")]
    ima_log: Option<PathBuf>,
    /// Where to listen, unless the service manager hands over a socket
    #[arg(long, value_name = "PATH", default_value = SOCKET)]
    socket: PathBuf,
    /// Who may connect to a socket that the agent makes: its mode
    #[arg(long, value_name = "MODE", default_value = "0660", value_parser = mode)]
    socket_mode: u32,
    /// Requests a minute of one user; a release takes two
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_minute: u32,
    /// Requests a minute of all users together
    #[arg(long, value_name = "N", default_value_t = 1200, value_parser = clap::value_parser!(u32).range(1..))]
    total_requests_per_minute: u32,
    /// Connections of one user at one time
    #[arg(long, value_name = "N", default_value_t = 64)]
    user_connections: usize,
    /// Connections of all users at one time
    #[arg(long, value_name = "N", default_value_t = 512)]
    connections: usize,
    /// Run in namespaces of process ids or users that are not the machine's: senders outside cannot be told apart
    #[arg(long)]
    accept_namespaces: bool,
}

impl Agent {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        if !self.accept_namespaces {
            initial_namespaces()?;
        }
        // Before the first thread: each inherits what its starter has.
        confine()?;
        let mut signals =
            Signals::new([SIGTERM, SIGINT]).map_err(|e| Failure::new(Exit::Machine, format!("signals: {e}")))?;
        let config = CollectorConfig {
            boot_log: self.boot_log.clone().into(),
            ima_log: self.ima_log.clone().into(),
            devices: self.devices.clone(),
            ..CollectorConfig::new(self.tcti.clone(), self.state_dir.clone())
        };
        // Whoever may not have the devices should not hold the socket either.
        let devices = context.open_devices(&config)?;
        let listener = Listener::open(&self.socket, self.socket_mode)?;
        let own = listener.own_path();
        let agent = agent::Agent::new(Box::new(devices), self.limits())?;
        agent.serve(listener)?;
        tracing::info!(tcti = %self.tcti, socket = %self.socket.display(), "serving");

        let signal = signals.forever().next();
        Listener::close(own.as_deref());
        let end = Instant::now() + GRACE;
        while agent.is_at_work() && Instant::now() < end {
            thread::sleep(Duration::from_millis(20));
        }
        tracing::info!(signal, "ended");
        Answer::new(&json!({ "ended": signal }), "")
    }

    fn limits(&self) -> Limits {
        Limits {
            rates: Rates { user: self.requests_per_minute, all: self.total_requests_per_minute },
            user_connections: self.user_connections,
            connections: self.connections,
            waiting: 64,
            patience: agent::Patience::default(),
        }
    }
}

/// An octal mode of permission bits.
fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| mode & !0o666 == 0);
    mode.ok_or_else(|| format!("`{text}` is not an octal mode of read and write bits, such as 0660"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sockets_mode_is_octal_and_permission_bits() {
        assert_eq!(mode("0660"), Ok(0o660));
        assert_eq!(mode("666"), Ok(0o666));
        for wrong in ["", "0770", "4660", "0o660", "rw", "99"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
    }
}
