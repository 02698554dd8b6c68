//! Wire types of the Strongroom release protocol, version 1, and what evidence binds.
//!
//! Every crate of the workspace may depend on this one, and it depends on none of them. It knows
//! bytes, not networks: no I/O, no clock, no state.
//!
//! ```text
//! Challenge ──> Nonce ──> Statement (exact bytes) ──> bound() ──> extraData of a quote
//!                                   │
//!                                   └─> ReleaseRequest ──> ReleaseResponse (signed) ──> ReleasePayload
//! ```
//!
//! To extend it: add the type in the module of its subject, refuse unknown fields, read it with
//! [`objects::from_slice`] (and so without `#[serde(tag)]` and the like), give byte strings as
//! [`Bytes`] or [`Fixed`], and put every cap into [`limits`]. Each signed or hashed
//! message has its own tag in [`binding`]; a tag is never used for two purposes.

pub mod admin;
pub mod audit;
pub mod binding;
pub mod bytes;
pub mod caller;
pub mod challenge;
pub mod claims;
pub mod endorsement;
pub mod enrol;
pub mod evidence;
pub mod files;
pub mod identity;
pub mod ids;
pub mod join;
pub mod jurisdiction;
pub mod lease;
pub mod limits;
pub mod objects;
pub mod obligations;
pub mod problem;
pub mod release;
pub mod requirements;
pub mod statement;
pub mod unambiguous;

pub use bytes::{Bytes, Fixed};
pub use ids::{DecisionId, EnrolmentId, LeaseId, NodeId, ObjectId, VaultId, WriterId};
pub use problem::{Code, Problem};
pub use statement::Statement;

/// SHA-256 of `data`.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, data);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// `LP(x)`: u32 little-endian length, then the bytes (`protocol.md`).
///
/// Inputs longer than 4 GiB cannot reach this function: every caller caps its input far below.
#[must_use]
pub fn length_prefixed(x: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(4 + x.len());
    push_length_prefixed(&mut out, x);
    out
}

/// Appends `LP(x)` to `out`.
pub fn push_length_prefixed(out: &mut Vec<u8>, x: &[u8]) {
    // Saturating: two inputs over 4 GiB could not be told apart, but none gets past the caps.
    let length = u32::try_from(x.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(x);
}
