//! Closes leases whose time ran out, and those that nobody proved possession of.

use crate::{
    events::{Notice, Whose},
    problem::Answer,
    vault::{Vault, subject, system},
};
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::lease::{EventKind, LeaseState};
use strongroom_store::{Change, model::LeaseRow};

/// Leases closed in one sweep.
const SWEEP: u32 = 256;

/// Closes what has lapsed; the number of leases closed.
pub async fn sweep(vault: &Vault) -> Answer<usize> {
    let now = vault.clock.now().await?;
    let deadline = i64::try_from(vault.config.lease.delivery_deadline_s).unwrap_or(i64::MAX);
    let lapsed = vault.store.lapsed_leases(now.saturating_sub(deadline), SWEEP).await?;
    let mut closed = 0;
    for lease in lapsed {
        match close(vault, &lease, now).await {
            Ok(()) => closed += 1,
            // Another replica, or its holder, was faster; the next sweep looks again.
            Err(refused) => tracing::debug!(lease = %lease.id, code = refused.code().as_str(), "not closed"),
        }
    }
    Ok(closed)
}

async fn close(vault: &Vault, lease: &LeaseRow, now: i64) -> Answer<()> {
    let action = if lease.delivered { Action::LeaseExpired } else { Action::ReleaseDeliveryUnknown };
    let state = if lease.expires_at <= now { LeaseState::Expired } else { LeaseState::Ended };
    let mut record = vault.record(now, system("sweep"), action, subject(SubjectKind::Lease, lease.id))?;
    record.node = Some(lease.node);
    record.lease = Some(lease.id);
    record.job.clone_from(&lease.job);
    record.keys = lease.keys.iter().map(Into::into).collect();
    vault.commit(record, Vec::new(), vec![Change::CloseLease(lease.id, state)]).await?;
    vault.events.tell(Notice { whose: Whose::Lease(lease.id), event: EventKind::Ended, reason: None });
    Ok(())
}
