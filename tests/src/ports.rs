//! Free ports for vaults.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
};

/// Above the ports of software TPMs, and below the ephemeral ones (32,768 by default), so that no
/// outgoing connection takes one.
const LOWEST: u16 = 30_000;
const PORTS: u64 = 2_700;

/// A port of 127.0.0.1 that was free a moment ago.
pub fn free_port() -> u16 {
    listen().1
}

/// A listener on 127.0.0.1, and its port: nobody can take it in between.
pub fn listen() -> (TcpListener, u16) {
    loop {
        // Each RandomState has new random keys: enough to keep test processes apart.
        let port = LOWEST + u16::try_from(RandomState::new().hash_one(0) % PORTS).unwrap_or(0);
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return (listener, port);
        }
    }
}

/// Whether nobody listens on a port of 127.0.0.1.
pub fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
