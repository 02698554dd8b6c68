//! What the kernel is asked for is what it gives: guards fault, children have nothing, other
//! readers get nothing. Each refusal stands beside ordinary memory, which is not refused.
#![allow(unsafe_code, reason = "forking, and reading addresses that must fault, is what these tests are for")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test is how it speaks")]

use std::{
    fs::File,
    io::{self, Read},
    os::{
        fd::{FromRawFd, OwnedFd},
        unix::fs::FileExt,
    },
};
use strongroom_memory::{
    Arena, ArenaPool, KeyPages, KeyPagesKind, KeyPagesPreference, MemoryError, Owner, Protection, harden_process,
};

const CANARY: [u8; 32] = *b"canary in protected memory: 0123";

fn arena() -> Arena {
    let mut arena = Arena::allocate(3 << 20, &Protection::default()).unwrap();
    arena.as_mut_slice()[..32].copy_from_slice(&CANARY);
    arena
}

/// Both kinds of key pages, or the one that this kernel has.
fn key_pages() -> Vec<KeyPages> {
    let locked = Protection::default().with_key_pages(KeyPagesPreference::LockedAnonymous);
    let best = KeyPages::new(&Protection::default()).unwrap();
    if best.kind() != KeyPagesKind::MemfdSecret {
        println!("skipped for memfd_secret: this kernel has it not");
    }
    vec![best, KeyPages::new(&locked).unwrap()]
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    Exited(i32),
    Killed(i32),
}

fn core_limit() -> libc::rlimit {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live and writable.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
    limit
}

/// Runs `work` in a forked child; how it ended, and what it wrote to stderr. `work` must neither
/// allocate nor take locks: other threads of this process may have held them.
fn in_child(work: impl FnOnce() -> i32) -> (End, String) {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }, 0);
    // SAFETY: both descriptors are new and nobody else's.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    // SAFETY: the child makes only calls that are safe after a fork, and leaves by `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        let mut core = core_limit();
        core.rlim_cur = 0;
        // SAFETY: plain system calls on live values.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &raw const core);
            libc::dup2(ends[1], libc::STDERR_FILENO);
            libc::_exit(work());
        }
    }
    drop(write);
    let mut said = String::new();
    File::from(read).read_to_string(&mut said).unwrap();
    let mut status = 0;
    // SAFETY: `status` is live, and the child is ours.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    let end = if libc::WIFSIGNALED(status) {
        End::Killed(libc::WTERMSIG(status))
    } else {
        End::Exited(libc::WEXITSTATUS(status))
    };
    (end, said)
}

/// What reading one byte at `address` in a forked child comes to.
fn read_in_child(address: *const u8) -> End {
    // SAFETY: reading may fault, which ends the child alone; the value is not used otherwise.
    in_child(|| i32::from(unsafe { address.read_volatile() })).0
}

#[test]
fn guards_fault_on_both_sides() {
    // Guards must be tested in this process: in a child the whole arena is gone. So the end of
    // mapped memory is read from the kernel, and the fault from a write that it makes for us.
    let arena = arena();
    let start = arena.as_slice().as_ptr() as u64;
    let end = start + arena.capacity() as u64;
    let zeros = File::open("/dev/zero").unwrap();
    let write_at = |address: u64| {
        // SAFETY: the kernel checks the address, and answers EFAULT where a store would fault. The
        // two addresses inside the arena hold zeros or the canary's first byte, which is not read again.
        let wrote = unsafe { libc::pread(std::os::fd::AsRawFd::as_raw_fd(&zeros), address as *mut libc::c_void, 1, 0) };
        if wrote == 1 { Ok(()) } else { Err(io::Error::last_os_error().raw_os_error()) }
    };
    assert_eq!((write_at(start), write_at(end - 1)), (Ok(()), Ok(())));
    for outside in [start - 1, start - 4096, end, end + 4095] {
        assert_eq!(write_at(outside), Err(Some(libc::EFAULT)));
        assert_eq!(vm_area(outside).0, "---p");
    }
    for pages in key_pages() {
        let slot = pages.store(&CANARY).unwrap();
        let (.., bounds) = vm_area(slot.expose().as_ptr() as u64);
        assert_eq!((write_at(bounds.start), write_at(bounds.end - 1)), (Ok(()), Ok(())));
        for outside in [bounds.start - 1, bounds.end] {
            assert_eq!(write_at(outside), Err(Some(libc::EFAULT)), "{}", pages.kind());
            assert_eq!(vm_area(outside).0, "---p");
        }
    }
}

