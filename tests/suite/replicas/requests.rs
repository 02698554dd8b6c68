//! What one replica began, another goes on with.

use super::furnished;
use crate::world::{World, act, eventually};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use strongroom::{Admin, Error, LeaseOver, Options, Patience, Request, Room, Token};
use strongroom_protocol::{
    Code,
    admin::{CreateToken, CreatedToken, Role},
    lease::RevokeLease,
    release::ReleaseResponse,
};
use strongroom_tests::{Cli, Intruder, Machine, Vault, Wire, member, postgres::Cluster, wire::writer_key};

/// Two replicas that serve, with one enrolled node: it was enrolled by the first.
fn two() -> (World, Vault) {
    let [node] = member::boot(&Machine::default()).unwrap();
    let mut vault = Vault::init_over(&Cluster::shared().database().unwrap()).unwrap();
    vault.trust(&node).unwrap();
    let mut other = vault.replica("strongroomd-2").unwrap();
    // They start at one time, over tables that have to be looked at.
    std::thread::scope(|scope| {
        let served = [scope.spawn(|| vault.serve()), scope.spawn(|| other.serve())];
        for served in served {
            assert!(!served.join().unwrap().unwrap(), "the vault is locked");
        }
    });
    // Written by one, in force at the other.
    (furnished(vault, node, |_| other.admin(Role::Custodian).unwrap()), other)
}

#[test]
fn any_replica_serves_any_request() {
    let (world, other) = two();
    let (a, b) = (Wire::to(&world.vault.join_file().unwrap()).unwrap(), Wire::to(&other.join_file().unwrap()).unwrap());
    assert_eq!(a.vault, b.vault);
    let devices = world.node().devices().unwrap();

    // The challenge of one, the release by the other; and burnt for both.
    let asking = a.ask(vec![writer_key("minilm", 1)]).unwrap();
    let request = asking.attest(&a, &devices).unwrap();
    let response: ReleaseResponse = b.release(&request).unwrap().json().unwrap();
    let payload = asking.open(&response).unwrap();
    let again: ReleaseResponse = a.release(&request).unwrap().json().unwrap();
    assert_eq!(asking.open(&again).unwrap().lease.id, payload.lease.id, "a lost answer is sent again by any");
    let mut replayed = a.ask(vec![writer_key("minilm", 1)]).unwrap();
    replayed.statement.nonce = asking.statement.nonce;
    let refused = replayed.send(&a, &devices).unwrap().problem().unwrap();
    assert_eq!(refused.code, Code::NonceReused);

    // Behind a load balancer that gives each request to the next replica.
    let balancer = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let (turn, second) = (Arc::new(AtomicUsize::new(0)), b.clone());
    let turns = Arc::clone(&turn);
    balancer.tamper(move |seen, first| match turns.fetch_add(1, Ordering::SeqCst) % 2 {
        0 => first.forward(seen),
        _ => second.send(&seen.method, &seen.path, &possession(&seen.headers), seen.body.clone()),
    });
    let room = Room::connect(&balancer.join_file(), Options::default()).unwrap();
    for _ in 0..3 {
        let lease = room.release(&devices, Request::new().writer("minilm", 1)).unwrap();
        lease.renew().unwrap();
        lease.reattest(&room, &devices).unwrap();
        lease.renew().unwrap();
        lease.end().unwrap();
        // An odd number of requests: the next round begins with the other replica.
        turn.fetch_add(1, Ordering::SeqCst);
    }
    for replica in ["strongroomd-1", "strongroomd-2"] {
        let wrote = world.records(&[]).iter().filter(|record| record["replica"] == *replica).count();
        assert!(wrote > 3, "{replica} wrote {wrote} records");
    }
}

/// The header that a proof of possession stands in.
fn possession(headers: &[(String, String)]) -> Vec<(String, String)> {
    headers.iter().filter(|(name, _)| name.starts_with("strongroom-")).cloned().collect()
}

#[test]
fn a_revocation_by_one_replica_reaches_who_listens_to_another() {
    let (world, other) = two();
    let devices = Arc::new(world.node().devices().unwrap());
    let room = Arc::new(Room::connect(&other.join_file().unwrap(), Options::default()).unwrap());
    let lease = room.release(devices.as_ref(), Request::new().writer("minilm", 1)).unwrap();
    let id = lease.id();
    let keeper = lease.keep(Arc::clone(&room), devices);
    eventually("the stream of events", || keeper.is_listening().then_some(()));
    let custodian = world.vault.admin(Role::Custodian).unwrap();
    act(&custodian, &format!("/v1/leases/{id}/revoke"), &RevokeLease { reason: "incident 17".into() });
    let begun = Instant::now();
    let why = eventually("the revocation", || lease.check().err());
    assert!(matches!(why, LeaseOver::Revoked(_)), "{why:?}");
    println!("a revocation at one replica reached a listener of the other after {:?}", begun.elapsed());
    drop(keeper);
}

