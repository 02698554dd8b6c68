//! IMA as the kernel does it: a log of measured files, and PCR 10 extended by each
//! (Linux, `Documentation/security/IMA-templates.rst`).

use crate::tpm_commands;
use std::{fs::OpenOptions, io::Write as _, path::PathBuf};
use strongroom_collect::TpmDevice;
use strongroom_protocol::{
    evidence::{PcrBank, PcrSelection},
    sha256,
};

/// The PCR that IMA extends.
const PCR: u32 = 10;

/// A log that grows, and the TPM that it is measured into.
#[derive(Debug, Clone)]
pub struct Ima {
    tcti: String,
    log: PathBuf,
}

/// One entry of the template `ima-ng`, as the binary log has it.
pub fn entry(path: &str, sha256: &[u8; 32]) -> Vec<u8> {
    let data = template_data(path, sha256);
    let sha1 = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &data);
    [&PCR.to_le_bytes()[..], sha1.as_ref(), &sized(b"ima-ng"), &sized(&data)].concat()
}

/// What an entry extends PCR 10 by the hash of.
pub fn template_data(path: &str, sha256: &[u8; 32]) -> Vec<u8> {
    let digest = [&b"sha256:\0"[..], sha256].concat();
    [sized(&digest), sized(&[path.as_bytes(), b"\0"].concat())].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()[..], bytes].concat()
}

impl Ima {
    /// IMA that measures into this TPM and writes this log.
    pub fn of(tcti: &str, log: PathBuf) -> Self {
        Self { tcti: tcti.to_owned(), log }
    }

    /// Begins the log anew, with `boot_aggregate`: the hash of what the boot left in PCRs 0 to 9.
    pub fn begin(&self) -> anyhow::Result<()> {
        std::fs::write(&self.log, [])?;
        let selection = PcrSelection { bank: PcrBank::Sha256, pcrs: (0..10).collect() };
        let device = TpmDevice::open(&self.tcti.parse()?)?;
        let values: Vec<u8> = device.pcrs(&selection)?.values.0.into_values().flat_map(|value| value.0).collect();
        drop(device);
        self.measure_digest("boot_aggregate", &sha256(&values))
    }

    /// Measures a file that is run.
    pub fn measure(&self, path: &str, content: &[u8]) -> anyhow::Result<()> {
        self.measure_digest(path, &sha256(content))
    }

    /// Measures a file of this digest.
    pub fn measure_digest(&self, path: &str, sha256: &[u8; 32]) -> anyhow::Result<()> {
        self.append(&entry(path, sha256))?;
        self.extend(&template_data(path, sha256))
    }

    /// A violation: a file was written while it was measured. The log has zeros, PCR 10 gets ones.
    pub fn violate(&self, path: &str) -> anyhow::Result<()> {
        let mut violation = entry(path, &[0; 32]);
        // After the PCR's number: the hash of the template.
        violation.iter_mut().skip(4).take(20).for_each(|byte| *byte = 0);
        self.append(&violation)?;
        tpm_commands::extend(&mut tpm_commands::connect(&self.tcti)?, PCR, [0xff; 32])
    }

    /// Appends to the log without extending PCR 10: as an entry that comes after a quote looks.
    pub fn append(&self, entry: &[u8]) -> anyhow::Result<()> {
        let mut log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        Ok(log.write_all(entry)?)
    }

    fn extend(&self, data: &[u8]) -> anyhow::Result<()> {
        tpm_commands::extend(&mut tpm_commands::connect(&self.tcti)?, PCR, sha256(data))
    }
}