#[test]
fn a_forked_child_has_neither_arena_nor_key_pages() {
    let ordinary = Box::new(CANARY);
    assert_eq!(read_in_child(ordinary.as_ptr()), End::Exited(i32::from(CANARY[0])));
    let arena = arena();
    assert_eq!(read_in_child(arena.as_slice().as_ptr()), End::Killed(libc::SIGSEGV));
    for pages in key_pages() {
        let slot = pages.store(&CANARY).unwrap();
        assert_eq!(read_in_child(slot.expose().as_ptr()), End::Killed(libc::SIGSEGV), "{}", pages.kind());
    }
    // The parent has kept everything.
    assert_eq!(arena.as_slice()[..32], CANARY);
}

#[test]
fn a_forked_child_is_told_why() {
    let arena = arena();
    let pages = KeyPages::new(&Protection::default()).unwrap();
    let slot = pages.store(&CANARY).unwrap();
    arena.check_owner().unwrap();
    slot.check_owner().unwrap();
    let shared = self::arena().share();
    let owner = Owner::current().unwrap();
    shared.read().unwrap();
    shared.address().unwrap();
    owner.check().unwrap();
    let (end, _) = in_child(|| {
        // Does nothing, here and there.
        shared.zero_now();
        let refused = matches!(arena.check_owner(), Err(MemoryError::Forked))
            && matches!(shared.read(), Err(MemoryError::Forked))
            && matches!(shared.address(), Err(MemoryError::Forked))
            && matches!(shared.is_zeroed(), Err(MemoryError::Forked))
            && matches!(owner.check(), Err(MemoryError::Forked))
            && matches!(slot.check_owner(), Err(MemoryError::Forked))
            && matches!(pages.store(&CANARY), Err(MemoryError::Forked));
        i32::from(refused)
    });
    assert_eq!(end, End::Exited(1));
    for (end, said) in [in_child(|| i32::from(arena.as_slice()[0])), in_child(|| i32::from(slot.expose()[0]))] {
        assert_eq!(end, End::Killed(libc::SIGABRT));
        assert!(said.contains("belongs to the parent process"), "{said}");
    }
    assert_eq!(shared.read().unwrap()[..32], CANARY);
}

#[test]
fn dropping_inherited_memory_in_a_child_is_harmless() {
    let arena = arena();
    let pool = ArenaPool::new(Protection::default(), 1 << 20);
    let mut pooled = pool.take(4096).unwrap();
    pooled.as_mut_slice().fill(1);
    let pages = KeyPages::new(&Protection::default()).unwrap();
    let slot = pages.store(&CANARY).unwrap();
    let (end, said) = in_child(|| {
        // SAFETY: the child leaves by `_exit`, so the parent's values are not dropped twice in it.
        unsafe {
            drop(std::ptr::read(&raw const arena));
            drop(std::ptr::read(&raw const pooled));
            drop(std::ptr::read(&raw const slot));
        }
        7
    });
    assert_eq!((end, said.as_str()), (End::Exited(7), ""));
    assert_eq!((arena.as_slice()[..32].to_vec(), slot.expose()), (CANARY.to_vec(), &CANARY));
}

#[test]
fn a_child_can_protect_memory_of_its_own() {
    let arena = arena();
    let (end, _) = in_child(|| {
        // Allocating in a child of a process with threads is what the caller of fork answers for;
        // a small arena allocates nothing but pages, short of asking how much memory there is.
        let Ok(mut own) = Arena::allocate(4096, &Protection::default()) else { return 1 };
        own.as_mut_slice().fill(5);
        let kept = own.check_owner().is_ok() && own.as_slice()[4095] == 5;
        i32::from(!(kept && arena.check_owner().is_err()))
    });
    assert_eq!(end, End::Exited(0));
}

struct Area {
    start: u64,
    end: u64,
}

/// Permissions, `VmFlags` and bounds of the area that holds `address` (`/proc/self/smaps`).
fn vm_area(address: u64) -> (String, Vec<String>, Area) {
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
    let mut found = None;
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some((start, end)) = first.split_once('-') {
            let area =
                Area { start: u64::from_str_radix(start, 16).unwrap(), end: u64::from_str_radix(end, 16).unwrap() };
            let inside = area.start <= address && address < area.end;
            found = inside.then(|| (words.next().unwrap().to_owned(), area));
        } else if first == "VmFlags:"
            && let Some((permissions, area)) = found.take()
        {
            return (permissions, words.map(str::to_owned).collect(), area);
        }
    }
    panic!("{address:x} is not mapped");
}

