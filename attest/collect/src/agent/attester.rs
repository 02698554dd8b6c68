//! Evidence from the node's agent.

use super::{
    AgentAnswer, AgentRefusal, AgentRequest,
    frame::{FrameError, read_frame, write_frame},
};
use crate::{
    collector::{Attester, Wanted},
    error::CollectError,
};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with, sockopt,
};
use std::{
    io::{self, ErrorKind, Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process,
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use strongroom_protocol::{Bytes, Fixed, evidence::Evidence, limits};

/// How long connecting may take: it waits only where the agent's backlog is full.
const CONNECT: Duration = Duration::from_secs(5);
/// How long one answer may take. Others may be served first, by a TPM that takes its time; a nonce
/// lives a minute.
const ANSWER: Duration = Duration::from_secs(75);
/// How long an agent that is busy is asked again.
const PATIENCE: Duration = Duration::from_secs(30);
/// The pause where a busy agent names none.
const PAUSE: Duration = Duration::from_millis(200);

/// Asks the node's agent for evidence. Shared by threads, which take turns.
///
/// A connection that broke, because the agent was restarted or closed an idle one, is made again by the
/// socket's path; an inherited connection knows that path from the kernel.
pub struct AgentAttester {
    path: Option<PathBuf>,
    keeps: bool,
    link: Mutex<Option<Link>>,
}

/// A connection, with the token once the agent has said who we are.
struct Link {
    stream: UnixStream,
    token: Option<Fixed<16>>,
    /// Who made or inherited it. A forked child that used it too would mix its frames with the parent's.
    owner: u32,
}

impl Link {
    fn new(stream: UnixStream) -> Self {
        Self { stream, token: None, owner: process::id() }
    }
}

impl AgentAttester {
    /// The agent that listens at this path. Nothing is connected yet; between two pieces of evidence
    /// nothing stays connected.
    pub fn at(path: PathBuf) -> Self {
        Self { path: Some(path), keeps: false, link: Mutex::new(None) }
    }

    /// The agent at the other end of a connection that was inherited. It is kept, since the path may be
    /// closed to this process.
    pub fn over(socket: OwnedFd) -> Self {
        let stream = UnixStream::from(socket);
        let path = stream.peer_addr().ok().and_then(|peer| peer.as_pathname().map(Path::to_owned));
        Self { path, keeps: true, link: Mutex::new(Some(Link::new(stream))) }
    }

    /// The agent's socket, for messages.
    fn place(&self) -> PathBuf {
        self.path.clone().unwrap_or_else(|| PathBuf::from("(an inherited socket)"))
    }

    /// Connects now; tells whether the agent can be reached at all.
    pub fn check(&self) -> Result<(), CollectError> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        if link.is_none() {
            let connected = self.connect()?;
            if self.keeps {
                *link = Some(connected);
            }
        }
        Ok(())
    }

    /// One answer to one request; over a new connection where the old one turned out to be dead.
    /// Without a request, who we are is asked.
    fn exchange(
        &self,
        link: &mut Option<Link>,
        doing: &'static str,
        request: Option<&dyn Fn(Fixed<16>) -> AgentRequest>,
    ) -> Result<AgentAnswer, CollectError> {
        let begun = Instant::now();
        let mut fresh = false;
        if link.as_ref().is_some_and(|link| link.owner != process::id()) {
            *link = None;
        }
        loop {
            let connected = if let Some(link) = link {
                link
            } else {
                fresh = true;
                link.insert(self.connect()?)
            };
            match connected.attempt(request) {
                Ok(AgentAnswer::Refused { code, message, retry_after_ms }) => {
                    let pause = retry_after_ms.map_or(PAUSE, Duration::from_millis);
                    if code == AgentRefusal::NotTheCaller && !fresh {
                        // After a fork the connection is shared, and what is known belongs to the parent.
                        *link = None;
                    } else if code.may_pass() && begun.elapsed() + pause < PATIENCE {
                        // The agent closes the connection where it takes no more of them.
                        *link = None;
                        thread::sleep(pause);
                    } else {
                        return Err(CollectError::AgentRefused { socket: self.place(), code, message });
                    }
                }
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    *link = None;
                    if fresh || !broken(&error) {
                        return Err(self.failed(doing, error));
                    }
                }
            }
        }
    }

    fn connect(&self) -> Result<Link, CollectError> {
        let Some(path) = &self.path else {
            return Err(CollectError::AgentLost {
                socket: self.place(),
                doing: "connecting again",
                source: ErrorKind::NotConnected.into(),
            });
        };
        let failed = |source: io::Error| {
            let socket = path.clone();
            match source.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => CollectError::AgentMissing { socket },
                ErrorKind::PermissionDenied => CollectError::AgentPermission { socket },
                _ => CollectError::AgentLost { socket, doing: "connecting", source },
            }
        };
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(|e| failed(e.into()))?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(CONNECT)).map_err(|e| failed(e.into()))?;
        let address = SocketAddrUnix::new(path.as_path()).map_err(|e| failed(e.into()))?;
        connect(&socket, &address).map_err(|e| failed(e.into()))?;
        Ok(Link::new(socket.into()))
    }

    fn failed(&self, doing: &'static str, error: FrameError) -> CollectError {
        let socket = self.place();
        match error {
            FrameError::Io(source) if matches!(source.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                CollectError::AgentTimeout { socket, doing, timeout: ANSWER }
            }
            FrameError::Io(source) => CollectError::AgentLost { socket, doing, source },
            FrameError::Closed => CollectError::AgentLost { socket, doing, source: ErrorKind::UnexpectedEof.into() },
            FrameError::TooLarge { .. } | FrameError::Json(_) => {
                CollectError::AgentMalformed { socket, what: error.to_string() }
            }
        }
    }
}

