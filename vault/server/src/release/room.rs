//! How many bytes of its logs are kept of a node within an hour.
//!
//! A log may hold what no quote covers (events without action, padding), so a node can send another log with every
//! request, each of which holds. What is kept is kept for ever. Beyond the bound decisions go on, and the evidence
//! tells digests and lengths only. What is there already takes no room, however often it is sent. Each replica counts
//! for itself, from its start.
//!
//! Room is taken before a decision is submitted and given back where it was refused: of one whose requester has gone
//! meanwhile nobody knows, and it may be written all the same.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};
use strongroom_protocol::{Fixed, NodeId};
use strongroom_store::Blob;
use tokio::time::Instant;

const HOUR: Duration = Duration::from_hours(1);
/// Nodes of which hours are remembered before those that are over are forgotten.
const NODES: usize = 4096;
/// Logs that are remembered of a node before they are forgotten, to be found in the store again.
const LOGS: usize = 1024;

/// What was kept of each node in its present hour.
#[derive(Default)]
pub(crate) struct Room(Mutex<HashMap<NodeId, Hour>>);

struct Hour {
    since: Instant,
    bytes: u64,
    /// Logs that are kept, of this hour or before.
    known: HashSet<Fixed<32>>,
    /// Whether somebody was told that there is no room.
    told: bool,
}

/// Room that was taken for one decision.
#[must_use = "it is given back where the decision was refused"]
pub(super) struct Taken {
    node: NodeId,
    bytes: u64,
    new: Vec<Fixed<32>>,
}

impl Room {
    /// Takes room for what of these logs is not known to be kept, where `limit` bytes may be within an hour.
    pub(super) fn take(&self, node: NodeId, logs: &[Blob], limit: u64, now: Instant) -> Option<Taken> {
        self.of(node, now, |hour| {
            let new = logs.iter().filter(|log| !hour.known.contains(&log.sha256));
            let bytes = new.clone().fold(0_u64, |sum, log| sum.saturating_add(log.bytes.len() as u64));
            let used = hour.bytes.saturating_add(bytes);
            if bytes > 0 && used > limit {
                return None;
            }
            hour.bytes = used;
            let new: Vec<_> = new.map(|log| log.sha256).collect();
            hour.remember(&new);
            Some(Taken { node, bytes, new })
        })
    }

    /// The decision that it was taken for was not written, nor will it be.
    pub(super) fn give_back(&self, Taken { node, bytes, new }: Taken, now: Instant) {
        self.of(node, now, |hour| {
            hour.bytes = hour.bytes.saturating_sub(bytes);
            for log in &new {
                hour.known.remove(log);
            }
        });
    }

    /// These logs are kept already.
    pub(super) fn remember(&self, node: NodeId, logs: &[Fixed<32>], now: Instant) {
        self.of(node, now, |hour| hour.remember(logs));
    }

    /// Whether it is the first time in this hour that somebody has to be told of this node.
    pub(super) fn is_news(&self, node: NodeId, now: Instant) -> bool {
        self.of(node, now, |hour| !std::mem::replace(&mut hour.told, true))
    }

    fn of<T>(&self, node: NodeId, now: Instant, change: impl FnOnce(&mut Hour) -> T) -> T {
        let mut hours = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hours.len() >= NODES {
            hours.retain(|_, hour| hour.goes_on(now));
        }
        let hour = hours.entry(node).or_insert_with(|| Hour::from(now));
        if !hour.goes_on(now) {
            *hour = Hour { known: std::mem::take(&mut hour.known), ..Hour::from(now) };
        }
        change(hour)
    }
}

impl From<Instant> for Hour {
    fn from(since: Instant) -> Self {
        Self { since, bytes: 0, known: HashSet::new(), told: false }
    }
}

impl Hour {
    fn remember(&mut self, logs: &[Fixed<32>]) {
        if self.known.len() >= LOGS {
            self.known.clear();
        }
        self.known.extend(logs);
    }

    fn goes_on(&self, now: Instant) -> bool {
        now.duration_since(self.since) < HOUR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(n: u8, bytes: usize) -> Blob {
        Blob::of(vec![n; bytes])
    }

    #[test]
    fn a_node_has_room_for_so_much_an_hour_and_no_other_node_less() {
        let (room, start) = (Room::default(), Instant::now());
        let (node, other) = (NodeId::from([1; 32]), NodeId::from([2; 32]));
        let take = |node, logs: &[Blob], now| room.take(node, logs, 100, now).map(|taken| taken.bytes);
        assert_eq!(take(node, &[log(1, 101)], start), None);
        assert_eq!(take(node, &[log(1, 60), log(2, 30)], start), Some(90));
        assert_eq!(take(node, &[log(3, 11)], start + HOUR / 2), None);
        assert_eq!(take(node, &[log(3, 10)], start + HOUR / 2), Some(10));
        assert_eq!(take(node, &[], start + HOUR / 2), Some(0), "what has no log needs none");
        assert_eq!(take(other, &[log(1, 100)], start), Some(100));
        assert_eq!(take(node, &[log(4, 100)], start + HOUR), Some(100), "another hour");
        assert_eq!(take(node, &[log(5, 1)], start + HOUR), None);
    }

    #[test]
    fn what_is_kept_already_takes_no_room() {
        let (room, start, node) = (Room::default(), Instant::now(), NodeId::from([1; 32]));
        let take = |logs: &[Blob], now| room.take(node, logs, 100, now).map(|taken| taken.bytes);
        assert_eq!(take(&[log(1, 60)], start), Some(60));
        assert_eq!(take(&[log(1, 60), log(2, 40)], start), Some(40));
        assert_eq!(take(&[log(2, 40), log(1, 60)], start), Some(0), "also where there is none left");
        assert_eq!(take(&[log(1, 60), log(3, 1)], start), None);
        room.remember(node, &[log(3, 1).sha256], start);
        assert_eq!(take(&[log(1, 60), log(3, 1)], start), Some(0));
        assert_eq!(take(&[log(1, 60)], start + HOUR), Some(0), "it stays kept");
    }

    #[test]
    fn what_was_refused_is_given_back_and_what_nobody_knows_of_is_not() {
        let (room, start, node) = (Room::default(), Instant::now(), NodeId::from([1; 32]));
        let take = |n| room.take(node, &[log(n, 100)], 100, start);
        room.give_back(take(1).unwrap(), start);
        assert_eq!(take(1).unwrap().bytes, 100, "it is not there either");
        assert!(take(2).is_none());
    }

    #[test]
    fn somebody_is_told_once_an_hour() {
        let (room, start, node) = (Room::default(), Instant::now(), NodeId::from([1; 32]));
        let told = [start, start, start + HOUR, start + HOUR].map(|now| room.is_news(node, now));
        assert_eq!(told, [true, false, true, false]);
    }

    #[test]
    fn hours_that_are_over_are_forgotten() {
        let (room, start) = (Room::default(), Instant::now());
        let node = |n: usize| NodeId::from(strongroom_protocol::sha256(&n.to_be_bytes()));
        for n in 0..NODES {
            room.remember(node(n), &[], start);
        }
        room.remember(node(NODES), &[], start + HOUR);
        assert_eq!(room.0.lock().unwrap().len(), 1);
        for n in 0..=LOGS {
            room.remember(node(0), &[Fixed(strongroom_protocol::sha256(&n.to_be_bytes()))], start);
        }
        assert!(room.0.lock().unwrap()[&node(0)].known.len() <= LOGS);
    }
}
