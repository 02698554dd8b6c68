//! configfs-tsm against a kernel that misbehaves in each way in which it may.

use super::{
    kernel::{Kernel, Mischief},
    *,
};
use std::{process::Command, sync::mpsc};

const KIND: Kind = Kind { device: EvidenceKind::SevSnp, provider: "sev_guest", report: 1184, aux: Some(4096) };
const PATIENT: Duration = Duration::from_mins(1);
const EBUSY: i32 = 16;

fn reports(kernel: &Arc<Kernel>) -> TsmReports {
    TsmReports::hurried(Arc::clone(kernel) as Arc<dyn TsmFiles>, PATIENT)
}

fn ask(kernel: &Arc<Kernel>) -> Result<Report, DeviceError> {
    let answer = reports(kernel).report(KIND, [7; 64]);
    assert_eq!(kernel.left(), Vec::<String>::new(), "a report was left behind");
    answer
}

fn snp() -> Kernel {
    Kernel::of("sev_guest", 1184)
}

#[test]
fn a_report_is_of_what_was_written() {
    let kernel = snp().meeting([]);
    let report = ask(&kernel).unwrap();
    assert_eq!((report.report.len(), &report.report[1120..], report.aux), (1184, [7; 64].as_slice(), None));
    // One write, of the whole.
    assert_eq!(*kernel.written.lock().unwrap(), [("inblob".to_owned(), vec![7; 64])]);
}

#[test]
fn what_lies_beside_it_is_passed_on_unless_it_is_empty() {
    for (aux, expected) in [(None, None), (Some(vec![]), None), (Some(vec![1, 2]), Some(vec![1, 2]))] {
        let kernel = Kernel { aux, ..snp() }.meeting([]);
        assert_eq!(ask(&kernel).unwrap().aux, expected);
    }
}

#[test]
fn the_privilege_level_is_told_where_the_guest_has_a_lower_one() {
    for (floor, expected) in [(None, vec![]), (Some("0"), vec![]), (Some("2"), vec![b"2".to_vec()])] {
        let kernel = Kernel { floor, ..snp() }.meeting([]);
        ask(&kernel).unwrap();
        let written = kernel.written.lock().unwrap();
        let levels: Vec<_> = written.iter().filter(|(name, _)| name == "privlevel").map(|(_, b)| b.clone()).collect();
        assert_eq!(levels, expected, "{floor:?}");
    }
}

#[test]
fn a_write_that_got_lost_is_noticed_and_made_again() {
    // Without the count before the read, the kernel would say EINVAL, or give an older report.
    let kernel = snp().meeting([Mischief::LostWrite]);
    assert_eq!(ask(&kernel).unwrap().report[1120..], [7; 64]);
    let kernel = snp().meeting((0..ATTEMPTS).map(|_| Mischief::LostWrite));
    let error = ask(&kernel).unwrap_err();
    assert!(matches!(error, DeviceError::TsmContended { attempts: ATTEMPTS, expected: 1, .. }), "{error}");
}

#[test]
fn a_report_of_something_else_is_noticed_and_made_again() {
    let kernel = snp().meeting([Mischief::Exchanged]);
    assert_eq!(ask(&kernel).unwrap().report[1120..], [7; 64], "somebody else's report");
    let kernel = snp().meeting((0..ATTEMPTS).map(|_| Mischief::Exchanged));
    let error = ask(&kernel).unwrap_err();
    assert!(matches!(error, DeviceError::TsmForeign { attempts: ATTEMPTS, .. }), "{error}");
}

#[test]
fn a_concurrent_write_is_noticed_and_the_report_made_again() {
    let kernel = snp().meeting([Mischief::ForeignWrite]);
    assert_eq!(ask(&kernel).unwrap().report[1120..], [7; 64], "somebody else's report");
    let kernel = snp().meeting((0..ATTEMPTS).map(|_| Mischief::ForeignWrite));
    let error = ask(&kernel).unwrap_err();
    assert!(matches!(&error, DeviceError::TsmContended { expected: 1, found, .. } if found == "2"), "{error}");
}

#[test]
fn a_busy_device_is_asked_again_and_in_the_end_given_up() {
    for code in [EBUSY, 11] {
        let kernel = snp().meeting((1..ATTEMPTS).map(|_| Mischief::Outblob(code)));
        ask(&kernel).unwrap();
    }
    let kernel = snp().meeting((0..ATTEMPTS).map(|_| Mischief::Outblob(EBUSY)));
    let error = ask(&kernel).unwrap_err();
    assert!(matches!(error, DeviceError::TsmBusy { attempts: ATTEMPTS, .. }), "{error}");
}

#[test]
fn another_failure_is_final_and_says_what_it_means() {
    const EIO: i32 = 5;
    const EFBIG: i32 = 27;
    const ETIMEDOUT: i32 = 110;
    for (code, word) in [(EIO, "dmesg"), (EFBIG, "larger than the kernel"), (ETIMEDOUT, "quote generation service")] {
        // What would follow is never asked for.
        let kernel = snp().meeting([Mischief::Outblob(code), Mischief::None]);
        let error = ask(&kernel).unwrap_err();
        assert!(matches!(error, DeviceError::Tsm { .. }) && error.to_string().contains(word), "{error}");
        assert_eq!(kernel.mischief.lock().unwrap().len(), 1);
    }
}