/// Roles are kept apart over all replicas: of two acts at one time that would give one person two of
/// them, one is refused.
#[test]
fn roles_are_kept_apart_across_replicas() {
    let (world, other) = two();
    let admins = [world.vault.admin(Role::Admin).unwrap(), other.admin(Role::Admin).unwrap()];
    for round in 0..12 {
        let made: usize = std::thread::scope(|scope| {
            let acting: Vec<_> = admins
                .iter()
                .zip([Role::PolicyAuthor, Role::PolicyApprover])
                .map(|(admin, role)| {
                    let person = format!("person-{round}");
                    let request = CreateToken { person, roles: vec![role], expires_in: 60 };
                    scope.spawn(move || admin.post::<CreatedToken>("/v1/tokens", &request).is_ok())
                })
                .collect();
            acting.into_iter().map(|acting| usize::from(acting.join().unwrap())).sum()
        });
        assert_eq!(made, 1, "round {round}");
    }
}

/// A join file that names both: whoever cannot reach the one asks the other, and believes it as the same vault.
#[test]
fn who_cannot_reach_one_replica_asks_the_next() {
    let (mut world, other) = two();
    let mut join = world.vault.join_file().unwrap();
    join.replicas = vec![other.join_file().unwrap().url];
    let file = world.vault.beside("both.json");
    std::fs::write(&file, serde_json::to_vec(&join).unwrap()).unwrap();
    let devices = world.node().devices().unwrap();
    let room = Room::connect(&join, Options::default()).unwrap();
    let held = room.release(&devices, Request::new().writer("minilm", 1)).unwrap();
    let token = || Token::from_file(&world.vault.token(Role::Custodian).unwrap()).unwrap();
    let custodian = Admin::connect(&join, Some(token())).unwrap();
    let cli = Cli::new(world.vault.beside("desks/both")).unwrap();
    cli.join(&file).unwrap();
    let connected = Admin::connect(&join, Some(token())).unwrap();

    world.vault.kill();
    // A lease is the vault's, not a replica's.
    held.renew().unwrap();
    held.reattest(&room, &devices).unwrap();
    let lease = room.release(&devices, Request::new().writer("minilm", 1)).unwrap();
    act(&custodian, &format!("/v1/leases/{}/revoke", lease.id()), &RevokeLease { reason: "incident 17".into() });
    assert!(lease.renew().is_err());
    let listed: serde_json::Value = connected.get("/v1/leases").unwrap();
    assert!(listed.to_string().contains(&held.id().to_string()), "{listed}");
    // Who comes now is answered by the other, at the first try.
    let fresh = Room::connect(&join, Options::default()).unwrap();
    fresh.release(&devices, Request::new().writer("minilm", 1)).unwrap().end().unwrap();
    cli.run(["doctor"]).unwrap().done().unwrap();
    drop(other);
    let patience = Patience { total: Duration::ZERO, ..Patience::default() };
    let nobody = Room::connect(&join, Options { patience, ..Options::default() });
    assert!(matches!(nobody, Err(Error::Unreachable { .. } | Error::PatienceOver { .. })), "nobody is left");
}

/// What a replica answers is the vault's answer: nobody shops around for another.
#[test]
fn a_refusal_is_not_asked_of_the_next_replica() {
    let (world, other) = two();
    let [first, second] = [&world.vault, &other].map(|vault| Intruder::before(&vault.join_file().unwrap()).unwrap());
    let mut join = first.join_file();
    join.replicas = vec![second.join_file().url];
    join.tls_ca += &second.join_file().tls_ca;
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    second.tamper(move |seen, upstream| {
        count.fetch_add(1, Ordering::SeqCst);
        upstream.forward(seen)
    });
    let devices = world.node().devices().unwrap();
    let room = Room::connect(&join, Options::default()).unwrap();
    let refused = room.release(&devices, Request::new().writer("no-such-asset", 1)).err().unwrap();
    assert!(refused.problem().is_some(), "{refused}");
    assert_eq!(asked.load(Ordering::SeqCst), 0, "the next replica was asked after a refusal");
    // A control: it is asked where the first does not answer.
    drop(first);
    let refused = room.release(&devices, Request::new().writer("no-such-asset", 1)).err().unwrap();
    assert!(refused.problem().is_some() && asked.load(Ordering::SeqCst) > 0, "{refused}");
}
