//! `strongroomd serve`.

use super::output;
use crate::{
    config::{Config, LogFormat},
    http,
    occupancy::Occupancy,
    routes,
    start::{self, Open, Opened, told},
    tasks, tls,
    vault::{Shared, subject, system},
};
use anyhow::{Context as _, Result};
use axum::{Router, routing::get};
use axum_server::Handle;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    process::ExitCode,
    time::Duration,
};
use strongroom_attest::Pins;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_store::StoreError;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Bounds of latency histograms, seconds: from a tenth of a millisecond to the commit deadline.
const BUCKETS: [f64; 14] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

pub(super) async fn run(path: &Path, pins: Pins, json: bool) -> Result<ExitCode> {
    let config = Config::load(path)?;
    log(&config, json)?;
    let metrics = install_metrics()?;
    // Held to the end of the process.
    let _alone = Occupancy::take(&config)?;
    // Bound before the vault is opened: a port that is taken must not leave a ledger entry behind.
    let listener = bind(config.server.listen)?;
    let tls = tls::server_config(&config.server.tls_certificate, &config.server.tls_key)?;
    if let Some(address) = config.metrics_address() {
        let listener = bind(address)?;
        tokio::spawn(serve_metrics(listener, metrics));
    }
    match start::open_with(config.clone(), pins).await? {
        Opened::Open(open) => serve(listener, tls, *open, json).await?,
        Opened::Locked(reason) => {
            tracing::error!(%reason, "the vault is locked; every request is answered with 423");
            metrics::gauge!("strongroom_locked").set(1.0);
            let handle = stopping_on_signal(config.server.shutdown_deadline_s, None)?;
            ready(listener.local_addr()?, true, json);
            http::serve(listener, routes::locked_router(reason), tls, &config.limits, handle).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn serve(listener: TcpListener, tls: rustls::ServerConfig, open: Open, json: bool) -> Result<()> {
    let Open { vault, sequencer, key_pages } = open;
    metrics::gauge!("strongroom_locked").set(0.0);
    if vault.config.four_eyes.waived {
        tracing::warn!("four eyes are waived: a development vault");
    }
    let full = vault.store.check_writable().await.err().filter(|e| matches!(e, StoreError::DiskFull { .. }));
    let mut tasks = tasks::start(&vault, sequencer);
    match full {
        None => start::record_start(&vault, key_pages).await.map_err(told)?,
        Some(error) => {
            tracing::error!(%error, "nothing is released or changed; what is there can be read");
            tasks.push(tasks::record_start_later(&vault, key_pages));
        }
    }
    let handle = stopping_on_signal(vault.config.server.shutdown_deadline_s, Some(Shared::clone(&vault)))?;
    ready(listener.local_addr()?, false, json);
    let router = routes::router(Shared::clone(&vault));
    http::serve(listener, router, tls, &vault.config.limits, handle).await?;
    vault.stopping.send_replace(true);
    for task in tasks {
        let _ = task.await;
    }
    stop(&vault).await
}

/// The last entries of this replica: what was refused, which tokens were used, and that it stopped in
/// order.
async fn stop(vault: &Shared) -> Result<()> {
    if let Err(error @ StoreError::DiskFull { .. }) = vault.store.check_writable().await {
        tracing::error!(%error, "stopping without a record");
    } else if vault.lock.reason().is_none() {
        crate::refusals::sum_up(vault).await.map_err(told)?;
        crate::token_use::write(vault).await.map_err(told)?;
        let now = vault.clock.now().await?;
        let subject = subject(SubjectKind::Vault, vault.keys.vault_id());
        let record = vault.record(now, system("strongroomd"), Action::VaultStopped, subject).map_err(told)?;
        vault.commit(record, Vec::new(), Vec::new()).await.map_err(told)?;
    }
    vault.queue.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Stops in order on SIGTERM or SIGINT: no new connections, requests in flight have a deadline.
fn stopping_on_signal(deadline: u64, vault: Option<Shared>) -> Result<Handle<SocketAddr>> {
    let handle = Handle::new();
    let stop = handle.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        // Streams of events end first: they would hold their connections to the deadline.
        if let Some(vault) = vault {
            vault.stopping.send_replace(true);
        }
        stop.graceful_shutdown(Some(Duration::from_secs(deadline)));
    });
    Ok(handle)
}

fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).with_context(|| format!("listen on {address}"))
}

/// One line on standard output when requests are served, for scripts that wait for it.
/// A vault that cannot print it serves all the same.
fn ready(address: SocketAddr, locked: bool, json: bool) {
    tracing::info!(%address, locked, "serving");
    let printed = if json {
        output::json(&serde_json::json!({ "serving": address.to_string(), "locked": locked }))
    } else {
        output::text(format!("serving on {address}{}\n", if locked { " (locked)" } else { "" }))
    };
    if let Err(error) = printed {
        tracing::warn!(error = format!("{error:#}"), "nobody is told on standard output that requests are served");
    }
}

fn log(config: &Config, json: bool) -> Result<()> {
    let filter = EnvFilter::builder().parse(&config.server.log_level).context("[server] log_level")?;
    // A line that cannot be written (a full disk behind standard error) is lost. To report that on
    // standard error, as the subscriber would, is to panic in whatever logged: requests, shutdown.
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if json || config.server.log_format == LogFormat::Json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(false).init();
    }
    Ok(())
}

fn install_metrics() -> Result<PrometheusHandle> {
    Ok(PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &BUCKETS)?
        .set_buckets_for_metric(
            Matcher::Suffix("_items".to_owned()),
            &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
        )?
        .install_recorder()?)
}

async fn serve_metrics(listener: TcpListener, metrics: PrometheusHandle) {
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_secs(5));
        loop {
            ticks.tick().await;
            upkeep.run_upkeep();
        }
    });
    let router = Router::new().route("/metrics", get(move || std::future::ready(metrics.render())));
    let served = async {
        listener.set_nonblocking(true)?;
        axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await
    };
    if let Err(error) = served.await {
        tracing::error!(%error, "metrics are not served any more");
    }
}
