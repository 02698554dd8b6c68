//! What failed before a decision: counted by reason, and summed up once a minute.

use crate::{
    problem::{Answer, Refused},
    vault::{Shared, subject, system},
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::Code;

/// Counts by reason. Reasons are codes and rows: a closed set, whatever the requests say.
#[derive(Default)]
pub struct Refusals(Mutex<BTreeMap<String, u64>>);

impl Refusals {
    /// Counts a refusal, if it is the requester's.
    pub fn count(&self, refused: &Refused) {
        let problem = &refused.0;
        if matches!(
            problem.code,
            Code::Internal | Code::StoreUnavailable | Code::LedgerUnavailable | Code::Locked | Code::Unauthenticated
        ) {
            return;
        }
        let reason = match &problem.row {
            Some(row) => format!("{}.{}", problem.code.as_str(), row.to_lowercase()),
            None => problem.code.as_str().to_owned(),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    /// Counts a bearer token that this vault never made.
    pub fn count_token(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry("token_unknown".to_owned()).or_default() += 1;
    }

    fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn give_back(&self, counts: BTreeMap<String, u64>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (reason, count) in counts {
            *kept.entry(reason).or_default() += count;
        }
    }
}

/// Writes one entry for what was counted since the last; none if there was nothing.
pub async fn sum_up(vault: &Shared) -> Answer<()> {
    let counts = vault.refusals.take();
    if counts.is_empty() {
        return Ok(());
    }
    let written = write(vault, &counts).await;
    if written.is_err() {
        vault.refusals.give_back(counts);
    }
    written
}

async fn write(vault: &Shared, counts: &BTreeMap<String, u64>) -> Answer<()> {
    let now = vault.clock.now().await?;
    let subject = subject(SubjectKind::Vault, vault.keys.vault_id());
    let mut record = vault.record(now, system("admission"), Action::ReleaseRefusedUnauthenticated, subject)?;
    record.details = counts.iter().map(|(reason, count)| (reason.clone(), (*count).into())).collect();
    vault.commit(record, Vec::new(), Vec::new()).await.map(|_| ())
}
