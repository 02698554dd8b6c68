//! Nonces and statements: stale, forged, used, someone else's, or saying what they must not.

use super::{ASSET, malformed, refused, told, world};
use std::thread;
use strongroom_keys::{
    FileCustody, KeyTree, NewVault,
    custody::{Custody as _, FILE_ACKNOWLEDGEMENT, FileCustodyConfig},
};
use strongroom_protocol::{
    Bytes, Code, Fixed,
    challenge::{Nonce, Purpose},
    lease::ACT_END,
    release::{ReleaseRequest, ReleaseResponse},
    statement::{Access, CallerRef, JobRef, Scope},
};
use strongroom_store::{SqliteStore, Store as _};
use strongroom_tests::{
    Vault, Wire,
    wire::{version_key, writer_key},
};

/// The vault's key tree, as only its owner has it: to make a nonce that it truly issued, long ago.
pub(crate) fn key_tree(vault: &Vault) -> KeyTree {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let database = copy.path().join("copy.db");
    let mut backup = strongroom_tests::programs::bare(&strongroom_tests::programs::built("strongroomd").unwrap());
    backup.arg("backup").arg("--config").arg(vault.configuration()).arg("--to").arg(&database);
    strongroom_tests::programs::run(&mut backup).unwrap();
    let row = runtime
        .block_on(async { SqliteStore::open(&database).await.unwrap().vault().await })
        .unwrap()
        .expect("a vault has its row");
    let config = FileCustodyConfig { path: vault.dir().join("root.key"), acknowledge: FILE_ACKNOWLEDGEMENT.to_owned() };
    let root = FileCustody::new(&config).unwrap().unlock().unwrap();
    let wrapped = NewVault {
        root_commitment: row.root_commitment.0,
        wrapped_identity: row.wrapped_identity.0,
        identity_key: row.identity_key.0,
        wrapped_tenant_key: row.wrapped_tenant_key.0,
    };
    KeyTree::unlock(Box::new(root), &wrapped).unwrap()
}

