//! What a boot is made of, as packages of Debian bring it.

use crate::programs::project;
use anyhow::{Context as _, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// OVMF's code, and its variables as they leave the factory.
const FIRMWARE: [&str; 2] = ["/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"];
/// The shell and its tools in the guest.
const BUSYBOX: &str = "/bin/busybox";
/// Programs that make and run a guest, each with its package.
const PROGRAMS: [(&str, &str); 6] = [
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("swtpm", "swtpm"),
    ("swtpm_setup", "swtpm-tools"),
    ("mke2fs", "e2fsprogs"),
    ("strip", "binutils"),
    ("mcopy", "mtools"),
];

/// Files that guests are made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The kernel's image.
    pub kernel: PathBuf,
    /// The directory of its modules.
    pub modules: PathBuf,
    /// What makes a program for firmware out of a kernel: `linuxx64.efi.stub` of systemd.
    pub stub: PathBuf,
    /// OVMF's code.
    pub firmware: PathBuf,
    /// OVMF's variables, to be copied.
    pub variables: PathBuf,
    /// A static busybox.
    pub busybox: PathBuf,
}

impl Parts {
    /// The parts on this machine; the error says what is missing and what brings it.
    pub fn find() -> anyhow::Result<Self> {
        for (program, package) in PROGRAMS {
            ensure!(on_path(program), "{program} (package {package}) is not installed: run `make setup`");
        }
        let [firmware, variables] = FIRMWARE.map(PathBuf::from);
        let busybox = PathBuf::from(BUSYBOX);
        for (file, package) in [(&firmware, "ovmf"), (&variables, "ovmf"), (&busybox, "busybox-static")] {
            ensure!(file.is_file(), "{} (package {package}) is not there: run `make setup`", file.display());
        }
        let fetched = project().join("target/measured");
        let missing = || format!("no kernel in {}: run `make setup`, which fetches it", fetched.display());
        let modules = only_entry(&fetched.join("kernel/lib/modules")).with_context(missing)?;
        let release = modules.file_name().and_then(|name| name.to_str()).context("a release without a name")?;
        let kernel = fetched.join(format!("kernel/boot/vmlinuz-{release}"));
        let stub = fetched.join("stub/usr/lib/systemd/boot/efi/linuxx64.efi.stub");
        ensure!(kernel.is_file() && stub.is_file(), missing());
        Ok(Self { kernel, modules: modules.join("kernel"), stub, firmware, variables, busybox })
    }
}

fn on_path(program: &str) -> bool {
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"]
        .iter()
        .any(|dir| Path::new(dir).join(program).is_file())
}

fn only_entry(dir: &Path) -> anyhow::Result<PathBuf> {
    let mut entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let first = entries.next().with_context(|| format!("{} is empty", dir.display()))??.path();
    ensure!(entries.next().is_none(), "{} holds more than one kernel", dir.display());
    Ok(first)
}
