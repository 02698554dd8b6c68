//! Key versions that a revoked lease held whole: they open only, until their asset's key is rotated.

use crate::{problem::Answer, vault::Vault};
use std::collections::BTreeSet;
use strongroom_protocol::{admin::KeyState, statement::Scope};
use strongroom_store::{
    Change, Guard,
    model::{KeyRow, LeaseRow},
};

/// What an act that revokes leases has to do besides.
#[derive(Default)]
pub struct Retired {
    /// The versions as they were read.
    pub guards: Vec<Guard>,
    /// What makes them decrypt-only.
    pub changes: Vec<Change>,
    /// Their names, `asset@version`, for the record.
    pub names: Vec<String>,
}

impl Retired {
    /// The active versions that these leases hold whole.
    pub async fn of(vault: &Vault, leases: impl IntoIterator<Item = &LeaseRow>) -> Answer<Self> {
        let whole: BTreeSet<(&str, u32)> = leases
            .into_iter()
            .flat_map(|lease| &lease.keys)
            .filter(|key| key.scope == Scope::Version)
            .map(|key| (key.asset.as_str(), key.version))
            .collect();
        let mut retired = Self::default();
        for (asset, version) in whole {
            let Some(key) = vault.store.key(asset, version).await? else { continue };
            if key.row.state == KeyState::Active {
                retired.guards.push(Guard::Key(asset.to_owned(), version, key.version));
                retired.changes.push(Change::PutKey(KeyRow { state: KeyState::DecryptOnly, ..key.row }));
                retired.names.push(format!("{asset}@{version}"));
            }
        }
        Ok(retired)
    }

    /// Leaves a version out that the act itself changes.
    #[must_use]
    pub fn without(mut self, asset: &str, version: u32) -> Self {
        let name = format!("{asset}@{version}");
        if let Some(place) = self.names.iter().position(|n| *n == name) {
            self.guards.remove(place);
            self.changes.remove(place);
            self.names.remove(place);
        }
        self
    }
}
