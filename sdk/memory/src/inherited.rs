//! A file that a launcher left open for this process under a number.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd, RawFd},
};

/// A duplicate of an inherited descriptor, which children do not inherit; the number itself is marked
/// close-on-exec and stays open, since nobody can show that nothing else in the process uses it.
///
/// # Errors
/// `EBADF` if nothing is open under this number, or if it is one of the standard streams (0 to 2), which
/// belong to the program.
pub fn inherited_descriptor(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: takes integers, and touches no memory; a number that is not open is an error.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, libc::STDERR_FILENO + 1) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, so nobody else owns it.
    let copy = unsafe { OwnedFd::from_raw_fd(copy) };
    // SAFETY: as the first call.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read as _, Write as _},
        os::{
            fd::{AsRawFd as _, IntoRawFd as _},
            unix::net::UnixStream,
        },
    };

    fn is_closed_on_exec(number: RawFd) -> bool {
        // SAFETY: takes integers, and touches no memory.
        unsafe { libc::fcntl(number, libc::F_GETFD) & libc::FD_CLOEXEC != 0 }
    }

    #[test]
    fn what_was_left_open_is_taken_over_and_not_passed_on() {
        let (left_open, mut other) = UnixStream::pair().unwrap();
        let number = left_open.into_raw_fd();
        // SAFETY: takes integers, and touches no memory.
        assert_eq!(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }, 0);
        let taken = inherited_descriptor(number).unwrap();
        assert!(is_closed_on_exec(number) && is_closed_on_exec(taken.as_raw_fd()));
        other.write_all(b"x").unwrap();
        let mut byte = [0];
        UnixStream::from(taken).read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"x");
        // SAFETY: nobody else has this number: it was let go of above.
        drop(unsafe { OwnedFd::from_raw_fd(number) });
    }

    #[test]
    fn standard_streams_and_closed_numbers_are_refused() {
        for number in [-1, 0, 1, 2, 1_000_000] {
            assert_eq!(inherited_descriptor(number).unwrap_err().raw_os_error(), Some(libc::EBADF), "{number}");
        }
    }
}
