use super::*;
use crate::{Subject, SubjectKind, sample};
use std::convert::Infallible;

/// Six records; 0, 3 and 5 are of the same site, 1 released, 2 denied.
fn records() -> Vec<Record> {
    let mut records = vec![sample::act(0), sample::decision(1), sample::decision(2)];
    records[2].verdict = Some(Verdict::Denied);
    records[2].reasons.push("policy.site".into());
    for (number, previous) in [(3, 0), (4, 4), (5, 3)] {
        let mut record = sample::act(number);
        record.action = Action::SiteChanged;
        if previous != number {
            record.subject = Subject::new(SubjectKind::Site, "site-0");
            record.previous = Some(sample::id(previous));
        }
        records.push(record);
    }
    records
}

fn verify(lines: &[ExportLine], known: Option<&Checkpoint>) -> Result<ExportReport, ExportError> {
    verify_export(lines.iter().cloned().map(Ok::<_, Infallible>), &[sample::key(1).verifier], known)
}

fn verify_records(records: Vec<Record>) -> Result<ExportReport, ExportError> {
    verify(&sample::Log::of(records).export(&sample::key(1)), None)
}

fn exported() -> Vec<ExportLine> {
    sample::Log::of(records()).export(&sample::key(1))
}

/// The line of an entry: line 0 is the header.
fn entry(lines: &mut [ExportLine], index: usize) -> &mut EntryView {
    match &mut lines[index + 1] {
        ExportLine::Entry(view) => view,
        other => panic!("{other:?}"),
    }
}

fn prune(lines: &mut [ExportLine], index: usize) {
    let view = entry(lines, index);
    (view.record, view.salt) = (None, None);
}

#[test]
fn an_export_is_verified_and_summed_up() {
    let report = verify(&exported(), None).unwrap();
    assert_eq!(report.checkpoint, sample::Log::of(records()).checkpoint());
    assert_eq!((report.released, report.denied, report.pruned), (1, 1, 0));
    assert_eq!(report.actions[&Action::SiteChanged], 3);
    assert_eq!((report.earliest, report.latest), (Some(sample::time(0)), Some(sample::time(5))));
    assert_eq!((report.clock_steps, report.first_clock_step), (0, None));
}

#[test]
fn an_empty_log_is_verified_too() {
    let report = verify(&sample::Log::default().export(&sample::key(1)), None).unwrap();
    assert_eq!(report.checkpoint.size, 0);
}

#[test]
fn each_changed_byte_of_a_body_is_found_and_its_entry_named() {
    let length = entry(&mut exported(), 2).record.as_ref().unwrap().0.len();
    for at in 0..length {
        let mut lines = exported();
        entry(&mut lines, 2).record.as_mut().unwrap().0[at] ^= 1;
        let refused = verify(&lines, None).unwrap_err();
        assert_eq!(refused, ExportError::NotItsEntry { index: 2 });
        assert_eq!(refused.to_string(), "entry 2: the record does not hash to its entry");
    }
    let mut lines = exported();
    entry(&mut lines, 2).salt.as_mut().unwrap().0[15] ^= 1;
    assert_eq!(verify(&lines, None), Err(ExportError::NotItsEntry { index: 2 }));
    let mut lines = exported();
    entry(&mut lines, 2).entry.0[0] ^= 1;
    assert_eq!(verify(&lines, None), Err(ExportError::NotItsEntry { index: 2 }));
}

#[test]
fn a_body_changed_together_with_its_entry_makes_another_root() {
    let mut lines = exported();
    let mut forged = records()[2].clone();
    forged.verdict = Some(Verdict::Released);
    let (record, view) = (forged.to_canonical().unwrap(), entry(&mut lines, 2));
    view.entry = entry_hash(&sample::salt(2), &record).as_slice().into();
    view.record = Some(record.into());
    assert_eq!(verify(&lines, None), Err(ExportError::WrongRoot { size: 6 }));

    let mut lines = exported();
    prune(&mut lines, 2);
    entry(&mut lines, 2).entry.0[0] ^= 1;
    assert_eq!(verify(&lines, None), Err(ExportError::WrongRoot { size: 6 }));
}

