//! Pages of this process, as its own system calls see them.

use anyhow::{Context as _, ensure};
use std::{fs, io, os::fd::RawFd};

/// Whether the kernel can read eight bytes at an address of this process: it answers EFAULT where a
/// load would fault.
pub(crate) fn readable(address: u64, pipe: RawFd) -> bool {
    // SAFETY: the kernel checks the address.
    unsafe { libc::write(pipe, address as *const libc::c_void, 8) == 8 }
}

/// Where `memfd_secret` pages are mapped.
pub(crate) fn secret_pages() -> anyhow::Result<Vec<(u64, u64)>> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    maps.lines()
        .filter(|line| line.contains("secretmem"))
        .map(|line| {
            let (start, end) = line.split_whitespace().next().and_then(|r| r.split_once('-')).context("maps")?;
            Ok((u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?))
        })
        .collect()
}

/// Puts the pages themselves into a pipe, without copying: whoever reads the pipe later sees what is
/// in them then, mapped or not. Gives the descriptor to read from.
pub(crate) fn splice(bytes: &[u8]) -> anyhow::Result<RawFd> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    ensure!(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } == 0, "pipe");
    let [from, to] = ends;
    // SAFETY: takes integers. A slot of the pipe holds a page.
    let size = unsafe { libc::fcntl(to, libc::F_SETPIPE_SZ, 1 << 20) };
    ensure!(size >= 0, "F_SETPIPE_SZ: {}", io::Error::last_os_error());
    let pages = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the range is live; nothing writes through the pipe's pages.
    let spliced = unsafe { libc::vmsplice(to, &raw const pages, 1, libc::SPLICE_F_NONBLOCK) };
    ensure!(usize::try_from(spliced) == Ok(bytes.len()), "vmsplice: {spliced}: {}", io::Error::last_os_error());
    // SAFETY: nobody else knows it; without a writer the reader finds the end.
    unsafe { libc::close(to) };
    Ok(from)
}
