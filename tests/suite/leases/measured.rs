//! Leases on a machine whose IMA log goes on: what is sent of it, and what ends them.

use super::story;
use crate::world::{REFERENCES, World};
use serde_json::json;
use std::sync::{Arc, Mutex};
use strongroom::{Lease, LeaseOver, Options, Request, Room};
use strongroom_protocol::{
    admin::{FileLists, RecordReference, ReferenceValues, Role},
    evidence::Tpm2Evidence,
    release::ReleaseRequest,
    sha256,
};
use strongroom_tests::{Intruder, ima, member::Devices};

const ASSET: &str = "measured";
const MINER: &[u8] = b"a program that nobody may run";

/// A node whose quotes cover PCR 10, and a set that forbids one program and accepts any other.
fn world() -> World {
    let pcrs: Vec<u8> = (0..15).collect();
    let world = World::with::<1>(&[("pcr_selection", json!({ "bank": "sha256", "pcrs": pcrs }))]);
    world.asset(ASSET, |_| ());
    let endorser = world.vault.admin(Role::Endorser).unwrap();
    let mut values: ReferenceValues = endorser.get(&format!("/v1/nodes/{}/measurements", world.node().id)).unwrap();
    let forbidden = [(format!("sha256:{}", hex::encode(sha256(MINER))), "/usr/bin/miner".to_owned())].into();
    values.files = FileLists { forbidden, ..FileLists::default() };
    let set = RecordReference { name: REFERENCES.into(), from_node: None, values: Some(values) };
    world.vault.refer(&set).unwrap();
    world
}

fn lease(world: &World, room: &Room) -> (Lease, Devices) {
    let devices = world.node().devices().unwrap();
    (room.release(&devices, Request::new().writer(ASSET, 1)).unwrap(), devices)
}

/// A room behind somebody who notes what is sent as evidence.
fn watched(world: &World) -> (Room, Intruder, Arc<Mutex<Vec<Tpm2Evidence>>>) {
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&sent);
    intruder.tamper(move |seen, upstream| {
        if seen.path == "/v1/releases" {
            let request: ReleaseRequest = serde_json::from_slice(&seen.body)?;
            let items = request.evidence.into_iter().map(|item| item.into_tpm2().unwrap());
            noted.lock().unwrap().extend(items);
        }
        upstream.forward(seen)
    });
    let room = Room::connect(&intruder.join_file(), Options::default()).unwrap();
    (room, intruder, sent)
}

#[test]
fn a_renewal_sends_what_is_new_of_the_log_and_nothing_else() {
    let world = world();
    let (room, _intruder, sent) = watched(&world);
    let ima = world.node().node.ima();
    for program in ["init", "agent", "job"] {
        ima.measure(&format!("/usr/bin/{program}"), program.as_bytes()).unwrap();
    }
    let (lease, devices) = lease(&world, &room);
    let whole = std::fs::read(world.node().node.ima_log()).unwrap().len();
    lease.reattest(&room, &devices).unwrap();
    ima.measure("/usr/bin/later", b"a later program").unwrap();
    lease.reattest(&room, &devices).unwrap();
    lease.reattest(&room, &devices).unwrap();
    let grown = std::fs::read(world.node().node.ima_log()).unwrap().len();
    let seen: Vec<(Option<u64>, usize)> =
        sent.lock().unwrap().iter().map(|item| (item.ima_offset, item.ima_log.as_ref().unwrap().0.len())).collect();
    println!("sent of an IMA log of {grown} bytes, (from, bytes): {seen:?}");
    let from = |bytes: usize| Some(bytes as u64);
    assert_eq!(seen, [(None, whole), (from(whole), 0), (from(whole), grown - whole), (from(grown), 0)]);
    lease.end().unwrap();
}

/// What was left out must be what the vault has: a log that goes on from anywhere else is not believed, and the
/// lease that it was sent for stays.
#[test]
fn a_log_that_goes_on_from_elsewhere_is_not_believed() {
    let world = world();
    let join = world.vault.join_file().unwrap();
    let room = Room::connect(&join, Options::default()).unwrap();
    let (lease, devices) = lease(&world, &room);
    let wire = strongroom_tests::Wire::to(&join).unwrap();
    let log = std::fs::read(world.node().node.ima_log()).unwrap();
    world.node().node.ima().measure("/usr/bin/more", b"a program more").unwrap();
    let another = ima::entry("/usr/bin/more", &sha256(b"another program"));
    for (offset, part) in [(log.len() as u64 + 1, &[][..]), (1, &log[1..]), (log.len() as u64, &another)] {
        let asking = wire.ask(vec![strongroom_tests::wire::writer_key(ASSET, 1)]).unwrap();
        let mut request = asking.attest(&wire, &devices).unwrap();
        let item = request.evidence[0].as_tpm2_mut().unwrap();
        item.ima_offset = Some(offset);
        item.ima_log = Some(strongroom_protocol::Bytes(part.to_vec()));
        let problem = wire.release(&request).unwrap().problem().unwrap();
        println!("an IMA log from byte {offset} on → {:?} {:?}", problem.row, problem.reasons);
        let known = ["ima_log_incomplete".to_owned(), "evidence_l8".to_owned()];
        assert!(problem.reasons.iter().any(|reason| known.contains(reason)), "{problem:?}");
    }
    lease.reattest(&room, &devices).unwrap();
    lease.end().unwrap();
}

#[test]
fn a_forbidden_program_ends_the_lease_at_the_next_renewal() {
    let world = world();
    let room = world.node().room(&world.vault).unwrap();
    let (lease, devices) = lease(&world, &room);
    let id = lease.id();
    world.node().node.ima().measure("/usr/bin/anything", b"a program that nobody listed").unwrap();
    lease.reattest(&room, &devices).unwrap();
    world.node().node.ima().measure("/tmp/innocent", MINER).unwrap();
    let refused = lease.reattest(&room, &devices).unwrap_err();
    println!("a forbidden program under a lease → {refused}");
    assert_eq!(refused.problem().unwrap().reasons, ["file_forbidden"]);
    assert!(matches!(lease.check(), Err(LeaseOver::Revoked(_))), "{:?}", lease.check());
    let last = story(&world, id).pop().unwrap();
    assert_eq!((&last["lease"], &last["verdict"]), (&json!(id), &json!("denied")), "{last}");
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    let decision = refused.problem().unwrap().decision_id.unwrap().to_string();
    let explained = auditor.run(["explain", &decision]).unwrap().done().unwrap().stdout;
    assert!(explained.contains("/tmp/innocent"), "{explained}");
    let listed: Vec<strongroom_protocol::lease::LeaseView> =
        world.vault.cli(Role::Custodian).unwrap().ask(["lease", "list", "--all"]).unwrap();
    let ours = listed.iter().find(|view| view.id == id).unwrap();
    assert_eq!(ours.state, strongroom_protocol::lease::LeaseState::Revoked);
    // What ran has run: nothing is released to this boot of the machine any more.
    let again = room.release(&devices, Request::new().writer(ASSET, 1)).map(drop).unwrap_err();
    assert_eq!(again.problem().unwrap().reasons, ["file_forbidden"]);
}
