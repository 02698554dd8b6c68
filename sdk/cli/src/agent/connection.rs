//! One connection: frames, each with the credentials of whoever sent it.

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, UCred, recvmsg, send,
        sockopt::set_socket_passcred,
    },
};
use std::{
    io::{self, ErrorKind, IoSliceMut},
    mem::MaybeUninit,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};
use strongroom::protocol::limits;

/// Read at most so much at once: a length alone allocates nothing.
const STEP: usize = 64 << 10;

/// How long a connection may take for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between two requests. A job may keep an inherited connection for its whole life.
    pub(crate) idle: Duration,
    /// For a frame, from its first byte on.
    pub(crate) frame: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { idle: Duration::from_hours(24), frame: Duration::from_secs(10) }
    }
}

/// A frame's content and its sender.
pub(super) struct Message {
    pub(super) body: Vec<u8>,
    pub(super) sender: UCred,
}

/// Why there is no message.
#[derive(Debug)]
pub(super) enum Broken {
    /// Closed, reset, or idle for too long: nothing is owed.
    Over,
    /// A frame above the cap.
    TooLarge(usize),
    /// A frame that did not arrive in time.
    TooSlow,
    /// No credentials came with it, or those of several senders.
    NoSender,
}

/// A connection. Credentials are the kernel's, of the process that sent each part.
pub(super) struct Connection {
    stream: UnixStream,
    patience: Patience,
}

impl Connection {
    pub(super) fn new(stream: UnixStream, patience: Patience) -> io::Result<Self> {
        set_socket_passcred(&stream, true)?;
        Ok(Self { stream, patience })
    }

    /// The next message, all of which one process sent.
    pub(super) fn receive(&self) -> Result<Message, Broken> {
        let mut sender = None;
        let mut length = [0; 4];
        let idle = Instant::now() + self.patience.idle;
        let first = match self.part(&mut length, &mut sender, idle) {
            Err(Broken::TooSlow) | Ok(0) => return Err(Broken::Over),
            done => done?,
        };
        let until = Instant::now() + self.patience.frame;
        self.fill(length.get_mut(first..).unwrap_or_default(), &mut sender, until)?;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > limits::AGENT_REQUEST {
            return Err(Broken::TooLarge(length));
        }
        let mut body = Vec::new();
        while body.len() < length {
            let have = body.len();
            body.resize(length.min(have + STEP), 0);
            self.fill(body.get_mut(have..).unwrap_or_default(), &mut sender, until)?;
        }
        Ok(Message { body, sender: sender.ok_or(Broken::NoSender)? })
    }

    fn fill(&self, mut rest: &mut [u8], sender: &mut Option<UCred>, until: Instant) -> Result<(), Broken> {
        while !rest.is_empty() {
            let read = self.part(rest, sender, until)?;
            if read == 0 {
                return Err(Broken::Over);
            }
            rest = rest.get_mut(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Some bytes. The kernel does not mix those of several senders in one read, and each read tells its
    /// sender.
    fn part(&self, buffer: &mut [u8], sender: &mut Option<UCred>, until: Instant) -> Result<usize, Broken> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stream.set_read_timeout(Some(left)).is_err() {
                return Err(Broken::TooSlow);
            }
            // Room for credentials only: files that somebody sends along do not fit, and are closed.
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(buffer)];
            let read = match recvmsg(&self.stream, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(received) => received.bytes,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(Broken::TooSlow),
                Err(_) => return Err(Broken::Over),
            };
            if read == 0 {
                return Ok(0);
            }
            let from = control.drain().find_map(|message| match message {
                RecvAncillaryMessage::ScmCredentials(credentials) => Some(credentials),
                _ => None,
            });
            match (from, &sender) {
                (Some(from), None) => *sender = Some(from),
                (Some(from), Some(sender)) if from == *sender => {}
                _ => return Err(Broken::NoSender),
            }
            return Ok(read);
        }
    }

    /// Sends one frame.
    pub(super) fn reply(&self, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let frame = [&length.to_le_bytes(), body].concat();
        let until = Instant::now() + self.patience.frame;
        let mut rest = frame.as_slice();
        while !rest.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.set_write_timeout(Some(left))?;
            match send(&self.stream, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write as _, thread};

    fn pair(frame: Duration) -> (UnixStream, Connection) {
        let (client, served) = UnixStream::pair().unwrap();
        (client, Connection::new(served, Patience { idle: Duration::from_secs(20), frame }).unwrap())
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn a_message_comes_with_its_sender() {
        let (mut client, connection) = pair(LONG);
        client.write_all(b"\x02\0\0\0hi\x01\0\0\0!").unwrap();
        let message = connection.receive().unwrap();
        assert_eq!(message.body, b"hi");
        assert_eq!(message.sender.pid, rustix::process::getpid());
        assert_eq!(connection.receive().unwrap().body, b"!");
        drop(client);
        assert!(matches!(connection.receive(), Err(Broken::Over)));
    }

    #[test]
    fn a_long_message_in_pieces_is_put_together() {
        let (mut client, connection) = pair(LONG);
        let body = vec![7_u8; 3 * STEP + 5];
        let sent = body.clone();
        let sender = thread::spawn(move || {
            client.write_all(&u32::try_from(sent.len()).unwrap().to_le_bytes()).unwrap();
            for piece in sent.chunks(1000) {
                client.write_all(piece).unwrap();
            }
            client
        });
        assert_eq!(connection.receive().unwrap().body, body);
        drop(sender.join().unwrap());
    }

    #[test]
    fn each_broken_frame_is_told_apart() {
        let (mut client, connection) = pair(LONG);
        client.write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert!(matches!(connection.receive(), Err(Broken::TooLarge(_))));

        let (mut client, connection) = pair(LONG);
        client.write_all(b"\x09\0\0\0half").unwrap();
        drop(client);
        assert!(matches!(connection.receive(), Err(Broken::Over)));

        let (mut client, connection) = pair(Duration::from_millis(50));
        client.write_all(b"\x09\0\0\0half").unwrap();
        assert!(matches!(connection.receive(), Err(Broken::TooSlow)));
    }

    #[test]
    fn who_does_not_read_is_not_waited_for() {
        let (client, connection) = pair(Duration::from_millis(50));
        let error = connection.reply(&vec![0; 8 << 20]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
        drop(client);
    }
}
