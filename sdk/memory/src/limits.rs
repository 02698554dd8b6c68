//! How much memory there is, and how much of it may be locked.

use crate::error::MemoryError;
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
};

/// Refuses to claim more memory than is available: the kernel would grant the claim, and kill
/// somebody when the pages are touched. Another process may still be quicker; this is a check of
/// what is asked, not a reservation.
pub(crate) fn check_available(needed: usize) -> Result<(), MemoryError> {
    let needed = needed as u64;
    let machine = read("/proc/meminfo").and_then(|text| mem_available(&text)).map(|bytes| (bytes, "MemAvailable"));
    let group = group_available(Path::new("/sys/fs/cgroup")).map(|bytes| (bytes, "memory.max of the control group"));
    match machine.into_iter().chain(group).min() {
        Some((available, bound)) if available < needed => {
            Err(MemoryError::NotEnoughMemory { needed, available, bound })
        }
        _ => Ok(()),
    }
}

/// Makes an error of locking into one that names the limit, if the limit is what stands in the way.
pub(crate) fn explain_lock(error: io::Error, needed: usize, call: &'static str) -> MemoryError {
    let needed = needed as u64;
    let of_the_limit = matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EPERM | libc::EAGAIN));
    let limit = lock_limit();
    let locked = read("/proc/self/status").and_then(|text| kibibytes(&text, "VmLck:")).unwrap_or(0);
    if of_the_limit && locked.saturating_add(needed) > limit {
        MemoryError::LockLimit { needed, locked, limit }
    } else {
        MemoryError::Refused { call, purpose: "lock memory, so that it cannot reach swap", source: error }
    }
}

/// `RLIMIT_MEMLOCK`, soft, in bytes; `u64::MAX` when there is none.
fn lock_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a live, writable rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) } == 0 { limit.rlim_cur } else { 0 }
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn mem_available(meminfo: &str) -> Option<u64> {
    kibibytes(meminfo, "MemAvailable:")
}

/// The bytes of a line such as `VmLck:      16 kB`.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// What is left under the tightest `memory.max` (cgroup v2) from this process's group to the
/// root; `None` where there is no limit, or no such hierarchy. Page cache of files counts as free,
/// as the kernel drops it before it kills.
fn group_available(root: &Path) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let own = root.join(own);
    own.ancestors().take_while(|path| path.starts_with(root)).filter_map(left_in).min()
}

fn left_in(group: &Path) -> Option<u64> {
    let max = read(group.join("memory.max"))?;
    let current = read(group.join("memory.current"))?;
    let stat = read(group.join("memory.stat")).unwrap_or_default();
    left_under(&max, &current, &stat)
}

fn left_under(max: &str, current: &str, stat: &str) -> Option<u64> {
    // `max` stands for no limit, and does not parse.
    let max: u64 = max.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let of = |name: &str| -> u64 {
        let line = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
    };
    let cache = of("active_file").saturating_add(of("inactive_file"));
    Some(max.saturating_sub(current.saturating_sub(cache)))
}

/// True if the error says that the kernel does not have the call, or that a filter forbids it.
pub(crate) fn call_is_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS)) || error.kind() == ErrorKind::PermissionDenied
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_read() {
        let meminfo = "MemTotal:       24683520 kB\nMemFree:        24265728 kB\nMemAvailable:   24295424 kB\n";
        assert_eq!(mem_available(meminfo), Some(24_295_424 * 1024));
        for wrong in ["", "MemAvailable: kB", "MemAvailable: 12", "MemAvailable: 18446744073709551615 kB"] {
            assert_eq!(mem_available(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_group_leaves_what_is_under_its_maximum() {
        let stat = "anon 600\nfile 300\nactive_file 100\ninactive_file 200\n";
        assert_eq!(left_under("1000\n", "900\n", stat), Some(400));
        assert_eq!(left_under("1000\n", "900\n", ""), Some(100));
        assert_eq!(left_under("1000\n", "2000\n", ""), Some(0));
        assert_eq!(left_under("max\n", "900\n", stat), None);
    }

    #[test]
    fn more_than_the_machine_has_is_refused() {
        check_available(4096).unwrap();
        let error = check_available(usize::MAX / 2).unwrap_err();
        assert!(
            matches!(error, MemoryError::NotEnoughMemory { needed, available, .. } if available < needed),
            "{error}"
        );
    }

    #[test]
    fn other_errors_of_locking_are_not_blamed_on_the_limit() {
        let error = explain_lock(io::Error::from_raw_os_error(libc::EINVAL), usize::MAX, "mlock2");
        assert!(matches!(error, MemoryError::Refused { .. }), "{error}");
    }
}
