//! Storage of the vault: its state, its ledger, and the one transaction that changes both.
//!
//! ```text
//! server ──reads──> Store (trait) <── SqliteStore, PostgresStore
//!   └── Item (record, guards, nonce, quotas, changes) ──> Sequencer::commit ──> Outcome for each item
//! ```
//!
//! Nothing changes the vault's state but [`Sequencer::commit`]: each change travels in an [`Item`]
//! beside the ledger record that tells of it, so neither can exist without the other.
//!
//! To extend it: a new kind of row gets its type in [`model`], a [`Change`] that writes it, a
//! [`Guard`] if decisions rest on it, a read in [`Store`], a migration for each backend, and a test
//! in the conformance suite, which every backend must pass.

mod acceptance;
mod admission;
pub mod backend;
pub mod batch;
mod closing;
mod encoding;
mod faults;
pub mod grounds;
pub mod model;
mod outside;
pub mod postgres;
mod sequencer;
pub mod sqlite;
mod store;
mod tail;
mod terms;
mod unmade;

pub use acceptance::Abandoned;
pub use backend::Backend;
pub use batch::{Blob, Change, Closed, Committed, Guard, Item, Outcome, Quota, Refusal};
pub use faults::{CrashPoint, Faults};
pub use grounds::{Grounds, Requester, Whose};
pub use postgres::{DatabaseTls, PostgresOptions, PostgresStore};
pub use sequencer::{MAX_BATCH, Sequencer};
pub use sqlite::SqliteStore;
pub use store::{Store, StoreError};
