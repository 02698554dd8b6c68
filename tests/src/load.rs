//! Load: a vault as it is installed, software TPMs enrolled in it, clients that release in a closed loop.
//!
//! ```text
//! Deployment::start(strongroomd), start_over(a database, replicas) ── init, serve, people, site, nodes, reference, policy, asset
//!     └─ round(clients, releases) ──> Round { latencies, seconds, server CPU, granted leases }
//!            └─ settle(granted) ──> each answer verified and opened, each lease ended by possession
//! cryptography::costs() ──> what one release costs in cryptography alone, in the same run
//! ```
//!
//! A release here is what a node does: a new TLS connection with a full handshake, a challenge, a
//! statement, a quote over it, `POST /v1/releases`. Keys of recipients are made beforehand. To add a
//! measurement: a function that takes the [`Deployment`], and a line in `bin/bench_release.rs`.

pub mod connection;
pub mod cryptography;
pub mod deployment;
pub mod releases;

pub use connection::{Connection, Endpoint};
pub use deployment::Deployment;
pub use releases::{Granted, Round, release, round, settle, verify};
