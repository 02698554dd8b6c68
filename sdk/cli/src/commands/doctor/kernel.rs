//! What the kernel and its settings do for protected memory: read from files below a root.

use super::findings::Findings;
use std::{fs, path::Path};
use strongroom::memory::Swap;

/// Lockable memory that serves most models, bytes.
const PLENTY: u64 = 1 << 30;
/// What key pages need, bytes: a few regions of 16 KiB.
const KEY_PAGES: u64 = 64 << 10;
/// Bit of `CAP_IPC_LOCK` (capability.h).
const CAP_IPC_LOCK: u32 = 14;

/// Every row that is read from `/proc` and `/sys`.
pub(super) fn examine(root: &Path, findings: &mut Findings) {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    memlock(read("proc/self/status").as_deref(), read("proc/self/limits").as_deref(), findings);
    swap(root, findings);
    core_pattern(read("proc/sys/kernel/core_pattern").as_deref(), findings);
    ptrace_scope(read("proc/sys/kernel/yama/ptrace_scope").as_deref(), findings);
    let namespaces = ["user/max_user_namespaces", "kernel/unprivileged_userns_clone"];
    user_namespaces(namespaces.map(|name| read(&format!("proc/sys/{name}"))), findings);
    huge_pages(read("sys/kernel/mm/transparent_hugepage/enabled").as_deref(), findings);
    lockdown(read("sys/kernel/security/lockdown").as_deref(), findings);
}

