//! (a) A core that is forced out of the job.
//!
//! Hardening sets the hard core limit to zero, and only who has `CAP_SYS_RESOURCE` can lift that: where
//! the test cannot, a debugger makes the core. A core by the kernel, of the same memory without the
//! rest of the job, is in `sdk/memory/tests/core.rs`.

use super::{CANARY, CAP_SYS_PTRACE, CAP_SYS_RESOURCE, Sealed, may, row, strict};
use std::{fs, path::Path, process::Command};
use strongroom_tests::{
    Victim, programs,
    victim::{Memory, find},
};

/// How a core can be had here.
#[derive(Clone, Copy, PartialEq)]
enum Dump {
    /// By the kernel, into the working directory.
    Kernel,
    /// By gdb's `gcore`, which leaves out what the kernel would leave out.
    Debugger,
    /// By reading what the kernel would have written: every area that is not left out of dumps.
    Reader,
}

impl Dump {
    fn choose() -> Self {
        let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
        let to_a_file = !pattern.starts_with('|') && !pattern.contains('/');
        if to_a_file && may(CAP_SYS_RESOURCE) {
            Self::Kernel
        } else if may(CAP_SYS_PTRACE) && Command::new("gcore").arg("--version").output().is_ok() {
            Self::Debugger
        } else {
            Self::Reader
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kernel => "SIGABRT, core written by the kernel; core limit and PR_SET_DUMPABLE lifted for the test",
            Self::Debugger => "gcore; PR_SET_DUMPABLE lifted for the test (the hard core limit cannot be, here)",
            Self::Reader => "PR_SET_DUMPABLE lifted for the test, /proc/PID/mem read as a debugger reads it",
        }
    }

    fn take(self, mut job: Victim, directory: &Path) -> Vec<u8> {
        job.done("dumpable").unwrap();
        match self {
            Self::Kernel => {
                job.done("raise-core").unwrap();
                job.tell("abort").unwrap();
                job.wait().unwrap();
            }
            Self::Debugger => {
                let pid = job.pid().to_string();
                let mut gcore = programs::bare(Path::new("gcore"));
                programs::run(gcore.args(["-o", "core", &pid]).current_dir(directory)).unwrap();
            }
            Self::Reader => {
                let memory = Memory::of(job.pid()).unwrap();
                let areas = memory.contents(|area| !area.has("dd")).unwrap();
                return areas.into_iter().flat_map(|(_, bytes)| bytes).collect();
            }
        }
        core_in(directory).expect("there is no core")
    }
}

/// The core in a directory, which is taken away.
fn core_in(directory: &Path) -> Option<Vec<u8>> {
    let is_core = |name: &str| name == "core" || name.starts_with("core.");
    let mut entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let path = entries.find(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(is_core))?;
    let bytes = fs::read(&path).unwrap();
    fs::remove_file(path).unwrap();
    Some(bytes)
}

#[test]
fn a_core_holds_neither_key_nor_weights() {
    let world = strict();
    let sealed = Sealed::make(&world, "core");
    let directory = sealed.directory.path();
    let dump = Dump::choose();

    // A job as it is gives none, whatever `core_pattern` is; nor if its limit could be raised.
    let (mut job, _) = sealed.holder(&world, &[], &[]);
    if dump == Dump::Kernel {
        job.done("raise-core").unwrap();
    }
    job.tell("abort").unwrap();
    assert!(!job.wait().unwrap().success());
    assert!(core_in(directory).is_none(), "a hardened process left a core");

    let (job, _) = sealed.holder(&world, &[], &[]);
    let core = dump.take(job, directory);
    assert!(find(&core, CANARY.as_bytes()).is_some(), "the control is not in the core");
    assert!(!sealed.key_is_in(&core), "the key is in the core");
    assert!(!sealed.weights_are_in(&core), "weights are in the core");
    row(
        'a',
        dump.name(),
        "a canary of ordinary memory is in the core",
        &format!("core of {} bytes: no key, no weights; SIGABRT of the job as it is: no core", core.len()),
    );
}
