//! Quotes: bound, complete, and of one moment.

use super::{STATEMENT, claims, collect, judge, left_behind, selection};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use strongroom_attest::{
    Refused,
    ima::{self, ImaExpectation, Measured},
    tpm::HashAlg,
};
use strongroom_collect::{Attester as _, CollectError, Wanted};
use strongroom_protocol::{
    binding::tpm_extra_data,
    evidence::{PcrBank, PcrSelection, Tpm2Evidence},
    sha256,
};
use strongroom_tests::{Machine, Node, tpm_commands};

#[test]
fn a_quote_is_bound_to_statement_and_caller() {
    let node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    let alone = tpm_extra_data("strongroom/v1/tpm", STATEMENT, None);
    let for_caller = tpm_extra_data("strongroom/v1/tpm-agent", STATEMENT, Some(b"caller"));

    let evidence = collect(&collector, None);
    assert_eq!(evidence.ak.0, sha256(&collector.ak().name()));
    assert_eq!(evidence.boot_log.as_ref().unwrap().0, std::fs::read(node.boot_log()).unwrap());
    assert!(judge(&collector, &evidence, alone, None).is_ok());
    assert!(matches!(judge(&collector, &evidence, for_caller, None), Err(Refused::Q3ExtraData { .. })));

    let evidence = collect(&collector, Some(b"caller"));
    assert!(judge(&collector, &evidence, for_caller, None).is_ok());
    assert!(matches!(judge(&collector, &evidence, alone, None), Err(Refused::Q3ExtraData { .. })));
}

#[test]
fn the_values_are_those_of_the_boot() {
    let node = Node::boot(&Machine::default()).unwrap();
    let claims = claims(&node.collector().unwrap());
    let replayed: BTreeMap<u8, String> = Machine::default()
        .boot_log()
        .replay()
        .into_iter()
        .map(|(pcr, value)| (u8::try_from(pcr).unwrap(), hex::encode(value)))
        .collect();
    let zero = hex::encode([0; 32]);
    assert_eq!(claims.pcrs().keys().copied().collect::<Vec<_>>(), selection().pcrs);
    for (pcr, value) in claims.pcrs() {
        assert_eq!(value, replayed.get(pcr).unwrap_or(&zero), "PCR {pcr}");
    }
}

/// The IMA log goes along where PCR 10 is quoted, from where the vault wants it on; and the verifier reads it.
#[test]
fn the_ima_log_goes_along_as_far_as_it_is_wanted() {
    let node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    let with_ima = PcrSelection { bank: PcrBank::Sha256, pcrs: (0..11).collect() };
    let collected =
        |wanted: Wanted<'_>| collector.collect(STATEMENT, None, wanted).unwrap().remove(0).into_tpm2().unwrap();
    assert_eq!(collected(Wanted::whole(&selection())).ima_log, None, "PCR 10 is not quoted");

    node.ima().measure("/usr/bin/job", b"a program").unwrap();
    let first = collected(Wanted::whole(&with_ima));
    assert_eq!(first.ima_log.as_ref().unwrap().0, std::fs::read(node.ima_log()).unwrap());
    assert_eq!(first.ima_offset, None);
    let judged = |item: &Tpm2Evidence, verified: Option<&Measured>| {
        let values = &item.pcrs.values.0;
        let expect = ImaExpectation {
            bank: HashAlg::Sha256,
            pcr: values[&10].as_slice(),
            boot: values.range(..10).map(|(&pcr, value)| (pcr, value.as_slice())).collect(),
            verified,
            allow_violations: false,
        };
        ima::verify(item.ima_log.as_ref().unwrap().as_slice(), &expect)
    };
    let measured = judged(&first, None).unwrap();
    assert!(measured.boot_aggregate_checked && measured.entries == 2, "{measured:?}");
    assert_eq!(measured.files.values().collect::<Vec<_>>(), ["/usr/bin/job"]);

    node.ima().measure("/usr/bin/other", b"another program").unwrap();
    let later = collected(Wanted { selection: &with_ima, ima_offset: measured.bytes });
    assert_eq!(later.ima_offset, Some(measured.bytes));
    assert!(later.ima_log.as_ref().unwrap().0.len() < first.ima_log.as_ref().unwrap().0.len());
    let grown = judged(&later, Some(&measured)).unwrap();
    assert_eq!(grown, judged(&collected(Wanted::whole(&with_ima)), None).unwrap());
    assert_eq!((grown.entries, grown.files.len()), (3, 2));
}

#[test]
fn fifty_quotes_leave_nothing_in_the_tpm() {
    let node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    for _ in 0..50 {
        collect(&collector, None);
    }
    assert_eq!(left_behind(&collector), 0);
    claims(&collector);
}