fn memlock(status: Option<&str>, limits: Option<&str>, findings: &mut Findings) {
    const CHECK: &str = "memlock";
    const REMEDY: &str = "systemd: LimitMEMLOCK=infinity or AmbientCapabilities=CAP_IPC_LOCK; shell as root: \
                          setpriv --inh-caps +ipc_lock --ambient-caps +ipc_lock PROGRAM";
    if status.and_then(effective_capabilities).is_some_and(|capabilities| capabilities & (1 << CAP_IPC_LOCK) != 0) {
        return findings.ok(CHECK, "CAP_IPC_LOCK: no limit");
    }
    let limit = limits.and_then(|text| text.lines().find_map(|line| line.strip_prefix("Max locked memory")));
    match limit.and_then(|columns| columns.split_whitespace().next()) {
        Some("unlimited") => findings.ok(CHECK, "no limit"),
        Some(soft) => match soft.parse::<u64>() {
            Ok(bytes) if bytes >= PLENTY => findings.ok(CHECK, format!("{bytes} bytes: an arena can be as large")),
            Ok(bytes) if bytes >= KEY_PAGES => {
                findings.warn(CHECK, format!("{bytes} bytes: nothing larger can be opened"), REMEDY);
            }
            Ok(bytes) => findings.fail(CHECK, format!("{bytes} bytes: not enough for key pages"), REMEDY),
            Err(_) => findings.fail(CHECK, format!("a limit of `{soft}` bytes"), REMEDY),
        },
        None => findings.fail(CHECK, "the limit cannot be read from /proc/self/limits", "mount /proc"),
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

fn swap(root: &Path, findings: &mut Findings) {
    const CHECK: &str = "swap";
    let names = |areas: &[std::path::PathBuf]| {
        areas.iter().map(|area| area.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    match Swap::active(root) {
        Ok(Swap::Off) => findings.ok(CHECK, "none is active"),
        Ok(Swap::Sealed(areas)) => findings.ok(CHECK, format!("encrypted, or in memory: {}", names(&areas))),
        Ok(Swap::Plain(areas)) => findings.warn(
            CHECK,
            format!(
                "not encrypted: {}; keys and arenas are locked, what libraries keep on the heap for a moment is not",
                names(&areas)
            ),
            "swapoff -a, or put swap on dm-crypt with a random key (crypttab: `swap DEVICE /dev/urandom swap`)",
        ),
        Err(error) => findings.fail(CHECK, format!("/proc/swaps: {error}"), "mount /proc"),
    }
}

fn core_pattern(pattern: Option<&str>, findings: &mut Findings) {
    const CHECK: &str = "core_pattern";
    match pattern.map(str::trim) {
        Some(pattern) if pattern.starts_with('|') => findings.ok(
            CHECK,
            format!(
                "`{pattern}`: a program gets cores, whatever the core limit is; not of processes that hold keys, which are undumpable"
            ),
        ),
        Some(pattern) => findings.ok(CHECK, format!("`{pattern}`: a file; none of processes that hold keys")),
        None => findings.warn(CHECK, "cannot be read", "mount /proc"),
    }
}

fn ptrace_scope(scope: Option<&str>, findings: &mut Findings) {
    const CHECK: &str = "ptrace_scope";
    const OPEN: &str =
        "a process of the same user that opened /proc/PID/mem before the job connected can go on reading";
    match scope.map(str::trim) {
        Some(scope @ ("1" | "2" | "3")) => findings.ok(CHECK, format!("{scope}: only parents or administrators trace")),
        Some(_) => findings.warn(
            CHECK,
            format!("0: {OPEN}"),
            "sysctl -w kernel.yama.ptrace_scope=1, and the same in /etc/sysctl.d",
        ),
        None => findings.warn(
            CHECK,
            format!("this kernel has no Yama: {OPEN}"),
            "run jobs that do not trust each other as different users, or boot a kernel with CONFIG_SECURITY_YAMA",
        ),
    }
}

/// How many there may be, and, on Debian's kernels, whether users may make any.
fn user_namespaces([most, allowed]: [Option<String>; 2], findings: &mut Findings) {
    const CHECK: &str = "user_namespaces";
    let none = |setting: &Option<String>| setting.as_deref().map(str::trim) == Some("0");
    // A kernel without them has no such file either.
    if most.is_none() || none(&most) || none(&allowed) {
        return findings.ok(CHECK, "users make none");
    }
    findings.warn(
        CHECK,
        "users may make their own, and have the kernel name a file as what they execute: behind an agent, \
         `exe_sha256` alone does not tell which program asks",
        "limit callers by uids, units, slurm_jobs or pods too; or, where nothing needs rootless containers, \
         sysctl -w user.max_user_namespaces=0, and the same in /etc/sysctl.d",
    );
}

fn huge_pages(enabled: Option<&str>, findings: &mut Findings) {
    const CHECK: &str = "hugepages";
    let chosen = enabled.and_then(|text| text.split_whitespace().find_map(|w| w.strip_prefix('[')?.strip_suffix(']')));
    match chosen {
        Some(mode @ ("always" | "madvise")) => findings.ok(CHECK, mode),
        other => findings.warn(
            CHECK,
            format!("{}: large arenas take longer to make and to read", other.unwrap_or("not in this kernel")),
            "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
        ),
    }
}

fn lockdown(modes: Option<&str>, findings: &mut Findings) {
    const CHECK: &str = "lockdown";
    const REMEDY: &str = "boot with lockdown=confidentiality, and Secure Boot where policy measures it";
    let chosen = modes.and_then(|text| text.split_whitespace().find_map(|w| w.strip_prefix('[')?.strip_suffix(']')));
    match chosen {
        Some("confidentiality") => findings.ok(CHECK, "confidentiality: root cannot read kernel memory"),
        Some("integrity") => findings.warn(CHECK, "integrity: root cannot change the kernel, and may read it", REMEDY),
        _ => findings.warn(CHECK, "off: root can load code into the kernel and read all memory", REMEDY),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::findings::Verdict, *};

    /// Files below a root, of a node where all is well.
    const GOOD: [(&str, &str); 9] = [
        ("proc/meminfo", ""),
        ("proc/swaps", "Filename Type Size Used Priority\n"),
        ("proc/self/status", "Name:\tx\nCapEff:\t0000000000004000\n"),
        ("proc/self/limits", "Limit  Soft Limit  Hard Limit  Units\nMax locked memory  8388608  8388608  bytes\n"),
        ("proc/sys/kernel/core_pattern", "core\n"),
        ("proc/sys/kernel/yama/ptrace_scope", "1\n"),
        ("proc/sys/user/max_user_namespaces", "0\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
        ("sys/kernel/security/lockdown", "none integrity [confidentiality]\n"),
    ];

    /// What is found on the good node after one file was changed, or taken away.
    fn with(path: &str, text: Option<&str>) -> Findings {
        let root = tempfile::tempdir().unwrap();
        let changed = GOOD.iter().map(|(name, good)| (*name, if *name == path { text } else { Some(*good) }));
        for (name, text) in changed.chain([(path, text)]) {
            let file = root.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            if let Some(text) = text {
                fs::write(file, text).unwrap();
            }
        }
        let mut findings = Findings::default();
        examine(root.path(), &mut findings);
        findings
    }

    #[test]
    fn a_good_node_is_told_so() {
        let findings = with("proc/meminfo", Some(""));
        assert_eq!(findings.0.len(), 7);
        assert!(findings.0.iter().all(|f| f.verdict == Verdict::Ok && f.remedy.is_none()), "{findings:?}");
    }

    #[test]
    fn each_setting_is_told_from_its_worse_ones() {
        let limits = |bytes: &str| format!("Max locked memory  {bytes}  {bytes}  bytes\n");
        let (ok, warn, fail) = (Verdict::Ok, Verdict::Warn, Verdict::Fail);
        for (check, path, text, verdict, says) in [
            ("swap", "proc/swaps", Some("F\n/dev/sda2 partition 1 0 -2\n"), warn, "/dev/sda2"),
            ("swap", "proc/swaps", None, ok, "none"),
            (
                "core_pattern",
                "proc/sys/kernel/core_pattern",
                Some("|/usr/lib/systemd/systemd-coredump %P"),
                ok,
                "undumpable",
            ),
            ("core_pattern", "proc/sys/kernel/core_pattern", None, warn, "cannot be read"),
            ("ptrace_scope", "proc/sys/kernel/yama/ptrace_scope", Some("0\n"), warn, "before the job connected"),
            ("ptrace_scope", "proc/sys/kernel/yama/ptrace_scope", None, warn, "no Yama"),
            ("user_namespaces", "proc/sys/user/max_user_namespaces", Some("96365\n"), warn, "exe_sha256"),
            ("user_namespaces", "proc/sys/user/max_user_namespaces", None, ok, "none"),
            ("hugepages", "sys/kernel/mm/transparent_hugepage/enabled", Some("always madvise [never]"), warn, "never"),
            ("hugepages", "sys/kernel/mm/transparent_hugepage/enabled", None, warn, "not in this kernel"),
            ("lockdown", "sys/kernel/security/lockdown", Some("none [integrity] confidentiality"), warn, "integrity"),
            ("lockdown", "sys/kernel/security/lockdown", Some("[none] integrity confidentiality"), warn, "off"),
            ("lockdown", "sys/kernel/security/lockdown", None, warn, "off"),
            ("memlock", "proc/self/status", Some("CapEff:\t0000000000000000\n"), warn, "8388608"),
        ] {
            let findings = with(path, text);
            let finding = findings.0.iter().find(|finding| finding.check == check).unwrap();
            assert_eq!((finding.verdict, finding.remedy.is_some()), (verdict, verdict != ok), "{finding:?}");
            assert!(finding.found.contains(says), "{finding:?}");
            let others = findings.0.iter().filter(|finding| finding.check != check);
            assert!(others.into_iter().all(|finding| finding.verdict == ok), "{findings:?}");
        }
        let mut debian = Findings::default();
        user_namespaces([Some("96365\n".into()), Some("0\n".into())], &mut debian);
        assert_eq!(debian.0[0].verdict, ok);
        let lockable = |text: Option<&str>| {
            let mut findings = Findings::default();
            memlock(Some("CapEff:\t0000000000000000\n"), text, &mut findings);
            findings.0[0].verdict
        };
        for (bytes, verdict) in
            [("unlimited", ok), ("1073741824", ok), ("1073741823", warn), ("65536", warn), ("65535", fail), ("x", fail)]
        {
            assert_eq!(lockable(Some(&limits(bytes))), verdict, "{bytes}");
        }
        assert_eq!(lockable(None), fail);
    }
}
