//! A confidential machine of Azure: a paravisor, and the virtual TPM that it keeps, in the guise of a software TPM.

use super::{below::Parts, makers::Published};
use crate::{
    Machine, Swtpm, tpm_commands,
    vtpm::{Readable, make_key, write_envelope},
};
use std::collections::BTreeMap;
use strongroom_collect::{CollectorConfig, Devices};
use strongroom_hardware::azure;
use strongroom_protocol::{
    Bytes,
    evidence::{EvidenceKind, PcrMap},
    identity::{Identity, IdentityKind},
};
use tempfile::TempDir;

/// Such a machine. Its TPM ends, and everything on disk goes, when it is dropped.
pub struct AzureMachine {
    /// The TPM.
    pub tpm: Swtpm,
    parts: Parts,
    vm: String,
    modulus: Vec<u8>,
    _dir: TempDir,
}

impl AzureMachine {
    /// Made and booted. The processor gets the machine's envelope signed; it has no GPUs.
    pub(super) fn boot(parts: Parts, vm: &str) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let tpm = Swtpm::start(&dir.path().join("tpm"))?;
        let modulus = make_key(&mut tpm_commands::connect(&tpm.tcti())?)?;
        let made = Self { tpm, parts, vm: vm.to_owned(), modulus, _dir: dir };
        made.launch()?;
        Ok(made)
    }

    /// The guest boots, and the paravisor writes the envelope.
    fn launch(&self) -> anyhow::Result<()> {
        Machine::default().boot_log().extend_into(&self.tpm.tcti())?;
        self.put(&self.envelope())
    }

    /// Another start of the same machine: its key is the same, its report another.
    ///
    /// # Errors
    /// The TPM's.
    pub fn relaunch(&mut self) -> anyhow::Result<()> {
        self.change(|parts| parts.snp.report.report_id.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)));
        self.tpm.restart()?;
        self.launch()
    }

    /// Another start, after which an envelope of before is shown; [`Self::rewrite`] shows its own.
    ///
    /// # Errors
    /// The TPM's.
    pub fn relaunch_showing(&mut self, old: &[u8]) -> anyhow::Result<()> {
        self.relaunch()?;
        self.put(old)
    }

    /// Changes processor and report; [`Self::rewrite`] shows it.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Parts) -> T) -> T {
        change(&mut self.parts)
    }

    /// Has the envelope written anew, as the parts are now.
    ///
    /// # Errors
    /// The TPM's.
    pub fn rewrite(&self) -> anyhow::Result<()> {
        self.put(&self.envelope())
    }

    /// Puts other bytes where the envelope lies.
    ///
    /// # Errors
    /// The TPM's.
    pub fn put(&self, envelope: &[u8]) -> anyhow::Result<()> {
        write_envelope(&mut tpm_commands::connect(&self.tpm.tcti())?, envelope, Readable::ByOwner)
    }

    /// Header, report, runtime data. A software TPM's index is too small for what Azure's have beside the key that
    /// quotes.
    pub fn envelope(&self) -> Vec<u8> {
        let key = azure::jwk_of("HCLAkPub", "sign", &self.modulus);
        let runtime_data = format!(
            r#"{{"keys":[{key}],"vm-configuration":{{"secure-boot":true,"tpm-enabled":true,"vmUniqueId":"{}"}},"user-data":""}}"#,
            self.vm
        );
        let paravisor =
            azure::Azure { snp: self.parts.snp.clone(), runtime_data, after: Vec::new(), ..Default::default() };
        paravisor.hcl_report()
    }

    /// What is imported of the processor: no certificate comes with Azure's evidence from here.
    pub fn published(&self) -> Published {
        Published::of("vcek.der", self.parts.certificate.clone())
    }

    /// The id of the machine.
    pub fn vm(&self) -> Identity {
        Identity { kind: IdentityKind::CloudVm, value: self.vm.to_lowercase() }
    }

    /// The launch measurement of its paravisor.
    pub fn paravisor(&self) -> [u8; 48] {
        self.parts.snp.report.measurement
    }

    /// What an honest boot leads to in these PCRs.
    pub fn pcrs(pcrs: &[u8]) -> PcrMap {
        let booted: BTreeMap<u32, [u8; 32]> = Machine::default().boot_log().replay();
        let value = |pcr: &u8| (*pcr, Bytes(booted.get(&u32::from(*pcr)).copied().unwrap_or_default().to_vec()));
        PcrMap(pcrs.iter().map(value).collect())
    }

    /// The vTPM, as a job of a single-job node opens it: the way of the released program.
    ///
    /// # Errors
    /// It is not there.
    pub fn devices(&self) -> anyhow::Result<Devices> {
        let devices = vec![EvidenceKind::AzureSnpVtpm];
        let config = CollectorConfig::new(self.tpm.tcti().parse()?, "/nonexistent".into());
        Ok(Devices::open(&CollectorConfig { devices, ..config })?)
    }
}
