//! Machines of files, each with one thing wrong.

use super::{
    super::findings::{Finding, Verdict},
    *,
};
use std::fs::Permissions;
use tempfile::TempDir;

const GOOD: GpuState = GpuState { gpus: 2, confidential: Some(true), dev_tools: Some(false), ready: Some(true) };

/// A machine's files, and what its devices answer.
struct Machine {
    dir: TempDir,
    gpus: GpuState,
    refuses: Option<EvidenceKind>,
}

impl Machine {
    fn with(paths: &[&str]) -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap(), gpus: GOOD, refuses: None };
        for path in paths {
            machine.write(path, "", 0o600);
        }
        machine
    }

    fn write(&self, path: &str, text: &str, mode: u32) {
        let path = self.dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn directory(&self, path: &str, mode: u32) {
        let path = self.dir.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn gpu(&self, slot: &str, vendor: &str, class: &str) {
        self.write(&format!("/sys/bus/pci/devices/{slot}/vendor"), &format!("{vendor}\n"), 0o444);
        self.write(&format!("/sys/bus/pci/devices/{slot}/class"), &format!("{class}\n"), 0o444);
    }

    /// What is found of one kind. Each kind has one row.
    #[track_caller]
    fn find(&self, named: Option<&[EvidenceKind]>, kind: EvidenceKind) -> Finding {
        let ask = |asked| {
            let named = named.is_some_and(|named| named.contains(&asked));
            let refused = || Err(CollectError::from(DeviceError::NoGpu));
            named.then(|| if self.refuses == Some(asked) { refused() } else { Ok(String::new()) })
        };
        let gpus = || Ok(self.gpus);
        let mut findings = Findings::default();
        Devices { root: self.dir.path(), named, ask: &ask, gpus: &gpus }.examine(&mut findings);
        assert_eq!(findings.0.len(), 4, "{findings:?}");
        findings.0.into_iter().find(|finding| finding.check == kind.as_str()).unwrap()
    }

    /// Verdict and first word where it is not named, and where it is.
    #[track_caller]
    fn both(&self, kind: EvidenceKind) -> [(Verdict, String); 2] {
        [None, Some([kind].as_slice())].map(|named| {
            let found = self.find(named, kind);
            (found.verdict, found.found.split(':').next().unwrap().to_owned())
        })
    }
}

fn rows(unnamed: Verdict, named: Verdict, word: &str) -> [(Verdict, String); 2] {
    [unnamed, named].map(|verdict| (verdict, word.to_owned()))
}

const FLAGS: &str = "processor: 0\nflags\t\t: fpu tdx_guest sse\n";

#[test]
fn what_is_missing_matters_where_it_is_named() {
    let machine = Machine::with(&[]);
    for kind in [EvidenceKind::SevSnp, EvidenceKind::Tdx, EvidenceKind::NvidiaGpu] {
        assert_eq!(machine.both(kind), rows(Verdict::Ok, Verdict::Fail, "missing"), "{kind}");
    }
    assert_eq!(machine.both(EvidenceKind::AzureSnpVtpm)[0], (Verdict::Ok, "missing".to_owned()));
}

#[test]
fn a_guest_of_sev_snp_needs_its_driver_and_has_configfs() {
    const KIND: EvidenceKind = EvidenceKind::SevSnp;
    let machine = Machine::with(&["/sys/bus/platform/devices/sev-guest"]);
    assert_eq!(machine.both(KIND), rows(Verdict::Warn, Verdict::Fail, "misconfigured"));
    machine.write(SEV_GUEST, "", 0o600);
    assert_eq!(machine.both(KIND), rows(Verdict::Warn, Verdict::Warn, "present"));
    assert!(machine.find(None, KIND).remedy.unwrap().contains("mount -t configfs"));
    machine.write("/proc/self/mounts", "configfs /sys/kernel/config configfs rw 0 0\n", 0o444);
    assert!(machine.find(None, KIND).remedy.unwrap().contains("6.7"));
    machine.directory(TSM_REPORTS, 0o755);
    assert_eq!(machine.both(KIND), rows(Verdict::Ok, Verdict::Ok, "present"));
    let refusing = Machine { refuses: Some(KIND), ..machine };
    assert_eq!(refusing.both(KIND)[1], (Verdict::Fail, "misconfigured".to_owned()));
}

#[test]
fn a_guest_of_tdx_needs_configfs_and_should_have_a_log() {
    const KIND: EvidenceKind = EvidenceKind::Tdx;
    let machine = Machine::with(&[]);
    machine.write("/proc/cpuinfo", "flags : fpu tdx_guest_debug\n", 0o444);
    assert_eq!(machine.both(KIND)[0].1, "missing");
    machine.write("/proc/cpuinfo", FLAGS, 0o444);
    assert_eq!(machine.both(KIND), rows(Verdict::Warn, Verdict::Fail, "misconfigured"));
    machine.write(TDX_GUEST, "", 0o600);
    let found = machine.find(None, KIND);
    assert!(found.found.contains("no quotes") && found.remedy.unwrap().contains("mount -t configfs"));
    machine.directory(TSM_REPORTS, 0o755);
    assert_eq!(machine.both(KIND), rows(Verdict::Warn, Verdict::Warn, "present"));
    machine.write(KERNEL_CCEL, "log", 0o400);
    assert_eq!(machine.both(KIND), rows(Verdict::Ok, Verdict::Ok, "present"));
}

#[test]
fn what_others_may_open_is_a_failure_in_any_case() {
    for (kind, device) in [(EvidenceKind::SevSnp, SEV_GUEST), (EvidenceKind::Tdx, TDX_GUEST)] {
        let machine = Machine::with(&[KERNEL_CCEL]);
        machine.directory(TSM_REPORTS, 0o755);
        machine.write(device, "", 0o606);
        let found = machine.find(None, kind);
        assert!(found.verdict == Verdict::Fail && found.found.contains("anybody"), "{found:?}");
        // Its group is root's, or is the agent's.
        machine.write(device, "", 0o660);
        let group = fs::metadata(machine.dir.path()).unwrap().gid();
        let other = machine.find(None, kind);
        assert_eq!(other.verdict == Verdict::Ok, group == 0, "{other:?}");
        machine.write("/etc/group", &format!("tss:x:1:\nstrongroom-agent:x:{group}:\n"), 0o644);
        assert_eq!(machine.find(None, kind).verdict, Verdict::Ok);
        machine.directory(TSM_REPORTS, 0o757);
        let found = machine.find(None, kind);
        assert!(found.verdict == Verdict::Fail && found.found.contains("tsm/report"), "{found:?}");
    }
}

#[test]
#[expect(clippy::print_stdout, reason = "a test says why it was skipped")]
fn a_group_that_is_not_the_agents_is_told() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root gives a file to another group");
    }
    let machine = Machine::with(&[]);
    machine.directory(TSM_REPORTS, 0o755);
    machine.write(SEV_GUEST, "", 0o640);
    std::os::unix::fs::chown(machine.dir.path().join("dev/sev-guest"), None, Some(4242)).unwrap();
    let found = machine.find(None, EvidenceKind::SevSnp);
    assert!(found.verdict == Verdict::Fail && found.found.contains("group 4242"), "{found:?}");
    machine.write("/etc/group", "strongroom-agent:x:4242:\n", 0o644);
    assert_eq!(machine.find(None, EvidenceKind::SevSnp).verdict, Verdict::Ok);
}

