//! The service manager's two habits: a socket handed over, and a word when it is served.

use crate::output::{Exit, Failure};
use std::{
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process,
};
use strongroom::memory::inherited_descriptor;

/// The first descriptor of socket activation (`sd_listen_fds(3)`).
const FIRST: i32 = 3;

/// The socket that the service manager listens on for us; `None` if it started us without one.
pub(super) fn handed_over() -> Result<Option<OwnedFd>, Failure> {
    let wrong = |message: String| Failure::new(Exit::Machine, message);
    match (variable("LISTEN_PID"), variable("LISTEN_FDS")) {
        (Some(pid), Some(count)) if pid == process::id().to_string() => {
            if count != "1" {
                return Err(wrong(format!("the service manager handed over {count} sockets; the agent serves one")));
            }
            let socket = inherited_descriptor(FIRST);
            socket.map(Some).map_err(|e| wrong(format!("the service manager's socket cannot be used: {e}")))
        }
        // Somebody else's, further up.
        _ => Ok(None),
    }
}

/// Tells the service manager that requests are served (`sd_notify(3)`), where it wants to know.
pub(super) fn tell_ready() {
    let Some(place) = variable("NOTIFY_SOCKET") else { return };
    let address = match place.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&place),
    };
    let told = address.and_then(|address| UnixDatagram::unbound()?.send_to_addr(b"READY=1", &address));
    if let Err(error) = told {
        tracing::warn!(%error, "the service manager could not be told that the agent is ready");
    }
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "the service manager's protocol has no other way")]
    std::env::var(name).ok()
}
