//! QEMU: what the machine is made of, and whether this host can run it in hardware.

use super::Parts;
use crate::programs::bare;
use anyhow::Context as _;
use std::{
    fmt,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// A trial boot takes two seconds where KVM works.
const TRIAL: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(10);

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// The processor.
    Kvm,
    /// QEMU's translator.
    Emulation,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "KVM",
            Self::Emulation => "software emulation",
        })
    }
}

/// The disks, devices and files of one boot.
#[derive(Debug, Clone)]
pub struct Hardware {
    /// OVMF's code.
    pub firmware: PathBuf,
    /// Its variables, which it writes.
    pub variables: PathBuf,
    /// The TPM's state directory.
    pub tpm: PathBuf,
    /// The root disk (`/dev/vda`), read-only.
    pub root: PathBuf,
    /// The disk that outlives boots (`/dev/vdb`).
    pub state: PathBuf,
    /// What is booted.
    pub kernel: Kernel,
    /// A directory for this boot: sockets, console, errors.
    pub dir: PathBuf,
}

/// Where firmware gets the kernel from.
#[derive(Debug, Clone)]
pub enum Kernel {
    /// From QEMU.
    Direct {
        /// The kernel's image.
        image: PathBuf,
        /// The initramfs.
        initramfs: PathBuf,
        /// Its command line.
        command_line: String,
    },
    /// From this FAT disk.
    Disk(PathBuf),
}

impl Hardware {
    /// Where QEMU finds the TPM.
    pub fn tpm_socket(&self) -> PathBuf {
        self.dir.join("tpm.sock")
    }

    /// The guest's second serial port.
    pub fn control(&self) -> PathBuf {
        self.dir.join("control.sock")
    }

    /// What came out of its first serial port: firmware's and the kernel's words.
    pub fn console(&self) -> PathBuf {
        self.dir.join("console")
    }

    /// Where a unified kernel image is kept beside the disk that it lies on.
    pub fn unified_image(&self) -> PathBuf {
        self.dir.join("image.efi")
    }

    /// What QEMU said.
    pub fn errors(&self) -> PathBuf {
        self.dir.join("qemu.errors")
    }

    /// The TPM, which waits for QEMU and ends after it.
    pub fn swtpm(&self) -> anyhow::Result<Command> {
        let mut command = bare(Path::new("swtpm"));
        command.args(["socket", "--tpm2", "--flags", "not-need-init", "--terminate", "--tpmstate"]);
        command.arg(format!("dir={}", self.tpm.display()));
        command.arg("--ctrl").arg(format!("type=unixio,path={}", self.tpm_socket().display()));
        let errors = File::create(self.dir.join("swtpm.errors"))?;
        command.stdout(errors.try_clone()?).stderr(errors);
        Ok(command)
    }

    /// The machine.
    pub fn qemu(&self, accelerator: Accelerator) -> anyhow::Result<Command> {
        let mut command = machine(accelerator, &self.firmware, &self.variables);
        command.arg("-chardev").arg(format!("socket,id=tpm,path={}", self.tpm_socket().display()));
        command.args(["-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm"]);
        command.arg("-serial").arg(format!("file:{}", self.console().display()));
        let control = format!("socket,id=control,path={},server=on,wait=off", self.control().display());
        command.arg("-chardev").arg(control).args(["-serial", "chardev:control"]);
        disk(&mut command, "root", &self.root, ",readonly=on", "");
        disk(&mut command, "state", &self.state, "", "");
        command.args(["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile="]);
        match &self.kernel {
            Kernel::Direct { image, initramfs, command_line } => {
                command.arg("-kernel").arg(image).arg("-initrd").arg(initramfs).arg("-append").arg(command_line);
            }
            Kernel::Disk(path) => disk(&mut command, "firmware", path, ",readonly=on", ",bootindex=0"),
        }
        let errors = File::create(self.errors())?;
        command.stdout(errors.try_clone()?).stderr(errors);
        Ok(command)
    }
}

fn disk(command: &mut Command, id: &str, path: &Path, drive: &str, device: &str) {
    command.arg("-drive").arg(format!("if=none,id={id},format=raw,file={}{drive}", path.display()));
    command.arg("-device").arg(format!("virtio-blk-pci,drive={id}{device}"));
}

/// Processor, memory and firmware.
fn machine(accelerator: Accelerator, firmware: &Path, variables: &Path) -> Command {
    let (machine, processor) = match accelerator {
        Accelerator::Kvm => ("q35,accel=kvm", "host"),
        Accelerator::Emulation => ("q35,accel=tcg", "max"),
    };
    let mut command = bare(Path::new("qemu-system-x86_64"));
    command.args(["-machine", machine, "-cpu", processor, "-m", "1024", "-smp", "2"]);
    command.args(["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot"]);
    let flash = |unit, file: &Path, more| format!("if=pflash,format=raw,unit={unit},file={}{more}", file.display());
    command.arg("-drive").arg(flash(0, firmware, ",readonly=on"));
    command.arg("-drive").arg(flash(1, variables, ""));
    command
}

/// The best that works here: tried once, since a host that offers KVM inside a virtual machine of its own may fail in
/// the midst of firmware.
pub fn accelerator(parts: &Parts) -> anyhow::Result<Accelerator> {
    static FOUND: Mutex<Option<Accelerator>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(found) = *found {
        return Ok(found);
    }
    let kvm = File::options().read(true).write(true).open("/dev/kvm");
    let tried = match kvm {
        Ok(_) => trial(parts)?,
        Err(e) => Err(format!("/dev/kvm: {e}")),
    };
    let best = match tried {
        Ok(()) => Accelerator::Kvm,
        Err(why) => {
            eprintln!("QEMU runs by software emulation, without KVM: {why}");
            Accelerator::Emulation
        }
    };
    *found = Some(best);
    Ok(best)
}

/// Boots the kernel without a root: it panics, which ends the machine. The inner error says why KVM is no good.
fn trial(parts: &Parts) -> anyhow::Result<Result<(), String>> {
    let dir = tempfile::tempdir()?;
    let (variables, errors) = (dir.path().join("variables.fd"), dir.path().join("errors"));
    fs::copy(&parts.variables, &variables)?;
    let mut command = machine(Accelerator::Kvm, &parts.firmware, &variables);
    command.arg("-kernel").arg(&parts.kernel).args(["-append", "panic=-1"]);
    command.stdout(File::create(dir.path().join("output"))?).stderr(File::create(&errors)?);
    let mut child = command.spawn().context("starting qemu-system-x86_64")?;
    let start = Instant::now();
    loop {
        let said = fs::read_to_string(&errors).unwrap_or_default();
        let verdict = if said.contains("KVM internal error") {
            Some(Err("it fails within firmware (KVM internal error)".to_owned()))
        } else if let Some(status) = child.try_wait()? {
            let line = said.lines().next().unwrap_or_default().to_owned();
            Some(if status.success() { Ok(()) } else { Err(format!("{status}: {line}")) })
        } else {
            (start.elapsed() > TRIAL).then(|| Err(format!("a trial boot did not end in {TRIAL:?}")))
        };
        if let Some(verdict) = verdict {
            // It may have ended by itself; then there is nothing to kill.
            let _ = child.kill();
            child.wait()?;
            return Ok(verdict);
        }
        thread::sleep(POLL);
    }
}
