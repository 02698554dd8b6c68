//! What the vault keeps of a node's IMA log between requests, so that a renewal may send only what is new.
//!
//! The log of one boot only grows, and every quote of PCR 10 covers a prefix of it. Kept is the longest that
//! was verified, and the places up to which somebody was told that the vault has the log: several processes
//! of a node renew by their own turns, and each goes on from where it was told. Quotes of one boot may arrive
//! in another order than they were made in; what was measured once is never forgotten for it.

use crate::problem::{Answer, Refused};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use strongroom_attest::ima::Measured;
use strongroom_protocol::{Bytes, Fixed, NodeId};
use strongroom_store::model::{MEASURED_BYTES, MeasuredRow, Versioned};

/// Places that are remembered of a boot; the oldest is forgotten first, and who was told it sends the whole log.
const PLACES: usize = 64;

/// A verified prefix, by its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    bytes: u64,
    entries: u64,
    violations: u64,
    boot_aggregate_checked: bool,
    pcr: Bytes,
}

impl Place {
    fn of(measured: &Measured) -> Self {
        let Measured { entries, bytes, violations, boot_aggregate_checked, ref pcr, .. } = *measured;
        Self { bytes, entries, violations, boot_aggregate_checked, pcr: pcr.clone() }
    }
}

/// What was measured in one boot of one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImaState {
    /// Whose quotes showed it. `TPM2_Clear` takes the counters of boots back to zero, and ends every AK: of
    /// another AK's boots nobody knows whether they were before or after.
    #[serde(default)]
    ak: Option<Fixed<32>>,
    measured: Arc<Measured>,
    places: Vec<Place>,
}

/// What is kept of a node now.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// The AK that quotes now.
    ak: Fixed<32>,
    /// The version of the row; 0 where there is none.
    pub(super) version: i64,
    /// The boot that it is of.
    boot: Option<(u32, u32)>,
    state: Option<ImaState>,
}

/// What becomes of it by a request.
#[derive(Debug, Clone)]
pub(super) struct Next {
    /// All that the boot is known to have measured: what is judged.
    pub(super) measured: Arc<Measured>,
    /// Where the log of this request ends, and a later part may start; none if it is not kept.
    pub(super) told: Option<u64>,
    /// What is to be kept; none if nothing changes.
    pub(super) row: Option<MeasuredRow>,
    /// True if the boot has measured more than is kept of one.
    pub(super) too_long: bool,
}

impl ImaState {
    /// What a row says.
    pub(crate) fn read(row: &MeasuredRow) -> Answer<Self> {
        serde_json::from_slice(&row.state)
            .map_err(|e| Refused::internal(format!("what node {} measured cannot be read: {e}", row.node)))
    }

    /// All that is known to have been measured, if this AK's quotes showed it.
    pub(crate) fn measured(&self, ak: Fixed<32>) -> Option<&Measured> {
        (self.ak == Some(ak)).then_some(self.measured.as_ref())
    }

    /// The prefix that ends at this byte, if somebody was told of it by a quote of values of this length: another
    /// bank's value is nothing that a log can go on from.
    fn up_to(&self, bytes: u64, digest_length: usize) -> Option<Measured> {
        let at = |place: &&Place| place.bytes == bytes && place.pcr.0.len() == digest_length;
        let place = self.places.iter().rev().find(at)?;
        let Place { bytes, entries, violations, boot_aggregate_checked, ref pcr } = *place;
        // Files of the longest prefix: more than was measured up to there, and never less.
        let files = self.measured.files.clone();
        Some(Measured { entries, bytes, violations, boot_aggregate_checked, pcr: pcr.clone(), files })
    }

