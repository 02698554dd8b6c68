//! A machine without software: its TPM, its firmware's variables, its disks.

use super::{Guest, Parts, initramfs, qemu, root, unified};
use crate::Swtpm;
use anyhow::Context as _;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// Length of the disk that outlives boots.
const STATE: u64 = 4 << 20;

/// What a platform boots. What differs here shows in its PCRs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    /// The kernel's command line (PCR 9, or PCR 11 in a unified kernel image).
    pub command_line: String,
    /// A mark in the initramfs (PCR 9, and PCR 11): another mark is another initramfs.
    pub mark: String,
    /// How the kernel is started.
    pub start: Start,
}

/// How firmware comes to a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// QEMU hands kernel, command line and initramfs to firmware.
    Direct,
    /// As a unified kernel image on a disk.
    Unified,
}

impl Default for Software {
    /// IMA measures by its `tcb` policy; a panic ends the guest.
    fn default() -> Self {
        Self {
            command_line: "console=ttyS0 quiet panic=-1 ima_policy=tcb lockdown=integrity".into(),
            mark: "usual".into(),
            start: Start::Direct,
        }
    }
}

/// A machine that can boot, again and again, one [`Guest`] at a time.
#[derive(Debug)]
pub struct Platform {
    parts: Parts,
    root_ca: PathBuf,
    another: String,
    dir: TempDir,
    boots: u32,
}

impl Platform {
    /// A new one: an empty disk for what outlives boots, and a TPM with certificates for both its EKs, their issuer's
    /// beside them.
    pub fn make(parts: &Parts) -> anyhow::Result<Self> {
        let dir = TempDir::new()?;
        let tpm = Swtpm::start(&dir.path().join("tpm"))?;
        tpm.provision_p256_ek()?;
        let root_ca = tpm.root_ca();
        tpm.shut_down().context("shutting the new TPM down")?;
        fs::copy(&parts.variables, dir.path().join("variables.fd"))?;
        File::create(dir.path().join("state.img"))?.set_len(STATE)?;
        let another = root::make(parts, &dir.path().join("root.img"))?;
        Ok(Self { parts: parts.clone(), root_ca, another, dir, boots: 0 })
    }

    /// PEM: the root of the CA that its TPM's certificates are of.
    pub fn root_ca(&self) -> &Path {
        &self.root_ca
    }

    /// SHA-256 of [`root::ANOTHER`], lower-case hexadecimal. Asking the guest would have it read, and so measured.
    pub fn another_sha256(&self) -> &str {
        &self.another
    }

    /// Boots, and returns when the first program on the root disk says that it is up.
    pub fn boot(&mut self, software: &Software) -> anyhow::Result<Guest> {
        self.boots += 1;
        let dir = self.dir.path().join(format!("boot-{}", self.boots));
        fs::create_dir(&dir)?;
        let initrd = dir.join("initramfs");
        fs::write(&initrd, initramfs(&self.parts, &software.mark)?)?;
        let path = |name: &str| self.dir.path().join(name);
        let kernel = match software.start {
            Start::Direct => qemu::Kernel::Direct {
                image: self.parts.kernel.clone(),
                initramfs: initrd,
                command_line: software.command_line.clone(),
            },
            Start::Unified => {
                let (image, disk) = (dir.join("image.efi"), dir.join("firmware.img"));
                unified::image(&self.parts, &software.command_line, &initrd, &image)?;
                unified::disk(&image, &disk)?;
                qemu::Kernel::Disk(disk)
            }
        };
        let hardware = qemu::Hardware {
            firmware: self.parts.firmware.clone(),
            variables: path("variables.fd"),
            tpm: path("tpm/state"),
            root: path("root.img"),
            state: path("state.img"),
            kernel,
            dir,
        };
        Guest::start(&hardware, qemu::accelerator(&self.parts)?)
    }
}
