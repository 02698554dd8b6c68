//! GPUs of a driver that answers as told, and NVML's own entry points in a library that is compiled for the test.

use super::*;
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, mpsc},
};
use strongroom_protocol::{
    binding::{TAG_NVIDIA, TAG_NVIDIA_AGENT, gpu_nonce},
    evidence::PcrSelection,
};

/// A driver of so many GPUs, whose reports are the nonce and some bytes.
pub(crate) struct Gpus {
    state: Mutex<GpuState>,
    certificates: Vec<u8>,
    /// Bytes of a report.
    length: usize,
    hangs: Mutex<Option<mpsc::Receiver<()>>>,
}

impl Gpus {
    pub(crate) fn of(count: u32) -> Arc<Self> {
        Arc::new(Self::plain(count))
    }

    fn plain(count: u32) -> Self {
        let state = GpuState { gpus: count, confidential: Some(true), dev_tools: Some(false), ready: Some(true) };
        let (certificates, length) = (chain(5, 1200), 8192);
        Self { state: Mutex::new(state), certificates, length, hangs: Mutex::default() }
    }
}

impl GpuDriver for Gpus {
    fn state(&self) -> Result<GpuState, DeviceError> {
        Ok(*self.state.lock().unwrap())
    }

    fn reports(&self, nonce: [u8; 32]) -> Result<Vec<GpuReport>, DeviceError> {
        if let Some(end) = self.hangs.lock().unwrap().take() {
            let _ = end.recv();
        }
        let report: Vec<u8> = nonce.into_iter().cycle().take(self.length).collect();
        let gpus = self.state.lock().unwrap().gpus;
        Ok((0..gpus).map(|_| GpuReport { report: report.clone(), certificates: self.certificates.clone() }).collect())
    }
}

/// PEM of so many certificates, each of so many bytes; only their frame counts here.
fn chain(count: usize, length: usize) -> Vec<u8> {
    use std::fmt::Write as _;
    let mut pem = String::new();
    for _ in 0..count {
        let base64 = "QUFB".repeat(length.div_ceil(3));
        let _ = writeln!(pem, "-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----");
    }
    pem.into_bytes()
}

