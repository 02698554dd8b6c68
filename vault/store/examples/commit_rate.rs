//! How many commits and items a second one sequencer makes, by size of batch.
//!
//! `cargo run --release -p strongroom-store --example commit_rate [directory]`. Each item is a release
//! as the server commits it: seven guards, a nonce, two quotas, a lease, 16 KiB of evidence. The
//! database is made in `directory` (the system's temporary one unless given), so that the disk under
//! test is the one that counts. Prints medians over the commits of each size, and the CPU time of the
//! whole process an item.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a measurement that fails may say so plainly")]

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustix::time::{ClockId, clock_gettime};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use strongroom_ledger::{Action, Actor, ActorKind, Record, Subject, SubjectKind, Timestamp, Verdict, VerifierKey};
use strongroom_protocol::{
    Bytes, DecisionId, Fixed, LeaseId, NodeId,
    admin::{CreateAsset, Integrity, KeyState},
    challenge::Nonce,
    enrol::NodeState,
    identity::Identity,
    lease::LeaseState,
    sha256,
    statement::{Access, KeyRequest, Scope},
};
use strongroom_store::{
    Blob, Change, Guard, Item, Outcome, Quota, Sequencer, SqliteStore, Store as _,
    model::{AssetRow, KeyRow, LeaseRow, NodeRow, SiteRow, TpmRow},
};

const NODES: u64 = 64;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let directory = match std::env::args().nth(1) {
        Some(path) => tempfile::tempdir_in(path).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let store = Arc::new(SqliteStore::open(&directory.path().join("vault.db")).await.unwrap());
    let signer = Arc::new(Ed25519KeyPair::from_seed_unchecked(&[1; 32]).unwrap());
    let verifier = VerifierKey::new("strongroom/bench", signer.public_key().as_ref().try_into().unwrap()).unwrap();
    let sequencer =
        Sequencer::new(store.clone(), signer, verifier, directory.path().join("checkpoint"), "bench").await.unwrap();
    sequencer.commit(vec![furnish()]).await.unwrap();
    let now = store.now().await.unwrap();

    println!("batch  commits  commits/s   items/s  ms/commit  CPU µs/item");
    let mut number = 0;
    for (size, commits) in [(1, 400), (16, 200), (256, 40)] {
        let mut batches: Vec<Vec<Item>> = (0..commits)
            .map(|_| {
                (0..size)
                    .map(|_| {
                        number += 1;
                        release(number, now)
                    })
                    .collect()
            })
            .collect();
        let mut times = Vec::new();
        let cpu = cpu_time();
        while let Some(batch) = batches.pop() {
            let started = Instant::now();
            let outcomes = sequencer.commit(batch).await.unwrap();
            times.push(started.elapsed());
            assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Committed(_))));
        }
        let cpu = cpu_time().checked_sub(cpu).unwrap();
        times.sort_unstable();
        let median = times[times.len() / 2].as_secs_f64();
        println!(
            "{size:5} {commits:8} {:10.0} {:9.0} {:10.2} {:12.0}",
            1.0 / median,
            f64::from(size) / median,
            median * 1e3,
            cpu.as_secs_f64() * 1e6 / f64::from(size * commits)
        );
    }
    let started = Instant::now();
    sequencer.verify_tail(1000).await.unwrap();
    println!("the last 1,000 entries verified in {:.1} ms", started.elapsed().as_secs_f64() * 1e3);
}

fn cpu_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap()
}

fn node(n: u64) -> NodeId {
    NodeId::from(sha256(&n.to_be_bytes()))
}

