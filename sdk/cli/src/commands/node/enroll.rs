//! `strongroom node enroll`.

use super::{super::label, shown::Shown};
use crate::{
    context::{Context, absolute},
    output::{Answer, Exit, Failure},
};
use serde_json::json;
use std::path::PathBuf;
use strongroom::{
    Error, Options,
    collect::{
        AgentAddress, AgentAttester, AgentConfig, CollectError, Collector, CollectorConfig, NodeConfig, TctiConfig,
    },
    protocol::evidence::EvidenceKind,
};

/// Arguments of `node enroll`.
#[derive(clap::Args)]
pub(crate) struct Enroll {
    /// Evidence that this node gives: tpm2, sev-snp, tdx, nvidia-gpu or azure-snp-vtpm; without tpm2, an operator
    /// registers the machine by what it shows
    #[arg(long = "device", value_name = "KIND", default_value = "tpm2")]
    devices: Vec<EvidenceKind>,
    /// The TPM: `device:/dev/tpmrm0`, or a software TPM's `swtpm:host=127.0.0.1,port=2321`
    #[arg(long, default_value = "device:/dev/tpmrm0")]
    tcti: TctiConfig,
    /// The boot log, where it is not the kernel's
    #[arg(long, value_name = "FILE")]
    boot_log: Option<PathBuf>,
    /// The IMA log, where it is not the kernel's
    #[arg(long, value_name = "FILE")]
    ima_log: Option<PathBuf>,
    /// Where the AK is kept [default: `node` below --home]; on a node with an agent, the agent's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// A label to ask for; an operator decides
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// A name for people
    #[arg(long)]
    hostname: Option<String>,
}

impl Enroll {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        if context.node_path().exists() {
            return Err(Failure::usage(format!(
                "this machine is enrolled already: {} is there; remove it to enrol again",
                context.node_path().display()
            )));
        }
        let state_dir = self.state_dir.as_deref().map(absolute).transpose()?.unwrap_or_else(|| context.state_dir());
        let config = CollectorConfig {
            boot_log: self.boot_log.as_deref().map(absolute).transpose()?.into(),
            ima_log: self.ima_log.as_deref().map(absolute).transpose()?.into(),
            devices: self.devices.clone(),
            ..CollectorConfig::new(self.tcti.clone(), state_dir)
        };
        let node = match context.agent() {
            None => NodeConfig::Devices(config.clone()),
            Some(AgentAddress::Path(path)) => NodeConfig::Agent(AgentConfig { agent: path.clone() }),
            Some(AgentAddress::Descriptor(_)) => {
                return Err(Failure::usage(
                    "an enrolment needs the TPM, which a job's agent does not lend: unset STRONGROOM_AGENT",
                ));
            }
        };
        if self.devices.contains(&EvidenceKind::Tpm2) {
            self.by_tpm(context, &node, &config)
        } else {
            self.by_operator(context, &node, &config)
        }
    }

    /// By the TPM: the vault challenges it.
    fn by_tpm(self, context: &Context, node: &NodeConfig, config: &CollectorConfig) -> Result<Answer, Failure> {
        let room = context.room(Options::default())?;
        let collector = Collector::open(config).map_err(without_tpm)?;
        let enrolled = room.enrol(&collector, self.labels.into_iter().collect(), self.hostname)?;
        context.write(&context.enrolment_path(), enrolled.enrolment.to_string().as_bytes())?;
        write(context, node)?;
        // Where jobs open the TPM themselves, nothing tells them apart.
        let alone = if matches!(node, NodeConfig::Devices(_)) { " --single-job" } else { "" };
        let mut text = format!(
            "enrolled as node {}\nit waits for an operator: strongroom node approve {} --site SITE{alone}",
            enrolled.node, enrolled.node
        );
        if config.devices.len() > 1 {
            text.push_str("\nafter that, its other devices come into its record: strongroom node identify");
        }
        Answer::new(
            &json!({ "node": enrolled.node, "enrolment": enrolled.enrolment, "state": enrolled.state.state }),
            text,
        )
    }

    /// A machine without a TPM shows what it is; an operator registers it by that.
    fn by_operator(self, context: &Context, node: &NodeConfig, config: &CollectorConfig) -> Result<Answer, Failure> {
        // The vault is not asked; whoever has not joined one would find out later.
        context.join_file()?;
        let shown = match node {
            NodeConfig::Devices(_) => Shown::by(&context.open_devices(config)?)?,
            NodeConfig::Agent(agent) => Shown::by(&AgentAttester::at(agent.agent.clone()))?,
        };
        if !shown.names_a_machine() {
            let why = if shown.nameless.is_empty() { "a GPU names none".to_owned() } else { shown.nameless.join("; ") };
            return Err(Failure::new(
                Exit::Machine,
                format!(
                    "nothing that this machine shows names it: {why}; give --device sev-snp, tdx or azure-snp-vtpm"
                ),
            ));
        }
        write(context, node)?;
        let mut line = shown.import_line();
        for (name, value) in &self.labels {
            line.push_str(" --label ");
            line.push_str(&quoted(&format!("{name}={value}")));
        }
        if let Some(hostname) = &self.hostname {
            line.push_str(" --hostname ");
            line.push_str(&quoted(hostname));
        }
        if matches!(node, NodeConfig::Devices(_)) {
            line.push_str(" --single-job");
        }
        let text = format!("this machine has no TPM to enrol by; an operator registers it:\n{line}");
        let answer = Answer::new(&json!({ "identities": shown.identities, "import": line }), text)?;
        Ok(shown.nameless.into_iter().fold(answer, Answer::warn))
    }
}

/// Keeps how this node reaches its devices.
fn write(context: &Context, config: &NodeConfig) -> Result<(), Failure> {
    let bytes = serde_json::to_vec_pretty(config).map_err(|e| Failure::new(Exit::Machine, e.to_string()))?;
    context.write(&context.node_path(), &bytes)
}

/// A word as a shell takes it whole.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._=:/@%+,-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A machine that has no TPM has another way.
fn without_tpm(error: CollectError) -> Failure {
    let missing = matches!(error, CollectError::DeviceMissing { .. });
    let mut failure = Failure::from(Error::from(error));
    if missing {
        failure.message.push_str(
            "; a machine without a TPM is registered by what it shows: strongroom node enroll --device sev-snp (or tdx, azure-snp-vtpm), with --device nvidia-gpu where it has GPUs",
        );
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_one_word_for_a_shell() {
        assert_eq!(quoted("rack=b7"), "rack=b7");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("$(x)'"), r"'$(x)'\'''");
        assert_eq!(quoted(""), "''");
    }
}
