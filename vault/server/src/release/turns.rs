//! Requests of one node take turns, where what each shows is united with what the node showed before.
//!
//! Every one of them reads the node's row of what was measured and, if it shows more, writes it. Judged at one
//! time, one of them could be committed and the others would be judged again, logs and all, and again. So they
//! stand in line; requests of other nodes do not wait for them. Another replica's requests are not in this line:
//! for them the commit compares the row's version.

use crate::problem::{Answer, Refused};
use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use strongroom_protocol::{Code, NodeId, Problem};
use tokio::sync::OwnedMutexGuard;

/// Requests of one node that stand in line, the one that is judged included: each holds megabytes of logs.
const IN_LINE: usize = 64;

/// How long one stands in line before it is asked to come back.
const PATIENCE: Duration = Duration::from_secs(20);

/// The lines, by node. A node whose requests are all answered has none.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<NodeId, Line>>>);

#[derive(Default)]
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    requests: usize,
}

/// A place in a node's line, given back when it is dropped, also before its turn came.
struct Place {
    turns: Turns,
    node: NodeId,
}

/// A request's turn. The next of the node has its own when this is dropped.
pub(super) struct Turn {
    // Dropped in this order: the turn is passed on before the place is given back.
    _turn: OwnedMutexGuard<()>,
    _place: Place,
}

impl Turns {
    /// Waits for the node's turn, first come, first served; 429 where the line is too long, or does not move.
    pub(super) async fn of(&self, node: NodeId) -> Answer<Turn> {
        self.within(PATIENCE, node).await
    }

    async fn within(&self, patience: Duration, node: NodeId) -> Answer<Turn> {
        let (turn, place) = self.stand_in_line(node)?;
        let turn = tokio::time::timeout(patience, turn.lock_owned()).await;
        Ok(Turn { _turn: turn.map_err(|_| too_many())?, _place: place })
    }

    fn stand_in_line(&self, node: NodeId) -> Answer<(Arc<tokio::sync::Mutex<()>>, Place)> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(node).or_default();
        if line.requests >= IN_LINE {
            return Err(too_many());
        }
        line.requests += 1;
        Ok((Arc::clone(&line.turn), Place { turns: self.clone(), node }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut line) = lines.entry(self.node) {
            line.get_mut().requests -= 1;
            if line.get().requests == 0 {
                line.remove();
            }
        }
    }
}

fn too_many() -> Refused {
    let detail = "requests of this node wait for each other: too many were made at one time";
    Problem::new(Code::TooMany).detail(detail).retry_after(1).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::from([n; 32])
    }

    #[tokio::test]
    async fn one_of_a_node_at_a_time_and_other_nodes_do_not_wait() {
        let turns = Turns::default();
        let first = turns.of(node(1)).await.unwrap();
        assert!(turns.of(node(2)).await.is_ok());
        let refused = turns.within(Duration::ZERO, node(1)).await.err().unwrap();
        assert_eq!((refused.code(), refused.0.retry_after), (Code::TooMany, Some(1)), "its patience ended");
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.of(node(1)).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_line_is_bounded_and_who_leaves_it_makes_room() {
        let turns = Turns::default();
        let first = turns.of(node(1)).await.unwrap();
        let waiting: Vec<_> = (1..IN_LINE).map(|_| turns.stand_in_line(node(1)).unwrap()).collect();
        assert_eq!(turns.stand_in_line(node(1)).err().unwrap().code(), Code::TooMany);
        assert!(turns.stand_in_line(node(2)).is_ok());
        drop(waiting);
        assert!(turns.stand_in_line(node(1)).is_ok());
        drop(first);
        assert!(turns.0.lock().unwrap().is_empty(), "nothing stays of a node that asks no more");
    }
}