#[test]
fn a_nonce_is_fresh_and_the_vaults_own_and_for_this() {
    let world = world();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let collector = world.node().devices().unwrap();
    let with = |nonce: Nonce| {
        let mut asking = wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
        asking.statement.nonce = nonce;
        asking.send(&wire, &collector).unwrap()
    };
    let fresh = wire.nonce(Purpose::Release).unwrap();
    let now = fresh.expiry() - 60;
    let tree = key_tree(&world.vault);
    let stale = tree.issue_nonce(Purpose::Release, now - 1).unwrap();
    refused("a stale nonce, issued by this vault", &with(stale), Code::NonceExpired);
    let longer = Nonce::new(fresh.random(), fresh.expiry() + 3600, fresh.mac());
    refused("a nonce with a later expiry", &with(longer), Code::NonceInvalid);
    let mut mac = fresh.mac();
    mac[15] ^= 1;
    refused("a nonce with a forged MAC", &with(Nonce::new(fresh.random(), fresh.expiry(), mac)), Code::NonceInvalid);
    refused("a nonce of nobody's", &with(Nonce(Fixed([0; 40]))), Code::NonceInvalid);
    for purpose in [Purpose::Possession, Purpose::Enrol] {
        let attack = format!("a nonce issued for {}", purpose.as_str());
        refused(&attack, &with(wire.nonce(purpose).unwrap()), Code::NonceInvalid);
    }
    assert_eq!(with(fresh).status, 200);
    refused("a nonce that was used in another statement", &with(fresh), Code::NonceReused);
    let reply = wire.post("/v1/challenges", &br#"{"purpose":"blessing"}"#[..]).unwrap();
    malformed("a nonce for another purpose than there is", &reply, "body");
}

#[test]
fn a_statement_is_decided_once_and_for_one_node() {
    let world = world();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let (victim, thief) = (world.nodes[0].devices().unwrap(), world.nodes[1].devices().unwrap());
    let asking = wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
    let request = asking.attest(&wire, &victim).unwrap();
    let first: ReleaseResponse = wire.release(&request).unwrap().json().unwrap();
    let reply = asking.send(&wire, &thief).unwrap();
    refused("a replayed statement with another node's evidence", &reply, Code::NonceReused);

    let payload = asking.open(&first).unwrap();
    let lease = payload.lease.id;
    let proof = wire.possession(ACT_END, lease, payload.lease_secret.expose(), b"{}").unwrap();
    assert_eq!(wire.send("DELETE", &format!("/v1/leases/{lease}"), &[proof], &b"{}"[..]).unwrap().status, 200);
    refused("a replayed statement, after its lease ended", &wire.release(&request).unwrap(), Code::NonceReused);

    // A denial burns its nonce too.
    let asking = wire.ask(vec![version_key(ASSET, 1)]).unwrap();
    let request = asking.attest(&wire, &victim).unwrap();
    refused("a whole version, which policy does not give", &wire.release(&request).unwrap(), Code::Denied);
    refused("a denied statement, sent again", &wire.release(&request).unwrap(), Code::NonceReused);

    // Sent by many at the very same time: one decision.
    let asking = wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
    let request = asking.attest(&wire, &victim).unwrap();
    let decisions: Vec<_> = thread::scope(|scope| {
        let sent: Vec<_> = (0..8).map(|_| scope.spawn(|| wire.release(&request).unwrap())).collect();
        sent.into_iter().map(|t| t.join().unwrap().json::<ReleaseResponse>().unwrap().decision_id).collect()
    });
    told("one statement sent eight times at once", &format!("vault: one decision, {}", decisions[0]));
    assert!(decisions.iter().all(|d| *d == decisions[0]), "{decisions:?}");
}

#[test]
fn a_statement_says_what_the_protocol_knows() {
    let world = world();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let collector = world.node().devices().unwrap();
    let changed = |change: &dyn Fn(&mut strongroom_protocol::Statement)| {
        let mut asking = wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
        change(&mut asking.statement);
        asking.send(&wire, &collector).unwrap()
    };
    malformed("write access to objects", &changed(&|s| s.keys[0].scope = Scope::Object), "keys[0].scope");
    malformed("a writer key for reading", &changed(&|s| s.keys[0].access = Access::Read), "keys[0].scope");
    malformed("a statement of version 2", &changed(&|s| s.v = 2), "v");
    malformed("a release that names a lease", &changed(&|s| s.lease = Some([1; 16].into())), "lease");
    malformed("an asset outside its name", &changed(&|s| s.keys[0].asset = "../prize".into()), "keys[0].asset");
    malformed(
        "a recipient key that is none",
        &changed(&|s| s.recipient.public_key = Bytes(vec![0; 1215])),
        "recipient.public_key",
    );
    let reply = changed(&|s| s.caller = Some(CallerRef { sha256: Fixed([1; 32]) }));
    refused("a caller whose bytes are not there", &reply, Code::CallerMismatch);
    // A job that nobody but the requester names changes nothing, and its token is never enough.
    let job = JobRef { id: "job-1".into(), token_sha256: Fixed([1; 32]) };
    let mut asking = wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
    asking.statement.job = Some(job);
    let request = asking.attest(&wire, &collector).unwrap();
    let with_token = ReleaseRequest { job_token: Some("another token".into()), ..request };
    malformed("a job token that the statement does not name", &wire.release(&with_token).unwrap(), "job_token");

    // The statement's own bytes are judged: a field given twice is refused, however well it is signed.
    let asking = wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
    let twice = String::from_utf8(asking.bytes().unwrap()).unwrap().replacen('{', r#"{"v":1,"#, 1).into_bytes();
    let evidence = strongroom_collect::Attester::collect(
        &collector,
        &twice,
        None,
        strongroom_collect::Wanted::whole(&wire.selection),
    )
    .unwrap();
    let request = ReleaseRequest { statement: Bytes(twice), caller: None, job_token: None, evidence };
    malformed("a statement with a field given twice", &wire.release(&request).unwrap(), "statement");
}
