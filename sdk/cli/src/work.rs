//! Work under a lease: kept alive while it lasts, stopped when the lease is lost or somebody asks.

use crate::{
    context::Context,
    interrupt::Interrupt,
    output::{Exit, Failure},
    progress::Shown,
};
use std::{fs::File, os::unix::fs::FileTypeExt as _, path::Path, sync::Arc};
use strongroom::{Error, Keeper, Lease, OpenObject, Request, Room, open_input, sealed::SealedError};

/// Plaintext is looked at by so many bytes at one time: a revocation waits for one piece only.
const PIECE: usize = 4 << 20;

/// A lease that a command works under.
pub(crate) struct Work {
    // Dropped in this order: the lease ends first, and its keeper finds that it has.
    lease: Lease,
    keeper: Keeper,
    interrupt: Interrupt,
}

impl Work {
    /// Asks for a lease, and keeps it: renewed when that is due, and lost at once when it is revoked.
    pub(crate) fn begin(context: &Context, room: Room, request: Request) -> Result<Self, Failure> {
        let attester = context.attester()?;
        let lease = room.release(attester.as_ref(), request)?;
        // A signal before this ends the process: there is nothing to clean up yet.
        let interrupt = Interrupt::listen()?;
        let keeper = lease.keep(Arc::new(room), attester);
        Ok(Self { lease, keeper, interrupt })
    }

    /// The lease.
    pub(crate) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Progress of a step of so many bytes, which stops when somebody asks.
    pub(crate) fn shown(&self, what: &'static str, total: u64, json: bool) -> Shown {
        Shown::new(what, total, json).stopped_by(self.interrupt.clone())
    }

    /// Why a step did not succeed.
    pub(crate) fn explain(&self, error: Error) -> Failure {
        match (&error, self.interrupt.check()) {
            (Error::Sealed(SealedError::Cancelled), Err(stopped)) => stopped,
            _ => error.into(),
        }
    }

    /// An error once the lease is lost, or somebody asked to stop.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.interrupt.check()?;
        self.lease.check().map_err(|over| Error::from(over).into())
    }

    /// Gives the plaintext by the piece. What was taken counts only if this succeeds: the lease was
    /// held until the last piece.
    pub(crate) fn each_piece(
        &self,
        opened: &OpenObject,
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut at = 0;
        loop {
            self.check()?;
            let plaintext = opened.plaintext()?;
            let rest = plaintext.get(at..).unwrap_or_default();
            let piece = rest.get(..PIECE).unwrap_or(rest);
            if piece.is_empty() {
                break;
            }
            take(piece)?;
            at += piece.len();
        }
        self.check()
    }

    /// Ends the lease. What was done is done, whether or not the vault hears of it: where it does not,
    /// a warning for the user.
    pub(crate) fn end(self) -> Option<String> {
        let Self { lease, keeper, .. } = self;
        let told = lease.end();
        drop(keeper);
        told.err().map(|error| {
            let why = Failure::from(error).message;
            format!("the work is done, but the vault was not told that the lease is over, and ends it when its time is: {why}")
        })
    }
}

/// Opens a file that the user named, to be read at positions: one that is not there, or is a pipe, is
/// the user's to mend.
pub(crate) fn input(path: &Path) -> Result<File, Failure> {
    open_input(path).map_err(|error| match error {
        Error::File { source, .. } => unreadable(path, &source),
        other => other.into(),
    })
}

/// Opens a file that the user named, to be read from its beginning. A pipe will do that somebody opened for this
/// process, as a shell does for `<(…)` and for standard input; a named one could be waited for without end.
pub(crate) fn given(path: &Path) -> Result<File, Failure> {
    let handed = ["/dev/fd", "/dev/stdin", "/proc/self/fd"].iter().any(|place| path.starts_with(place));
    if !handed {
        return input(path);
    }
    let file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let kind = file.metadata().map_err(|e| unreadable(path, &e))?.file_type();
    if kind.is_file() || kind.is_fifo() { Ok(file) } else { Err(Error::NotRegular(path.to_owned()).into()) }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Usage, format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::{
        io::{Read as _, Write as _},
        os::fd::AsRawFd as _,
    };

    #[test]
    fn nothing_is_waited_for_that_nobody_opened() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        for other in [pipe.as_path(), directory.path(), Path::new("/dev/zero")] {
            let refused = given(other).unwrap_err();
            assert!(refused.exit == Exit::Usage && refused.message.contains("regular file"), "{}", refused.message);
        }
        let device = File::open("/dev/zero").unwrap();
        let refused = given(Path::new(&format!("/dev/fd/{}", device.as_raw_fd()))).unwrap_err();
        assert!(refused.message.contains("regular file"), "{}", refused.message);

        let file = directory.path().join("file");
        std::fs::write(&file, b"plain").unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"piped").unwrap();
        drop(writer);
        let handed = format!("/dev/fd/{}", reader.as_raw_fd());
        for (path, expected) in [(file.as_path(), "plain"), (Path::new(&handed), "piped")] {
            let mut text = String::new();
            given(path).unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text, expected);
        }
    }
}
