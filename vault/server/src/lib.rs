//! The key service: attested releases over HTTPS, administration, audit.
//!
//! ```text
//! TLS ─> observe ─> enter (lock, admission, access, room for the body) ─> handler ─> Store (reads)
//!                                                        │
//!                                                        └─> Queue ─> Sequencer (one commit for all that wait)
//! routes::endpoints()  one table: router, authorisation, OpenAPI
//! release              evidence ─> judgement ─> ledger entry ─> sealed keys
//! enrol, lease         TPMs become nodes; leases are proved, renewed, ended, listened to
//! api                  administration and audit, one file a subject
//! ```
//!
//! No key byte leaves before the entry of its decision is committed: only `release::answer::Granted`,
//! which is made from what the sequencer returned, can be sealed.
//!
//! To extend it: an endpoint is a row in [`routes`]; a configuration key goes into [`config`]
//! (`make docs` puts it into the default file and the reference); a periodic task into [`tasks`].

// A full disk or a closed pipe behind standard output or error must not end a vault: `println!` panics.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod admission;
pub mod api;
pub mod authority;
pub mod bodies;
pub mod challenge;
pub mod clock;
pub mod command;
pub mod config;
pub mod endorsements;
pub mod enforced;
pub mod enrol;
pub mod events;
pub mod http;
pub mod json;
pub mod lease;
pub mod lock;
mod measurements;
pub mod observe;
pub mod occupancy;
pub mod openapi;
pub mod problem;
pub mod queue;
pub mod receipts;
pub mod refusals;
pub mod release;
pub mod routes;
pub mod shares;
pub mod shredder;
pub mod start;
pub mod tasks;
pub mod tls;
pub mod token_use;
pub mod trust;
pub mod vault;

#[cfg(test)]
mod reference;
#[cfg(test)]
mod testing;