fn ask(gpus: &NvidiaGpus, caller: Option<&[u8]>) -> Result<Vec<NvidiaGpuEvidence>, DeviceError> {
    let selection = PcrSelection::default_sha256();
    match gpus.evidence(&Binding::new(b"s", caller), Wanted::whole(&selection)) {
        Ok(items) => Ok(items
            .into_iter()
            .map(|item| if let Evidence::NvidiaGpu(item) = item { item } else { panic!("{item:?}") })
            .collect()),
        Err(CollectError::Device(error)) => Err(error),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn each_gpu_binds_statement_and_caller_under_its_own_tag() {
    let gpus = NvidiaGpus::over(Gpus::of(8));
    for (caller, tag) in [(None, TAG_NVIDIA), (Some(b"c".as_slice()), TAG_NVIDIA_AGENT)] {
        let items = ask(&gpus, caller).unwrap();
        assert_eq!(items.len(), 8);
        for item in items {
            assert_eq!(item.report.0[..32], gpu_nonce(tag, b"s", caller));
            assert_eq!((item.certificates.len(), item.certificates[0].0.len()), (5, 1200));
        }
    }
}

#[test]
fn gpus_that_are_missing_or_sign_nothing_are_named() {
    let none = NvidiaGpus::over(Gpus::of(0));
    assert!(matches!(none.check(), Err(CollectError::Device(DeviceError::NoGpu))));
    assert!(matches!(ask(&none, None), Err(DeviceError::NoGpu)));
    let driver = Gpus::of(2);
    let gpus = NvidiaGpus::over(Arc::clone(&driver) as Arc<dyn GpuDriver>);
    assert_eq!(gpus.check().unwrap(), "2 GPUs, confidential mode on, DEVTOOLS off, ready");
    driver.state.lock().unwrap().confidential = Some(false);
    assert!(matches!(gpus.check(), Err(CollectError::Device(DeviceError::GpusNotConfidential))));
    // Drivers that do not say may still sign; and what DEVTOOLS is worth is the vault's to say.
    for (confidential, dev_tools) in [(None, None), (Some(true), Some(true))] {
        let state = GpuState { confidential, dev_tools, ..*driver.state.lock().unwrap() };
        *driver.state.lock().unwrap() = state;
        gpus.check().unwrap();
    }
}

#[test]
fn a_gpu_that_fell_off_is_missed() {
    let driver = Gpus::of(8);
    let gpus = NvidiaGpus::over(Arc::clone(&driver) as Arc<dyn GpuDriver>);
    ask(&gpus, None).unwrap();
    driver.state.lock().unwrap().gpus = 7;
    assert!(matches!(ask(&gpus, None), Err(DeviceError::GpusLost { expected: 8, found: 7 })));
    assert!(matches!(gpus.check(), Err(CollectError::Device(DeviceError::GpusLost { .. }))));
    driver.state.lock().unwrap().gpus = 8;
    assert_eq!(ask(&gpus, None).unwrap().len(), 8);
}

#[test]
fn reports_and_chains_keep_within_the_caps() {
    for (length, fits) in [(0, false), (1, true), (limits::GPU_REPORT, true), (limits::GPU_REPORT + 1, false)] {
        let answer = ask(&NvidiaGpus::over(Arc::new(Gpus { length, ..Gpus::plain(1) })), None);
        assert_eq!(answer.is_ok(), fits, "{length}");
        assert!(fits || matches!(answer, Err(DeviceError::Size { .. })));
    }
    let longest = limits::CERTIFICATE / 3 * 3;
    for (certificates, fits) in [
        (chain(limits::CERTIFICATES, 300), true),
        (chain(limits::CERTIFICATES + 1, 300), false),
        (chain(1, longest), true),
        (chain(1, longest + 3), false),
        (Vec::new(), false),
        (b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----".to_vec(), false),
        // What follows the text in a driver's buffer is no certificate.
        ([chain(5, 300), vec![0; 100]].concat(), true),
    ] {
        let answer = ask(&NvidiaGpus::over(Arc::new(Gpus { certificates, ..Gpus::plain(1) })), None);
        assert_eq!(answer.is_ok(), fits, "{answer:?}");
        assert!(fits || matches!(answer, Err(DeviceError::GpuCertificates { index: 0, .. })));
    }
}

#[test]
fn a_driver_that_hangs_is_given_up() {
    let (end, hang) = mpsc::channel();
    let driver = Arc::new(Gpus { hangs: Mutex::new(Some(hang)), ..Gpus::plain(1) });
    let gpus = NvidiaGpus { worker: Worker::new(Duration::from_millis(50)), ..NvidiaGpus::over(driver) };
    let error = ask(&gpus, None).unwrap_err();
    assert!(matches!(error, DeviceError::Timeout { device: EvidenceKind::NvidiaGpu, .. }), "{error}");
    drop(end);
}

/// NVML's entry points as `nvml.h` of R550 declares them, for `GPUS` devices.
const LIBRARY: &str = r"
#include <string.h>
typedef struct { unsigned index; } *device;
static struct { unsigned index; } devices[64];
int nvmlInit_v2(void) { return INIT; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = GPUS; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) {
    if (index >= GPUS) return 2;
    devices[index].index = index; *out = &devices[index]; return 0;
}
#ifdef MODE
int nvmlSystemGetConfComputeSettings(struct { unsigned version, environment, feature, tools, multi; } *s) {
    if (s->version != (sizeof *s | (1u << 24))) return 25;
    s->environment = 2; s->feature = MODE; s->tools = TOOLS; s->multi = 0; return 0;
}
int nvmlSystemGetConfComputeGpusReadyState(unsigned *ready) { *ready = 1; return 0; }
#endif
int nvmlDeviceGetConfComputeGpuAttestationReport(device d, struct {
    unsigned cec, size, cec_size; unsigned char nonce[32], report[8192], cec_report[4096]; } *r) {
    r->cec = 0; r->size = SIZE; memset(r->report, 0x40 + d->index, 100); memcpy(r->report, r->nonce, 32); return REPORT;
}
int nvmlDeviceGetConfComputeGpuCertificate(device d, struct {
    unsigned chain_size, attestation_size; unsigned char chain[4096], attestation[5120]; } *c) {
    const char *pem = PEM;
    c->attestation_size = strlen(pem); memcpy(c->attestation, pem, strlen(pem)); return 0;
}
";

/// Compiles [`LIBRARY`] with these definitions over the defaults.
fn library(dir: &Path, name: &str, definitions: &[&str]) -> PathBuf {
    let source = dir.join("nvml.c");
    let pem = String::from_utf8(chain(5, 300)).unwrap().replace('\n', "\\n");
    let text = format!(
        "#ifndef INIT\n#define INIT 0\n#endif\n#ifndef GPUS\n#define GPUS 3\n#endif\n#ifndef SIZE\n#define SIZE 100\n\
         #endif\n#ifndef REPORT\n#define REPORT 0\n#endif\n#define PEM \"{pem}\"\n{LIBRARY}"
    );
    std::fs::write(&source, text).unwrap();
    let out = dir.join(name);
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-w", "-o"]).arg(&out).args(definitions).arg(&source);
    assert!(cc.status().unwrap().success(), "cc, which links every Rust program, does not compile");
    out
}

#[test]
fn nvml_is_called_as_its_header_declares() {
    let dir = tempfile::tempdir().unwrap();
    let on = library(dir.path(), "on.so", &["-DMODE=1", "-DTOOLS=1"]);
    let gpus = NvidiaGpus::over(Arc::new(Nvml::at(on)));
    let expected = GpuState { gpus: 3, confidential: Some(true), dev_tools: Some(true), ready: Some(true) };
    assert_eq!(gpus.state().unwrap(), expected);
    let items = ask(&gpus, Some(b"c")).unwrap();
    assert_eq!(items.len(), 3);
    for (index, item) in (0..).zip(items) {
        assert_eq!(item.report.0[..32], gpu_nonce(TAG_NVIDIA_AGENT, b"s", Some(b"c")));
        // Each its own, in order, as long as the driver says.
        assert_eq!(item.report.0[32..], [0x40 + index; 68]);
        assert_eq!(item.certificates.len(), 5);
    }
    let off = library(dir.path(), "off.so", &["-DMODE=0", "-DTOOLS=0"]);
    let gpus = NvidiaGpus::over(Arc::new(Nvml::at(off)));
    assert!(matches!(gpus.check(), Err(CollectError::Device(DeviceError::GpusNotConfidential))));
    // A driver that does not know these questions, and no GPU to ask them of.
    let old = NvidiaGpus::over(Arc::new(Nvml::at(library(dir.path(), "old.so", &[]))));
    let expected = GpuState { gpus: 3, confidential: None, dev_tools: None, ready: None };
    assert_eq!(old.state().unwrap(), expected);
    let none = NvidiaGpus::over(Arc::new(Nvml::at(library(dir.path(), "none.so", &["-DGPUS=0"]))));
    assert!(matches!(none.check(), Err(CollectError::Device(DeviceError::NoGpu))));
}

#[test]
fn each_refusal_of_nvml_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |library: PathBuf| ask(&NvidiaGpus::over(Arc::new(Nvml::at(library))), None).unwrap_err();
    let missing = refused(dir.path().join("nothing.so"));
    assert!(matches!(missing, DeviceError::NvmlMissing { .. }), "{missing}");
    // NVML_ERROR_NO_PERMISSION, NVML_ERROR_DRIVER_NOT_LOADED, NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_GPU_IS_LOST
    for (name, define, word) in [
        ("a.so", "-DINIT=4", "DeviceAllow"),
        ("b.so", "-DINIT=9", "modprobe nvidia"),
        ("c.so", "-DREPORT=3", "confidential mode"),
        ("d.so", "-DREPORT=15", "fell off the bus"),
    ] {
        let error = refused(library(dir.path(), name, &[define]));
        assert!(matches!(error, DeviceError::Nvml { .. }) && error.to_string().contains(word), "{error}");
    }
    let long = refused(library(dir.path(), "e.so", &["-DSIZE=8193"]));
    assert!(matches!(long, DeviceError::Nvml { .. }) && long.to_string().contains("longer"), "{long}");
}
