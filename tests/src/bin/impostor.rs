//! Asks a node's agent who it is, and has the kernel name its child as the sender.
//!
//! `impostor SOCKET child PROGRAM` starts the program and names it; `impostor SOCKET self` names itself. The agent's
//! answer goes to standard output. The kernel refuses the first, with exit code 3, to whoever is not root of the
//! child's process namespace.

use rustix::{
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, UCred, sendmsg},
    process::{Pid, getgid, getpid, getuid},
};
use std::{
    env,
    io::{self, IoSlice, Read as _, Write as _},
    mem::MaybeUninit,
    os::unix::net::UnixStream,
    process::{Command, ExitCode, Stdio},
};

const REFUSED_BY_THE_KERNEL: u8 = 3;

fn main() -> io::Result<ExitCode> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (socket, child) = match arguments.as_slice() {
        [socket, _] => (socket, None),
        // It waits for a line that never comes.
        [socket, _, program] => (socket, Some(Command::new(program).stdin(Stdio::piped()).spawn()?)),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    let pid = child.as_ref().and_then(|child| Pid::from_raw(child.id().cast_signed())).unwrap_or_else(getpid);
    let answer = asked(socket, UCred { pid, uid: getuid(), gid: getgid() });
    if let Some(mut child) = child {
        child.kill()?;
        child.wait()?;
    }
    match answer {
        Ok(answer) => io::stdout().write_all(&answer).map(|()| ExitCode::SUCCESS),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(REFUSED_BY_THE_KERNEL.into()),
        Err(error) => Err(error),
    }
}

/// The agent's answer to a question that has this sender.
fn asked(socket: &str, sender: UCred) -> io::Result<Vec<u8>> {
    const QUESTION: &[u8] = br#"{"ask":"caller"}"#;
    let mut stream = UnixStream::connect(socket)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmCredentials(sender));
    let length = u32::try_from(QUESTION.len()).map_err(io::Error::other)?.to_le_bytes();
    sendmsg(&stream, &[IoSlice::new(&length), IoSlice::new(QUESTION)], &mut control, SendFlags::NOSIGNAL)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = Vec::new();
    stream.take(u32::from_le_bytes(length).into()).read_to_end(&mut answer)?;
    Ok(answer)
}
