//! Each kind of device that may give evidence beside the TPM: present, missing, or misconfigured.

use super::findings::Findings;
use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};
use strongroom::{
    collect::{
        AzureVtpm, CollectError, CollectorConfig, DeviceError, GpuState, KERNEL_CCEL, NvidiaGpus, ReportDevice,
        SEV_GUEST, SevSnp, TDX_GUEST, TSM_REPORTS, Tdx,
    },
    protocol::evidence::EvidenceKind,
};

/// The agent's group, as deploy/README.md makes it.
const AGENT_GROUP: &str = "strongroom-agent";
/// What Azure writes into every machine's SMBIOS.
const AZURE_ASSET_TAG: &str = "7783-7084-3265-9085-8269-3286-77";
/// NVIDIA, on a PCI bus.
const NVIDIA: &str = "0x10de";

/// What the examination takes from its surroundings; a test has a tree and answers of its own.
pub(super) struct Devices<'a> {
    /// Where /dev, /proc and /sys are.
    root: &'a Path,
    /// What `devices` names; `None` where the agent decides, whose arguments are not ours to read.
    named: Option<&'a [EvidenceKind]>,
    /// Asks a device whether it could give evidence; `None` where this process is not to ask.
    ask: &'a dyn Fn(EvidenceKind) -> Option<Result<String, CollectError>>,
    /// What NVML says.
    gpus: &'a dyn Fn() -> Result<GpuState, DeviceError>,
}

/// All kinds. With a configuration of devices, those that it names are really asked.
pub(super) fn examine(root: &Path, config: Option<&CollectorConfig>, findings: &mut Findings) {
    let real = root == Path::new("/");
    let ask = |kind| config.filter(|config| real && config.devices.contains(&kind)).map(|config| check(kind, config));
    let gpus = || if real { NvidiaGpus::system().state() } else { Err(DeviceError::NoGpu) };
    let devices = Devices { root, named: config.map(|config| config.devices.as_slice()), ask: &ask, gpus: &gpus };
    devices.examine(findings);
}

fn check(kind: EvidenceKind, config: &CollectorConfig) -> Result<String, CollectError> {
    match kind {
        // Looked at by itself, as the node's identity.
        EvidenceKind::Tpm2 => Ok(String::new()),
        EvidenceKind::SevSnp => SevSnp::system().check(),
        EvidenceKind::Tdx => Tdx::system(config.ccel.clone()).check(),
        EvidenceKind::NvidiaGpu => NvidiaGpus::system().check(),
        EvidenceKind::AzureSnpVtpm => AzureVtpm::open(config)?.check(),
    }
}

