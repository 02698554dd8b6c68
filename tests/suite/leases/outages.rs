//! A vault that is away: for less than a lease it costs nothing, for longer it is told in time.

use super::over;
use crate::{
    sealing::{open, read_lease, seal_once},
    world::{World, eventually},
};
use serde_json::json;
use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};
use strongroom::{Ending, LeaseOver};

/// A world in which leases live for so many seconds and are renewed each second.
fn world(life: u64) -> World {
    World::with::<1>(&[("lease_seconds", json!(life)), ("renew_after", json!(1)), ("reattest_after", json!(life))])
}

#[test]
fn an_outage_that_is_shorter_than_the_lease_does_not_disturb_a_job() {
    let mut world = world(40);
    world.asset("outage", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    let (room, devices) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    seal_once(&room, &devices, "outage", 1, b"goes on", &file);
    let (room, devices) = (Arc::new(room), Arc::new(devices));
    let lease = read_lease(&room, devices.as_ref(), "outage", &file).unwrap();
    let opened = open(&lease, "outage", &file).unwrap();
    let (sender, told) = mpsc::channel::<Ending>();
    lease.on_ending(move |ending| drop(sender.send(ending)), Duration::from_secs(5));
    let keeper = lease.keep(room, devices);

    let start = Instant::now();
    world.vault.kill();
    // Longer than several renewals are apart.
    eventually("an outage of five seconds", || {
        assert_eq!(&*opened.plaintext().unwrap(), b"goes on", "the job was disturbed");
        (start.elapsed() > Duration::from_secs(5)).then_some(())
    });
    assert!(!world.vault.serve().unwrap(), "the vault is locked");
    let renewals = || world.records(&["--action", "lease.renewed", "--asset", "outage"]).len();
    let before = renewals();
    eventually("a renewal after the outage", || (renewals() > before).then_some(()));
    println!("renewed again {:?} after the vault was killed", start.elapsed());
    assert_eq!(&*opened.plaintext().unwrap(), b"goes on");
    assert!(told.try_recv().is_err(), "a job was told of an end that did not come");
    drop(keeper);
    lease.end().unwrap();
}

#[test]
fn an_outage_that_is_longer_is_told_before_the_keys_go() {
    let mut world = world(10);
    world.asset("longer", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    let (room, devices) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    seal_once(&room, &devices, "longer", 1, b"ends", &file);
    let (room, devices) = (Arc::new(room), Arc::new(devices));
    let lease = read_lease(&room, devices.as_ref(), "longer", &file).unwrap();
    let opened = Arc::new(open(&lease, "longer", &file).unwrap());
    let (sender, told) = mpsc::channel();
    let read = Arc::clone(&opened);
    // What a job does with the time that is left: it reads what it has, once more.
    lease.on_ending(
        move |ending| drop(sender.send((ending, read.plaintext().map(|plaintext| plaintext.to_vec()).ok()))),
        Duration::from_secs(4),
    );
    let _keeper = lease.keep(room, devices);
    world.vault.kill();
    let patience = Duration::from_secs(30);
    let (first, seen) = told.recv_timeout(patience).unwrap();
    println!("told {:?} before the end", first.left);
    assert_eq!(first.over, None);
    assert!((1..=4).contains(&first.left.as_secs()) || first.left == Duration::from_secs(4), "{first:?}");
    assert_eq!(seen.as_deref(), Some(b"ends".as_slice()), "there is time to use the plaintext");
    let (last, seen) = told.recv_timeout(patience).unwrap();
    assert_eq!(last, Ending { over: Some(LeaseOver::Expired), left: Duration::ZERO });
    assert_eq!(seen, None);
    assert_eq!(over(&opened), Some(LeaseOver::Expired));
}
