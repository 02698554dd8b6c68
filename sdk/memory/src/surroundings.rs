//! What the machine around a process can do with its memory: swap it, trace it.

use std::{
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

/// Where memory that is not locked can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// Nowhere: no swap is active.
    Off,
    /// To these areas, from which nobody reads it: dm-crypt, or compressed memory (`zram` without a
    /// device behind it).
    Sealed(Vec<PathBuf>),
    /// To these areas as it is, among others perhaps.
    Plain(Vec<PathBuf>),
}

impl Swap {
    /// The areas that are active now, as `/proc/swaps` and `/sys/class/block` below `root` have them
    /// (`/`, but for tests). An area that is a file counts as plain: what its file system does with
    /// it cannot be seen. A swap that is switched on later is not foreseen.
    ///
    /// # Errors
    /// Whatever reading says. A kernel that was built without swap has no such file, and is [`Self::Off`].
    pub fn active(root: &Path) -> io::Result<Self> {
        let table = match fs::read_to_string(root.join("proc/swaps")) {
            // Missing because the kernel knows no swap, not because nothing is mounted there.
            Err(error) if error.kind() == ErrorKind::NotFound && root.join("proc/meminfo").exists() => {
                return Ok(Self::Off);
            }
            other => other?,
        };
        let (mut sealed, mut plain) = (Vec::new(), Vec::new());
        for area in areas(&table) {
            if is_sealed(root, &area) { sealed.push(area) } else { plain.push(area) }
        }
        Ok(match (plain.is_empty(), sealed.is_empty()) {
            (false, _) => Self::Plain(plain),
            (true, false) => Self::Sealed(sealed),
            (true, true) => Self::Off,
        })
    }

    /// True if something that is not locked could be read from a disk afterwards.
    pub fn shows(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

/// Areas of `/proc/swaps`: the first column, under a heading.
fn areas(table: &str) -> impl Iterator<Item = PathBuf> {
    table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).map(PathBuf::from)
}

fn is_sealed(root: &Path, area: &Path) -> bool {
    let Some(name) = area.strip_prefix("/dev").ok().and_then(Path::to_str).filter(|name| !name.contains('/')) else {
        return false;
    };
    let block = root.join("sys/class/block").join(name);
    let says = |file: &str, expected: fn(&str) -> bool| {
        fs::read_to_string(block.join(file)).is_ok_and(|text| expected(text.trim()))
    };
    // Of a kernel that cannot write `zram` back there is no such file, and nothing is written back.
    let in_memory = || {
        let behind = block.join("backing_dev");
        block.join("mm_stat").exists() && (!behind.exists() || says("backing_dev", |text| text == "none"))
    };
    says("dm/uuid", |text| text.starts_with("CRYPT-")) || in_memory()
}

/// The process that traces this one now (`TracerPid` of `/proc/self/status`), or none. Hardening
/// keeps tracers of the same user from attaching, and does not shake off one that was there before.
///
/// # Errors
/// If `/proc` cannot be read, or does not say.
pub fn tracer() -> io::Result<Option<u32>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let pid = tracer_pid(&status)
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "/proc/self/status names no TracerPid"))?;
    Ok(Some(pid).filter(|pid| *pid != 0))
}

/// Zero where nobody traces.
fn tracer_pid(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

    /// A machine with these swap areas, and these files of block devices.
    fn machine(areas: &[&str], files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let rows: Vec<_> = areas.iter().map(|area| format!("{area} partition\t8388604\t\t0\t\t-2\n")).collect();
        let write = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write(root.path().join("proc/swaps"), &format!("{HEAD}{}", rows.concat()));
        for (path, text) in files {
            write(root.path().join("sys/class/block").join(path), text);
        }
        root
    }

    fn active(areas: &[&str], files: &[(&str, &str)]) -> Swap {
        Swap::active(machine(areas, files).path()).unwrap()
    }

    #[test]
    fn what_can_be_read_from_a_disk_is_told_from_what_cannot() {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let crypt = ("dm-1/dm/uuid", "CRYPT-PLAIN-swap\n");
        assert_eq!(active(&[], &[]), Swap::Off);
        assert_eq!(active(&["/dev/dm-1"], &[crypt]), Swap::Sealed(paths(&["/dev/dm-1"])));
        for zram in [vec![("zram0/mm_stat", "0")], vec![("zram0/mm_stat", "0"), ("zram0/backing_dev", "none\n")]] {
            assert_eq!(active(&["/dev/zram0"], &zram), Swap::Sealed(paths(&["/dev/zram0"])));
        }
        for (area, files) in [
            ("/dev/sda2", vec![]),
            ("/swapfile", vec![]),
            ("/dev/dm-1", vec![("dm-1/dm/uuid", "LVM-abc\n")]),
            ("/dev/dm-2", vec![crypt]),
            ("/dev/zram0", vec![("zram0/mm_stat", "0"), ("zram0/backing_dev", "/dev/sda3\n")]),
            ("/dev/../etc/dm-1", vec![crypt]),
        ] {
            assert_eq!(active(&[area], &files), Swap::Plain(paths(&[area])), "{area}");
            assert!(active(&[area], &files).shows());
        }
        // One plain area is enough.
        assert_eq!(active(&["/dev/dm-1", "/swapfile"], &[crypt]), Swap::Plain(paths(&["/swapfile"])));
    }

    #[test]
    fn a_kernel_without_swap_is_told_from_a_machine_that_cannot_be_seen() {
        let root = tempfile::tempdir().unwrap();
        assert!(Swap::active(root.path()).is_err());
        fs::create_dir(root.path().join("proc")).unwrap();
        fs::write(root.path().join("proc/meminfo"), "").unwrap();
        assert_eq!(Swap::active(root.path()).unwrap(), Swap::Off);
    }

    #[test]
    fn a_tracer_is_named() {
        assert_eq!(tracer_pid("Name:\tx\nTracerPid:\t0\n"), Some(0));
        assert_eq!(tracer_pid("Name:\tx\nTracerPid:\t71\n"), Some(71));
        assert_eq!(tracer_pid("Name:\tx\n"), None);
        tracer().unwrap();
    }
}