impl Devices<'_> {
    fn examine(&self, findings: &mut Findings) {
        self.sev_snp(findings);
        self.tdx(findings);
        self.nvidia(findings);
        self.azure(findings);
    }

    fn sev_snp(&self, findings: &mut Findings) {
        const KIND: EvidenceKind = EvidenceKind::SevSnp;
        let device = self.has(SEV_GUEST);
        if !device && !self.has("/sys/bus/platform/devices/sev-guest") {
            return self.missing(KIND, "this machine is no SEV-SNP guest", findings);
        }
        if !device {
            return self.wrong(KIND, "an SEV-SNP guest without its driver", "modprobe sev-guest", findings);
        }
        if self.is_exposed(KIND, SEV_GUEST, findings) || self.is_exposed(KIND, TSM_REPORTS, findings) {
            return;
        }
        if self.is_refused(KIND, findings) {
            return;
        }
        if self.has(TSM_REPORTS) {
            self.present(KIND, "reports by configfs-tsm", findings);
        } else {
            findings.warn(
                KIND.as_str(),
                format!("present: reports by {SEV_GUEST} alone, {}", self.without_tsm()),
                self.remedy_of_tsm(),
            );
        }
    }

    fn tdx(&self, findings: &mut Findings) {
        const KIND: EvidenceKind = EvidenceKind::Tdx;
        let device = self.has(TDX_GUEST);
        let flags = self.read("/proc/cpuinfo").unwrap_or_default();
        let is_guest = flags.lines().any(|line| line.starts_with("flags") && line.split(' ').any(|f| f == "tdx_guest"));
        if !device && !is_guest {
            return self.missing(KIND, "this machine is no TDX guest", findings);
        }
        if !device {
            return self.wrong(KIND, "a TDX guest without its driver", "modprobe tdx-guest", findings);
        }
        if self.is_exposed(KIND, TDX_GUEST, findings) || self.is_exposed(KIND, TSM_REPORTS, findings) {
            return;
        }
        if !self.has(TSM_REPORTS) {
            let found = format!("{TDX_GUEST} gives no quotes by itself, {}", self.without_tsm());
            return self.wrong(KIND, &found, self.remedy_of_tsm(), findings);
        }
        if self.is_refused(KIND, findings) {
            return;
        }
        if self.has(KERNEL_CCEL) {
            self.present(KIND, "quotes by configfs-tsm, and an event log (CCEL)", findings);
        } else {
            findings.warn(
                KIND.as_str(),
                "present: quotes by configfs-tsm; the firmware gives no event log (CCEL)",
                "policies that read RTMRs of the boot need it: ask the provider of the machine for firmware that measures",
            );
        }
    }

    fn nvidia(&self, findings: &mut Findings) {
        const KIND: EvidenceKind = EvidenceKind::NvidiaGpu;
        let on_the_bus = self.gpus_on_the_bus();
        if on_the_bus == 0 && !self.has("/dev/nvidiactl") {
            return self.missing(KIND, "no GPU of NVIDIA", findings);
        }
        if !self.has("/dev/nvidiactl") {
            let found = format!("{on_the_bus} GPUs without their driver");
            return self.wrong(KIND, &found, "modprobe nvidia; `dmesg` says why it did not load", findings);
        }
        let state = match (self.gpus)() {
            Ok(state) => state,
            Err(error) => {
                return self.wrong(
                    KIND,
                    &error.to_string(),
                    "the message names it; `nvidia-smi` asks the same",
                    findings,
                );
            }
        };
        if usize::try_from(state.gpus).unwrap_or(usize::MAX) < on_the_bus {
            let found = format!("the driver shows {} of {on_the_bus} GPUs", state.gpus);
            return self.wrong(KIND, &found, "see `nvidia-smi` and `dmesg`: a vault misses the others", findings);
        }
        if state.dev_tools == Some(true) {
            let remedy = "have the host switch DEVTOOLS off, and confidential mode on, and start the guest anew";
            return self.wrong(KIND, &format!("{state}: DEVTOOLS opens the GPUs to debuggers"), remedy, findings);
        }
        if state.confidential == Some(false) {
            if !self.is_named(KIND) {
                return findings.ok(KIND.as_str(), format!("present: {state}; they sign nothing"));
            }
            let remedy = "have the host switch confidential mode on (CC mode), and start the guest anew";
            return self.wrong(KIND, &format!("{state}: they sign nothing"), remedy, findings);
        }
        if self.is_refused(KIND, findings) {
            return;
        }
        if state.ready == Some(false) {
            return findings.warn(
                KIND.as_str(),
                format!("present: {state}"),
                "they take no work until somebody says that they may: nvidia-smi conf-compute -srs 1",
            );
        }
        self.present(KIND, &state.to_string(), findings);
    }

    fn azure(&self, findings: &mut Findings) {
        const KIND: EvidenceKind = EvidenceKind::AzureSnpVtpm;
        let tag = self.read("/sys/class/dmi/id/chassis_asset_tag").unwrap_or_default();
        if self.is_refused(KIND, findings) {
            return;
        }
        if self.is_named(KIND) {
            self.present(KIND, "the vTPM has an HCL report, and its key", findings);
        } else if tag.trim() == AZURE_ASSET_TAG {
            self.present(KIND, "an Azure machine; if it is a confidential one, its vTPM has an HCL report", findings);
        } else {
            self.missing(KIND, "no machine of Azure", findings);
        }
    }

    /// Whether configuration names it and it does not answer; that is told.
    fn is_refused(&self, kind: EvidenceKind, findings: &mut Findings) -> bool {
        let Some(Err(error)) = (self.ask)(kind) else { return false };
        findings.fail(
            kind.as_str(),
            format!("misconfigured: {error}"),
            "the message names what is missing; run this as the user that collects evidence, often root",
        );
        true
    }

    /// Whether others than root and the agent may use it, and so have evidence made that names any caller; that is told.
    fn is_exposed(&self, kind: EvidenceKind, path: &str, findings: &mut Findings) -> bool {
        let Ok(seen) = fs::metadata(self.at(path)) else { return false };
        let mode = seen.permissions().mode() & 0o777;
        // A directory is used by making another in it; a device by opening it at all.
        let used = if seen.is_dir() { 0o222 } else { 0o666 };
        let by_group = mode & used & 0o070 != 0 && ![Some(0), self.agent_group()].contains(&Some(seen.gid()));
        let who = if mode & used & 0o007 != 0 {
            "anybody".to_owned()
        } else if by_group {
            format!("group {}", seen.gid())
        } else {
            return false;
        };
        findings.fail(
            kind.as_str(),
            format!("misconfigured: {path} has mode {mode:04o}: {who} may have evidence made that names any caller"),
            format!(
                "chmod go-rwx {path}, by a udev rule if it is a device; at the most, group {AGENT_GROUP} may use it"
            ),
        );
        true
    }

    fn agent_group(&self) -> Option<u32> {
        let groups = self.read("/etc/group")?;
        let fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
        fields.filter(|fields| fields.first() == Some(&AGENT_GROUP)).find_map(|fields| fields.get(2)?.parse().ok())
    }

    fn missing(&self, kind: EvidenceKind, found: &str, findings: &mut Findings) {
        let found = format!("missing: {found}");
        if self.is_named(kind) {
            findings.fail(kind.as_str(), found, format!("leave {kind} out of `devices` in node.json"));
        } else {
            findings.ok(kind.as_str(), found);
        }
    }

    /// There, and as it is of no use.
    fn wrong(&self, kind: EvidenceKind, found: &str, remedy: &str, findings: &mut Findings) {
        let found = format!("misconfigured: {found}");
        if self.is_named(kind) {
            findings.fail(kind.as_str(), found, remedy);
        } else {
            findings.warn(kind.as_str(), found, remedy);
        }
    }

    fn present(&self, kind: EvidenceKind, found: &str, findings: &mut Findings) {
        let sent = match self.named {
            Some(named) if named.contains(&kind) => "",
            Some(_) => "; not among `devices` of node.json, so it is not sent",
            None => "; the agent sends it if `--device` says so",
        };
        findings.ok(kind.as_str(), format!("present: {found}{sent}"));
    }

    fn is_named(&self, kind: EvidenceKind) -> bool {
        self.named.is_some_and(|named| named.contains(&kind))
    }

    /// Why there is no configfs-tsm.
    fn without_tsm(&self) -> &'static str {
        if self.is_mounted() { "the kernel has no configfs-tsm" } else { "configfs is not mounted" }
    }

    fn remedy_of_tsm(&self) -> &'static str {
        if self.is_mounted() {
            "boot Linux 6.7 or newer, with CONFIG_TSM_REPORTS"
        } else {
            "mount -t configfs none /sys/kernel/config"
        }
    }

    fn is_mounted(&self) -> bool {
        let mounts = self.read("/proc/self/mounts").unwrap_or_default();
        mounts.lines().any(|line| line.split(' ').nth(2) == Some("configfs"))
    }

    fn gpus_on_the_bus(&self) -> usize {
        let Ok(devices) = fs::read_dir(self.at("/sys/bus/pci/devices")) else { return 0 };
        let is_gpu = |path: &Path| {
            let of = |name: &str| fs::read_to_string(path.join(name)).unwrap_or_default();
            // VGA and 3D controllers (PCI Code and ID Assignment, class 03h).
            of("vendor").trim() == NVIDIA && ["0x0300", "0x0302"].iter().any(|class| of("class").starts_with(class))
        };
        devices.filter_map(Result::ok).filter(|entry| is_gpu(&entry.path())).count()
    }

    fn has(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests;
