mod boot;
mod form;
mod order;
mod quoted;
mod secure_boot;

use super::{builder::*, *};

/// What a log is refused for, after one change.
fn refused(change: impl FnOnce(&mut Writer)) -> LogRefused {
    let mut log = boot();
    verify(&log.bytes(), None).expect("the log is right before the change");
    change(&mut log);
    verify(&log.bytes(), None).expect_err("the change makes it wrong")
}

fn accepted(change: impl FnOnce(&mut Writer)) -> BootClaims {
    let mut log = boot();
    change(&mut log);
    verify(&log.bytes(), None).unwrap().1
}

/// The sections of a unified kernel image.
fn unified(log: &mut Writer) {
    for (name, content) in [(".linux", "kernel"), (".cmdline", "quiet"), (".initrd", "initrd")] {
        let told = utf16(&format!("{name}\0"));
        log.events.push(measured(11, EventType::IPL, format!("{name}\0").as_bytes(), told.clone()));
        log.events.push(measured(11, EventType::IPL, content.as_bytes(), told));
    }
}

/// The values that a machine which booted by `log` would quote.
fn values_of(log: &Writer) -> BTreeMap<u8, Vec<u8>> {
    let bytes = log.bytes();
    let replay = Replay::of(&BootLog::parse(&bytes).unwrap()).unwrap();
    (0..16).map(|pcr| (pcr, replay.value(HashAlg::Sha256, pcr).unwrap())).collect()
}

fn compare(log: &Writer, values: &BTreeMap<u8, Vec<u8>>, explained: &[u8]) -> Result<BootClaims, LogRefused> {
    let values = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
    verify(&log.bytes(), Some(&Quoted { bank: HashAlg::Sha256, values, explained })).map(|(_, claims)| claims)
}

#[test]
fn refusals_name_their_rows() {
    let mut wrong = boot();
    wrong.events.push(separator(3));
    let text = verify(&wrong.bytes(), None).unwrap_err().to_string();
    assert!(text.starts_with("L3: "), "{text}");
}

#[test]
fn rows_are_judged_one_by_one_for_people() {
    use crate::Verdict::{NotChecked, Passed, Refused};
    let verdicts = |bytes: &[u8], quoted: Option<&Quoted<'_>>| -> Vec<_> {
        examine(bytes, quoted).report.rows.iter().map(|row| row.verdict).collect()
    };
    let right = boot();
    assert_eq!(verdicts(&right.bytes(), None), [Passed, Passed, Passed, Passed, Passed, Passed, NotChecked]);
    let values = values_of(&right);
    let values = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
    let quoted = Quoted { bank: HashAlg::Sha256, values, explained: &[0, 7] };
    assert_eq!(verdicts(&right.bytes(), Some(&quoted)), [Passed; 7]);
    let mut wrong = right;
    wrong.events.push(separator(7));
    let at = wrong.variable("SecureBoot");
    wrong.events.remove(at);
    assert_eq!(verdicts(&wrong.bytes(), Some(&quoted)), [Passed, Passed, Refused, Refused, Passed, Passed, Refused]);
    let examined = examine(&wrong.bytes(), None);
    assert!(examined.refusal("L4").unwrap().contains("SecureBoot") && examined.refusal("L5").is_none());
    assert!(examined.replay.is_some() && examined.secure_boot.is_none());
    assert_eq!(verdicts(b"", None), [Refused, NotChecked, NotChecked, NotChecked, NotChecked, NotChecked, NotChecked]);
}

#[test]
fn the_fuzzer_starts_from_logs_that_hold() {
    let mut image = boot();
    unified(&mut image);
    let mut plain = boot();
    plain.algorithms = vec![HashAlg::Sha256];
    plain.events.retain(|event| event.pcr != 7 || event.kind == EventType::SEPARATOR);
    let padded = [plain.bytes(), vec![0xff; 40]].concat();
    for (name, bytes) in [("grub", boot().bytes()), ("image", image.bytes()), ("padded", padded)] {
        verify(&bytes, None).unwrap();
        crate::seeds::keep("boot_log", name, &bytes);
    }
}

mod random {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let log = [header(&[HashAlg::Sha256]), bytes.clone()].concat();
            let _ = verify(&log, None);
            let _ = verify(&bytes, None);
        }

        #[test]
        fn one_changed_byte_is_refused_or_leads_elsewhere_or_is_in_no_claim(at in 0_usize..6000, bit in 0_u8..8) {
            let right = boot();
            let mut bytes = right.bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            let values = values_of(&right);
            let all: Vec<u8> = (0..16).collect();
            let values: BTreeMap<u8, &[u8]> = values.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
            let quoted = Quoted { bank: HashAlg::Sha256, values, explained: &all };
            let before = verify(&right.bytes(), Some(&quoted)).unwrap().1;
            if let Ok((_, mut after)) = verify(&bytes, Some(&quoted)) {
                // A text that was made unreadable is counted as such; nothing else may change.
                let (old, new) = (before.loader.clone().unwrap(), after.loader.take().unwrap());
                let texts = old.texts.iter().filter(|text| new.texts.contains(text)).cloned().collect::<Vec<_>>();
                prop_assert_eq!(&new.texts, &texts);
                prop_assert_eq!(new.unread as usize, old.texts.len() - texts.len());
                after.loader = before.loader.clone();
                // Another type may be one that firmware seldom has there, and is named.
                let kept = before.tolerances.iter().all(|tolerance| after.tolerances.contains(tolerance));
                prop_assert!(kept);
                after.tolerances = before.tolerances.clone();
                prop_assert_eq!(after, before, "byte {} changed a claim, and nothing noticed", at);
            }
        }
    }
}
