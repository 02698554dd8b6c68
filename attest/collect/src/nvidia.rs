//! NVIDIA's GPUs: one report for each, by NVML.

mod nvml;

pub use nvml::Nvml;

use crate::{
    collector::Wanted,
    deadline::{Lost, Worker},
    device::{Binding, ReportDevice},
    device_error::DeviceError,
    error::CollectError,
};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use strongroom_protocol::{
    Bytes,
    evidence::{Evidence, EvidenceKind, NvidiaGpuEvidence},
    limits,
};

/// How long all GPUs together may take: each signs within a second or two, and they sign side by side.
const TIMEOUT: Duration = Duration::from_secs(40);

/// What the driver says of the machine's GPUs. `None`: it does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GpuState {
    /// How many there are.
    pub gpus: u32,
    /// They are in confidential mode.
    pub confidential: Option<bool>,
    /// They are in confidential mode for developers (DEVTOOLS), which protects nothing.
    pub dev_tools: Option<bool>,
    /// They take work.
    pub ready: Option<bool>,
}

/// What one GPU gave, as NVML gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuReport {
    /// SPDM request and response.
    pub report: Vec<u8>,
    /// The device's certificate chain, PEM.
    pub certificates: Vec<u8>,
}

/// NVIDIA's driver. [`Nvml`] is the real one.
pub trait GpuDriver: Send + Sync {
    /// What is there.
    fn state(&self) -> Result<GpuState, DeviceError>;
    /// A report of each GPU with this nonce, in the driver's order.
    fn reports(&self, nonce: [u8; 32]) -> Result<Vec<GpuReport>, DeviceError>;
}

/// All GPUs that the driver shows. None of them is left out: how many there have to be is the vault's to know.
pub struct NvidiaGpus {
    driver: Arc<dyn GpuDriver>,
    worker: Worker,
    /// How many there were at the last look; 0 before the first.
    seen: AtomicU32,
}

impl NvidiaGpus {
    /// This machine's.
    pub fn system() -> Self {
        Self::over(Arc::new(Nvml::system()))
    }

    /// Over another driver, for tests: configuration can name none.
    pub fn over(driver: Arc<dyn GpuDriver>) -> Self {
        Self { driver, worker: Worker::new(TIMEOUT), seen: AtomicU32::new(0) }
    }

    /// What the driver says.
    pub fn state(&self) -> Result<GpuState, DeviceError> {
        self.run("looking for GPUs", |driver| driver.state())
    }

    fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        operation: impl FnOnce(&dyn GpuDriver) -> Result<T, DeviceError> + Send + 'static,
    ) -> Result<T, DeviceError> {
        let driver = Arc::clone(&self.driver);
        match self.worker.run(move || operation(&*driver)) {
            Ok(done) => done,
            Err(Lost::TimedOut) => {
                Err(DeviceError::Timeout { device: EvidenceKind::NvidiaGpu, doing, timeout: self.worker.deadline() })
            }
            Err(Lost::NoThread) => {
                Err(DeviceError::Nvml { doing, reason: "no thread could do it".to_owned(), remedy: "" })
            }
        }
    }

    /// A GPU that fell off the bus is told here, and not by a vault that misses it.
    fn count(&self, found: u32) -> Result<(), DeviceError> {
        if found == 0 {
            return Err(DeviceError::NoGpu);
        }
        let expected = self.seen.fetch_max(found, Ordering::SeqCst);
        if found < expected { Err(DeviceError::GpusLost { expected, found }) } else { Ok(()) }
    }
}

impl ReportDevice for NvidiaGpus {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::NvidiaGpu
    }

    fn check(&self) -> Result<String, CollectError> {
        let state = self.state()?;
        self.count(state.gpus)?;
        if state.confidential == Some(false) {
            return Err(DeviceError::GpusNotConfidential.into());
        }
        Ok(state.to_string())
    }

    fn evidence(&self, binding: &Binding<'_>, _: Wanted<'_>) -> Result<Vec<Evidence>, CollectError> {
        let nonce = binding.gpu();
        let reports = self.run("asking for reports", move |driver| driver.reports(nonce))?;
        self.count(u32::try_from(reports.len()).unwrap_or(u32::MAX))?;
        let items = reports.into_iter().enumerate().map(|(index, report)| item(index, report));
        Ok(items.collect::<Result<Vec<_>, DeviceError>>()?)
    }
}

fn item(index: usize, report: GpuReport) -> Result<Evidence, DeviceError> {
    let GpuReport { report, certificates } = report;
    if !(1..=limits::GPU_REPORT).contains(&report.len()) {
        let (device, what, length) = (EvidenceKind::NvidiaGpu, "a GPU's report", report.len());
        return Err(DeviceError::Size { device, what, length, expected: format!("1 to {}", limits::GPU_REPORT) });
    }
    let wrong = |what: &str| DeviceError::GpuCertificates { index, what: what.to_owned() };
    let mut chain = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&certificates) {
        let certificate = certificate.map_err(|error| wrong(&error.to_string()))?;
        if certificate.len() > limits::CERTIFICATE {
            return Err(wrong("a certificate is too long"));
        }
        if chain.len() == limits::CERTIFICATES {
            return Err(wrong("too many certificates"));
        }
        chain.push(Bytes(certificate.to_vec()));
    }
    if chain.is_empty() {
        return Err(wrong("it is empty"));
    }
    Ok(Evidence::NvidiaGpu(NvidiaGpuEvidence { report: Bytes(report), certificates: chain }))
}

impl std::fmt::Display for GpuState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |says: Option<bool>, yes: &'static str, no: &'static str| match says {
            Some(true) => yes,
            Some(false) => no,
            None => "not said",
        };
        write!(
            f,
            "{} GPUs, confidential mode {}, DEVTOOLS {}, {}",
            self.gpus,
            word(self.confidential, "on", "off"),
            word(self.dev_tools, "on", "off"),
            word(self.ready, "ready", "not ready"),
        )
    }
}

#[cfg(test)]
pub(crate) mod tests;
