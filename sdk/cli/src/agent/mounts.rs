//! Where a file lies: on a file system that root mounted for the machine, or on one that a user serves.
//!
//! A user may mount in a user namespace of his own, file systems that his own process serves among them, and
//! lay others over those. What is read from there is what he says, each time anew. But nothing that he mounts
//! comes into the mount namespace of the machine's first process or of the agent: mounts go down to namespaces
//! of other users, never up (`mount_namespaces(7)`).

use super::process::Unidentified;
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::fd::AsRawFd as _,
};

/// A line of `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`).
#[derive(Debug, PartialEq, Eq)]
struct Mount<'a> {
    id: &'a str,
    /// The file system's, as `MAJOR:MINOR`. No two that are mounted, anywhere, have the same.
    device: &'a str,
    kind: &'a str,
}

impl<'a> Mount<'a> {
    /// Names are escaped: fields are apart by single spaces, and ` - ` ends those of unknown number.
    fn of(line: &'a str) -> Option<Self> {
        let (place, system) = line.split_once(" - ")?;
        let mut place = place.split(' ');
        Some(Self { id: place.next()?, device: place.nth(1)?, kind: system.split(' ').next()? })
    }

    /// FUSE under its names, for block devices and for virtual machines too: a process decides what is read.
    fn is_served_by_a_process(&self) -> bool {
        ["fuse", "fuseblk", "virtiofs"].contains(&self.kind) || self.kind.starts_with("fuse.")
    }
}

/// Whether what is read from this file is what was executed from it, as far as the file system tells.
///
/// The file is open by its path alone (`O_PATH`): nothing here asks the file system, which might never
/// answer. It has to stay open, so that its mount's id and its device are nobody else's meanwhile.
pub(super) fn is_roots(file: &File, pid: i32) -> Result<bool, Unidentified> {
    let id = mount_id(file)?;
    let named = |mount: &Mount<'_>| (mount.id == id).then(|| mount.device.to_owned());
    let mut device = None;
    // The process's own table only translates, for services and containers in namespaces of their own.
    for table in ["1", "self", &pid.to_string()] {
        if device.is_none() {
            device = first(table, named)?;
        }
    }
    let Some(device) = device else { return Ok(false) };
    let believed = |mount: &Mount<'_>| (mount.device == device).then(|| !mount.is_served_by_a_process());
    for table in ["1", "self"] {
        if let Some(believed) = first(table, believed)? {
            return Ok(believed);
        }
    }
    Ok(false)
}

fn mount_id(file: &File) -> Result<String, Unidentified> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))
        .map_err(Unidentified::reading("fdinfo"))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:"));
    let id = id.map(|id| id.trim().to_owned());
    id.ok_or_else(|| Unidentified::Unreadable { file: "fdinfo", why: "it names no mount".to_owned() })
}

/// The first answer that a table of mounts gives, line by line: tables may be long.
fn first<T>(pid: &str, ask: impl Fn(&Mount<'_>) -> Option<T>) -> Result<Option<T>, Unidentified> {
    let failed = Unidentified::reading("mountinfo");
    let table = File::open(format!("/proc/{pid}/mountinfo")).map_err(failed)?;
    for line in BufReader::new(table).split(b'\n') {
        let line = line.map_err(failed)?;
        if let Some(answer) = Mount::of(&String::from_utf8_lossy(&line)).and_then(|mount| ask(&mount)) {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, memfd_create};
    use std::process;

    #[test]
    fn a_line_is_read_however_many_optional_fields_it_has() {
        for options in ["", "shared:1 ", "shared:1 master:2 propagate_from:3 "] {
            let line = format!("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime {options}- ext3 /dev/root rw,errors=continue");
            assert_eq!(Mount::of(&line).unwrap(), Mount { id: "36", device: "98:0", kind: "ext3" }, "{line}");
        }
        for wrong in ["", "36", "36 35 98:0 / / rw", "36 35 - ext3"] {
            assert_eq!(Mount::of(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_a_process_serves_is_told_by_its_kind() {
        let served = |kind| Mount { id: "1", device: "0:1", kind }.is_served_by_a_process();
        assert!(["fuse", "fuse.sshfs", "fuseblk", "virtiofs"].into_iter().all(served));
        assert!(!["ext4", "overlay", "tmpfs", "fusectl"].into_iter().any(served));
    }

    #[test]
    fn what_is_mounted_nowhere_is_not_believed_and_this_program_is() {
        let own = process::id().cast_signed();
        assert!(is_roots(&File::open("/proc/self/exe").unwrap(), own).unwrap());
        let nowhere = File::from(memfd_create("program", MemfdFlags::CLOEXEC).unwrap());
        assert!(!is_roots(&nowhere, own).unwrap());
    }
}
