//! A job that holds keys and weights, and somebody who tries to read them: the two sides of the
//! tests of protected memory.
//!
//! The job obeys lines on standard input and answers each with a line of JSON. What it may do to
//! itself here (become dumpable again, splice its pages into a pipe) is not in any program that is
//! shipped.
#![allow(unsafe_code, reason = "forking, tracing, and reading memory that must not be readable, is what this is for")]
#![warn(clippy::undocumented_unsafe_blocks)]

mod job;
mod own_pages;
mod reader;

use anyhow::{Context as _, ensure};
use clap::Parser;
use job::{Hold, Job};
use reader::{open_then_read, read_in_three_ways, seize};
use serde_json::{Value, json};
use std::{
    ffi::OsString,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    process::Command,
};

#[derive(Parser)]
enum Role {
    /// Holds, and obeys the lines that it reads.
    Hold(Hold),
    /// Tries to read another process in three ways, and says what came of it.
    Read { pid: i32, address: u64, length: usize },
    /// Opens another process's memory, and reads at `ADDRESS LENGTH` for each line.
    OpenThenRead { pid: i32 },
    /// Traces another process until standard input ends.
    Trace { pid: i32 },
    /// Becomes another program, for which the kernel has no `memfd_secret(2)`.
    WithoutMemfdSecret {
        #[arg(last = true, required = true)]
        command: Vec<OsString>,
    },
}

fn main() -> anyhow::Result<()> {
    match Role::parse() {
        Role::Hold(hold) => Job::start(hold)?.obey(),
        Role::Read { pid, address, length } => say(&read_in_three_ways(pid, address, length)),
        Role::OpenThenRead { pid } => open_then_read(pid),
        Role::Trace { pid } => {
            let seized = seize(pid);
            say(&json!({ "traces": seized.is_ok(), "error": seized.err() }))?;
            io::stdin().lines().for_each(drop);
            Ok(())
        }
        Role::WithoutMemfdSecret { command } => {
            refuse_memfd_secret()?;
            let (program, arguments) = command.split_first().context("a command")?;
            Err(Command::new(program).args(arguments).exec().into())
        }
    }
}

fn say(answer: &Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}

/// For this process and all that it becomes or starts.
fn refuse_memfd_secret() -> anyhow::Result<()> {
    const MEMFD_SECRET: u32 = 447;
    let step = |code: u32, jt, jf, k| libc::sock_filter { code: u16::try_from(code).unwrap_or_default(), jt, jf, k };
    let refuse = libc::SECCOMP_RET_ERRNO | u32::try_from(libc::ENOSYS)?;
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, MEMFD_SECRET),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, refuse),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    let (zero, one): (libc::c_ulong, libc::c_ulong) = (0, 1);
    let mode = libc::c_ulong::from(libc::SECCOMP_MODE_FILTER);
    // SAFETY: both calls take integers, and the last a live program.
    let set = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program) == 0
    };
    ensure!(set, "seccomp: {}", io::Error::last_os_error());
    Ok(())
}
