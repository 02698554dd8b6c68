//! Revocation behind a cut stream, and machines that were switched off and on again.

use super::{over, revoke, story};
use crate::{
    sealing::{open, read_lease, seal_once},
    world::{World, eventually},
};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use strongroom::{LeaseOver, Options, Room};
use strongroom_protocol::admin::Role;
use strongroom_tests::{Intruder, Machine};

/// Who cuts the stream cannot hold a revocation back for longer than to the next renewal.
#[test]
fn a_cut_stream_holds_a_revocation_back_until_the_next_renewal_only() {
    let world = World::with::<1>(&[("renew_after", json!(3))]);
    world.asset("cut", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    let devices = Arc::new(world.node().devices().unwrap());
    seal_once(&world.node().room(&world.vault).unwrap(), devices.as_ref(), "cut", 1, b"held", &file);
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let cut = Arc::new(AtomicUsize::new(0));
    let cuts = Arc::clone(&cut);
    intruder.tamper(move |seen, upstream| {
        if seen.path.ends_with("/events") {
            cuts.fetch_add(1, Ordering::SeqCst);
            anyhow::bail!("the stream is cut");
        }
        upstream.forward(seen)
    });
    let room = Arc::new(Room::connect(&intruder.join_file(), Options::default()).unwrap());
    let lease = read_lease(&room, devices.as_ref(), "cut", &file).unwrap();
    let opened = open(&lease, "cut", &file).unwrap();
    let keeper = lease.keep(room, devices);
    eventually("a stream that is cut", || (cut.load(Ordering::SeqCst) > 0).then_some(()));
    assert!(!keeper.is_listening());
    revoke(&world, lease.id());
    let start = Instant::now();
    let why = eventually("the end of the plaintext", || over(&opened));
    let elapsed = start.elapsed();
    println!(
        "with the stream cut {} times, a revocation took {elapsed:?}; renewals are 3 s apart",
        cut.load(Ordering::SeqCst)
    );
    assert!(matches!(why, LeaseOver::Revoked(_)), "{why:?}");
    // Of a loaded machine; a lease lives for an hour.
    assert!(elapsed.as_secs() < 20, "{elapsed:?}");
    drop(keeper);
}

#[test]
fn a_machine_that_was_switched_off_and_on_holds_nothing() {
    let mut world = World::with::<1>(&[]);
    world.asset("power", |asset| drop(asset.labels.insert("version_scope".into(), "allowed".into())));
    for (version, cut) in [(1, false), (2, true)] {
        let (room, devices) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
        let lease = room.release(&devices, strongroom::Request::new().version("power", version)).unwrap();
        let id = lease.id();
        drop(devices);
        let node = &mut world.nodes[0].node;
        if cut {
            node.power_cut(&Machine::default()).unwrap();
        } else {
            node.reboot(&Machine::default()).unwrap();
        }
        let devices = world.node().devices().unwrap();
        let refused = lease.reattest(&room, &devices).unwrap_err();
        println!("{}: {refused}", if cut { "a power cut under a lease" } else { "a reboot under a lease" });
        assert_eq!(refused.problem().unwrap().reasons, ["rebooted"]);
        assert_eq!(lease.check(), Err(LeaseOver::Revoked(Some("rebooted".into()))));
        let last = story(&world, id).pop().unwrap();
        assert_eq!((&last["action"], &last["verdict"]), (&json!("lease.renewed"), &json!("denied")));
        assert_eq!(last["reasons"], json!(["rebooted"]));
        assert_eq!(last["details"]["decrypt_only"], json!([format!("power@{version}")]), "it was held whole");
        let leases = world.vault.cli(Role::Custodian).unwrap();
        let listed: Vec<strongroom_protocol::lease::LeaseView> = leases.ask(["lease", "list", "--all"]).unwrap();
        let ours = listed.iter().find(|view| view.id == id).unwrap();
        assert_eq!(ours.state, strongroom_protocol::lease::LeaseState::Revoked);
        // The machine itself is what it was: it may ask anew.
        leases.run(["key", "rotate", "power"]).unwrap().done().unwrap();
    }
}
