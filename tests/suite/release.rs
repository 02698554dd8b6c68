//! The main job: a node proves itself, gets keys, seals and opens; leases live and end.

mod arguments;
mod bundles;
mod command_line;
mod keys;
mod leases;
mod lost;
mod terminal;
mod unprivileged;
mod waiting;

use crate::{
    sealing::{open, read_lease, seal},
    world::{Shared, World, content},
};
use std::sync::Arc;
use strongroom::{Request, Room};
use strongroom_tests::member::Devices;

static WORLD: Shared = Shared::new();

fn world() -> Arc<World> {
    WORLD.get(|| World::with::<1>(&[]))
}

/// The SDK on the world's node.
fn client(world: &World) -> (Room, Devices) {
    (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap())
}

#[test]
fn what_was_sealed_on_a_node_opens_on_it_and_is_the_same() {
    let world = world();
    world.asset("whole-job", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (room, collector) = client(&world);
    let writing = room.release(&collector, Request::new().writer("whole-job", 1)).unwrap();
    let plaintexts = [content(1, 5 << 20), Vec::new(), vec![7]];
    let files: Vec<_> = (0..plaintexts.len()).map(|i| dir.path().join(format!("{i}.sealed"))).collect();
    for (plaintext, file) in plaintexts.iter().zip(&files) {
        seal(&writing, "whole-job", plaintext, file);
    }
    writing.end().unwrap();
    for (plaintext, file) in plaintexts.iter().zip(&files) {
        let reading = read_lease(&room, &collector, "whole-job", file).unwrap();
        let opened = open(&reading, "whole-job", file).unwrap();
        assert_eq!(opened.len(), plaintext.len() as u64);
        assert_eq!(&*opened.plaintext().unwrap(), plaintext.as_slice());
        reading.end().unwrap();
    }
}
