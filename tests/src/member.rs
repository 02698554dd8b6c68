//! A node that is enrolled in a vault, by the command line, as an operator would do it.

use crate::{Cli, Machine, Node, Vault};
use anyhow::Context as _;
use std::{ffi::OsStr, fs, thread};
use strongroom::{Options, Room};
use strongroom_collect::Collector;
use strongroom_protocol::{NodeId, admin::Role};

/// An enrolled node.
pub struct Member {
    /// The machine.
    pub node: Node,
    /// Its id.
    pub id: NodeId,
    /// Its command line.
    pub cli: Cli,
}

/// Boots so many machines at one time, each with a P-256 EK, which a software TPM makes quickly.
pub fn boot<const N: usize>(machine: &Machine) -> anyhow::Result<[Node; N]> {
    let booted: Vec<anyhow::Result<Node>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..N)
            .map(|_| {
                scope.spawn(|| {
                    let node = Node::boot(machine)?;
                    node.tpm.provision_p256_ek()?;
                    Ok(node)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(anyhow::anyhow!("booting panicked")))).collect()
    });
    let nodes: Vec<Node> = booted.into_iter().collect::<Result<_, _>>()?;
    nodes.try_into().map_err(|_| anyhow::anyhow!("another number of nodes"))
}

impl Member {
    /// Enrols a booted node under a name. The vault has to trust its TPM.
    pub fn enrol(vault: &Vault, node: Node, name: &str) -> anyhow::Result<Self> {
        let cli = Cli::new(vault.beside("nodes").join(name))?;
        cli.join(&vault.join_path())?;
        let (tcti, log) = (node.tpm.tcti(), node.boot_log());
        let enrol = ["node", "enroll", "--tcti", &tcti, "--hostname", name, "--boot-log"].map(OsStr::new);
        let enrolled: serde_json::Value = cli.ask(enrol.into_iter().chain([log.as_os_str()]))?;
        let id = enrolled.get("node").and_then(|id| id.as_str()).context("an enrolment without a node")?;
        let id = id.parse().context("reading the node's id")?;
        Ok(Self { node, id, cli })
    }

    /// Approves it into a site, as a node that runs one job.
    pub fn approve(&self, vault: &Vault, site: &str) -> anyhow::Result<()> {
        let id = self.id.to_string();
        let operator = vault.cli(Role::Operator)?;
        operator.run(["node", "approve", &id, "--site", site, "--single-job"])?.done()?;
        Ok(())
    }

    /// The devices, as the command line on this node uses them.
    pub fn collector(&self) -> anyhow::Result<Collector> {
        let config = serde_json::from_slice(&fs::read(self.cli.home().join("node.json"))?)?;
        Ok(Collector::open(&config)?)
    }

    /// The SDK on this node.
    pub fn room(&self, vault: &Vault) -> anyhow::Result<Room> {
        Ok(Room::connect(&vault.join_file()?, Options::default())?)
    }
}