#[test]
fn another_provider_is_named() {
    let kernel = Kernel::of("tdx_guest", 1184).meeting([]);
    for error in [ask(&kernel).unwrap_err(), reports(&kernel).check(KIND).unwrap_err()] {
        assert!(
            matches!(&error, DeviceError::TsmProvider { expected: "sev_guest", found, .. } if found == "tdx_guest"),
            "{error}"
        );
    }
    assert!(kernel.written.lock().unwrap().is_empty(), "something was asked of the wrong machine");
    reports(&snp().meeting([])).check(KIND).unwrap();
}

#[test]
fn what_is_too_long_is_refused() {
    for (length, aux) in [(1185, None), (1184, Some(vec![0; 4097]))] {
        let kernel = Kernel { aux, ..Kernel::of("sev_guest", length) }.meeting([]);
        let error = ask(&kernel).unwrap_err();
        assert!(matches!(error, DeviceError::Size { .. }), "{error}");
    }
    ask(&Kernel { aux: Some(vec![0; 4096]), ..snp() }.meeting([])).unwrap();
}

#[test]
fn what_is_missing_is_told_apart() {
    let refused = |code| ask(&Kernel { refuses: Some(code), ..snp() }.meeting([])).unwrap_err();
    assert!(matches!(refused(2), DeviceError::TsmMissing { .. }));
    assert!(matches!(refused(6), DeviceError::TsmWithoutProvider { .. }));
    assert!(matches!(refused(13), DeviceError::TsmPermission { .. }));
    assert!(matches!(refused(1), DeviceError::TsmPermission { .. }));
    let read_only = refused(30);
    assert!(read_only.to_string().contains("ReadWritePaths"), "{read_only}");
    let nowhere = TsmReports::over(Arc::new(ConfigFs::at("/nonexistent/tsm/report".into())));
    assert!(matches!(nowhere.check(KIND), Err(DeviceError::TsmMissing { .. })));
}

#[test]
fn a_device_that_hangs_is_given_up_and_cleans_up_when_it_ends() {
    let (end, hang) = mpsc::channel();
    let kernel = snp().meeting([Mischief::Hang(hang)]);
    let reports = TsmReports::hurried(Arc::clone(&kernel) as Arc<dyn TsmFiles>, Duration::from_millis(50));
    let error = reports.report(KIND, [7; 64]).unwrap_err();
    assert!(matches!(error, DeviceError::Timeout { device: EvidenceKind::SevSnp, .. }), "{error}");
    assert_eq!(kernel.left().len(), 1);
    drop(end);
    // The next one waits for its turn, which the hanging one holds until it has cleaned up.
    let patient = TsmReports { worker: reports.worker.with_deadline(PATIENT), ..reports };
    patient.report(KIND, [8; 64]).unwrap();
    assert_eq!(kernel.left(), Vec::<String>::new());
}

#[test]
fn what_dead_processes_left_is_removed_and_nothing_else() {
    let mut child = Command::new("true").spawn().unwrap();
    let dead = child.id();
    child.wait().unwrap();
    let kernel = snp().meeting([]);
    let (mine, init) = (our_name(process::id(), 4_000_000_000), our_name(1, 0));
    // Of an agent in another container, whose processes are not to be seen here.
    let elsewhere = format!("{OURS}{}-{dead}-0", *NAMESPACE + 1);
    let others = ["job".to_owned(), "strongroom-x".to_owned(), format!("{OURS}{dead}-0"), mine, init, elsewhere];
    for name in others.iter().chain([&our_name(dead, 0)]) {
        kernel.make(name).unwrap();
    }
    reports(&kernel).report(KIND, [7; 64]).unwrap();
    let mut left = kernel.left();
    let mut expected = others.to_vec();
    left.sort();
    expected.sort();
    assert_eq!(left, expected);
}

#[test]
fn what_a_process_with_our_id_left_is_made_anew() {
    let kernel = snp().meeting([]);
    // The numbers that come next, whatever other tests have taken.
    let next = REPORTS.load(Ordering::Relaxed);
    for number in next..next + 200 {
        kernel.make(&our_name(process::id(), number)).unwrap();
    }
    assert_eq!(reports(&kernel).report(KIND, [7; 64]).unwrap().report[1120..], [7; 64]);
}

#[test]
fn concurrent_requests_take_turns() {
    let kernel = snp().meeting([]);
    let reports = reports(&kernel);
    std::thread::scope(|scope| {
        for byte in 0..8 {
            let reports = &reports;
            scope.spawn(move || assert_eq!(reports.report(KIND, [byte; 64]).unwrap().report[1120..], [byte; 64]));
        }
    });
}