    /// With another verified prefix of the same boot.
    fn with(&self, other: Measured) -> Self {
        let mut places = self.places.clone();
        let place = Place::of(&other);
        if !places.contains(&place) {
            places.push(place);
            places.drain(..places.len().saturating_sub(PLACES));
        }
        let longer = other.entries > self.measured.entries;
        let (mut longest, rest) =
            if longer { (other, self.measured.as_ref().clone()) } else { (self.measured.as_ref().clone(), other) };
        longest.violations = longest.violations.max(rest.violations);
        for (digest, path) in rest.files {
            longest.files.entry(digest).or_insert(path);
        }
        Self { ak: self.ak, measured: Arc::new(longest), places }
    }
}

impl Known {
    /// What is kept of the node, as far as it is of this AK.
    pub(super) fn of(ak: Fixed<32>, row: Option<Versioned<MeasuredRow>>) -> Answer<Self> {
        let Some(Versioned { row, version }) = row else {
            return Ok(Self { ak, version: 0, boot: None, state: None });
        };
        let state = Some(ImaState::read(&row)?).filter(|state| state.ak == Some(ak));
        Ok(Self { ak, version, boot: state.is_some().then_some(row.boot), state })
    }

    /// The prefix that a part at this place goes on from, in this boot, with a value of this length in bytes.
    pub(super) fn up_to(&self, boot: (u32, u32), bytes: u64, digest_length: usize) -> Option<Measured> {
        self.state.as_ref().filter(|_| self.boot == Some(boot))?.up_to(bytes, digest_length)
    }