#[test]
fn gpus_have_a_driver_and_are_all_in_confidential_mode() {
    const KIND: EvidenceKind = EvidenceKind::NvidiaGpu;
    let mut machine = Machine::with(&[]);
    // Another vendor's, and NVIDIA's bridge.
    machine.gpu("0000:01:00.0", "0x1002", "0x030000");
    machine.gpu("0000:02:00.0", NVIDIA, "0x068000");
    assert_eq!(machine.both(KIND)[0].1, "missing");
    machine.gpu("0000:03:00.0", NVIDIA, "0x030200");
    machine.gpu("0000:04:00.0", NVIDIA, "0x030000");
    assert_eq!(machine.both(KIND), rows(Verdict::Warn, Verdict::Fail, "misconfigured"));
    machine.write("/dev/nvidiactl", "", 0o666);
    assert_eq!(machine.both(KIND), rows(Verdict::Ok, Verdict::Ok, "present"));
    for (gpus, unnamed, named, word) in [
        (GpuState { gpus: 1, ..GOOD }, Verdict::Warn, Verdict::Fail, "misconfigured"),
        (GpuState { dev_tools: Some(true), ..GOOD }, Verdict::Warn, Verdict::Fail, "misconfigured"),
        (GpuState { ready: Some(false), ..GOOD }, Verdict::Warn, Verdict::Warn, "present"),
        (GpuState { confidential: None, dev_tools: None, ready: None, ..GOOD }, Verdict::Ok, Verdict::Ok, "present"),
    ] {
        machine.gpus = gpus;
        assert_eq!(machine.both(KIND), rows(unnamed, named, word), "{gpus:?}");
    }
    machine.gpus = GpuState { confidential: Some(false), ..GOOD };
    let [unnamed, named] = machine.both(KIND);
    assert_eq!(unnamed, (Verdict::Ok, "present".to_owned()));
    assert_eq!(named, (Verdict::Fail, "misconfigured".to_owned()));
}

#[test]
fn an_azure_machine_is_known_by_its_tag_and_its_vtpm_by_asking() {
    const KIND: EvidenceKind = EvidenceKind::AzureSnpVtpm;
    let machine = Machine::with(&[]);
    machine.write("/sys/class/dmi/id/chassis_asset_tag", &format!("{AZURE_ASSET_TAG}\n"), 0o444);
    assert_eq!(machine.both(KIND), rows(Verdict::Ok, Verdict::Ok, "present"));
    let refusing = Machine { refuses: Some(KIND), ..machine };
    assert_eq!(refusing.both(KIND)[1], (Verdict::Fail, "misconfigured".to_owned()));
}

#[test]
fn it_says_who_decides_whether_a_device_is_sent() {
    let machine = Machine::with(&[SEV_GUEST]);
    machine.directory(TSM_REPORTS, 0o755);
    let found = |named| machine.find(named, EvidenceKind::SevSnp).found;
    assert!(found(None).contains("--device"));
    assert!(found(Some(&[EvidenceKind::Tpm2])).contains("not sent"));
    assert!(!found(Some(&[EvidenceKind::SevSnp])).contains(';'));
}