#[test]
fn threads_and_processes_share_a_tpm() {
    let node = Node::boot(&Machine::default()).unwrap();
    // Two collectors have two locks, as two processes would; two threads share each.
    let collectors = [node.collector().unwrap(), node.collector().unwrap()];
    assert!(collectors[0].ak() == collectors[1].ak());
    thread::scope(|scope| {
        for collector in collectors.iter().chain(&collectors) {
            scope.spawn(|| {
                for _ in 0..8 {
                    claims(collector);
                }
            });
        }
    });
    assert_eq!(left_behind(&collectors[0]), 0);
}

/// Without the comparison of digests, some of these quotes are of other values than those beside them.
#[test]
fn a_pcr_that_changes_meanwhile_never_gives_a_torn_quote() {
    let node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    let done = AtomicBool::new(false);
    let (mut good, mut unstable) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut tpm = tpm_commands::connect(&node.tpm.tcti()).unwrap();
            while !done.load(Ordering::Relaxed) {
                tpm_commands::extend(&mut tpm, 8, [7; 32]).unwrap();
            }
        });
        let extra_data = tpm_extra_data("strongroom/v1/tpm", STATEMENT, None);
        for _ in 0..30 {
            match collector.collect(STATEMENT, None, Wanted::whole(&selection())) {
                Ok(items) => {
                    let item = items[0].as_tpm2().unwrap();
                    let judged = judge(&collector, item, extra_data, None);
                    done.fetch_or(judged.is_err(), Ordering::Relaxed);
                    judged.unwrap();
                    good += 1;
                }
                Err(CollectError::PcrsUnstable { .. }) => unstable += 1,
                Err(other) => {
                    done.store(true, Ordering::Relaxed);
                    panic!("{other}");
                }
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(good + unstable, 30);
}

#[test]
fn only_the_selected_pcrs_are_given() {
    let node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    let some = PcrSelection { bank: PcrBank::Sha256, pcrs: vec![0, 4, 16, 23] };
    let quote = collector.tpm().quote(collector.ak(), &[1; 32], &some).unwrap();
    assert_eq!(quote.pcrs.values.0.keys().copied().collect::<Vec<_>>(), some.pcrs);
    let all = PcrSelection { bank: PcrBank::Sha256, pcrs: (0..24).collect() };
    assert_eq!(collector.tpm().pcrs(&all).unwrap().values.0.len(), 24);
}

#[test]
fn wrong_selections_are_refused() {
    let node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    for pcrs in [vec![], vec![24], vec![4, 0], vec![4, 4]] {
        let wrong = PcrSelection { bank: PcrBank::Sha256, pcrs };
        let quote = collector.tpm().quote(collector.ak(), &[1; 32], &wrong);
        assert!(matches!(quote, Err(CollectError::Selection)), "{wrong:?}");
        assert!(matches!(collector.tpm().pcrs(&wrong), Err(CollectError::Selection)), "{wrong:?}");
    }
    let inactive = PcrSelection { bank: PcrBank::Sha384, pcrs: vec![3, 7] };
    let quote = collector.tpm().quote(collector.ak(), &[1; 32], &inactive);
    assert!(matches!(quote, Err(CollectError::BankInactive { bank: "sha384", pcr: 3, .. })), "{quote:?}");
}

#[test]
fn a_reboot_counts_and_a_power_cut_shows() {
    let mut node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    let before = claims(&collector);
    assert!(before.safe());

    node.reboot(&Machine { kernel: 2, ..Machine::default() }).unwrap();
    let after = claims(&collector);
    assert_eq!(after.boot().reset_count, before.boot().reset_count + 1);
    assert!(after.safe());
    assert_ne!(after.pcrs()[&4], before.pcrs()[&4]);
    assert_eq!(after.pcrs()[&0], before.pcrs()[&0]);
    let extra_data = tpm_extra_data("strongroom/v1/tpm", STATEMENT, None);
    let judged = judge(&collector, &collect(&collector, None), extra_data, Some(before.boot()));
    assert!(matches!(judged, Err(Refused::Q5Rebooted { .. })));

    node.tpm.pull_plug().unwrap();
    Machine::default().boot_log().extend_into(&node.tpm.tcti()).unwrap();
    let after_the_cut = claims(&collector);
    assert_eq!(after_the_cut.boot().reset_count, after.boot().reset_count + 1);
    assert!(!after_the_cut.safe());
}

/// Q8 has no switch: a TPM into which nothing was measured yields no claims.
#[test]
fn a_machine_that_did_not_measure_is_refused() {
    let mut node = Node::boot(&Machine::default()).unwrap();
    let collector = node.collector().unwrap();
    node.tpm.restart().unwrap();
    let extra_data = tpm_extra_data("strongroom/v1/tpm", STATEMENT, None);
    let judged = judge(&collector, &collect(&collector, None), extra_data, None);
    assert!(judged.as_ref().is_err_and(|refused| refused.row() == "Q8"), "{judged:?}");
}
