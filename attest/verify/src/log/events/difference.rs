//! Where two lists of events differ.

use super::meaning;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use strongroom_protocol::{Bytes, admin::ReferenceEvent};

/// Most pairs of events that are looked at for the longest common part; beyond it events are paired by place.
const PAIRS: usize = 1 << 20;

/// A PCR in which two lists differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// The PCR.
    pub pcr: u8,
    /// What it holds, in words ([`meaning`]).
    pub holds: &'static str,
    /// What differs, in order; never empty.
    pub changes: Vec<Change>,
}

/// One event that differs: in both lists where one stands in the other's place, else in the one that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Change {
    /// The event of the first list; null where only the second has one.
    pub first: Option<Place>,
    /// The event of the second list; null where only the first has one.
    pub second: Option<Place>,
}

/// An event in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// Its place among the events of its PCR, from 1.
    pub position: usize,
    /// What the PCR was extended with.
    pub digest: Bytes,
    /// What it is, as the log says. A hint.
    pub hint: String,
}

/// Compares two lists of events, PCR by PCR, by digests alone and in their order: PCRs that differ, ascending.
/// Both lists must be of one bank, else everything differs.
pub fn difference(first: &[ReferenceEvent], second: &[ReferenceEvent]) -> Vec<Difference> {
    let pcrs: BTreeSet<u8> = first.iter().chain(second).map(|event| event.pcr).collect();
    let of = |events: &[ReferenceEvent], pcr| -> Vec<Place> {
        let events = events.iter().filter(|event| event.pcr == pcr).zip(1..);
        events
            .map(|(event, position)| Place { position, digest: event.digest.clone(), hint: event.hint.clone() })
            .collect()
    };
    let compared = pcrs.into_iter().map(|pcr| Difference {
        pcr,
        holds: meaning(pcr),
        changes: changes(&of(first, pcr), &of(second, pcr)),
    });
    compared.filter(|difference| !difference.changes.is_empty()).collect()
}

fn changes(mut first: &[Place], mut second: &[Place]) -> Vec<Change> {
    while let ([a, rest_a @ ..], [b, rest_b @ ..]) = (first, second)
        && a.digest == b.digest
    {
        (first, second) = (rest_a, rest_b);
    }
    while let ([rest_a @ .., a], [rest_b @ .., b]) = (first, second)
        && a.digest == b.digest
    {
        (first, second) = (rest_a, rest_b);
    }
    let mut changes = Vec::new();
    for (a, b) in common(first, second) {
        let (only_a, rest_a) = first.split_at(a.min(first.len()));
        let (only_b, rest_b) = second.split_at(b.min(second.len()));
        changes.extend(paired(only_a, only_b));
        first = rest_a.get(1..).unwrap_or_default();
        second = rest_b.get(1..).unwrap_or_default();
    }
    changes.extend(paired(first, second));
    changes
}

/// Events that stand between the same neighbours: one in the other's place, as far as there are two.
fn paired(first: &[Place], second: &[Place]) -> Vec<Change> {
    let count = first.len().max(second.len());
    (0..count).map(|at| Change { first: first.get(at).cloned(), second: second.get(at).cloned() }).collect()
}

/// The longest common part, as how many events of each list stand before its next event. None where the lists
/// are so long that looking for it would take too long.
fn common(first: &[Place], second: &[Place]) -> Vec<(usize, usize)> {
    let width = second.len() + 1;
    if first.len().saturating_add(1).saturating_mul(width) > PAIRS {
        return Vec::new();
    }
    // The length of the longest common part of what follows each pair of places, from the end.
    let mut lengths: Vec<Vec<usize>> = vec![vec![0; width]];
    for a in first.iter().rev() {
        let after = lengths.last().map(Vec::as_slice).unwrap_or_default();
        let mut row = vec![0; width];
        for (at, b) in second.iter().enumerate().rev() {
            let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or_default();
            let length =
                if a.digest == b.digest { get(after, at + 1) + 1 } else { get(after, at).max(get(&row, at + 1)) };
            if let Some(place) = row.get_mut(at) {
                *place = length;
            }
        }
        lengths.push(row);
    }
    lengths.reverse();
    let length = |a: usize, b: usize| lengths.get(a).and_then(|row| row.get(b)).copied().unwrap_or_default();
    let mut steps = Vec::new();
    let (mut a, mut b) = (0, 0);
    let (mut skipped_a, mut skipped_b) = (0, 0);
    while let (Some(x), Some(y)) = (first.get(a), second.get(b)) {
        if x.digest == y.digest {
            steps.push((skipped_a, skipped_b));
            (skipped_a, skipped_b) = (0, 0);
            (a, b) = (a + 1, b + 1);
        } else if length(a + 1, b) >= length(a, b + 1) {
            (a, skipped_a) = (a + 1, skipped_a + 1);
        } else {
            (b, skipped_b) = (b + 1, skipped_b + 1);
        }
    }
    steps
}
