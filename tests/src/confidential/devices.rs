//! A guest's devices over what is below it: configfs-tsm as Linux lays it out, and a driver of GPUs.

use super::below::Below;
use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use strongroom_collect::{
    AzureVtpm, CollectError, Collector, CollectorConfig, DeviceError, Devices, GpuDriver, GpuReport, GpuState,
    NvidiaGpus, ReportDevice, SevGuest, SevSnp, Tdx, TsmFiles,
};
use strongroom_protocol::evidence::EvidenceKind;

/// Opens what a configuration names over `below`. A TPM that it names is the real one of the configuration.
///
/// # Errors
/// A kind that this machine does not have, or the TPM's.
pub fn devices(below: &Arc<dyn Below>, config: &CollectorConfig) -> Result<Devices, CollectError> {
    let open = |kind: &EvidenceKind| -> Result<Box<dyn ReportDevice>, CollectError> {
        let device: Box<dyn ReportDevice> = match kind {
            EvidenceKind::Tpm2 => return Ok(Box::new(Collector::open_enrolled(config)?)),
            EvidenceKind::SevSnp => Box::new(SevSnp::over(Arc::new(Tsm::over(below)), Arc::new(NoSevGuest))),
            EvidenceKind::NvidiaGpu => Box::new(NvidiaGpus::over(Arc::new(Driver(Arc::clone(below))))),
            EvidenceKind::Tdx => {
                Box::new(Tdx::over(Arc::new(Tsm::over(below)), "/dev/of/this/test".into(), config.ccel.clone()))
            }
            // A real TPM too, in which the paravisor's envelope lies.
            EvidenceKind::AzureSnpVtpm => Box::new(AzureVtpm::open(config)?),
        };
        device.check()?;
        Ok(device)
    };
    Ok(Devices::of(config.devices.iter().map(open).collect::<Result<_, _>>()?))
}

/// configfs-tsm in memory: a directory a report, with the attributes that Linux has.
struct Tsm {
    below: Arc<dyn Below>,
    reports: Mutex<BTreeMap<String, Attributes>>,
}

#[derive(Default)]
struct Attributes {
    generation: u64,
    inblob: Option<[u8; 64]>,
    given: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tsm {
    fn over(below: &Arc<dyn Below>) -> Self {
        Self { below: Arc::clone(below), reports: Mutex::default() }
    }

    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Attributes) -> io::Result<T>) -> io::Result<T> {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        act(reports.get_mut(name).ok_or(ErrorKind::NotFound)?)
    }
}

impl TsmFiles for Tsm {
    fn path(&self) -> &Path {
        Path::new("/configfs/of/this/test")
    }

    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.reports.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect())
    }

    fn make(&self, name: &str) -> io::Result<()> {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        if reports.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        reports.insert(name.to_owned(), Attributes::default());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.remove(name).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn write(&self, name: &str, attribute: &str, bytes: &[u8]) -> io::Result<()> {
        self.with(name, |report| {
            if attribute != "inblob" {
                return Err(ErrorKind::PermissionDenied.into());
            }
            report.inblob = Some(bytes.try_into().map_err(|_| ErrorKind::InvalidInput)?);
            report.generation += 1;
            report.given = None;
            Ok(())
        })
    }

    fn read(&self, name: &str, attribute: &str, _: usize) -> io::Result<Vec<u8>> {
        self.with(name, |report| match attribute {
            "provider" => Ok(format!("{}\n", self.below.provider()?).into_bytes()),
            "generation" => Ok(format!("{}\n", report.generation).into_bytes()),
            "outblob" | "auxblob" => {
                let data = report.inblob.ok_or(ErrorKind::InvalidInput)?;
                let given = match report.given.take() {
                    Some(given) => given,
                    None => self.below.report(data)?,
                };
                let (outblob, auxblob) = report.given.insert(given);
                Ok(if attribute == "outblob" { outblob.clone() } else { auxblob.clone() })
            }
            _ => Err(ErrorKind::NotFound.into()),
        })
    }
}

/// The older way, which is not there.
struct NoSevGuest;

impl SevGuest for NoSevGuest {
    fn path(&self) -> &Path {
        Path::new("/dev/of/this/test")
    }

    fn check(&self) -> Result<(), String> {
        Err("not there".to_owned())
    }

    fn report(&self, _: [u8; 64]) -> Result<Vec<u8>, String> {
        Err("not there".to_owned())
    }
}

/// A driver that asks what is below.
struct Driver(Arc<dyn Below>);

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> DeviceError {
    move |error| DeviceError::Nvml { doing, reason: error.to_string(), remedy: "" }
}

impl GpuDriver for Driver {
    fn state(&self) -> Result<GpuState, DeviceError> {
        self.0.state().map_err(failed("looking for GPUs"))
    }

    fn reports(&self, nonce: [u8; 32]) -> Result<Vec<GpuReport>, DeviceError> {
        self.0.gpus(nonce).map_err(failed("asking for reports"))
    }
}
