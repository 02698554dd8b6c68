//! A unified kernel image: kernel, initramfs and command line as one program for firmware, on a disk that firmware reads.

use super::Parts;
use crate::programs::{bare, run};
use std::{fs, path::Path};

/// What the image calls itself.
const OS_RELEASE: &str = "ID=strongroom-tests\nNAME=\"Strongroom's tests\"\n";
/// Where sections lie in memory: above the stub's own, with room for each (systemd-stub(7), version 252).
const SECTIONS: [(&str, &str); 4] =
    [(".osrel", "0x20000"), (".cmdline", "0x30000"), (".linux", "0x2000000"), (".initrd", "0x4000000")];

/// Makes the image.
pub fn image(parts: &Parts, command_line: &str, initramfs: &Path, image: &Path) -> anyhow::Result<()> {
    let (release, line) = (image.with_extension("osrel"), image.with_extension("cmdline"));
    fs::write(&release, OS_RELEASE)?;
    fs::write(&line, command_line)?;
    let mut objcopy = bare(Path::new("objcopy"));
    for ((name, address), file) in SECTIONS.iter().zip([&release, &line, &parts.kernel, &initramfs.to_owned()]) {
        objcopy.arg("--add-section").arg(format!("{name}={}", file.display()));
        objcopy.arg("--change-section-vma").arg(format!("{name}={address}"));
    }
    run(objcopy.arg(&parts.stub).arg(image)).map(drop)
}

/// Makes a FAT disk from which firmware starts the image.
pub fn disk(image: &Path, disk: &Path) -> anyhow::Result<()> {
    fs::File::create(disk)?.set_len(64 << 20)?;
    run(bare(Path::new("mformat")).arg("-i").arg(disk).args(["-F", "::"]))?;
    for directory in ["::/EFI", "::/EFI/BOOT"] {
        run(bare(Path::new("mmd")).arg("-i").arg(disk).arg(directory))?;
    }
    run(bare(Path::new("mcopy")).arg("-i").arg(disk).arg(image).arg("::/EFI/BOOT/BOOTX64.EFI")).map(drop)
}
