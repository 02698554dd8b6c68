//! Somebody else, who tries to read another process.

use crate::say;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::{
    fs::File,
    io::{self, BufRead as _},
    os::unix::fs::FileExt as _,
};

/// What `/proc/PID/mem`, `process_vm_readv` and `ptrace` give: hex, or the error.
pub(crate) fn read_in_three_ways(pid: i32, address: u64, length: usize) -> Value {
    let by_file = File::open(format!("/proc/{pid}/mem")).and_then(|memory| {
        let mut bytes = vec![0; length];
        memory.read_exact_at(&mut bytes, address)?;
        Ok(bytes)
    });
    json!({ "mem": told(by_file), "process_vm_readv": told(read_by_call(pid, address, length)), "ptrace": told(peek(pid, address)) })
}

fn told(read: io::Result<Vec<u8>>) -> Value {
    match read {
        Ok(bytes) => json!({ "read": hex::encode(bytes) }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn read_by_call(pid: i32, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0_u8; length];
    let to = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
    let from = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: length };
    // SAFETY: `to` is live and writable; the kernel checks `from`.
    let read = unsafe { libc::process_vm_readv(pid, &raw const to, 1, &raw const from, 1, 0) };
    if usize::try_from(read) == Ok(length) { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}

/// A tracer from now on, without stopping the process.
pub(crate) fn seize(pid: i32) -> Result<(), String> {
    // SAFETY: takes integers.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, 0_usize, 0_usize) };
    if seized == 0 { Ok(()) } else { Err(io::Error::last_os_error().to_string()) }
}

/// Traces, stops, reads a word, lets go.
fn peek(pid: i32, address: u64) -> io::Result<Vec<u8>> {
    seize(pid).map_err(|_| io::Error::last_os_error())?;
    let mut status = 0;
    // SAFETY: takes integers, and a live status; errno tells a word from an error.
    let (word, error) = unsafe {
        if libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0_usize, 0_usize) != 0
            || libc::waitpid(pid, &raw mut status, libc::__WALL) != pid
        {
            return Err(io::Error::last_os_error());
        }
        *libc::__errno_location() = 0;
        let word = libc::ptrace(libc::PTRACE_PEEKDATA, pid, address, 0_usize);
        (word, io::Error::last_os_error())
    };
    // SAFETY: takes integers.
    unsafe { libc::ptrace(libc::PTRACE_DETACH, pid, 0_usize, 0_usize) };
    if error.raw_os_error() == Some(0) { Ok(word.to_ne_bytes().to_vec()) } else { Err(error) }
}

/// Opens now, reads when told to.
pub(crate) fn open_then_read(pid: i32) -> anyhow::Result<()> {
    let memory = File::open(format!("/proc/{pid}/mem"));
    say(&json!({ "opened": memory.is_ok(), "error": memory.as_ref().err().map(ToString::to_string) }))?;
    let memory = memory?;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let (address, length) = line.split_once(' ').context("ADDRESS LENGTH")?;
        let mut bytes = vec![0; length.parse()?];
        let read = memory.read_exact_at(&mut bytes, address.parse()?);
        say(&told(read.map(|()| bytes)))?;
    }
    Ok(())
}
