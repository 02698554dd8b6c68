//! Where the agent listens.

use super::activation::handed_over;
use crate::output::{Exit, Failure};
use rustix::{
    fs::Mode,
    net::sockopt::{set_socket_passcred, socket_acceptconn},
    process::umask,
};
use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::{
        fs::FileTypeExt as _,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// A listening socket. One that the agent made itself is removed at its end.
pub(crate) struct Listener {
    pub(super) socket: UnixListener,
    own: Option<PathBuf>,
}

impl Listener {
    /// The service manager's socket if it hands one over, else one at this path with this mode.
    pub(crate) fn open(path: &Path, mode: u32) -> Result<Self, Failure> {
        let listener = match handed_over()? {
            Some(socket) => Self { socket: socket.into(), own: None },
            None => Self::bind(path, mode)?,
        };
        let wrong = |e: io::Error| Failure::new(Exit::Machine, format!("the agent's socket cannot be used: {e}"));
        if !socket_acceptconn(&listener.socket).map_err(|e| wrong(e.into()))? {
            return Err(Failure::new(Exit::Machine, "the service manager's socket does not listen"));
        }
        // What is sent before a connection is accepted carries credentials too.
        set_socket_passcred(&listener.socket, true).map_err(|e| wrong(e.into()))?;
        Ok(listener)
    }

    fn bind(path: &Path, mode: u32) -> Result<Self, Failure> {
        let failed = |source: io::Error| {
            let advice = match source.kind() {
                ErrorKind::NotFound | ErrorKind::PermissionDenied => {
                    "; systemd makes this socket (`systemctl start strongroom-agent.socket`): to listen without it, \
                     give --socket a path in a directory that this user may write to"
                }
                _ => "",
            };
            Failure::new(Exit::Machine, format!("{}: {source}{advice}", path.display()))
        };
        match fs::symlink_metadata(path) {
            Ok(there) if there.file_type().is_socket() => {
                if UnixStream::connect(path).is_ok() {
                    return Err(Failure::usage(format!("{}: an agent listens here already", path.display())));
                }
                // Left over by an agent that was killed.
                fs::remove_file(path).map_err(failed)?;
            }
            Ok(_) => return Err(Failure::usage(format!("{} is there, and is no socket", path.display()))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        // Under a mask, so that there is no moment in which more may connect than should.
        let before = umask(Mode::from_raw_mode(!mode & 0o777));
        let bound = UnixListener::bind(path);
        umask(before);
        Ok(Self { socket: bound.map_err(failed)?, own: Some(path.to_owned()) })
    }

    /// Removes what the agent made.
    pub(crate) fn close(own: Option<&Path>) {
        if let Some(Err(error)) = own.map(fs::remove_file) {
            tracing::warn!(%error, "the agent's socket could not be removed");
        }
    }

    /// The socket's path if the agent made it.
    pub(crate) fn own_path(&self) -> Option<PathBuf> {
        self.own.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_socket_is_made_with_its_mode_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.sock");
        let listener = Listener::bind(&path, 0o660).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        let second = Listener::bind(&path, 0o660).err().unwrap();
        assert!(second.message.contains("listens here already"), "{}", second.message);
        drop(listener);
        // Nobody listens any more: it was killed.
        let again = Listener::bind(&path, 0o666).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
        Listener::close(again.own_path().as_deref());
        assert!(!path.exists());
        fs::write(&path, b"").unwrap();
        assert!(Listener::bind(&path, 0o660).is_err(), "a file was replaced");
        let nowhere = Listener::bind(&dir.path().join("missing/agent.sock"), 0o660).err().unwrap();
        assert!(nowhere.message.contains("--socket"), "{}", nowhere.message);
    }
}
