//! What people and machines administer with, one file a subject. Every act is a ledger entry.

pub mod assets;
pub mod audit;
pub mod decisions;
pub mod endorsements;
pub mod keys;
pub mod leases;
pub mod ledger;
pub mod nodes;
pub mod pins;
pub mod policies;
pub mod references;
pub mod sites;
pub mod status;
pub mod tokens;

use crate::{
    authority::Holder,
    problem::{Answer, Refused},
    queue::QueueError,
    vault::Vault,
};
use serde_json::{Map, Value};
use strongroom_ledger::{Action, Record, Subject};
use strongroom_protocol::{admin::Recorded, jurisdiction, statement::check_asset_name};
use strongroom_store::{Change, Guard, Item, Refusal};

/// An administrative act on its way to the ledger: who, what, to what, and why.
struct Act {
    record: Record,
    guards: Vec<Guard>,
    changes: Vec<Change>,
}

impl Act {
    /// An act of the token's holder. The token has to be what it is now when the act is committed.
    async fn by(vault: &Vault, holder: &Holder, action: Action, subject: Subject) -> Answer<Self> {
        let now = vault.clock.now().await?;
        let mut record = vault.record(now, holder.actor(), action, subject)?;
        record.details.insert("token".to_owned(), holder.token.id.clone().into());
        if vault.config.four_eyes.waived {
            record.details.insert("four_eyes_waived".to_owned(), true.into());
        }
        Ok(Self { record, guards: vec![holder.guard()], changes: Vec::new() })
    }

    /// Unix seconds at which it is made.
    fn now(&self) -> i64 {
        i64::try_from(self.record.time.unix_millis() / 1000).unwrap_or(i64::MAX)
    }

    /// Rests on a row as it was read.
    fn guarded(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Changes a row.
    fn changing(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Says more about it in the record.
    fn saying(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.record.details.insert(name.to_owned(), value.into());
        self
    }

    async fn commit(self, vault: &Vault) -> Answer<Recorded> {
        Ok(self.submit(vault).await?)
    }

    /// `None` where a node's row changed under the act: what a node shows is written with each of its requests, so it
    /// must not be able to keep people from acting on it. The act is to be made again, from the row as it is now.
    async fn commit_unless_overtaken(self, vault: &Vault) -> Answer<Option<Recorded>> {
        match self.submit(vault).await {
            Err(QueueError::Refused(Refusal::Stale(Guard::Node(..)))) => Ok(None),
            other => Ok(Some(other?)),
        }
    }

    async fn submit(self, vault: &Vault) -> Result<Recorded, QueueError> {
        let Self { record, guards, changes } = self;
        let id = record.id;
        let item = Item { record, guards, nonce: None, quotas: Vec::new(), changes, blobs: Vec::new() };
        let index = vault.queue.submit(item).await?.index;
        Ok(Recorded { record: id, index, version: None, digest: None, node: None, warnings: Vec::new() })
    }
}

/// A name of a site, asset or reference set.
fn check_name(field: &str, name: &str) -> Answer<()> {
    check_asset_name(name).map_err(|problem| Refused::malformed(field, problem))
}

/// A code that ISO 3166-1 assigns to a country.
fn check_jurisdiction(field: &str, code: &str) -> Answer<()> {
    if jurisdiction::is_assigned(code) {
        Ok(())
    } else {
        Err(Refused::malformed(field, "a code of ISO 3166-1 alpha-2 in capital letters, such as DE"))
    }
}

/// A reason that a person gave.
fn check_reason(reason: &str) -> Answer<()> {
    if (1..=1024).contains(&reason.len()) && !reason.contains(char::is_control) {
        Ok(())
    } else {
        Err(Refused::malformed("reason", "1 to 1,024 bytes without control characters"))
    }
}

/// Labels as JSON, for a record's details.
fn labels(labels: &std::collections::BTreeMap<String, String>) -> Value {
    Value::Object(labels.iter().map(|(k, v)| (k.clone(), v.clone().into())).collect::<Map<_, _>>())
}
