//! The vault is killed while it releases; what clients got is compared with the ledger.

use crate::world::World;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};
use strongroom_ledger::{VerifierKey, check_release_record};
use strongroom_protocol::{
    Bytes,
    admin::Role,
    release::{ReleaseRequest, ReleaseResponse},
};
use strongroom_tests::{
    Asking, Reply, Wire,
    wire::{random, writer_key},
};

const ROUNDS: usize = 8;
const REQUESTS: usize = 16;
const CLIENTS: usize = 4;

/// A number below `below`; what it is does not matter, but that it differs.
fn some(below: u64) -> u64 {
    u64::from_le_bytes(random().unwrap()) % below
}

/// Sends all requests by several clients, and kills the vault after some answers and a moment.
/// The answer to each request, where one came.
fn killed_under_load(world: &mut World, requests: &[(Asking, ReleaseRequest)]) -> Vec<Option<Reply>> {
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let next = Mutex::new(0..requests.len());
    let (answered, answers) = mpsc::channel();
    let (after, moment) = (some(REQUESTS as u64), Duration::from_micros(some(3000)));
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (answered, wire, next) = (answered.clone(), &wire, &next);
            scope.spawn(move || {
                while let Some(i) = { next.lock().unwrap().next() } {
                    let _ = answered.send((i, wire.release(&requests[i].1).ok()));
                }
            });
        }
        drop(answered);
        let mut got: Vec<Option<Reply>> = vec![None; requests.len()];
        let mut count = 0;
        while count < after {
            let Ok((i, reply)) = answers.recv() else { break };
            got[i] = reply;
            count += 1;
        }
        let start = Instant::now();
        while start.elapsed() < moment {
            std::hint::spin_loop();
        }
        world.vault.kill();
        for (i, reply) in answers {
            got[i] = reply;
        }
        got
    })
}

/// Checks an answer as a client does, and gives the decision and its record.
fn believed(key: &VerifierKey, asking: &Asking, reply: &Reply) -> (String, Bytes) {
    let response: ReleaseResponse = reply.json().unwrap();
    check_release_record(&response.record.0, response.salt.as_array(), &response.receipt, std::slice::from_ref(key))
        .unwrap();
    assert_eq!(asking.open(&response).unwrap().keys.len(), 1);
    (response.decision_id.to_string(), response.record)
}

#[test]
fn every_key_that_a_killed_vault_released_has_its_record() {
    let many = json!(100_000);
    let settings = [("max_leases_per_node", many.clone()), ("max_leases_per_asset", many)];
    let mut world = World::configured::<1>(&settings, &[("leases_per_node", "100000")]);
    world.asset("crashing", |_| ());
    let key: VerifierKey = world.vault.join_file().unwrap().ledger_verifier_key.parse().unwrap();
    let devices = world.node().devices().unwrap();
    let mut released: BTreeMap<String, Bytes> = BTreeMap::new();
    let (mut lost, mut answered) = (0, 0);
    for _ in 0..ROUNDS {
        let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
        let prepared: Vec<_> = (0..REQUESTS)
            .map(|_| {
                let asking = wire.ask(vec![writer_key("crashing", 1)]).unwrap();
                let request = asking.attest(&wire, &devices).unwrap();
                (asking, request)
            })
            .collect();
        let got = killed_under_load(&mut world, &prepared);
        assert!(!world.vault.serve().unwrap(), "a killed vault came back locked");
        let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
        for ((asking, request), reply) in prepared.iter().zip(got) {
            // Whoever got no answer asks again with the very same statement; so does everybody else.
            let (decision, record) = believed(&key, asking, &wire.release(request).unwrap());
            if let Some(reply) = reply.filter(|reply| reply.status == 200) {
                answered += 1;
                let (before, bytes) = believed(&key, asking, &reply);
                assert_eq!((&before, &bytes), (&decision, &record), "a key was released by a decision that is gone");
            } else {
                lost += 1;
            }
            released.insert(decision, record);
        }
    }
    println!("{ROUNDS} kills: {answered} answers arrived, {lost} were lost and asked for again");
    assert_eq!(released.len(), ROUNDS * REQUESTS, "a decision was made twice");
    compare_with_ledger(&world, &released);
}

/// The export verifies (so indices are contiguous), and has each decision once, byte by byte.
fn compare_with_ledger(world: &World, released: &BTreeMap<String, Bytes>) {
    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("ledger.jsonl");
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    let path = export.to_str().unwrap();
    auditor.run(["audit", "export", "--out", path]).unwrap().done().unwrap();
    let report: Value = auditor.ask(["audit", "verify", path]).unwrap();
    assert_eq!(report["released"], json!(released.len()));
    let mut statements = BTreeSet::new();
    let mut found = 0;
    for line in fs::read_to_string(&export).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["line"] != "entry" {
            continue;
        }
        let bytes: Bytes = serde_json::from_value(line["record"].clone()).unwrap();
        let record: Value = serde_json::from_slice(&bytes.0).unwrap();
        if record["action"] != "release.decided" {
            continue;
        }
        assert!(statements.insert(record["statement_sha256"].to_string()), "a statement was decided twice");
        assert_eq!(released.get(record["id"].as_str().unwrap()), Some(&bytes), "the record is not what the client got");
        found += 1;
    }
    assert_eq!(found, released.len(), "a released key without its record");
}
