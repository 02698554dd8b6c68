//! Floods: what somebody whom nobody knows can make the vault hold, and who is served meanwhile.

use super::told;
use crate::world::World;
use std::{fs, net::Ipv4Addr, thread};
use strongroom::Request;
use strongroom_protocol::limits;
use strongroom_tests::Wire;

/// Memory of a process that is in its RAM, MiB.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

#[test]
fn slow_bodies_of_strangers_do_not_fill_the_memory_and_a_node_is_served_meanwhile() {
    const FLOOD: usize = 32;
    let room = [("body_bytes", "16777216"), ("body_bytes_per_address", "8388608")];
    // However slow this machine is, the flood stays.
    let slow = [("body_timeout_s", "600"), ("body_bytes_per_second", "8192")];
    let world = World::configured::<1>(&[], &[room, slow].concat());
    world.asset("flooded", |_| ());
    let pid = world.vault.pid().unwrap();
    let release = || {
        let (room, devices) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
        room.release(&devices, Request::new().writer("flooded", 1)).unwrap()
    };
    release().end().unwrap();
    let before = resident(pid);
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let stranger = Ipv4Addr::new(127, 0, 0, 2).into();
    let flood: Vec<_> = thread::scope(|scope| {
        let send = || wire.unfinished(stranger, "/v1/releases", limits::BODY).unwrap();
        let senders: Vec<_> = (0..FLOOD).map(|_| scope.spawn(send)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let lease = release();
    lease.renew().unwrap();
    let grown = resident(pid).saturating_sub(before);
    told(&format!("{FLOOD} slow bodies of 4 MiB"), &format!("vault: {grown} MiB more, and a node got its keys"));
    assert!(grown < 64, "{grown} MiB for {FLOOD} bodies, two of which have room");
    drop(flood);
    lease.end().unwrap();
}
