//! What the vault does by itself: sweeps leases, shreds what was destroyed, sums up refusals, notes
//! the use of tokens, tells of endorsements that end, checks the ledger's tail.

use crate::{
    endorsements::ends,
    lease::sweep::sweep,
    refusals::sum_up,
    start::{TAIL, record_start},
    token_use,
    vault::{Shared, stopped},
};
use std::time::Duration;
use strongroom_store::{Sequencer, StoreError};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

/// Between two summaries of refusals, and between two looks at the ledger's tail.
const MINUTE: Duration = Duration::from_mins(1);

/// Starts the periodic tasks. They end when the vault stops.
pub fn start(vault: &Shared, sequencer: Sequencer) -> Vec<JoinHandle<()>> {
    let sweep_interval = Duration::from_secs(vault.config.lease.sweep_interval_s);
    vec![
        tokio::spawn(every(Shared::clone(vault), sweep_interval, async |vault: &Shared| match sweep(vault).await {
            Ok(0) => {}
            Ok(closed) => tracing::info!(closed, "leases lapsed"),
            Err(refused) => tracing::warn!(code = refused.code().as_str(), "leases could not be swept"),
        })),
        tokio::spawn(every(Shared::clone(vault), sweep_interval, async |vault: &Shared| {
            vault.shredder.again(vault.store.as_ref()).await;
        })),
        tokio::spawn(every(Shared::clone(vault), MINUTE, async |vault: &Shared| {
            if let Err(refused) = sum_up(vault).await {
                tracing::warn!(code = refused.code().as_str(), "refusals could not be summed up");
            }
        })),
        tokio::spawn(every(Shared::clone(vault), MINUTE, async |vault: &Shared| {
            if let Err(refused) = token_use::write(vault).await {
                tracing::warn!(code = refused.code().as_str(), "the use of tokens could not be noted");
            }
        })),
        tokio::spawn(every(Shared::clone(vault), MINUTE, async |vault: &Shared| {
            if let Err(refused) = ends::tell(vault).await {
                tracing::warn!(code = refused.code().as_str(), "the ends of endorsements could not be looked at");
            }
        })),
        tokio::spawn(every(Shared::clone(vault), MINUTE, async move |vault: &Shared| {
            check_tail(vault, &sequencer).await;
        })),
    ]
}

/// Tries again to record the start, which a full disk kept from being recorded: until it is, or the
/// vault stops.
pub fn record_start_later(vault: &Shared, key_pages: &'static str) -> JoinHandle<()> {
    let vault = Shared::clone(vault);
    tokio::spawn(async move {
        let mut stopping = vault.stopping.subscribe();
        let mut ticks = interval(Duration::from_secs(vault.config.lease.sweep_interval_s));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => return,
                _ = ticks.tick() => {}
            }
            if vault.store.check_writable().await.is_ok() && record_start(&vault, key_pages).await.is_ok() {
                tracing::info!("there is room again: the start is recorded");
                return;
            }
        }
    })
}

/// Locks the vault if the end of its ledger is not what was written.
pub async fn check_tail(vault: &Shared, sequencer: &Sequencer) {
    let checked = match sequencer.verify_tail(TAIL).await {
        Ok(_) => sequencer.follow().await,
        Err(error) => Err(error),
    };
    match checked {
        Ok(()) => {}
        Err(error @ (StoreError::Rollback { .. } | StoreError::Corrupt(_))) => vault.lock.lock(error.to_string()),
        Err(error) => tracing::warn!(%error, "the ledger's tail could not be checked"),
    }
}

async fn every(vault: Shared, period: Duration, act: impl AsyncFn(&Shared)) {
    let mut stopping = vault.stopping.subscribe();
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick comes at once; everything was looked at when the vault was opened.
    ticks.tick().await;
    loop {
        tokio::select! {
            () = stopped(&mut stopping) => return,
            _ = ticks.tick() => {
                if vault.lock.reason().is_none() {
                    act(&vault).await;
                }
            }
        }
    }
}