#[test]
fn areas_are_locked_undumpable_and_unforkable() {
    let all = ["lo", "dd", "dc"];
    let has = |address: *const u8| {
        let flags = vm_area(address as u64).1;
        all.map(|flag| flags.iter().any(|other| other == flag))
    };
    let ordinary = vec![0_u8; 4 << 20];
    assert_eq!(has(ordinary.as_ptr()), [false; 3]);
    let arena = arena();
    assert_eq!(has(arena.as_slice().as_ptr()), [true; 3]);
    assert_eq!(has(&raw const arena.as_slice()[arena.len() - 1]), [true; 3]);
    for pages in key_pages() {
        let slot = pages.store(&CANARY).unwrap();
        assert_eq!(has(slot.expose().as_ptr()), [true; 3], "{}", pages.kind());
    }
}

/// Reads 32 bytes of this process as a debugger would, in two ways.
fn read_from_outside(address: *const u8) -> [Option<[u8; 32]>; 2] {
    let mut by_file = [0; 32];
    let memory = File::open("/proc/self/mem").unwrap();
    let by_file = memory.read_exact_at(&mut by_file, address as u64).is_ok().then_some(by_file);
    let mut by_call = [0_u8; 32];
    let to = libc::iovec { iov_base: by_call.as_mut_ptr().cast(), iov_len: 32 };
    let from = libc::iovec { iov_base: address.cast_mut().cast(), iov_len: 32 };
    // SAFETY: `to` is live and writable; the kernel checks `from`.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &raw const to, 1, &raw const from, 1, 0) };
    [by_file, (read == 32).then_some(by_call)]
}

#[test]
fn secret_pages_are_refused_even_to_root() {
    let ordinary = Box::new(CANARY);
    assert_eq!(read_from_outside(ordinary.as_ptr()), [Some(CANARY); 2]);
    for pages in key_pages() {
        let slot = pages.store(&CANARY).unwrap();
        let expected = match pages.kind() {
            KeyPagesKind::MemfdSecret => None,
            // The other kind and the arena do not withstand root, and the documentation says so.
            KeyPagesKind::LockedAnonymous => Some(CANARY),
        };
        assert_eq!(read_from_outside(slot.expose().as_ptr()), [expected; 2], "{}", pages.kind());
    }
    assert_eq!(read_from_outside(arena().as_slice().as_ptr()), [Some(CANARY); 2]);
}

#[test]
fn an_arena_is_backed_by_memory_from_the_start() {
    let arena = Arena::allocate(4 << 20, &Protection::default()).unwrap();
    let (.., bounds) = vm_area(arena.as_slice().as_ptr() as u64);
    let mut resident = vec![0_u8; usize::try_from((bounds.end - bounds.start) / 4096).unwrap()];
    // SAFETY: the range is one mapped area, and `resident` holds a byte for each of its pages.
    let asked = unsafe { libc::mincore(bounds.start as *mut libc::c_void, arena.capacity(), resident.as_mut_ptr()) };
    assert_eq!(asked, 0);
    assert!(arena.is_locked() && resident.iter().all(|page| page & 1 == 1));
}

#[test]
fn hardening_holds_twice_and_notices_when_it_is_lifted() {
    if core_limit().rlim_max == 0 {
        println!("skipped in part: the core limit is zero here already");
    }
    let (end, _) = in_child(|| {
        // SAFETY: prctl and setrlimit take integers and a live value.
        unsafe {
            let mut core = core_limit();
            core.rlim_cur = core.rlim_max;
            if libc::setrlimit(libc::RLIMIT_CORE, &raw const core) != 0 {
                return 1;
            }
            if libc::prctl(libc::PR_SET_DUMPABLE, 1) != 0 || libc::prctl(libc::PR_GET_DUMPABLE) != 1 {
                return 2;
            }
            let Ok(hardening) = harden_process() else { return 3 };
            core = core_limit();
            if libc::prctl(libc::PR_GET_DUMPABLE) != 0 || core.rlim_cur != 0 || core.rlim_max != 0 {
                return 4;
            }
            if harden_process().is_err() || hardening.check().is_err() {
                return 5;
            }
            if libc::prctl(libc::PR_SET_DUMPABLE, 1) != 0 || hardening.check().is_ok() {
                return 6;
            }
        }
        0
    });
    assert_eq!(end, End::Exited(0));
}
