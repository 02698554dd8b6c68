//! Leases: proved, attested again, ended, expired, revoked.

use super::{client, world};
use crate::{
    sealing::{open, read_lease, seal_once},
    world::{Shared, World, act, content, eventually},
};
use anyhow::ensure;
use serde_json::{Value, json};
use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use strongroom::{Error, LeaseOver, OpenObject, Options, Request, Room};
use strongroom_protocol::{
    LeaseId,
    admin::{Recorded, Role},
    lease::{LeaseView, RevokeLease},
    release::ReleaseResponse,
};
use strongroom_tests::{Intruder, Wire, wire::writer_key};

static SHORT: Shared = Shared::new();
/// Seconds that a lease of this world lives: long enough for a machine that does much else.
const LIFE: u64 = 20;
/// Seconds after which only fresh evidence prolongs it.
const REATTEST: u64 = 4;

/// A world in which leases are short.
fn short_world() -> Arc<World> {
    SHORT.get(|| {
        World::with::<1>(&[
            ("lease_seconds", json!(LIFE)),
            ("renew_after", json!(1)),
            ("reattest_after", json!(REATTEST)),
        ])
    })
}

/// What the ledger has of a lease, the oldest first.
fn of_lease(world: &World, lease: LeaseId) -> Vec<Value> {
    let lease = json!(lease);
    world.records(&[]).into_iter().filter(|record| record["lease"] == lease).collect()
}

/// The actions of it.
fn story(world: &World, lease: LeaseId) -> Vec<String> {
    of_lease(world, lease).iter().map(|r| r["action"].as_str().unwrap().to_owned()).collect()
}

fn over(object: &OpenObject) -> Option<LeaseOver> {
    match object.plaintext() {
        Ok(_) => None,
        Err(Error::LeaseOver(over)) => Some(over),
        Err(other) => panic!("{other}"),
    }
}

fn revoke(world: &World, lease: LeaseId) -> Recorded {
    let custodian = world.vault.admin(Role::Custodian).unwrap();
    act(&custodian, &format!("/v1/leases/{lease}/revoke"), &RevokeLease { reason: "incident 17".into() })
}

#[test]
fn each_step_of_a_lease_is_in_the_ledger() {
    let world = world();
    world.asset("steps", |_| ());
    let (room, collector) = client(&world);
    let lease = room.release(&collector, Request::new().writer("steps", 1)).unwrap();
    lease.renew().unwrap();
    lease.reattest(&room, &collector).unwrap();
    let id = lease.id();
    lease.end().unwrap();
    assert_eq!(
        story(&world, id),
        ["release.decided", "release.delivered", "lease.renewed", "lease.renewed", "lease.ended"]
    );
    let leases: Vec<LeaseView> = world.vault.cli(Role::Custodian).unwrap().ask(["lease", "list"]).unwrap();
    assert!(leases.iter().all(|l| l.id != id), "an ended lease is listed as live");
    let all: Vec<LeaseView> = world.vault.cli(Role::Custodian).unwrap().ask(["lease", "list", "--all"]).unwrap();
    assert!(all.iter().any(|l| l.id == id && l.delivered));
}

#[test]
fn a_dropped_lease_is_ended_too() {
    let world = world();
    world.asset("dropped", |_| ());
    let (room, collector) = client(&world);
    let lease = room.release(&collector, Request::new().writer("dropped", 1)).unwrap();
    let id = lease.id();
    drop(lease);
    assert_eq!(story(&world, id), ["release.decided", "release.delivered", "lease.ended"]);
}

