//! Cores that the kernel writes: ordinary memory is in them, arena and key pages are not; of an
//! undumpable process there are none. Alone in its program, whose limits no other test has lowered.
#![allow(unsafe_code, reason = "raising and lifting what forbids a core is what these tests are for")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test is how it speaks")]

use std::{
    fs,
    process::{Command, Stdio},
};
use strongroom_memory::{Arena, KeyPages, KeyPagesPreference, MemoryError, Protection};

/// Writes a canary where it belongs: made at run time, so that the program's text does not hold it, and
/// in place, so that no copy is left on the way.
fn write_canary(to: &mut [u8], of: u8) {
    for (at, byte) in (0_u8..32).zip(to) {
        *byte = of ^ at.wrapping_mul(37);
    }
}
const ORDINARY: u8 = 1;
const ARENA: u8 = 2;
const SECRET_PAGES: u8 = 3;
const LOCKED_PAGES: u8 = 4;

/// Raises the soft core limit to the hard one; how much that is.
fn raise_core_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live, writable, and then only read.
    unsafe {
        libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_CORE, &raw const limit);
    }
    limit.rlim_max
}

#[test]
#[ignore = "kills itself; started by the test below"]
fn leave_a_core() {
    raise_core_limit();
    let mut ordinary = vec![0; 32];
    write_canary(&mut ordinary, ORDINARY);
    let mut arena = Arena::allocate(3 << 20, &Protection::default()).unwrap();
    for piece in arena.as_mut_slice().chunks_mut(4096) {
        write_canary(piece, ARENA);
    }
    let best = KeyPages::new(&Protection::default()).unwrap();
    let locked = Protection::default().with_key_pages(KeyPagesPreference::LockedAnonymous);
    let locked = KeyPages::new(&locked).unwrap();
    let mut slots = Vec::new();
    for (pages, of) in [(&best, SECRET_PAGES), (&locked, LOCKED_PAGES)] {
        let slot = pages.store_with(|slot| {
            write_canary(slot, of);
            Ok::<(), MemoryError>(())
        });
        slots.push(slot.unwrap());
    }
    if fs::exists("undumpable").unwrap() {
        // SAFETY: prctl takes integers.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) }, 0);
    }
    if fs::exists("dumped").unwrap() {
        let bytes = arena.as_mut_slice();
        // SAFETY: the range is the arena's own; the advice changes no contents.
        let advised = unsafe { libc::madvise(bytes.as_mut_ptr().cast(), bytes.len(), libc::MADV_DODUMP) };
        assert_eq!(advised, 0);
    }
    assert!(!ordinary.is_empty() && arena.is_locked() && slots.len() == 2);
    std::process::abort();
}

/// The core of a process that lifts or sets what this file is called after.
fn core_with(setting: &str) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    fs::write(directory.join(setting), "").unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leave_a_core", "--ignored", "--nocapture"])
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(!status.success());
    let mut files = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let path = files.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("core")))?;
    Some(fs::read(path).unwrap())
}

#[test]
fn a_core_holds_ordinary_memory_and_nothing_else() {
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    if pattern.starts_with('|') || pattern.contains('/') {
        println!("skipped: cores go to `{}`, not into the working directory", pattern.trim());
        return;
    }
    if raise_core_limit() == 0 {
        println!("skipped: the hard core limit is zero");
        return;
    }
    let holds = |core: &[u8], of: u8| {
        let mut canary = [0; 32];
        write_canary(&mut canary, of);
        core.windows(32).any(|window| window == canary)
    };
    let core = core_with("as-it-is").expect("the kernel wrote no core");
    assert!(holds(&core, ORDINARY), "the control is not in the core");
    // The arena would be found, if it were there.
    assert!(holds(&core_with("dumped").unwrap(), ARENA));
    assert!(core_with("undumpable").is_none(), "an undumpable process left a core");
    for (name, of) in [("arena", ARENA), ("secret pages", SECRET_PAGES), ("locked pages", LOCKED_PAGES)] {
        assert!(!holds(&core, of), "{name}: in the core of {} bytes", core.len());
    }
}