#[test]
fn removed_swapped_doubled_and_renumbered_entries_are_found() {
    let mut removed = exported();
    removed.remove(3);
    assert_eq!(verify(&removed, None), Err(ExportError::OutOfOrder { expected: 2, actual: 3 }));
    for index in 2..5 {
        entry(&mut removed, index).index -= 1;
    }
    assert_eq!(verify(&removed, None), Err(ExportError::WrongSize { entries: 5, size: 6 }));

    let mut swapped = exported();
    swapped.swap(2, 3);
    assert_eq!(verify(&swapped, None), Err(ExportError::OutOfOrder { expected: 1, actual: 2 }));
    (entry(&mut swapped, 1).index, entry(&mut swapped, 2).index) = (1, 2);
    assert_eq!(verify(&swapped, None), Err(ExportError::WrongRoot { size: 6 }));

    let mut doubled = exported();
    doubled.insert(3, doubled[2].clone());
    assert_eq!(verify(&doubled, None), Err(ExportError::OutOfOrder { expected: 2, actual: 1 }));
    entry(&mut doubled, 2).index = 2;
    assert_eq!(verify(&doubled, None), Err(ExportError::DoubledId { index: 2, id: sample::id(1), first: 1 }));
}

#[test]
fn a_truncated_export_is_found() {
    let whole = exported();
    for end in 1..whole.len() {
        let entries = (end - 1) as u64;
        assert_eq!(verify(&whole[..end], None), Err(ExportError::Truncated { entries }));
    }
    assert_eq!(verify(&[], None), Err(ExportError::Truncated { entries: 0 }));
    let mut last_entry_gone = whole;
    last_entry_gone.remove(6);
    assert_eq!(verify(&last_entry_gone, None), Err(ExportError::WrongSize { entries: 5, size: 6 }));
}

#[test]
fn only_the_auditors_own_key_counts() {
    let log = sample::Log::of(records());
    // Signed by a stranger, under a header that names the trusted key.
    let mut lines = log.export(&sample::key(2));
    lines[0] = log.export(&sample::key(1))[0].clone();
    assert_eq!(verify(&lines, None), Err(ExportError::Checkpoint(LedgerError::NotSigned)));
    // A header that names another key informs wrongly, whoever signed: no byte changes unnoticed.
    let other = |result| matches!(result, Err(ExportError::Line { line: 1, problem }) if problem.contains("another ledger key"));
    assert!(other(verify(&log.export(&sample::key(2)), None)));
    let mut lines = log.export(&sample::key(1));
    lines[0] = log.export(&sample::key(2))[0].clone();
    assert!(other(verify(&lines, None)));
    assert!(verify(&log.export(&sample::key(1)), None).is_ok());
}

#[test]
fn header_entries_and_footer_stand_in_this_order_once() {
    let good = exported();
    let line = |lines: &[ExportLine]| match verify(lines, None) {
        Err(ExportError::Line { line, .. }) => line,
        other => panic!("{other:?}"),
    };
    assert_eq!(line(&good[1..]), 1);
    assert_eq!(line(&[&good[..1], &good].concat()), 2);
    assert_eq!(line(&[&good[..], &good[7..]].concat()), 9);
    assert_eq!(line(&[&good[..], &good[1..2]].concat()), 9);
    for (v, first) in [(2, 0), (1, 1)] {
        let mut other = good.clone();
        other[0] = ExportLine::Header { v, first, ledger_verifier_key: String::new() };
        assert_eq!(line(&other), 1);
    }
    let unreadable = [Ok(good[0].clone()), Err("a broken disk")];
    let refused = verify_export(unreadable, &[sample::key(1).verifier], None).unwrap_err();
    assert_eq!(refused.to_string(), "line 2: a broken disk");
}

#[test]
fn lengths_are_exact_and_a_body_is_there_or_not() {
    let changes: [fn(&mut EntryView); 5] = [
        |view| view.entry.0.truncate(31),
        |view| view.salt.as_mut().unwrap().0.truncate(15),
        |view| view.salt.as_mut().unwrap().0.push(0),
        |view| view.salt = None,
        |view| view.record = None,
    ];
    for change in changes {
        let mut lines = exported();
        change(entry(&mut lines, 3));
        assert!(matches!(verify(&lines, None), Err(ExportError::Malformed { index: 3, .. })));
    }
}

#[test]
fn what_is_logged_but_no_record_is_named() {
    let mut log = sample::Log::of(records());
    log.write(vec![b"{}".to_vec()]);
    let refused = verify(&log.export(&sample::key(1)), None);
    assert!(matches!(refused, Err(ExportError::Record { index: 6, .. })), "{refused:?}");
}

#[test]
fn ids_are_unique() {
    let mut twice = records();
    twice[4].id = twice[1].id;
    assert_eq!(verify_records(twice), Err(ExportError::DoubledId { index: 4, id: sample::id(1), first: 1 }));
}