#[test]
fn a_revocation_takes_the_plaintext_at_once() {
    let world = world();
    world.asset("revoked", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    let (room, collector) = client(&world);
    seal_once(&room, &collector, "revoked", 1, &content(2, 1 << 20), &file);
    let (room, attester) = (Arc::new(room), Arc::new(collector));
    let lease = read_lease(&room, attester.as_ref(), "revoked", &file).unwrap();
    let opened = open(&lease, "revoked", &file).unwrap();
    let keeper = lease.keep(room, attester);
    assert_eq!(over(&opened), None);

    revoke(&world, lease.id());
    let start = Instant::now();
    let why = eventually("the end of the plaintext", || over(&opened));
    println!("a revocation reached the plaintext after {:?}", start.elapsed());
    // Whether the reason comes along depends on whether the notice or a look at the store was first.
    assert!(why == LeaseOver::Revoked(Some("incident 17".into())) || why == LeaseOver::Revoked(None), "{why:?}");
    assert!(matches!(open(&lease, "revoked", &file), Err(Error::LeaseOver(LeaseOver::Revoked(_)))));
    assert!(matches!(lease.renew(), Err(Error::LeaseOver(LeaseOver::Revoked(_)))));
    drop(keeper);
    let id = lease.id();
    drop(lease);
    assert_eq!(story(&world, id).last().unwrap(), "lease.revoked", "nothing was added by its end");
}

#[test]
fn a_lease_that_was_revoked_before_anybody_listened_ends_all_the_same() {
    let world = world();
    world.asset("unheard", |_| ());
    let (room, collector) = client(&world);
    let lease = room.release(&collector, Request::new().writer("unheard", 1)).unwrap();
    revoke(&world, lease.id());
    let keeper = lease.keep(Arc::new(room), Arc::new(collector));
    assert!(matches!(eventually("the lease's end", || lease.check().err()), LeaseOver::Revoked(_)));
    drop(keeper);
}

#[test]
fn an_expired_lease_shows_nothing_any_more() {
    let world = short_world();
    world.asset("expiring", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    let (room, collector) = client(&world);
    seal_once(&room, &collector, "expiring", 1, b"for a few seconds", &file);
    let lease = read_lease(&room, &collector, "expiring", &file).unwrap();
    let opened = open(&lease, "expiring", &file).unwrap();
    assert_eq!(&*opened.plaintext().unwrap(), b"for a few seconds");
    assert_eq!(eventually("expiry", || over(&opened)), LeaseOver::Expired);
    let id = lease.id();
    let records = eventually("the vault's own closing", || {
        Some(story(&world, id)).filter(|story| story.iter().any(|action| action == "lease.expired"))
    });
    assert_eq!(records, ["release.decided", "release.delivered", "lease.expired"]);
}

#[test]
fn a_keeper_prolongs_a_lease_by_possession_and_by_evidence() {
    let world = short_world();
    world.asset("kept", |_| ());
    let (room, collector) = client(&world);
    let lease = room.release(&collector, Request::new().writer("kept", 1)).unwrap();
    let start = Instant::now();
    let keeper = lease.keep(Arc::new(room), Arc::new(collector));
    eventually("two lives", || (start.elapsed().as_secs() > 2 * LIFE).then_some(()));
    lease.check().unwrap_or_else(|over| panic!("{over}: {:#?}", of_lease(&world, lease.id())));
    drop(keeper);
    let records = world.records(&["--action", "lease.renewed", "--asset", "kept"]);
    let attested = records.iter().filter(|r| r["verdict"] == "released").count();
    assert!(attested >= 2, "{attested} of {} renewals rest on evidence", records.len());
    assert!(records.len() > attested, "no renewal rests on possession");
    lease.end().unwrap();
}

/// A proof of possession that was on its way for long is refused, for only evidence will do by now; and the job goes on.
#[test]
fn evidence_that_becomes_due_while_possession_is_on_its_way_costs_no_lease() {
    let world = short_world();
    world.asset("on-its-way", |_| ());
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let room = Room::connect(&intruder.join_file(), Options::default()).unwrap();
    let collector = world.node().devices().unwrap();
    let lease = room.release(&collector, Request::new().writer("on-its-way", 1)).unwrap();
    let start = Instant::now();
    let (sender, refused) = mpsc::channel();
    intruder.tamper(move |seen, upstream| {
        // A stream of events does not end, and would be waited for.
        ensure!(!seen.path.ends_with("/events"), "the vault is away");
        if !seen.path.ends_with("/renew") {
            return upstream.forward(seen);
        }
        eventually("evidence to be due", || (start.elapsed().as_secs() > REATTEST + 1).then_some(()));
        let reply = upstream.forward(seen)?;
        if reply.status != 200 {
            sender.send((reply.status, serde_json::from_slice::<Value>(&reply.body)?)).ok();
        }
        Ok(reply)
    });
    let keeper = lease.keep(Arc::new(room), Arc::new(collector));
    let (status, problem) = refused.recv_timeout(Duration::from_mins(1)).unwrap();
    assert_eq!((status, &problem["reasons"]), (401, &json!(["evidence_due"])), "{problem}");
    eventually("a renewal by evidence", || {
        lease.check().unwrap_or_else(|over| panic!("{over}: {:#?}", of_lease(&world, lease.id())));
        of_lease(&world, lease.id()).iter().any(|r| r["action"] == "lease.renewed").then_some(())
    });
    drop(keeper);
    // Without a keeper it is for the job to bring evidence: its lease lives on all the same.
    lease.check().unwrap();
    lease.end().unwrap();
}

#[test]
fn the_same_statement_gets_the_same_decision_and_the_same_secret() {
    let world = world();
    world.asset("re-sent", |_| ());
    let collector = world.node().devices().unwrap();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let asking = wire.ask(vec![writer_key("re-sent", 1)]).unwrap();
    let request = asking.attest(&wire, &collector).unwrap();
    let answer = || wire.release(&request).unwrap().json::<ReleaseResponse>().unwrap();
    let (first, again) = (answer(), answer());
    assert_eq!(first.decision_id, again.decision_id);
    assert_eq!((&first.record, first.salt), (&again.record, again.salt));
    assert_ne!(first.envelope, again.envelope, "sealed anew");
    let (one, two) = (asking.open(&first).unwrap(), asking.open(&again).unwrap());
    assert_eq!(one.lease.id, two.lease.id);
    assert_eq!(one.lease_secret.expose(), two.lease_secret.expose());
    assert_eq!(one.keys[0].key.expose(), two.keys[0].key.expose());
    // Evidence collected anew over the same statement will do as well.
    let third = asking.send(&wire, &collector).unwrap().json::<ReleaseResponse>().unwrap();
    assert_eq!(third.decision_id, first.decision_id);
    assert_eq!(world.records(&["--action", "release.decided", "--asset", "re-sent"]).len(), 1);
}
