//! As an ordinary user: with `CAP_IPC_LOCK` alone everything can be had; without it the limit is
//! named, with its remedy. Root hides all of this, so each test starts this program again as nobody.
#![allow(unsafe_code, reason = "limits of a child process are set between fork and exec")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed test is how it speaks")]

use std::{
    fs::{self, Permissions},
    io::{BufRead, BufReader, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};
use strongroom_memory::{Arena, KeyPages, MemoryError, Protection, Weakening, harden_process};
use tempfile::TempDir;

const MIB_64: usize = 64 << 20;
/// What systemd and Debian give to a process that asks for nothing.
const DEFAULT_LIMIT: u64 = 8 << 20;

/// This program, where nobody can run it.
struct Nobody {
    program: PathBuf,
    _directory: TempDir,
    /// One test at a time: a child that another test forks while the copy is written holds it open
    /// for writing, and the kernel does not run such a file.
    _turn: MutexGuard<'static, ()>,
}

impl Nobody {
    /// `None`, and the reason said, where tests cannot change users.
    fn ready() -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        // SAFETY: takes nothing, touches nothing.
        if unsafe { libc::geteuid() } != 0 {
            println!("skipped: only root can start a program as another user");
            return None;
        }
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        if Command::new("setpriv").arg("--version").output().is_err() {
            println!("skipped: setpriv (util-linux) is missing");
            return None;
        }
        let directory = TempDir::new().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let program = directory.path().join("unprivileged");
        fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        Some(Self { program, _directory: directory, _turn: turn })
    }

    /// Runs one of the tests below that are ignored otherwise, with these capabilities (as setpriv
    /// writes them) and this much lockable memory.
    fn command(&self, test: &str, capabilities: &str, lock_limit: u64) -> Command {
        let mut command = setpriv(capabilities);
        command.arg(&self.program).args(["--exact", test, "--ignored", "--nocapture"]);
        let limit = libc::rlimit { rlim_cur: lock_limit, rlim_max: lock_limit };
        // SAFETY: setrlimit may be called between fork and exec, and only reads `limit`.
        unsafe {
            command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_MEMLOCK, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        command
    }

    fn what_can_be_had(&self, capabilities: &str, lock_limit: u64) -> String {
        let output = self.command("what_can_be_had", capabilities, lock_limit).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }
}

/// The user nobody, with nothing but `capabilities`.
fn setpriv(capabilities: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]);
    for set in ["--bounding-set", "--inh-caps", "--ambient-caps"] {
        command.arg(format!("{set}={capabilities}"));
    }
    command
}

#[test]
#[ignore = "tells the tests of this file, which start it as another user, what it can have"]
fn what_can_be_had() {
    let strict = Protection::default();
    let weak = Protection::default().accepting(Weakening::UnlockedMemory);
    for (name, protection) in [("strict", &strict), ("weakened", &weak)] {
        match Arena::allocate(MIB_64, protection) {
            Ok(mut arena) => {
                arena.as_mut_slice().fill(1);
                println!("{name} arena: {} bytes, locked: {}", arena.len(), arena.is_locked());
            }
            Err(error) => println!("{name} arena: {error}"),
        }
        match KeyPages::new(protection) {
            Ok(pages) => println!("{name} keys: {}", pages.kind()),
            Err(error @ MemoryError::LockLimit { .. }) => println!("{name} keys: {error}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn cap_ipc_lock_is_all_that_a_user_needs() {
    let Some(nobody) = Nobody::ready() else { return };
    let text = nobody.what_can_be_had("-all,+ipc_lock", DEFAULT_LIMIT);
    assert!(text.contains("strict arena: 67108864 bytes, locked: true\n"), "{text}");
    assert!(text.contains("strict keys: memfd_secret\n") || text.contains("strict keys: locked_anonymous\n"), "{text}");
}

#[test]
fn without_it_the_error_names_the_limit_and_the_remedy() {
    let Some(nobody) = Nobody::ready() else { return };
    let text = nobody.what_can_be_had("-all", DEFAULT_LIMIT);
    let line = text.lines().find(|line| line.contains("strict arena: ")).unwrap_or_else(|| panic!("{text}"));
    for part in [
        "67108864 bytes cannot be locked",
        "RLIMIT_MEMLOCK is 8388608 bytes",
        "LimitMEMLOCK=infinity (or at least 67108864)",
        "AmbientCapabilities=CAP_IPC_LOCK",
        "setpriv --inh-caps +ipc_lock --ambient-caps +ipc_lock",
        "ulimit -l 65536",
    ] {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
    // Key pages are small enough for the default limit, and an arena may do without if somebody says so.
    assert!(text.contains("strict keys: memfd_secret\n") || text.contains("strict keys: locked_anonymous\n"), "{text}");
    assert!(text.contains("weakened arena: 67108864 bytes, locked: false\n"), "{text}");
}

#[test]
fn a_raised_limit_is_enough_as_well() {
    let Some(nobody) = Nobody::ready() else { return };
    // As unit files do it. A container without CAP_SYS_RESOURCE cannot raise the hard limit.
    let wanted = MIB_64 as u64 + (1 << 20);
    let output = match nobody.command("what_can_be_had", "-all", wanted).output() {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            println!("skipped: the limit cannot be raised here");
            return;
        }
        other => other.unwrap(),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("strict arena: 67108864 bytes, locked: true\n"), "{text}");
}

#[test]
fn keys_are_never_unlocked() {
    let Some(nobody) = Nobody::ready() else { return };
    let text = nobody.what_can_be_had("-all", 0);
    for name in ["strict", "weakened"] {
        assert!(
            text.contains(&format!("{name} keys: 16384 bytes cannot be locked into memory: RLIMIT_MEMLOCK is 0")),
            "{text}"
        );
    }
    assert!(text.contains("weakened arena: 67108864 bytes, locked: false\n"), "{text}");
}

const CANARY: &str = "canary in ordinary memory";

#[test]
#[ignore = "holds a canary for the test below, which starts it as another user"]
fn hold_a_canary() {
    let canary = CANARY.to_owned();
    println!("\ncanary at {} {}", std::process::id(), canary.as_ptr() as usize);
    let mut lines = std::io::stdin().lines();
    lines.next();
    harden_process().unwrap();
    println!("\nhardened");
    lines.next();
    drop(canary);
}

#[test]
fn a_hardened_process_is_closed_to_others_of_the_same_user() {
    let Some(nobody) = Nobody::ready() else { return };
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if !matches!(yama.trim(), "" | "0") {
        println!("skipped: Yama refuses such reads already, so there is nothing to compare with");
        return;
    }
    let mut command = nobody.command("hold_a_canary", "-all", DEFAULT_LIMIT);
    let mut holder = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = holder.stdin.take().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map(Result::unwrap);
    let place = lines.find_map(|line| line.strip_prefix("canary at ").map(str::to_owned)).unwrap();
    let (pid, address) = place.split_once(' ').unwrap();
    let read = || {
        let mut dd = setpriv("-all");
        dd.args(["dd", &format!("if=/proc/{pid}/mem"), &format!("skip={address}"), "iflag=skip_bytes,count_bytes"]);
        dd.args([&format!("count={}", CANARY.len()), "bs=4096", "status=none"]).output().unwrap().stdout
    };
    assert_eq!(read(), CANARY.as_bytes());
    writeln!(input).unwrap();
    assert!(lines.any(|line| line == "hardened"));
    assert_eq!(read(), b"");
    writeln!(input).unwrap();
    assert!(holder.wait().unwrap().success());
}