#[test]
fn a_record_names_the_latest_of_its_subject() {
    let broken = |index: usize, previous: Option<u64>| {
        let mut records = records();
        records[index].previous = previous.map(sample::id);
        match verify_records(records) {
            Err(ExportError::ChainBroken { index, named, latest }) => {
                assert_eq!(named, previous.map(sample::id));
                (index, latest)
            }
            other => panic!("{other:?}"),
        }
    };
    let latest = |number| Some(sample::id(number));
    assert_eq!(broken(5, None), (5, latest(3)));
    assert_eq!(broken(5, Some(0)), (5, latest(3)), "skips one");
    assert_eq!(broken(5, Some(4)), (5, latest(3)), "of another subject");
    assert_eq!(broken(5, Some(99)), (5, latest(3)), "of no record");
    assert_eq!(broken(4, Some(1)), (4, None), "the first of its subject");
}

#[test]
fn a_pruned_record_leaves_its_place_in_tree_and_chain() {
    let mut lines = exported();
    prune(&mut lines, 3);
    let report = verify(&lines, None).unwrap();
    assert_eq!((report.pruned, report.actions[&Action::SiteChanged]), (1, 2));

    // A record that is there is still named by its next, whatever else was pruned.
    let mut wrong = records();
    wrong[5].previous = Some(sample::id(0));
    let mut lines = sample::Log::of(wrong).export(&sample::key(1));
    prune(&mut lines, 1);
    assert!(matches!(verify(&lines, None), Err(ExportError::ChainBroken { index: 5, .. })));
    // And what was pruned later cannot have been named before.
    let mut wrong = records();
    wrong[4].previous = Some(sample::id(99));
    let mut lines = sample::Log::of(wrong).export(&sample::key(1));
    prune(&mut lines, 5);
    assert!(matches!(verify(&lines, None), Err(ExportError::ChainBroken { index: 4, .. })));
}

#[test]
fn a_clock_that_goes_back_too_far_is_reported() {
    let report = |back: u64| {
        let mut records = records();
        records[3].time = sample::time(CLOCK_TOLERANCE_MILLIS);
        records[4].time = sample::time(CLOCK_TOLERANCE_MILLIS);
        records[5].time = sample::time(CLOCK_TOLERANCE_MILLIS - back);
        verify_records(records).unwrap()
    };
    assert_eq!(report(CLOCK_TOLERANCE_MILLIS).clock_steps, 0);
    let mut records = records();
    records[2].time = sample::time(CLOCK_TOLERANCE_MILLIS + 4);
    let report = verify_records(records).unwrap();
    assert_eq!(report.clock_steps, 1);
    assert_eq!(report.first_clock_step, Some(ClockStep { index: 3, millis: CLOCK_TOLERANCE_MILLIS + 1 }));
    assert_eq!(report.latest, Some(sample::time(CLOCK_TOLERANCE_MILLIS + 4)));
}

#[test]
fn the_past_that_an_auditor_kept_must_still_be_there() {
    let lines = exported();
    for size in 0..=6 {
        let known = sample::Log::of(records().into_iter().take(size)).checkpoint();
        assert!(verify(&lines, Some(&known)).is_ok());
        let rewritten = Checkpoint { root: [9; 32], ..known.clone() };
        assert_eq!(verify(&lines, Some(&rewritten)), Err(ExportError::Rewritten { size: size as u64 }));
        let elsewhere = Checkpoint { origin: "other".into(), ..known };
        assert!(matches!(verify(&lines, Some(&elsewhere)), Err(ExportError::Checkpoint(LedgerError::OtherLog { .. }))));
    }
    let longer = Checkpoint { size: 7, ..sample::Log::of(records()).checkpoint() };
    assert_eq!(verify(&lines, Some(&longer)), Err(ExportError::Shrunk { known: 7, entries: 6 }));
}

#[test]
fn an_export_survives_its_lines() {
    let lines = exported();
    let text: Vec<_> = lines.iter().map(|line| serde_json::to_string(line).unwrap()).collect();
    let read: Vec<_> = text.iter().map(|line| parse_export_line(line.as_bytes()).unwrap()).collect();
    assert_eq!(read, lines);
    for wrong in [
        text[1].replacen('{', r#"{"more":1,"#, 1),
        text[1].replacen(r#""index":0"#, r#""index":0,"index":0"#, 1),
        text[1].replacen("entry", "other", 1),
        text[7].replacen('{', r#"{"more":1,"#, 1),
        format!("{}{}", text[1], " ".repeat(LINE_BYTES)),
    ] {
        assert!(parse_export_line(wrong.as_bytes()).is_err(), "{wrong}");
    }
    let mut largest = sample::act(0);
    let length = largest.to_canonical().unwrap().len();
    largest.details.insert("x".into(), "y".repeat(RECORD_BYTES - length - 19).into());
    assert_eq!(largest.to_canonical().unwrap().len(), RECORD_BYTES);
    let line = sample::Log::of([largest]).export(&sample::key(1)).swap_remove(1);
    assert!(parse_export_line(&serde_json::to_vec(&line).unwrap()).is_ok());
}
