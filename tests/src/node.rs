//! A node as the collector sees it: a software TPM, a machine that booted into it, a state directory.

use crate::{Machine, Swtpm};
use std::path::PathBuf;
use strongroom_collect::{BootLog, Collector, CollectorConfig};
use tempfile::TempDir;

/// A booted node. The TPM ends, and everything on disk goes, when it is dropped.
#[derive(Debug)]
pub struct Node {
    /// The TPM.
    pub tpm: Swtpm,
    dir: TempDir,
}

impl Node {
    /// A new TPM, and this machine booted into it.
    pub fn boot(machine: &Machine) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let node = Self { tpm: Swtpm::start(&dir.path().join("tpm"))?, dir };
        node.measure(machine)?;
        Ok(node)
    }

    /// An orderly reboot into this machine.
    pub fn reboot(&mut self, machine: &Machine) -> anyhow::Result<()> {
        self.tpm.restart()?;
        self.measure(machine)
    }

    /// The power goes and comes back, and the machine boots.
    pub fn power_cut(&mut self, machine: &Machine) -> anyhow::Result<()> {
        self.tpm.pull_plug()?;
        self.measure(machine)
    }

    /// The event log of the last boot.
    pub fn boot_log(&self) -> PathBuf {
        self.dir.path().join("boot.log")
    }

    /// Where the AK is kept.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The collector's configuration on this node.
    pub fn config(&self) -> anyhow::Result<CollectorConfig> {
        let config = CollectorConfig::new(self.tpm.tcti().parse()?, self.state_dir());
        Ok(CollectorConfig { boot_log: BootLog::File(self.boot_log()), ..config })
    }

    /// A collector on this node; the first one makes the AK.
    pub fn collector(&self) -> anyhow::Result<Collector> {
        Ok(Collector::open(&self.config()?)?)
    }

    fn measure(&self, machine: &Machine) -> anyhow::Result<()> {
        let log = machine.boot_log();
        log.extend_into(&self.tpm.tcti())?;
        log.write(&self.boot_log())
    }
}
