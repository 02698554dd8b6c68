//! Two ports side by side for swtpm: libtss2 looks for the control channel next to the data port.
//!
//! swtpm serves one connection only on a socket that it is handed, so it must bind by itself. A
//! pair is tried, and given up when swtpm ends because somebody else took it; that the listeners
//! are those of our own process is read from the kernel.

use std::{
    fs,
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
};

/// Below the ephemeral ports (32,768 by default), so that no outgoing connection takes one.
const LOWEST: u16 = 12_000;
const PAIRS: u64 = 9_000;

/// A data port that was free a moment ago, and its neighbour too.
pub fn guess() -> u16 {
    loop {
        // Each RandomState has new random keys: enough to keep test processes apart.
        let pair = RandomState::new().hash_one(0) % PAIRS;
        let port = LOWEST + 2 * u16::try_from(pair).unwrap_or(0);
        if [port, port + 1].into_iter().all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return port;
        }
    }
}

/// Whether process `pid` itself listens on `port` of 127.0.0.1.
pub fn listens(pid: u32, port: u16) -> bool {
    let Some(inode) = listener_inode(port) else { return false };
    let socket = format!("socket:[{inode}]");
    fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|open| {
        open.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == socket.as_str()))
    })
}

/// The inode of the socket that listens on `port`, from `/proc/net/tcp` (proc(5)).
fn listener_inode(port: u16) -> Option<String> {
    const LISTEN: &str = "0A";
    let address = format!("0100007F:{port:04X}");
    fs::read_to_string("/proc/net/tcp").ok()?.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        match fields.as_slice() {
            [_, local, _, LISTEN, _, _, _, _, _, inode, ..] if *local == address => Some((*inode).to_owned()),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_known_by_its_process() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(listens(std::process::id(), port));
        assert!(!listens(1, port));
        drop(listener);
        assert!(!listens(std::process::id(), port));
    }
}
