//! Whether events beside values are what made them.

use super::values::hash;
use std::collections::BTreeSet;
use strongroom::protocol::admin::ReferenceValues;
use strongroom_attest::log::PHASES;

/// PCR 0, which starts from the locality in which the TPM was started.
const CODE: u8 = 0;
/// PCR 11, which the system extends as it comes up.
const UKI: u8 = 11;

/// The PCRs that have events here which do not lead to their values.
pub(super) fn astray(values: &ReferenceValues) -> BTreeSet<u8> {
    let with_events: BTreeSet<u8> = values.events.iter().map(|event| event.pcr).collect();
    let wrong = |pcr: &u8| values.pcrs.0.get(pcr).is_some_and(|value| !leads(values, *pcr, &value.0));
    with_events.into_iter().filter(wrong).collect()
}

fn leads(values: &ReferenceValues, pcr: u8, value: &[u8]) -> bool {
    let algorithm = hash(values.bank);
    let starts: &[u8] = if pcr == CODE { &[0, 3, 4] } else { &[0] };
    starts.iter().any(|&locality| {
        let mut start = vec![0; algorithm.digest_length()];
        if let Some(last) = start.last_mut() {
            *last = locality;
        }
        let events = values.events.iter().filter(|event| event.pcr == pcr);
        let end = events.fold(start, |held, event| algorithm.digest(&[&held, &event.digest.0]));
        // What the system measures once it runs is in no log; an initrd without systemd leaves out its own phases.
        let phases = |set: u32| PHASES.iter().enumerate().filter(move |(at, _)| set >> at & 1 == 1);
        let after = |set| {
            phases(set).fold(end.clone(), |held, (_, phase)| {
                algorithm.digest(&[&held, &algorithm.digest(&[phase.as_bytes()])])
            })
        };
        end == value || (pcr == UKI && (1..1_u32 << PHASES.len()).any(|set| after(set) == value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use strongroom::protocol::{
        admin::ReferenceEvent,
        bytes::Bytes,
        evidence::{PcrBank, PcrMap},
    };
    use strongroom_attest::tpm::HashAlg;

    fn digest(of: &[u8]) -> Vec<u8> {
        HashAlg::Sha256.digest(&[of])
    }

    fn of(pcr: u8, start: u8, events: &[&[u8]], more: &[&[u8]]) -> ReferenceValues {
        let mut value = vec![0; 32];
        value[31] = start;
        for event in events.iter().chain(more) {
            value = HashAlg::Sha256.digest(&[&value, &digest(event)]);
        }
        let pcrs = PcrMap(BTreeMap::from([(pcr, Bytes(value))]));
        let event = |event: &&[u8]| ReferenceEvent { pcr, digest: Bytes(digest(event)), hint: String::new() };
        let events = events.iter().map(event).collect();
        ReferenceValues { events, ..ReferenceValues::of(PcrBank::Sha256, pcrs) }
    }

    #[test]
    fn events_lead_to_values_or_go_astray() {
        for right in [
            of(4, 0, &[b"a", b"b"], &[]),
            of(0, 3, &[b"a"], &[]),
            of(11, 0, &[b"a"], &[b"leave-initrd", b"sysinit"]),
            of(4, 0, &[], &[b"a"]),
        ] {
            assert!(astray(&right).is_empty(), "{right:?}");
        }
        for wrong in [
            of(4, 0, &[b"a"], &[b"b"]),
            of(4, 3, &[b"a"], &[]),
            of(0, 2, &[b"a"], &[]),
            of(11, 0, &[b"a"], &[b"sysinit", b"leave-initrd"]),
            of(9, 0, &[b"a"], &[b"sysinit"]),
        ] {
            assert_eq!(astray(&wrong).len(), 1, "{wrong:?}");
        }
        let mut other = of(4, 0, &[b"a", b"b"], &[]);
        other.events.swap(0, 1);
        assert_eq!(astray(&other), BTreeSet::from([4]));
    }
}
