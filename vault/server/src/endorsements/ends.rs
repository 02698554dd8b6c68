//! Ends that come: the metric each minute, and a warning in the log once a day, 14 days before.

use super::{Current, standing};
use crate::{clock::rfc3339, problem::Answer, vault::Vault};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};
use strongroom_attest::{endorsements::Content, pins::PinKind};
use strongroom_protocol::endorsement::EndorsementState;
use strongroom_store::model::EndorsementRow;

/// Seconds between two warnings.
const DAY: i64 = 86_400;
/// Endorsements that one warning names.
const NAMED: usize = 20;

/// When people were warned last, Unix seconds.
#[derive(Debug, Default)]
pub struct Warned(Mutex<Option<i64>>);

impl Warned {
    /// Whether a day has passed, which then begins anew.
    fn is_due(&self, now: i64) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| now.saturating_sub(last) >= DAY);
        if due {
            *last = Some(now);
        }
        due
    }
}

/// Tells how long endorsements are valid yet.
pub async fn tell(vault: &Vault) -> Answer<()> {
    let current = vault.endorsements.current(vault.store.as_ref()).await?;
    let now = vault.clock.now().await?;
    for ((of, content), left) in seconds_left(&current, now) {
        metrics::gauge!("strongroom_endorsement_seconds_left", "of" => of, "content" => content).set(left);
    }
    let ending = ending(&current, now);
    if ending.is_empty() || !vault.endorsements.warned.is_due(now) {
        return Ok(());
    }
    for row in ending.iter().take(NAMED) {
        let (state, until) = (standing(row.from, row.until, now).as_str(), rfc3339(row.until));
        tracing::warn!(name = %row.name, subject = %row.subject, state, %until, "import a newer one of this endorsement");
    }
    if let Some(more) = ending.len().checked_sub(NAMED).filter(|more| *more > 0) {
        tracing::warn!(more, "more endorsements end: `strongroom endorsement check` names them all");
    }
    Ok(())
}

/// What has expired or will within 14 days, the first end first.
pub fn ending(current: &Current, now: i64) -> Vec<&EndorsementRow> {
    let ends = |row: &&EndorsementRow| {
        matches!(standing(row.from, row.until, now), EndorsementState::Expired | EndorsementState::Expiring)
    };
    let mut ending: Vec<_> = current.rows.iter().filter(ends).collect();
    ending.sort_by_key(|row| row.until);
    ending
}

/// Seconds to the first end of each kind of root and content; infinite where there is nothing that ends. Names of chips
/// would make a series of each machine, and one of what is gone would stay.
fn seconds_left(current: &Current, now: i64) -> BTreeMap<(&'static str, &'static str), f64> {
    let contents =
        [Content::Certificate, Content::RevocationList, Content::Answer, Content::Collateral, Content::Manifest];
    let mut first = BTreeMap::new();
    for of in PinKind::ALL {
        for content in contents {
            first.insert((of.as_str(), content.as_str()), f64::INFINITY);
        }
    }
    for row in &current.rows {
        let left = row.until.saturating_sub(now).clamp(i32::MIN.into(), i32::MAX.into());
        let left = i32::try_from(left).map_or(f64::INFINITY, f64::from);
        if let Some((_, least)) = first.iter_mut().find(|((of, content), _)| *of == row.of && *content == row.content) {
            *least = left.min(*least);
        }
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_protocol::Fixed;

    const NOW: i64 = 1_800_000_000;

    fn row(name: &str, of: &str, content: &str, until: i64) -> EndorsementRow {
        EndorsementRow {
            name: name.to_owned(),
            of: of.to_owned(),
            content: content.to_owned(),
            subject: "CN=X".to_owned(),
            sha256: Fixed([0; 32]),
            from: NOW - 1000,
            until,
            id: None,
            imported_by: "alice".to_owned(),
            imported_at: NOW,
            removal_proposed_by: None,
        }
    }

    fn current(rows: Vec<EndorsementRow>) -> Current {
        Current { rows, ..Current::default() }
    }

    #[test]
    fn ends_are_told_of_fourteen_days_before() {
        let days = |days: i64| NOW + days * DAY;
        let current = current(vec![
            row("a", "amd-ark", "certificate", days(14)),
            row("b", "amd-ark", "certificate", days(14) - 1),
            row("c", "amd-ark", "certificate", NOW - 1),
        ]);
        let names: Vec<_> = ending(&current, NOW).iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["c", "b"]);
        assert_eq!(ending(&current, NOW + 1).len(), 3);
    }

    #[test]
    fn the_metric_is_of_the_first_end_of_a_kind() {
        let current = current(vec![
            row("a", "amd-ark", "revocation list", NOW + 100),
            row("b", "amd-ark", "revocation list", NOW + 50),
            row("c", "tpm-vendor", "certificate", NOW - 7),
            row("d", "tpm-vendor", "revocation list", i64::MAX),
            row("e", "of a later release", "certificate", 1),
        ]);
        let left = seconds_left(&current, NOW);
        assert_eq!(left.len(), 25, "as many as there are kinds, whatever is imported");
        assert!((left[&("amd-ark", "revocation list")] - 50.0).abs() < f64::EPSILON);
        assert!((left[&("tpm-vendor", "certificate")] + 7.0).abs() < f64::EPSILON);
        assert!((left[&("tpm-vendor", "revocation list")] - f64::from(i32::MAX)).abs() < f64::EPSILON);
        assert!(left[&("intel-sgx-root", "collateral")].is_infinite());
    }

    #[test]
    fn people_are_warned_once_a_day() {
        let warned = Warned::default();
        let due: Vec<_> =
            [NOW, NOW + 1, NOW + DAY - 1, NOW + DAY, NOW + DAY + 60].iter().map(|now| warned.is_due(*now)).collect();
        assert_eq!(due, [true, false, false, true, false]);
    }
}
