//! A node as the collector sees it: a software TPM, a machine that booted into it, a state directory.

use crate::{Event, Machine, Swtpm, ima::Ima, tpm_commands};
use std::path::PathBuf;
use strongroom_collect::{Collector, CollectorConfig, LogSource};
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

    /// What IMA measured since the last boot.
    pub fn ima_log(&self) -> PathBuf {
        self.dir.path().join("ima.log")
    }

    /// IMA, to have it measure more.
    pub fn ima(&self) -> Ima {
        Ima::of(&self.tpm.tcti(), self.ima_log())
    }

    /// Where the AK is kept.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The collector's configuration on this node.
    pub fn config(&self) -> anyhow::Result<CollectorConfig> {
        let config = CollectorConfig::new(self.tpm.tcti().parse()?, self.state_dir());
        let (boot_log, ima_log) = (LogSource::File(self.boot_log()), LogSource::File(self.ima_log()));
        Ok(CollectorConfig { boot_log, ima_log, ..config })
    }

    /// A collector on this node; the first one makes the AK.
    pub fn collector(&self) -> anyhow::Result<Collector> {
        Ok(Collector::open(&self.config()?)?)
    }

    /// Measures one event more, and writes it into the boot log.
    pub fn measure_more(&self, event: &Event) -> anyhow::Result<()> {
        tpm_commands::extend(&mut tpm_commands::connect(&self.tpm.tcti())?, event.pcr, event.digest)?;
        event.append(&self.boot_log())
    }

    fn measure(&self, machine: &Machine) -> anyhow::Result<()> {
        let log = machine.boot_log();
        log.extend_into(&self.tpm.tcti())?;
        log.write(&self.boot_log())?;
        self.ima().begin()
    }
}
