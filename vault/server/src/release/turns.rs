//! Requests of one node take turns, where what each shows is united with what the node showed before.
//!
//! Every one of them reads the node's row of what was measured and, if it shows more, writes it. Judged at one
//! time, one of them could be committed and the others would be judged again, logs and all, and again. So they
//! stand in line; requests of other nodes do not wait for them. Another replica's requests are not in this line:
//! for them the commit compares the row's version.
//!
//! Who has a statement's bytes can send them as often as it likes. So requests with one statement wait for each
//! other first, a few of them, and one of them stands in its node's line. One that was answered already changes
//! nothing of the row, and stands in no line.

use crate::problem::{Answer, Refused};
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use strongroom_protocol::{Code, Fixed, NodeId, Problem};
use tokio::sync::OwnedMutexGuard;

/// Requests of one node that stand in line, the one that is judged included: each holds megabytes of logs.
const IN_LINE: usize = 64;

/// Requests with one statement, the one that is worked on included: a client whose connection broke sends it again.
const OF_A_STATEMENT: usize = 16;

/// How long one stands in line before it is asked to come back.
const PATIENCE: Duration = Duration::from_secs(20);

/// SHA-256 of a statement.
type StatementDigest = Fixed<32>;

/// A statement of a node: another node that has its bytes stands in a line of its own.
type OfNode = (NodeId, StatementDigest);

/// Who is worked on, and who waits.
#[derive(Clone, Default)]
pub(crate) struct Turns {
    nodes: Lines<NodeId>,
    statements: Lines<OfNode>,
}

/// Lines, each of its own. One in which nobody stands is none.
struct Lines<K>(Arc<Mutex<HashMap<K, Line>>>);

#[derive(Default)]
struct Line {
    turn: Arc<tokio::sync::Mutex<()>>,
    requests: usize,
}

/// A place in a line, given back when it is dropped, also before its turn came.
struct Place<K: Copy + Eq + Hash> {
    lines: Lines<K>,
    line: K,
}

/// The first place of a line. The next has it when this is dropped.
struct First<K: Copy + Eq + Hash> {
    // Dropped in this order: the turn is passed on before the place is given back.
    _turn: OwnedMutexGuard<()>,
    _place: Place<K>,
}

/// A request's turn.
pub(super) struct Turn {
    _of_the_node: Option<First<NodeId>>,
    _of_the_statement: First<OfNode>,
}

impl Turns {
    /// Waits for the statement's turn and then for the node's, first come, first served; 429 where a line is too
    /// long, or does not move.
    pub(super) async fn of(&self, node: NodeId, statement: StatementDigest) -> Answer<Turn> {
        let of_the_statement = self.statements.first((node, statement), OF_A_STATEMENT, PATIENCE).await?;
        let of_the_node = self.nodes.first(node, IN_LINE, PATIENCE).await?;
        Ok(Turn { _of_the_node: Some(of_the_node), _of_the_statement: of_the_statement })
    }

    /// Waits for the turn of a statement that was answered before.
    pub(super) async fn again(&self, node: NodeId, statement: StatementDigest) -> Answer<Turn> {
        let of_the_statement = self.statements.first((node, statement), OF_A_STATEMENT, PATIENCE).await?;
        Ok(Turn { _of_the_node: None, _of_the_statement: of_the_statement })
    }
}

impl<K: Copy + Eq + Hash> Lines<K> {
    async fn first(&self, line: K, most: usize, patience: Duration) -> Answer<First<K>> {
        let (turn, place) = self.stand(line, most)?;
        let turn = tokio::time::timeout(patience, turn.lock_owned()).await;
        Ok(First { _turn: turn.map_err(|_| too_many())?, _place: place })
    }

    fn stand(&self, line: K, most: usize) -> Answer<(Arc<tokio::sync::Mutex<()>>, Place<K>)> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let stands = lines.entry(line).or_default();
        if stands.requests >= most {
            return Err(too_many());
        }
        stands.requests += 1;
        Ok((Arc::clone(&stands.turn), Place { lines: self.clone(), line }))
    }
}

impl<K> Clone for Lines<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut line) = lines.entry(self.line) {
            line.get_mut().requests -= 1;
            if line.get().requests == 0 {
                line.remove();
            }
        }
    }
}

fn too_many() -> Refused {
    let detail = "requests of this node, or with this statement, wait for each other: too many were made at one time";
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
        let refused = turns.nodes.first(node(1), IN_LINE, Duration::ZERO).await.err().unwrap();
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
        let waiting: Vec<_> = (1..IN_LINE).map(|_| turns.nodes.stand(node(1), IN_LINE).unwrap()).collect();
        let code = |node| turns.nodes.stand(node, IN_LINE).err().map(|refused| refused.code());
        assert_eq!(code(node(1)), Some(Code::TooMany));
        assert_eq!(code(node(2)), None);
        drop(waiting);
        assert_eq!(code(node(1)), None);
        drop(first);
        let empty = turns.nodes.0.lock().unwrap().is_empty() && turns.statements.0.lock().unwrap().is_empty();
        assert!(empty, "nothing stays of a node that asks no more");
    }

    #[tokio::test]
    async fn a_statement_has_one_place_in_its_nodes_line_however_often_it_is_sent() {
        let turns = Turns::default();
        let first = turns.of(node(1), statement(1)).await.unwrap();
        let again = || {
            tokio::spawn({
                let turns = turns.clone();
                async move { turns.of(node(1), statement(1)).await.map(drop).map_err(|refused| refused.code()) }
            })
        };
        let waiting: Vec<_> = (1..OF_A_STATEMENT).map(|_| again()).collect();
        tokio::task::yield_now().await;
        assert_eq!(again().await.unwrap(), Err(Code::TooMany), "a few of them wait");
        assert_eq!(turns.nodes.0.lock().unwrap()[&node(1)].requests, 1);
        assert!(turns.nodes.stand(node(1), 2).is_ok(), "others have theirs");
        drop(first);
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap(), Ok(()), "one after the other");
        }
    }

    #[tokio::test]
    async fn what_was_answered_already_is_answered_again_outside_the_line() {
        let turns = Turns::default();
        let _of_the_node = turns.of(node(1), statement(1)).await.unwrap();
        let again = turns.again(node(1), statement(2)).await.unwrap();
        let of_one = (node(1), statement(2));
        let refused = turns.statements.first(of_one, OF_A_STATEMENT, Duration::ZERO).await.err().unwrap();
        assert_eq!(refused.code(), Code::TooMany, "one at a time");
        assert!(turns.again(node(1), statement(3)).await.is_ok());
        assert!(turns.again(node(2), statement(2)).await.is_ok(), "whose bytes another node has");
        drop(again);
        assert!(turns.again(node(1), statement(2)).await.is_ok());
    }
}
