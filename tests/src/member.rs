//! A node that is enrolled in a vault, by the command line, as an operator would do it.

use crate::{Cli, Machine, Node, Vault};
use anyhow::Context as _;
use std::{
    ffi::OsStr,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};
use strongroom::{Options, Room};
use strongroom_collect::{Attester, CollectError, Collector, Enroller, EnrolmentQuote, TpmIdentity, Wanted};
use strongroom_protocol::{
    EnrolmentId, NodeId, VaultId,
    admin::Role,
    challenge::Nonce,
    evidence::{Evidence, PcrSelection},
};
use zeroize::Zeroizing;

/// A turn at a software TPM, which serves one connection at a time and has no resource manager:
/// who does not wait here waits for TCP to try again, which takes longer than a nonce lives.
#[derive(Debug, Clone, Default)]
pub struct Turn(Arc<Mutex<()>>);

impl Turn {
    /// Waits for it.
    pub fn take(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's devices, used in turn.
pub struct Devices {
    collector: Collector,
    turn: Turn,
}

impl Attester for Devices {
    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Evidence>, CollectError> {
        let _alone = self.turn.take();
        self.collector.collect(statement, caller, wanted)
    }
}

impl Enroller for Devices {
    fn identity(&self) -> Result<TpmIdentity, CollectError> {
        let _alone = self.turn.take();
        self.collector.identity()
    }

    fn activate_credential(&self, blob: &[u8], secret: &[u8]) -> Result<Zeroizing<Vec<u8>>, CollectError> {
        let _alone = self.turn.take();
        self.collector.activate_credential(blob, secret)
    }

    fn enrolment_quote(
        &self,
        vault: VaultId,
        nonce: Nonce,
        enrolment: EnrolmentId,
        selection: &PcrSelection,
    ) -> Result<EnrolmentQuote, CollectError> {
        let _alone = self.turn.take();
        self.collector.enrolment_quote(vault, nonce, enrolment, selection)
    }
}

/// An enrolled node.
pub struct Member {
    /// The machine.
    pub node: Node,
    /// Its id.
    pub id: NodeId,
    /// Its command line.
    pub cli: Cli,
    /// Whose turn it is at its TPM.
    pub turn: Turn,
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
        let turn = Turn::default();
        let cli = Cli::new(vault.beside("nodes").join(name))?.in_turn(&turn);
        cli.join(&vault.join_path())?;
        let (tcti, boot, ima) = (node.tpm.tcti(), node.boot_log(), node.ima_log());
        let enrol = ["node", "enroll", "--tcti", &tcti, "--hostname", name].map(OsStr::new);
        let logs = [OsStr::new("--boot-log"), boot.as_os_str(), OsStr::new("--ima-log"), ima.as_os_str()];
        let enrolled: serde_json::Value = cli.ask(enrol.into_iter().chain(logs))?;
        let id = enrolled.get("node").and_then(|id| id.as_str()).context("an enrolment without a node")?;
        let id = id.parse().context("reading the node's id")?;
        Ok(Self { node, id, cli, turn })
    }

    /// Approves it into a site, as a node that runs one job.
    pub fn approve(&self, vault: &Vault, site: &str) -> anyhow::Result<()> {
        let id = self.id.to_string();
        let operator = vault.cli(Role::Operator)?;
        operator.run(["node", "approve", &id, "--site", site, "--single-job"])?.done()?;
        Ok(())
    }

    /// The devices, as the command line on this node uses them.
    pub fn devices(&self) -> anyhow::Result<Devices> {
        let config = serde_json::from_slice(&fs::read(self.cli.home().join("node.json"))?)?;
        let turn = self.turn.clone();
        let collector = {
            let _alone = turn.take();
            Collector::open(&config)?
        };
        Ok(Devices { collector, turn })
    }

    /// The SDK on this node.
    pub fn room(&self, vault: &Vault) -> anyhow::Result<Room> {
        Ok(Room::connect(&vault.join_file()?, Options::default())?)
    }
}