/// The rows that every release rests on.
fn furnish() -> Item {
    let mut changes = vec![
        Change::CreateSite(SiteRow { name: "fra-1".into(), jurisdiction: "DE".into() }),
        Change::CreateAsset(AssetRow {
            asset: CreateAsset {
                name: "llama-70b".into(),
                labels: BTreeMap::new(),
                jurisdictions: vec!["DE".into()],
                reference_sets: vec!["boot".into()],
                integrity: Integrity::Plain,
                max_leases: None,
            },
            created_at: 0,
        }),
        Change::PutKey(KeyRow {
            asset: "llama-70b".into(),
            version: 1,
            state: KeyState::Active,
            wrapped: Bytes(vec![1; 60]),
            created_at: 0,
        }),
    ];
    changes.extend((0..NODES).map(|n| {
        Change::PutNode(NodeRow {
            id: node(n),
            tpm: Some(TpmRow {
                ek_public: Bytes(vec![2; 300]),
                ak_public: Bytes(vec![3; 100]),
                ak_sha256: Fixed(*node(n).as_array()),
                model: String::new(),
            }),
            identities: BTreeSet::from([Identity::of_tpm(&node(n))]),
            state: NodeState::Approved,
            site: Some("fra-1".into()),
            labels: BTreeMap::new(),
            requested_labels: BTreeMap::new(),
            single_job: false,
            hostname: None,
            last_pcrs: None,
            last_boot_log: None,
            last_boot: None,
            cloud: None,
            enrolled_at: 0,
            activated_at: Some(0),
        })
    }));
    let record = record(0, Action::VaultInitialised, Subject::new(SubjectKind::Vault, "bench"));
    Item { record, guards: vec![], nonce: None, quotas: vec![], changes, blobs: vec![] }
}

fn record(n: u64, action: Action, subject: Subject) -> Record {
    let id = DecisionId(ulid::Ulid::from_parts(1_700_000_000_000, n.into()));
    let time = Timestamp::from_unix_millis(0).unwrap();
    Record::new(id, time, "", Actor::new(ActorKind::Node, node(n % NODES).to_string()), action, subject)
}

fn release(n: u64, now: i64) -> Item {
    let holder = node(n % NODES);
    let statement = Fixed(sha256(&n.to_le_bytes()));
    let mut random = [0; 16];
    random.copy_from_slice(&statement.0[..16]);
    let keys = vec![KeyRequest {
        asset: "llama-70b".into(),
        version: 1,
        access: Access::Read,
        scope: Scope::Version,
        objects: vec![],
    }];
    let evidence = Blob::of(statement.0.repeat(512));
    let mut record = record(n, Action::ReleaseDecided, Subject::new(SubjectKind::Decision, n.to_string()));
    record.node = Some(holder);
    record.site = Some("fra-1".into());
    record.jurisdiction = Some("DE".into());
    record.job = Some(format!("job-{}", n % 8));
    record.lease = Some(LeaseId::from(random));
    record.keys = keys.iter().map(Into::into).collect();
    record.verdict = Some(Verdict::Released);
    record.statement_sha256 = Some(statement);
    record.recipient_sha256 = Some(statement);
    record.evidence_sha256 = Some(evidence.sha256);
    let lease = LeaseRow {
        id: LeaseId::from(random),
        decision: record.id,
        node: holder,
        ak_sha256: Some(Fixed(*holder.as_array())),
        guest: None,
        statement_sha256: statement,
        caller_sha256: None,
        recipient_sha256: statement,
        keys,
        job: record.job.clone(),
        boot: Some((1, 1)),
        wrapped_secret: Bytes(vec![4; 60]),
        obligations: "{}".into(),
        state: LeaseState::Live,
        granted_at: now,
        expires_at: now + 3600,
        reattest_at: now + 1800,
        delivered: false,
    };
    Item {
        record,
        guards: vec![
            Guard::NewStatement(statement),
            Guard::Node(holder, 1),
            Guard::Site("fra-1".into(), 1),
            Guard::Asset("llama-70b".into(), 1),
            Guard::Key("llama-70b".into(), 1, 1),
            Guard::PolicyGeneration(0),
            Guard::ReferenceGeneration(0),
        ],
        nonce: Some(Nonce::new(random, u64::try_from(now + 600).unwrap(), [0; 16])),
        quotas: vec![Quota::NodeLeases(holder, 10_000), Quota::AssetLeases("llama-70b".into(), 100_000)],
        changes: vec![Change::GrantLease(lease)],
        blobs: vec![evidence],
    }
}
