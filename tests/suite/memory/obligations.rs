//! (f) Settings that defeat protection: refused by the obligation that they break, accepted without it.

use super::{
    CAP_SYS_ADMIN, Sealed, fallback::without_memfd_secret, has_memfd_secret, may, may_look, release, row, strict,
};
use serde_json::Value;
use std::{ffi::OsStr, fs};
use strongroom_tests::{Victim, programs};

/// Mounts a file over `/proc/swaps`, for one process, and becomes it.
const WITH_SWAPS: &str = r#"mount --bind "$0" /proc/swaps && exec "$@""#;
/// Root as he is where the right to lock memory was taken from him.
const WITHOUT_IPC_LOCK: [&str; 4] = ["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "--"];

fn refusal(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_else(|| panic!("not refused: {answer}"))
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn swap_defeats_memory_that_is_not_locked_and_no_other() {
    if !may(CAP_SYS_ADMIN) {
        return programs::skip("no_swap", "only root with CAP_SYS_ADMIN can show a process another /proc/swaps");
    }
    let world = strict();
    let sealed = Sealed::make(&world, "swap");
    let swaps = sealed.directory.path().join("swaps");
    fs::write(&swaps, "Filename\tType\tSize\tUsed\tPriority\n/dev/sda9 partition\t8388604\t0\t-2\n").unwrap();
    let starter = ["unshare", "--mount", "--", "sh", "-c", WITH_SWAPS, swaps.to_str().unwrap()].map(OsStr::new);

    let mut weak = sealed.job(&world, &starter, &["--accept-unlocked-memory"]);
    weak.done("connect").unwrap();
    let answer = release(&world, &mut weak);
    says(refusal(&answer), &["`no_swap`", "swap that is not encrypted is active (/dev/sda9)"]);
    // The same swap, and locked memory: there is nothing for it to take.
    let (_, accepted) = sealed.holder(&world, &starter, &[]);
    assert!(accepted.get("arena").is_some());
    row(
        'f',
        "no_swap: unlocked memory accepted by the job, swap active (another /proc/swaps mounted for it)",
        "accepted with locked memory beside the same swap",
        "refused, and the swap area named",
    );
}

#[test]
fn a_file_is_not_opened_with_less_than_the_vault_was_told() {
    if !programs::is_root() {
        return programs::skip("no_swap", "the limit is that of root without CAP_IPC_LOCK");
    }
    let world = strict();
    let sealed = Sealed::make(&world, "told");
    let starter = WITHOUT_IPC_LOCK.map(OsStr::new);
    let (mut job, _) = sealed.holder(&world, &starter, &[]);
    let answer = job.ask("open-unlocked").unwrap();
    says(
        answer["refused"].as_str().unwrap_or_else(|| panic!("{answer}")),
        &["unlocked_memory", "not named to the vault"],
    );
    // Where it can be locked all the same, the same call opens.
    let (mut job, _) = sealed.holder(&world, &[], &[]);
    assert_eq!(job.ask("open-unlocked").unwrap()["opened"], true);
    row(
        'f',
        "no_swap: a file opened with less than the vault was told, and no right to lock",
        "opened where the memory could be locked",
        "refused",
    );
}

#[test]
fn a_process_whose_hardening_was_lifted_gets_nothing() {
    let world = strict();
    let sealed = Sealed::make(&world, "lifted");
    let mut job = sealed.job(&world, &[], &[]);
    job.done("connect").unwrap();
    job.done("dumpable").unwrap();
    let answer = release(&world, &mut job);
    says(refusal(&answer), &["`no_core_dump`", "hardening"]);
    // Connecting again hardens again.
    job.done("connect").unwrap();
    assert!(release(&world, &mut job).get("arena").is_some());
    row(
        'f',
        "no_core_dump: PR_SET_DUMPABLE lifted between connect and release",
        "accepted after hardening again",
        "refused; a core_pattern that pipes is not asked: see (a)",
    );
}

#[test]
fn a_process_that_is_traced_gets_nothing() {
    if !may_look("no_trace") {
        return;
    }
    let world = strict();
    let sealed = Sealed::make(&world, "traced");
    let mut job = sealed.job(&world, &[], &[]);
    job.done("connect").unwrap();
    let trace = ["trace", &job.pid().to_string()].map(str::to_owned);
    let mut tracer = Victim::start(&Victim::program().unwrap(), &[], sealed.directory.path(), trace).unwrap();
    assert_eq!(tracer.hello["traces"], true, "{}", tracer.hello);
    let answer = release(&world, &mut job);
    says(refusal(&answer), &["`no_trace`", &format!("process {}", tracer.pid())]);
    tracer.wait().unwrap();
    assert!(release(&world, &mut job).get("arena").is_some());
    row('f', "no_trace: a debugger of root attached", "accepted once it has let go", "refused, and its process named");
}

#[test]
fn locked_pages_are_not_taken_for_secret_ones() {
    if !has_memfd_secret() {
        return row('f', "secret_key_pages: not tried", "this kernel has no memfd_secret", "");
    }
    let world = strict();
    let sealed = Sealed::make(&world, "not-secret");
    let starter = without_memfd_secret();
    let starter: Vec<&OsStr> = starter.iter().map(std::ffi::OsString::as_os_str).collect();
    let mut job = sealed.job(&world, &starter, &[]);
    job.done("connect").unwrap();
    let answer = release(&world, &mut job);
    says(refusal(&answer), &["`secret_key_pages`", "memfd_secret"]);
    let (_, accepted) = sealed.holder(&world, &[], &[]);
    assert_eq!(accepted["handling"]["key_pages"], "memfd_secret");
    row(
        'f',
        "secret_key_pages: a kernel without memfd_secret(2) (seccomp filter)",
        "accepted without the filter",
        "refused",
    );
}
