//! Storage of the vault: its state, its ledger, and the one transaction that changes both.
//!
//! ```text
//! server ──reads──> Store (trait) <── SqliteStore, later PostgreSQL
//!   └── Item (record, guards, nonce, quotas, changes) ──> Sequencer::commit ──> Outcome for each item
//! ```
//!
//! Nothing changes the vault's state but [`Sequencer::commit`]: each change travels in an [`Item`]
//! beside the ledger record that tells of it, so neither can exist without the other.
//!
//! To extend it: a new kind of row gets its type in [`model`], a [`Change`] that writes it, a
//! [`Guard`] if decisions rest on it, a read in [`Store`], a migration for each backend, and a test
//! in the conformance suite, which every backend must pass.

pub mod batch;
pub mod model;
mod store;

pub use batch::{Blob, Change, Committed, Guard, Item, Outcome, Quota, Refusal};
pub use store::{Store, StoreError};