impl Attester for AgentAttester {
    fn caller(&self) -> Result<Option<Vec<u8>>, CollectError> {
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        match self.exchange(&mut link, "asking who the caller is", None)? {
            AgentAnswer::Caller { caller, .. } => Ok(Some(caller.0)),
            _ => Err(CollectError::AgentMalformed { socket: self.place(), what: "it names no caller".to_owned() }),
        }
    }

    /// The agent decides who the caller is; `caller` has to be what it said.
    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Evidence>, CollectError> {
        if caller.is_none() {
            return Err(CollectError::AgentNeedsCaller { socket: self.place() });
        }
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let request = |token| AgentRequest::Attest {
            token,
            statement: Bytes(statement.to_vec()),
            selection: wanted.selection.clone(),
            ima_offset: wanted.ima_offset,
        };
        let answer = self.exchange(&mut link, "asking for evidence", Some(&request))?;
        if !self.keeps {
            *link = None;
        }
        match answer {
            AgentAnswer::Evidence { evidence } => Ok(evidence),
            _ => Err(CollectError::AgentMalformed { socket: self.place(), what: "it gives no evidence".to_owned() }),
        }
    }
}

/// Whether the connection may merely have been too old.
fn broken(error: &FrameError) -> bool {
    match error {
        FrameError::Closed => true,
        FrameError::Io(error) => matches!(
            error.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::UnexpectedEof | ErrorKind::NotConnected
        ),
        FrameError::TooLarge { .. } | FrameError::Json(_) => false,
    }
}

impl Link {
    /// The answer to a request, once the agent has said who we are.
    fn attempt(&mut self, request: Option<&dyn Fn(Fixed<16>) -> AgentRequest>) -> Result<AgentAnswer, FrameError> {
        let token = match (self.token, request) {
            (Some(token), Some(_)) => token,
            _ => match self.ask(&AgentRequest::Caller {})? {
                AgentAnswer::Caller { token, caller } => {
                    self.token = Some(token);
                    if request.is_none() {
                        return Ok(AgentAnswer::Caller { token, caller });
                    }
                    token
                }
                other => return Ok(other),
            },
        };
        request.map_or_else(|| Err(FrameError::Closed), |request| self.ask(&request(token)))
    }

    fn ask(&mut self, request: &AgentRequest) -> Result<AgentAnswer, FrameError> {
        let mut timed = Timed { stream: &self.stream, until: Instant::now() + ANSWER };
        match write_frame(&mut timed, request, limits::AGENT_REQUEST) {
            // An agent that has no place for another connection says so and closes it, unasked.
            Err(error) if broken(&error) => read_frame(&mut timed, limits::AGENT_ANSWER).map_err(|_| error),
            Err(error) => Err(error),
            Ok(()) => read_frame(&mut timed, limits::AGENT_ANSWER),
        }
    }
}

/// A stream on which everything together ends at one time.
struct Timed<'a> {
    stream: &'a UnixStream,
    until: Instant,
}

impl Timed<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Timed<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        (&mut &*self.stream).read(buffer)
    }
}

impl Write for Timed<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        // A host program may not ignore SIGPIPE.
        Ok(send(self.stream, bytes, SendFlags::NOSIGNAL)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
