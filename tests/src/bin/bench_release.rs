//! Releases a second, their latency, and the server's processor time for each, at several numbers of
//! clients; beside them what the cryptography of one release costs by itself.
//!
//! `bench-release --strongroomd target/release/strongroomd --dir target/bench/vault --json target/bench/release.json`

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use serde_json::json;
use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};
use strongroom_tests::{
    load::{Deployment, Round, cryptography, round, settle},
    postgres::Cluster,
};

/// Measures releases of a vault on loopback.
#[derive(Parser)]
struct Arguments {
    /// The server to start.
    #[arg(long, default_value = "target/release/strongroomd")]
    strongroomd: PathBuf,
    /// Where its vault is made; removed first, and at the end.
    #[arg(long, default_value = "target/bench/vault")]
    dir: PathBuf,
    /// The policy, without its quotas.
    #[arg(long, default_value = "policies/baseline")]
    policy: PathBuf,
    /// Nodes that are enrolled; clients take turns with them.
    #[arg(long, default_value_t = 64)]
    nodes: usize,
    /// Clients at one time: one measurement for each.
    #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
    clients: Vec<usize>,
    /// Releases of one measurement in one round.
    #[arg(long, default_value_t = 1000)]
    releases: usize,
    /// Rounds: the numbers of clients take turns, and medians count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What keeps state and ledger.
    #[arg(long, value_enum, default_value_t = Store::Sqlite)]
    store: Store,
    /// Replicas over one PostgreSQL database; clients take turns with them.
    #[arg(long, default_value_t = 1)]
    replicas: usize,
    /// Where the numbers go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What keeps state and ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Store {
    /// One file.
    Sqlite,
    /// A throw-away cluster on this machine, with everything that makes its commits durable.
    Postgres,
}

/// All rounds with one number of clients.
#[derive(Default)]
struct Measured {
    calls: Vec<Duration>,
    whole: Vec<Duration>,
    rates: Vec<f64>,
    cpu_ms: Vec<f64>,
    end_cpu_ms: Vec<f64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let start = Instant::now();
    ensure!(arguments.replicas > 0, "at least one replica");
    ensure!(arguments.replicas == 1 || arguments.store == Store::Postgres, "SQLite is of one replica");
    let cluster = (arguments.store == Store::Postgres).then(|| Cluster::start(&[])).transpose()?;
    let database = cluster.as_ref().map(Cluster::database).transpose()?;
    let over = database.as_ref().map(|database| (database, arguments.replicas));
    let (strongroomd, policy) = (&arguments.strongroomd, &arguments.policy);
    let deployment = Deployment::start_over(strongroomd, &arguments.dir, policy, arguments.nodes, over)?;
    println!("{} nodes enrolled in {:.1} s", arguments.nodes, start.elapsed().as_secs_f64());
    let costs = cryptography::costs(&deployment)?;

    // Warm: code, page cache, the database's statements.
    settle(&deployment, &round(&deployment, 8, 200)?.granted)?;
    let mut all: Vec<_> = arguments.clients.iter().map(|clients| (*clients, Measured::default())).collect();
    for _ in 0..arguments.rounds {
        for (clients, measured) in &mut all {
            measured.add(round(&deployment, *clients, arguments.releases)?, &deployment)?;
        }
    }

    let first = "clients";
    println!(
        "{first:>8} {:>10} {:>9} {:>9} {:>10} {:>10} {:>12}",
        "releases/s", "p50 ms", "p99 ms", "all p50", "all p99", "CPU ms each"
    );
    let mut lines = Vec::new();
    for (clients, measured) in &mut all {
        lines.push(measured.line(*clients, arguments.releases * arguments.rounds)?);
    }
    let sum: Duration = costs.iter().map(|cost| cost.time).sum();
    println!("cryptography of one release: {:.3} ms", ms(sum));
    for cost in &costs {
        println!("{:>9.1} us  {}", ms(cost.time) * 1e3, cost.name);
    }
    let cryptography: Vec<_> = costs.iter().map(|c| json!({ "name": c.name, "us": ms(c.time) * 1e3 })).collect();
    let database_bytes = match &database {
        None => fs::metadata(arguments.dir.join("vault.db"))?.len(),
        Some(database) => database.sql("SELECT pg_database_size(current_database())")?.parse()?,
    };
    let report = json!({
        "nodes": arguments.nodes, "rounds": arguments.rounds, "clients": lines,
        "cryptography": cryptography, "cryptography_ms": ms(sum), "database_bytes": database_bytes,
        "store": format!("{:?}", arguments.store).to_lowercase(), "replicas": arguments.replicas,
    });
    if let Some(path) = &arguments.json {
        fs::write(path, serde_json::to_string_pretty(&report)? + "\n").with_context(|| path.display().to_string())?;
    }
    let directories = deployment.directories();
    drop(deployment);
    directories.iter().try_for_each(|directory| Ok(fs::remove_dir_all(directory)?))
}

impl Measured {
    fn add(&mut self, round: Round, deployment: &Deployment) -> Result<()> {
        let count = exact(round.granted.len());
        self.calls.extend(round.calls);
        self.whole.extend(round.whole);
        self.rates.push(count / round.elapsed.as_secs_f64());
        self.cpu_ms.push(round.server_cpu * 1e3 / count);
        let cpu = deployment.cpu_seconds()?;
        settle(deployment, &round.granted)?;
        self.end_cpu_ms.push((deployment.cpu_seconds()? - cpu) * 1e3 / count);
        Ok(())
    }

    fn line(&mut self, clients: usize, releases: usize) -> Result<serde_json::Value> {
        self.calls.sort_unstable();
        self.whole.sort_unstable();
        let (rate, cpu, end) = (median(&mut self.rates)?, median(&mut self.cpu_ms)?, median(&mut self.end_cpu_ms)?);
        let of = |sorted: &[Duration], percent| percentile(sorted, percent).map(ms);
        let (p50, p99) = (of(&self.calls, 50)?, of(&self.calls, 99)?);
        let (all50, all99) = (of(&self.whole, 50)?, of(&self.whole, 99)?);
        println!("{clients:>8} {rate:>10.0} {p50:>9.2} {p99:>9.2} {all50:>10.2} {all99:>10.2} {cpu:>12.3}");
        Ok(json!({
            "clients": clients, "releases": releases, "releases_per_s": rate, "p50_ms": p50, "p99_ms": p99,
            "whole_p50_ms": all50, "whole_p99_ms": all99, "server_cpu_ms": cpu, "end_server_cpu_ms": end,
        }))
    }
}

fn median(values: &mut [f64]) -> Result<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().context("no round")
}

/// Nearest rank.
fn percentile(sorted: &[Duration], percent: usize) -> Result<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().context("no release")
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "some thousands")]
fn exact(count: usize) -> f64 {
    count as f64
}
