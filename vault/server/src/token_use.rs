//! When tokens were used, and which were refused: noted in memory, written once a minute.
//!
//! A request waits for neither. What a crash loses is a minute of it.

use crate::{
    problem::Answer,
    vault::{Vault, subject, system},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::admin::TokenState;
use strongroom_store::model::TokenRow;

/// Uses since the last writing. Only tokens that the vault made are in it, so it is as long as their
/// table at the most.
#[derive(Default)]
pub struct TokenUse(Mutex<Noted>);

#[derive(Default)]
struct Noted {
    /// Token to the Unix second of its last use.
    used: BTreeMap<String, i64>,
    /// Tokens that are over and were presented all the same.
    refused: BTreeMap<String, Refusals>,
}

/// A token that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusals {
    person: String,
    state: TokenState,
    times: u64,
}

impl TokenUse {
    /// A good token was presented.
    pub fn used(&self, token: &TokenRow, now: i64) {
        let mut noted = self.noted();
        match noted.used.get_mut(&token.id) {
            Some(at) => *at = now.max(*at),
            None => drop(noted.used.insert(token.id.clone(), now)),
        }
    }

    /// A token was presented that is over. The requester learns no more than of an unknown one; the
    /// ledger says which it was.
    pub fn refused(&self, token: &TokenRow, state: TokenState) {
        let mut noted = self.noted();
        let new = || Refusals { person: token.person.clone(), state, times: 0 };
        let refusals = noted.refused.entry(token.id.clone()).or_insert_with(new);
        (refusals.state, refusals.times) = (state, refusals.times + 1);
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes what was noted: last uses beside the tokens, and an entry for each token that was refused.
pub async fn write(vault: &Vault) -> Answer<()> {
    let Noted { used, refused } = std::mem::take(&mut *vault.token_use.noted());
    let mut failed = None;
    for (id, refusals) in refused {
        if let Err(refused) = record(vault, &id, &refusals).await {
            let mut noted = vault.token_use.noted();
            noted.refused.entry(id).and_modify(|later| later.times += refusals.times).or_insert(refusals);
            failed = Some(refused);
        }
    }
    if !used.is_empty() {
        // A use that is not noted is no harm: the next one will be.
        vault.store.note_token_use(&used.into_iter().collect::<Vec<_>>()).await?;
    }
    failed.map_or(Ok(()), Err)
}

async fn record(vault: &Vault, id: &str, refusals: &Refusals) -> Answer<()> {
    let now = vault.clock.now().await?;
    let mut record = vault.record(now, system("admission"), Action::TokenRefused, subject(SubjectKind::Token, id))?;
    record.details.insert("person".to_owned(), refusals.person.clone().into());
    // INVARIANT: a state is a plain name, which always serialises.
    record.details.insert("state".to_owned(), serde_json::to_value(refusals.state).unwrap_or_default());
    record.details.insert("times".to_owned(), refusals.times.into());
    vault.commit(record, Vec::new(), Vec::new()).await.map(drop)
}
