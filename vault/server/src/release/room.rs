//! How many bytes of its logs are kept of a node within an hour.
//!
//! A log may hold what no quote covers (events without action, padding), so a node can send another log with every
//! request, each of which holds. What is kept is kept for ever. Beyond the bound decisions go on, and the evidence
//! tells digests and lengths only. Each replica counts for itself, from its start.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use strongroom_protocol::NodeId;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_hours(1);
/// Nodes of which hours are remembered before those that are over are forgotten.
const NODES: usize = 4096;

/// What was kept of each node in its present hour.
#[derive(Default)]
pub(crate) struct Room(Mutex<HashMap<NodeId, Hour>>);

struct Hour {
    since: Instant,
    bytes: u64,
}

impl Room {
    /// Whether so many bytes more of the node may be kept, where `limit` may be within an hour.
    pub(super) fn is_left(&self, node: NodeId, bytes: u64, limit: u64, now: Instant) -> bool {
        let hours = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = hours.get(&node).filter(|hour| hour.goes_on(now)).map_or(0, |hour| hour.bytes);
        used.saturating_add(bytes) <= limit
    }

    /// Counts what was kept.
    pub(super) fn take(&self, node: NodeId, bytes: u64, now: Instant) {
        let mut hours = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hours.len() >= NODES {
            hours.retain(|_, hour| hour.goes_on(now));
        }
        let hour = hours.entry(node).or_insert(Hour { since: now, bytes: 0 });
        if !hour.goes_on(now) {
            *hour = Hour { since: now, bytes: 0 };
        }
        hour.bytes = hour.bytes.saturating_add(bytes);
    }
}

impl Hour {
    fn goes_on(&self, now: Instant) -> bool {
        now.duration_since(self.since) < HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_room_for_so_much_an_hour_and_no_other_node_less() {
        let (room, start) = (Room::default(), Instant::now());
        let (node, other) = (NodeId::from([1; 32]), NodeId::from([2; 32]));
        assert!(room.is_left(node, 100, 100, start) && !room.is_left(node, 101, 100, start));
        room.take(node, 60, start);
        room.take(node, 30, start + HOUR / 2);
        assert!(room.is_left(node, 10, 100, start + HOUR / 2) && !room.is_left(node, 11, 100, start + HOUR / 2));
        assert!(room.is_left(other, 100, 100, start));
        let later = start + HOUR;
        assert!(room.is_left(node, 100, 100, later), "another hour");
        room.take(node, 1, later);
        assert!(!room.is_left(node, 100, 100, later));
    }

    #[test]
    fn hours_that_are_over_are_forgotten() {
        let (room, start) = (Room::default(), Instant::now());
        let node = |n: usize| NodeId::from(strongroom_protocol::sha256(&n.to_be_bytes()));
        for n in 0..NODES {
            room.take(node(n), 1, start);
        }
        room.take(node(NODES), 1, start + HOUR);
        assert_eq!(room.0.lock().unwrap().len(), 1);
    }
}
