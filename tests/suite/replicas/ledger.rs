//! One ledger, whoever writes: under load, and when a replica is killed in the middle. What clients were
//! told is compared with what the database has by a checker that is no part of the vault: SQL, SHA-256
//! and RFC 6962 as its text has it.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};
use strongroom_envelope::RecipientKey;
use strongroom_ledger::{Receipt, SignedCheckpoint};
use strongroom_protocol::sha256;
use strongroom_tests::{
    load::{Deployment, Granted, release, verify},
    postgres::{Cluster, Database},
    programs,
};

/// Releases that have to be answered, in all.
const RELEASES: usize = 240;
/// After so many the first replica is killed.
const KILLED_AFTER: usize = 80;
const CLIENTS: usize = 12;

/// The log as the database has it: entry, salt, record, by index.
struct Log(Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>);

impl Log {
    /// Reads it, and computes its tree again: every index is there once, each entry is of its record, no
    /// record is there twice, and the head's signed checkpoint is of this tree.
    fn check(database: &Database, deployment: &Deployment) -> Self {
        let rows = "SELECT idx || ' ' || encode(entry, 'hex') || ' ' || encode(salt, 'hex') || ' ' ||
             encode(record, 'hex') FROM entries ORDER BY idx";
        let rows = database.sql(rows).unwrap();
        let (mut log, mut leaves, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (expected, row) in rows.lines().enumerate() {
            let words: Vec<&str> = row.split(' ').collect();
            assert_eq!(words[0], expected.to_string(), "an index is missing, or is there twice");
            let [entry, salt, record] = [1, 2, 3].map(|place| hex::decode(words[place]).unwrap());
            assert_eq!(entry, sha256(&[salt.as_slice(), &record].concat()), "entry {expected} is not of its record");
            let parsed: Value = serde_json::from_slice(&record).unwrap();
            assert!(ids.insert(parsed["id"].to_string()), "the record of entry {expected} is there twice");
            leaves.push(sha256(&[&[0], entry.as_slice()].concat()));
            log.push((entry, salt, record));
        }
        let signed = database.sql("SELECT checkpoint FROM head").unwrap() + "\n";
        let signed = SignedCheckpoint::parse(&signed).unwrap();
        let checkpoint = signed.verify(std::slice::from_ref(deployment.verifier())).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (log.len() as u64, tree_hash(&leaves)));
        Self(log)
    }

    /// Whether what a client holds is in it, at the place that its receipt says.
    fn has(&self, granted: &Granted) -> usize {
        let receipt = Receipt::parse(&granted.response.receipt).unwrap();
        let index = usize::try_from(receipt.index()).unwrap();
        let (_, salt, record) = &self.0[index];
        assert_eq!(record, &granted.response.record.0, "entry {index} is not what its client was told");
        assert_eq!(salt, granted.response.salt.as_array());
        index
    }
}

/// MTH of RFC 6962, section 2.1, over leaf hashes.
fn tree_hash(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256(&[&[1], tree_hash(left).as_slice(), tree_hash(right).as_slice()].concat())
        }
    }
}

#[test]
fn two_replicas_write_one_ledger_and_one_goes_on_when_the_other_is_killed() {
    let database = Cluster::shared().database().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (strongroomd, policy) =
        (programs::built("strongroomd").unwrap(), programs::project().join("policies/baseline"));
    let deployment =
        Deployment::start_over(&strongroomd, &directory.path().join("vault"), &policy, 8, Some((&database, 2)))
            .unwrap();

    let answered: Mutex<Vec<(usize, Granted)>> = Mutex::default();
    let (next, lost, killed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                loop {
                    let turn = next.fetch_add(1, Ordering::SeqCst);
                    if answered.lock().unwrap().len() >= RELEASES {
                        return;
                    }
                    if turn == KILLED_AFTER {
                        // With requests of the others on their way through it.
                        killed.store(true, Ordering::SeqCst);
                        deployment.kill(0).unwrap();
                    }
                    let replica = turn % 2;
                    let key = RecipientKey::generate().unwrap_or_else(|_| panic!("no random bytes"));
                    match release(&deployment, deployment.endpoint(replica), turn, key) {
                        Ok((_, _, granted)) => answered.lock().unwrap().push((replica, granted)),
                        // Whoever asks the replica that is gone asks the other next time.
                        Err(error) => {
                            assert!(replica == 0 && killed.load(Ordering::SeqCst), "{error:#}");
                            lost.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });

    let answered = answered.into_inner().unwrap();
    let log = Log::check(&database, &deployment);
    let mut by_replica = BTreeMap::new();
    let mut indices = BTreeSet::new();
    for (replica, granted) in &answered {
        // As the SDK does: signature, receipt, record, envelope, key.
        verify(&deployment, granted).unwrap();
        assert!(indices.insert(log.has(granted)), "two clients were told one index");
        *by_replica.entry(replica).or_insert(0) += 1;
    }
    // What was decided and never heard of is recorded: too much is allowed, too little is not.
    let decided = log.0.iter().filter(|(_, _, record)| {
        let record: Value = serde_json::from_slice(record).unwrap();
        record["action"] == "release.decided"
    });
    let (decided, lost) = (decided.count(), lost.into_inner());
    println!("{} answered {by_replica:?}, {lost} lost, {decided} recorded, of {} entries", answered.len(), log.0.len());
    assert!((answered.len()..=answered.len() + lost).contains(&decided));
    assert!(by_replica.len() == 2 && lost > 0, "{by_replica:?}, {lost} lost");
    let live: usize = database.sql("SELECT count(*) FROM leases").unwrap().parse().unwrap();
    assert_eq!(live, decided, "a lease without its record, or a record without its lease");
    let double = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'";
    assert_eq!(database.sql(double).unwrap(), "0");
}

/// A checker that finds nothing is worth nothing: a changed record, a missing one, and another tree.
#[test]
fn the_checker_finds_what_it_looks_for() {
    let database = Cluster::shared().database().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (strongroomd, policy) =
        (programs::built("strongroomd").unwrap(), programs::project().join("policies/baseline"));
    let deployment =
        Deployment::start_over(&strongroomd, &directory.path().join("vault"), &policy, 1, Some((&database, 1)))
            .unwrap();
    deployment.kill(0).unwrap();
    Log::check(&database, &deployment);
    let finds = |damage: &str, repair: &str| {
        database.sql(damage).unwrap();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| Log::check(&database, &deployment)));
        assert!(found.is_err(), "{damage}");
        database.sql(repair).unwrap();
        Log::check(&database, &deployment);
    };
    finds(
        "UPDATE entries SET record = set_byte(record, 5, get_byte(record, 5) # 1) WHERE idx = 3",
        "UPDATE entries SET record = set_byte(record, 5, get_byte(record, 5) # 1) WHERE idx = 3",
    );
    finds("UPDATE entries SET idx = 1000 WHERE idx = 2", "UPDATE entries SET idx = 2 WHERE idx = 1000");
    finds(
        "CREATE TABLE kept AS SELECT * FROM entries ORDER BY idx DESC LIMIT 1;
         DELETE FROM entries WHERE idx = (SELECT max(idx) FROM entries)",
        "INSERT INTO entries SELECT * FROM kept; DROP TABLE kept",
    );
}