    /// Takes what a request showed of a boot.
    pub(super) fn next(&self, node: NodeId, boot: (u32, u32), shown: Measured) -> Answer<Next> {
        let place = shown.bytes;
        let (state, changed) = match (&self.state, self.boot) {
            (Some(state), Some(known)) if known == boot => {
                let next = state.with(shown);
                let changed = next != *state;
                (next, changed)
            }
            // A quote that was on its way while the node rebooted: it is judged, and nothing goes on from it.
            (_, Some(known)) if known > boot => {
                return Ok(Next { measured: Arc::new(shown), told: None, row: None, too_long: false });
            }
            _ => (ImaState { ak: Some(self.ak), places: vec![Place::of(&shown)], measured: Arc::new(shown) }, true),
        };
        let mut row = None;
        let mut too_long = false;
        if changed {
            let state = serde_json::to_vec(&state).map_err(Refused::internal)?;
            too_long = state.len() > MEASURED_BYTES;
            row = (!too_long).then_some(MeasuredRow { node, boot, state });
        }
        Ok(Next { measured: state.measured, told: (!too_long).then_some(place), row, too_long })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOT: (u32, u32) = (3, 0);
    const AK: Fixed<32> = Fixed([7; 32]);

    fn node() -> NodeId {
        NodeId::from([1; 32])
    }

    fn shown(entries: u64, files: &[&str]) -> Measured {
        Measured {
            entries,
            bytes: entries * 100,
            violations: 0,
            boot_aggregate_checked: true,
            pcr: Bytes(vec![u8::try_from(entries).unwrap(); 32]),
            files: files.iter().map(|file| ((*file).to_owned(), (*file).to_owned())).collect(),
        }
    }

    fn known(next: Next) -> Known {
        Known::of(AK, Some(Versioned { row: next.row.unwrap(), version: 1 })).unwrap()
    }

    fn first() -> Known {
        known(Known::of(AK, None).unwrap().next(node(), BOOT, shown(2, &["init"])).unwrap())
    }

    #[test]
    fn a_part_goes_on_from_where_somebody_was_told() {
        let known = first();
        assert_eq!(known.up_to(BOOT, 200, 32), Some(shown(2, &["init"])));
        assert_eq!((known.up_to(BOOT, 201, 32), known.up_to((3, 1), 200, 32)), (None, None));
        let next = known.next(node(), BOOT, shown(4, &["init", "job"])).unwrap();
        assert_eq!((next.told, next.measured.entries), (Some(400), 4));
        let later = super::tests::known(next);
        let old = later.up_to(BOOT, 200, 32).unwrap();
        assert_eq!(
            (old.entries, old.pcr.clone(), old.files.len()),
            (2, shown(2, &[]).pcr, 2),
            "files are not forgotten"
        );
        assert_eq!(later.up_to(BOOT, 400, 32).unwrap().entries, 4);
        let same = later.next(node(), BOOT, shown(4, &["init", "job"])).unwrap();
        assert!(same.row.is_none() && same.told == Some(400), "nothing new is not written");
    }

    #[test]
    fn a_prefix_that_comes_late_takes_nothing_back() {
        let known = super::tests::known(first().next(node(), BOOT, shown(5, &["init", "bad"])).unwrap());
        let late = known.next(node(), BOOT, shown(3, &["init", "job"])).unwrap();
        assert_eq!((late.measured.entries, late.told), (5, Some(300)));
        assert_eq!(late.measured.files.keys().collect::<Vec<_>>(), ["bad", "init", "job"]);
        assert!(late.row.is_some(), "the place that it was told is kept");
    }

    #[test]
    fn another_boot_takes_the_place_of_the_last_and_not_the_other_way_round() {
        let known = first();
        let next = known.next(node(), (4, 0), shown(1, &[])).unwrap();
        assert_eq!(next.row.as_ref().unwrap().boot, (4, 0));
        let rebooted = super::tests::known(next);
        assert_eq!(rebooted.up_to((4, 0), 200, 32), None, "places of the boot before are gone");
        let late = rebooted.next(node(), BOOT, shown(9, &["init"])).unwrap();
        assert!(late.row.is_none() && late.told.is_none());
        assert_eq!(late.measured.entries, 9);
    }

    #[test]
    fn places_and_bytes_are_bounded() {
        let mut known = first();
        for entries in 3..80 {
            known = super::tests::known(known.next(node(), BOOT, shown(entries, &["init"])).unwrap());
        }
        assert_eq!((known.up_to(BOOT, 200, 32), known.up_to(BOOT, 7900, 32).unwrap().entries), (None, 79));
        let mut long = shown(80, &[]);
        long.files = (0..50_000).map(|n| (format!("sha256:{n:064x}"), format!("/usr/lib/{n}/module.so"))).collect();
        let next = known.next(node(), BOOT, long).unwrap();
        assert!(next.too_long && next.row.is_none() && next.told.is_none());
    }

    #[test]
    fn a_cleared_tpm_counts_from_zero_and_another_ak_begins_anew() {
        let row = || Some(Versioned { row: first_row(), version: 4 });
        let other = Fixed([8; 32]);
        let cleared = Known::of(other, row()).unwrap();
        assert_eq!((cleared.version, cleared.up_to(BOOT, 200, 32)), (4, None), "its row is written over");
        let next = cleared.next(node(), (0, 0), shown(1, &["init"])).unwrap();
        assert_eq!((next.told, next.row.as_ref().map(|row| row.boot)), (Some(100), Some((0, 0))));
        let state = ImaState::read(&next.row.unwrap()).unwrap();
        assert!(state.measured(other).is_some() && state.measured(AK).is_none());
        // The same counters under the same AK are an older boot.
        assert!(Known::of(AK, row()).unwrap().next(node(), (0, 0), shown(1, &[])).unwrap().row.is_none());
    }

    #[test]
    fn a_place_of_another_bank_is_not_known() {
        let known = first();
        assert_eq!((known.up_to(BOOT, 200, 48), known.up_to(BOOT, 200, 32)), (None, Some(shown(2, &["init"]))));
        let wide = Measured { pcr: Bytes(vec![2; 48]), ..shown(2, &["init"]) };
        let both = super::tests::known(known.next(node(), BOOT, wide.clone()).unwrap());
        assert_eq!(both.up_to(BOOT, 200, 48), Some(wide));
        assert_eq!(both.up_to(BOOT, 200, 32), Some(shown(2, &["init"])), "each bank has its own");
    }

    fn first_row() -> MeasuredRow {
        Known::of(AK, None).unwrap().next(node(), BOOT, shown(2, &["init"])).unwrap().row.unwrap()
    }
}
