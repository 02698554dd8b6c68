//! What is below a guest: a processor that signs reports, and GPUs.

use super::makers::gpu_identity;
use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};
use strongroom_collect::{GpuReport, GpuState};
use strongroom_hardware::{
    certificate::pem,
    nvidia::Gpu,
    snp::{Leaf, Snp},
};
use strongroom_protocol::identity::{Identity, IdentityKind};

/// Whatever gives reports: in this process, or beyond a socket.
pub trait Below: Send + Sync {
    /// What configfs-tsm calls what gives the reports.
    fn provider(&self) -> io::Result<String>;

    /// A report with this `report_data`, and the certificate table beside it: a processor's, or a module's quote.
    fn report(&self, data: [u8; 64]) -> io::Result<(Vec<u8>, Vec<u8>)>;

    /// A report of each GPU with this nonce.
    fn gpus(&self, nonce: [u8; 32]) -> io::Result<Vec<GpuReport>>;

    /// What the driver says.
    fn state(&self) -> io::Result<GpuState>;
}

/// A GPU, with its certificates as they were signed once.
pub struct GpuBelow {
    /// The GPU; its report is signed anew each time.
    pub gpu: Gpu,
    /// PEM, leaf first.
    certificates: Vec<u8>,
}

impl GpuBelow {
    pub(super) fn of(gpu: Gpu) -> Self {
        let certificates = gpu.certificates().iter().map(|der| pem(der)).collect::<String>().into_bytes();
        Self { gpu, certificates }
    }

    /// What its device certificate shows.
    pub fn identity(&self) -> Option<Identity> {
        let device = self.gpu.chain.certificates.get(3)?;
        Some(Identity { kind: IdentityKind::NvidiaGpu, value: hex::encode(&device.serial) })
    }
}

/// The parts of a machine, each to be made wrong.
pub struct Parts {
    /// Processor, its report, and what AMD says of its key.
    pub snp: Snp,
    /// Whose key signs: the chip's, or its provider's.
    pub leaf: Leaf,
    /// The certificate of that key (DER).
    pub certificate: Vec<u8>,
    /// The certificate above it (DER).
    pub issuer: Vec<u8>,
    /// GPUs, in the driver's order.
    pub gpus: Vec<GpuBelow>,
    /// What the driver says of them, but for their number.
    pub state: GpuState,
}

/// A machine in this process.
pub struct Confidential(Mutex<Parts>);

impl Confidential {
    pub(super) fn of(parts: Parts) -> Self {
        Self(Mutex::new(parts))
    }

    /// Changes it, until it is changed again.
    pub fn change<T>(&self, change: impl FnOnce(&mut Parts) -> T) -> T {
        change(&mut self.parts())
    }

    /// Starts the guest anew: its report id is another.
    pub fn relaunch(&self) {
        self.change(|parts| parts.snp.report.report_id.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1)));
    }

    /// The identity of its processor.
    pub fn chip(&self) -> Identity {
        Identity { kind: IdentityKind::SnpChip, value: hex::encode(self.parts().snp.report.chip_id) }
    }

    /// Everything that an operator writes down of it: its processor, then its GPUs.
    pub fn identities(&self) -> Vec<Identity> {
        let gpus: Vec<Identity> = self.parts().gpus.iter().filter_map(GpuBelow::identity).collect();
        [vec![self.chip()], gpus].concat()
    }

    /// The launch measurement of its guest.
    pub fn measurement(&self) -> [u8; 48] {
        self.parts().snp.report.measurement
    }

    /// The identity of the GPU that a test gave this number.
    pub fn gpu(number: u16) -> Identity {
        gpu_identity(number)
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Below for Confidential {
    fn provider(&self) -> io::Result<String> {
        Ok("sev_guest".to_owned())
    }

    fn report(&self, data: [u8; 64]) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let parts = self.parts();
        let mut report = parts.snp.report.clone();
        report.report_data = data;
        Ok((report.sign(parts.snp.report_key), table(&[&parts.certificate, &parts.issuer])))
    }

    fn gpus(&self, nonce: [u8; 32]) -> io::Result<Vec<GpuReport>> {
        let mut parts = self.parts();
        let reports = parts.gpus.iter_mut().map(|GpuBelow { gpu, certificates }| {
            gpu.report.nonce = nonce;
            GpuReport { report: gpu.report_bytes(), certificates: certificates.clone() }
        });
        Ok(reports.collect())
    }

    fn state(&self) -> io::Result<GpuState> {
        let parts = self.parts();
        Ok(GpuState { gpus: u32::try_from(parts.gpus.len()).unwrap_or(u32::MAX), ..parts.state })
    }
}

/// A host's certificate table (AMD 56421, extended guest request): heads of label, place and length, an empty one,
/// contents. Labels are not read by anybody here.
fn table(contents: &[&[u8]]) -> Vec<u8> {
    const HEAD: usize = 24;
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_le_bytes();
    let (mut heads, mut body) = (Vec::new(), Vec::new());
    let start = HEAD * (contents.len() + 1);
    for content in contents {
        heads.extend([1; 16]);
        heads.extend(number(start + body.len()));
        heads.extend(number(content.len()));
        body.extend_from_slice(content);
    }
    heads.extend([0; HEAD]);
    [heads, body].concat()
}
