//! Many confidential machines that start together.

use super::{ASSET, Estate, at_once};
use std::time::{Duration, Instant};
use strongroom::Request;

const MACHINES: u8 = 16;
const GPUS: u16 = 8;
/// A nonce's minute: whoever needs longer for a whole gang would have to ask anew.
const PATIENCE: Duration = Duration::from_mins(1);

#[test]
fn sixteen_machines_with_eight_gpus_are_released_together() {
    let estate = Estate::of("tier3");
    let registered = |number: u8| {
        let gpus: Vec<u16> = (0..GPUS).map(|gpu| u16::from(number) * GPUS + gpu + 1).collect();
        estate.registered(&format!("gpu-{number}"), 0x10 + number, &gpus).0
    };
    let guests: Vec<_> = (0..MACHINES).map(registered).collect();
    let rooms: Vec<_> = guests.iter().map(|guest| (estate.room(), guest.devices())).collect();
    let start = Instant::now();
    let leases = at_once(rooms, |(room, devices)| {
        let lease = room.release(&devices, Request::new().writer(ASSET, 1)).unwrap();
        (lease, start.elapsed())
    });
    let mut took: Vec<Duration> = leases.iter().map(|(_, took)| *took).collect();
    took.sort();
    let (first, last) = (took[0], took[took.len() - 1]);
    println!(
        "{MACHINES} machines with {GPUS} GPUs each, released together: the first after {first:?}, the median after {:?}, the last after {last:?}",
        took[took.len() / 2]
    );
    assert!(last < PATIENCE, "the last one waited {last:?}");
    for (lease, _) in leases {
        lease.end().unwrap();
    }
}
