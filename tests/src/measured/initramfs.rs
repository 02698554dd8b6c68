//! The initramfs: drivers for the root disk and the network, and a script that goes over to the root.
//!
//! Format: `Documentation/driver-api/early-userspace/buffer-format.rst` of Linux, `newc`.

use super::Parts;
use anyhow::Context as _;
use std::fs;

/// Modules of Debian's cloud kernel in the order in which they are loaded, below its module directory.
const MODULES: [&str; 9] = [
    "drivers/virtio/virtio_ring.ko",
    "drivers/virtio/virtio.ko",
    "drivers/virtio/virtio_pci_modern_dev.ko",
    "drivers/virtio/virtio_pci_legacy_dev.ko",
    "drivers/virtio/virtio_pci.ko",
    "net/core/failover.ko",
    "drivers/net/net_failover.ko",
    "drivers/net/virtio_net.ko",
    "drivers/block/virtio_blk.ko",
];
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// An initramfs, in which `mark` is the contents of a file that nobody reads: another mark is another initramfs.
pub fn initramfs(parts: &Parts, mark: &str) -> anyhow::Result<Vec<u8>> {
    let mut archive = Archive::default();
    for directory in ["bin", "modules", "proc", "sys", "dev", "root"] {
        archive.add(directory, DIRECTORY, &[]);
    }
    archive.add("bin/busybox", PROGRAM, &fs::read(&parts.busybox)?);
    archive.add("init", PROGRAM, include_bytes!("guest/init"));
    archive.add("mark", FILE, mark.as_bytes());
    let mut order = String::new();
    for module in MODULES {
        let path = parts.modules.join(module);
        let (_, name) = module.rsplit_once('/').unwrap_or(("", module));
        let content = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        archive.add(&format!("modules/{name}"), FILE, &content);
        order.push_str(name);
        order.push('\n');
    }
    archive.add("modules/order", FILE, order.as_bytes());
    Ok(archive.end())
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // Saturating: no file of an initramfs comes near 4 GiB.
        let length = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let links = 1;
        let fields = [self.entries, mode, 0, 0, links, 0, length(content.len()), 0, 0, 0, 0, length(name.len() + 1), 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn end(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write as _,
        process::{Command, Stdio},
    };

    #[test]
    fn cpio_reads_what_was_written() {
        let mut archive = Archive::default();
        archive.add("bin", DIRECTORY, &[]);
        archive.add("bin/odd", PROGRAM, b"12345");
        archive.add("file", FILE, b"1234");
        let Ok(mut cpio) =
            Command::new("busybox").args(["cpio", "-t"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
        else {
            return crate::programs::skip("cpio_reads_what_was_written", "busybox is not installed");
        };
        cpio.stdin.take().unwrap().write_all(&archive.end()).unwrap();
        let output = cpio.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "bin\nbin/odd\nfile\n");
    }
}
