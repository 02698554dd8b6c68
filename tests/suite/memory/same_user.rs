//! (c) Another process of the same user.

use super::{CANARY, EVERY_WAY, read_by, row, strict, ways};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};
use strongroom_tests::{Victim, programs};

const NOBODY: [&str; 8] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=-all",
    "--ambient-caps=-all",
    "--bounding-set=-all",
    "--",
];

#[test]
fn another_process_of_the_same_user_cannot_read_a_job() {
    if !programs::is_root() {
        return programs::skip("same user", "only root can start processes of a user without rights");
    }
    let yama = fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    if !matches!(yama.trim(), "" | "0") {
        return row('c', "not tried", "Yama refuses such reads anyway: there is nothing to compare with", "");
    }
    let world = strict();
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let (program, join) = (directory.path().join("memory-victim"), directory.path().join("join.json"));
    fs::copy(Victim::program().unwrap(), &program).unwrap();
    fs::copy(world.vault.join_path(), &join).unwrap();
    for path in [&program, &join] {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let nobody = NOBODY.map(OsStr::new);
    let start = |arguments: &[&str]| Victim::start(&program, &nobody, directory.path(), arguments).unwrap();
    let read = |victim: &Victim| read_by(&nobody, &program, directory.path(), victim.pid(), &victim.hello["ordinary"]);
    let hold = ["hold", "--canary", CANARY, "--join", join.to_str().unwrap()];

    let (mut job, twin) = (start(&hold), start(&hold));
    let mut early = start(&["open-then-read", &job.pid().to_string()]);
    // The control: before it connects, and in a twin that does not.
    assert_eq!(ways(&read(&job)), EVERY_WAY);
    job.done("connect").unwrap();
    assert_eq!(ways(&read(&twin)), EVERY_WAY);
    let refused = read(&job);
    assert_eq!(ways(&refused), [""; 0], "{refused}");

    // What hardening cannot take back. Yama can (`ptrace_scope` 1), and the doctor says so.
    let line = format!("{} {}", job.hello["ordinary"], CANARY.len());
    let kept: Value = early.done(&line).unwrap();
    assert_eq!(kept, json!({ "read": hex::encode(CANARY) }));
    row(
        'c',
        "/proc/PID/mem, process_vm_readv and ptrace by a process of the same user (nobody)",
        "all three read a twin that is not hardened, and the job itself before it connects",
        "all three refused; not refused: /proc/PID/mem that was opened before the job connected, where ptrace_scope is 0",
    );
}
