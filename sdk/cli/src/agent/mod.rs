//! The node's agent: owns the devices, says which process asks, and gives evidence that binds it.
//!
//! ```text
//! Listener ──> Door (limits) ──> Connection ──frame + credentials──> Agent::answer
//!                                                    │                   │
//!                                                 Process <──────────────┘── Collector (one TPM operation at a time)
//!                                        (pidfd, program, caller bytes)
//! ```
//!
//! What it never does: hold or return keys, sign bytes under the enrolment tag, quote for a statement that
//! names another caller, or take anything from a caller's environment, arguments or word.
//!
//! To extend it by a fact about callers: a field of `Caller` in `strongroom-protocol`, read in
//! [`process`] from what the kernel says and the process cannot choose.

mod activation;
mod confinement;
mod connection;
mod control_group;
mod door;
mod executable;
mod listener;
mod mounts;
mod process;
mod quota;
mod service;
mod ways_around;

pub(crate) use confinement::{confine, initial_namespaces};
pub(crate) use connection::Patience;
pub(crate) use listener::Listener;
pub(crate) use quota::Rates;
pub(crate) use service::{Agent, Limits};
pub(crate) use ways_around::open_devices;
