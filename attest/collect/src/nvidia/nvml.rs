//! NVML, loaded when it is asked: a node without GPUs has no such library.

use super::{GpuDriver, GpuReport, GpuState};
use crate::device_error::DeviceError;
use nvml_wrapper::{Device, Nvml as Library, error::NvmlError};
use std::{ffi::OsString, path::PathBuf, thread};

/// The library, by the name under which every driver installs it.
const LIBRARY: &str = "libnvidia-ml.so.1";

/// NVIDIA's management library. Loaded and started for each request, so that a driver that was replaced needs no
/// restart.
#[derive(Debug, Clone)]
pub struct Nvml {
    library: OsString,
}

impl Nvml {
    /// The system's, as the loader finds it.
    pub fn system() -> Self {
        Self { library: LIBRARY.into() }
    }

    /// Another file, for tests: configuration can name none.
    pub fn at(library: PathBuf) -> Self {
        Self { library: library.into() }
    }

    fn start(&self) -> Result<Library, DeviceError> {
        Library::builder().lib_path(&self.library).init().map_err(|error| refused("starting it", &error))
    }
}

impl GpuDriver for Nvml {
    fn state(&self) -> Result<GpuState, DeviceError> {
        let library = self.start()?;
        let gpus = library.device_count().map_err(|error| refused("counting GPUs", &error))?;
        let mut state = GpuState { gpus, confidential: None, dev_tools: None, ready: None };
        if gpus > 0 {
            // These hold for the system; the library asks them of a device.
            let device = library.device_by_index(0).map_err(|error| refused("opening GPU 0", &error))?;
            state.confidential = said(device.is_cc_enabled())?;
            state.dev_tools = said(device.is_cc_dev_mode_enabled())?;
            state.ready = said(device.get_confidential_compute_state())?;
        }
        Ok(state)
    }

    fn reports(&self, nonce: [u8; 32]) -> Result<Vec<GpuReport>, DeviceError> {
        let library = self.start()?;
        let gpus = library.device_count().map_err(|error| refused("counting GPUs", &error))?;
        // Eight GPUs one after another would take a good part of a nonce's life.
        thread::scope(|scope| {
            let asked: Vec<_> = (0..gpus)
                .map(|index| {
                    let library = &library;
                    scope.spawn(move || {
                        let device =
                            library.device_by_index(index).map_err(|error| refused("opening a GPU", &error))?;
                        report(&device, nonce)
                    })
                })
                .collect();
            // Each is waited for before one's failure is told: a panic that nobody took would be the scope's.
            let answers: Vec<_> =
                asked.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(absurd()))).collect();
            answers.into_iter().collect()
        })
    }
}

/// The library panics over lengths above those of its buffers.
fn absurd() -> DeviceError {
    let reason = "the driver's answer is longer than NVML allows".to_owned();
    DeviceError::Nvml { doing: "asking a GPU", reason, remedy: ": update or restart the driver" }
}

fn report(device: &Device<'_>, nonce: [u8; 32]) -> Result<GpuReport, DeviceError> {
    let given = device
        .confidential_compute_gpu_attestation_report(nonce)
        .map_err(|error| refused("asking for a report", &error))?;
    let chain = device
        .confidential_compute_gpu_certificate()
        .map_err(|error| refused("asking for a certificate chain", &error))?;
    // Both as long as the driver says.
    Ok(GpuReport { report: given.attestation_report, certificates: chain.attestation_cert_chain })
}

/// An answer that older drivers and other GPUs do not have.
fn said(answer: Result<bool, NvmlError>) -> Result<Option<bool>, DeviceError> {
    match answer {
        Ok(says) => Ok(Some(says)),
        Err(NvmlError::NotSupported | NvmlError::FailedToLoadSymbol(_) | NvmlError::FunctionNotFound) => Ok(None),
        Err(error) => Err(refused("asking for the confidential mode", &error)),
    }
}

fn refused(doing: &'static str, error: &NvmlError) -> DeviceError {
    let remedy = match error {
        NvmlError::LibloadingError(_) | NvmlError::LibraryNotFound => {
            return DeviceError::NvmlMissing { reason: error.to_string() };
        }
        NvmlError::DriverNotLoaded => ": load the driver (`modprobe nvidia`), and see `dmesg`",
        NvmlError::NoPermission => ": let this process open /dev/nvidiactl and /dev/nvidia0 (DeviceAllow= in the unit)",
        NvmlError::NotSupported => ": is the GPU in confidential mode, and does the driver know it?",
        NvmlError::GpuLost => ": the GPU fell off the bus, see `dmesg`",
        NvmlError::FailedToLoadSymbol(_) => ": the driver is too old for confidential GPUs, install R550 or newer",
        _ => "",
    };
    DeviceError::Nvml { doing, reason: error.to_string(), remedy }
}
