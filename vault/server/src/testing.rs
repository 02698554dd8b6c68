//! Small things that unit tests need.

use crate::vault::{record, subject, system};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_store::Item;

/// An item that changes nothing.
pub(crate) fn item() -> Item {
    let record =
        record("test", 1_800_000_000, system("test"), Action::VaultStarted, subject(SubjectKind::Vault, "test"))
            .unwrap();
    Item { record, guards: Vec::new(), nonce: None, quotas: Vec::new(), changes: Vec::new(), blobs: Vec::new() }
}
