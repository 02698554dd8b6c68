//! Requests of one node take turns, where what each shows is united with what the node showed before.
//!
//! Every one of them reads the node's row of what was measured and, if it shows more, writes it. Judged at one
//! time, one of them could be committed and the others would be judged again, logs and all, and again. So they
//! stand in line; requests of other nodes do not wait for them. Another replica's requests are not in this line:
//! for them the commit compares the row's version.
//!
//! Who has a statement's bytes can send them as often as it likes. So of a statement one request is worked on at
//! a time, and one that was answered already, which changes nothing of the row, stands in no line at all.

use crate::problem::{Answer, Refused};
use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use strongroom_protocol::{Code, Fixed, NodeId, Problem};
use tokio::sync::OwnedMutexGuard;

/// Requests of one node that stand in line, the one that is judged included: each holds megabytes of logs.
const IN_LINE: usize = 64;

/// How long one stands in line before it is asked to come back.
const PATIENCE: Duration = Duration::from_secs(20);

/// SHA-256 of a statement.
type StatementDigest = Fixed<32>;

/// Who is worked on, and who waits.
#[derive(Clone, Default)]
pub(crate) struct Turns(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The lines, by node. A node whose requests are all answered has none.
    lines: HashMap<NodeId, Line>,
    /// Statements that are answered once more.
    again: HashSet<StatementDigest>,
}

#[derive(Default)]
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    statements: HashSet<StatementDigest>,
}

/// A statement's place, in a node's line or by itself; given back when it is dropped, also before its turn came.
struct Place {
    turns: Turns,
    node: Option<NodeId>,
    statement: StatementDigest,
}

/// A request's turn. The next of the node has its own when this is dropped.
pub(super) struct Turn {
    // Dropped in this order: the turn is passed on before the place is given back.
    _turn: Option<OwnedMutexGuard<()>>,
    _place: Place,
}

impl Turns {
    /// Waits for the node's turn, first come, first served; 429 where the line is too long, or does not move, or
    /// has this statement in it already.
    pub(super) async fn of(&self, node: NodeId, statement: StatementDigest) -> Answer<Turn> {
        self.within(PATIENCE, node, statement).await
    }

    /// The turn of a statement that was answered before: at once, and 429 while another request with it is answered.
    pub(super) fn again(&self, statement: StatementDigest) -> Answer<Turn> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.again.insert(statement) {
            return Err(too_many());
        }
        Ok(Turn { _turn: None, _place: Place { turns: self.clone(), node: None, statement } })
    }

    async fn within(&self, patience: Duration, node: NodeId, statement: StatementDigest) -> Answer<Turn> {
        let (turn, place) = self.stand_in_line(node, statement)?;
        let turn = tokio::time::timeout(patience, turn.lock_owned()).await;
        Ok(Turn { _turn: Some(turn.map_err(|_| too_many())?), _place: place })
    }

    fn stand_in_line(&self, node: NodeId, statement: StatementDigest) -> Answer<(Arc<tokio::sync::Mutex<()>>, Place)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = state.lines.entry(node).or_default();
        if line.statements.len() >= IN_LINE || !line.statements.insert(statement) {
            return Err(too_many());
        }
        Ok((Arc::clone(&line.turn), Place { turns: self.clone(), node: Some(node), statement }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(node) = self.node else {
            state.again.remove(&self.statement);
            return;
        };
        if let Entry::Occupied(mut line) = state.lines.entry(node) {
            line.get_mut().statements.remove(&self.statement);
            if line.get().statements.is_empty() {
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

    fn statement(n: usize) -> StatementDigest {
        Fixed([u8::try_from(n).unwrap(); 32])
    }

    #[tokio::test]
    async fn one_of_a_node_at_a_time_and_other_nodes_do_not_wait() {
        let turns = Turns::default();
        let first = turns.of(node(1), statement(1)).await.unwrap();
        assert!(turns.of(node(2), statement(2)).await.is_ok());
        let refused = turns.within(Duration::ZERO, node(1), statement(3)).await.err().unwrap();
        assert_eq!((refused.code(), refused.0.retry_after), (Code::TooMany, Some(1)), "its patience ended");
        let waiting = tokio::spawn({
            let turns = turns.clone();
            async move { turns.of(node(1), statement(4)).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn a_line_is_bounded_and_who_leaves_it_makes_room() {
        let turns = Turns::default();
        let first = turns.of(node(1), statement(0)).await.unwrap();
        let waiting: Vec<_> = (1..IN_LINE).map(|n| turns.stand_in_line(node(1), statement(n)).unwrap()).collect();
        let code = |node, n| turns.stand_in_line(node, statement(n)).err().map(|refused| refused.code());
        assert_eq!(code(node(1), IN_LINE), Some(Code::TooMany));
        assert_eq!(code(node(2), IN_LINE), None);
        drop(waiting);
        assert_eq!(code(node(1), IN_LINE), None);
        drop(first);
        let state = turns.0.lock().unwrap();
        assert!(state.lines.is_empty() && state.again.is_empty(), "nothing stays of a node that asks no more");
    }

    #[tokio::test]
    async fn a_statement_has_one_place_however_often_it_is_sent() {
        let turns = Turns::default();
        let first = turns.of(node(1), statement(1)).await.unwrap();
        let refused = turns.stand_in_line(node(1), statement(1)).err().unwrap();
        assert_eq!((refused.code(), refused.0.retry_after), (Code::TooMany, Some(1)));
        assert!(turns.stand_in_line(node(1), statement(2)).is_ok(), "others have theirs");
        drop(first);
        assert!(turns.stand_in_line(node(1), statement(1)).is_ok());
    }

    #[tokio::test]
    async fn what_was_answered_already_is_answered_again_outside_the_line() {
        let turns = Turns::default();
        let _of_the_node = turns.of(node(1), statement(1)).await.unwrap();
        let again = turns.again(statement(2)).ok().unwrap();
        assert_eq!(turns.again(statement(2)).err().unwrap().code(), Code::TooMany, "one at a time");
        assert!(turns.again(statement(3)).is_ok());
        drop(again);
        assert!(turns.again(statement(2)).is_ok());
    }
}
