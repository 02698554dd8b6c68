//! What a command says of arguments, files and outputs that will not do.

use super::{client, world};
use crate::{sealing::seal_once, world::World};
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    process::Stdio,
    time::{Duration, Instant},
};
use strongroom_protocol::admin::Role;
use strongroom_tests::Cli;

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let world = world();
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    for arguments in
        [["audit", "query"].as_slice(), &["--json", "audit", "query"], &["--help"], &["completions", "bash"]]
    {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ran = auditor.command(arguments).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(ran.status.code(), Some(4), "{arguments:?}: {said}");
        assert!(said.contains("standard output"), "{arguments:?}: {said}");
    }
    // Nobody is left to be told, and that is no reason to panic.
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let ran = auditor.command(["audit", "show", "-x"]).stdout(full()).stderr(full()).output().unwrap();
    assert_eq!(ran.status.code(), Some(2));
}

#[test]
fn a_pipe_is_not_waited_for_and_what_is_not_there_is_the_callers_to_mend() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let (pipe, missing) = (dir.path().join("pipe"), dir.path().join("missing"));
    mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    let node = &world.node().cli;
    let start = Instant::now();
    for file in [&pipe, &missing] {
        let file = file.to_str().unwrap();
        for command in [["open", file, "--asset", "x"].as_slice(), &["seal", file, "--asset", "x"], &["inspect", file]]
        {
            let ran = node.run(command).unwrap();
            assert_eq!(ran.code, Some(2), "{command:?}: {}", ran.stderr);
            assert!(ran.stderr.contains(file), "{command:?}: {}", ran.stderr);
        }
    }
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_plaintext_is_not_replaced_by_its_own_sealed_file() {
    let world = world();
    world.asset("itself", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (plain, link) = (dir.path().join("plain"), dir.path().join("link"));
    fs::write(&plain, b"the only copy").unwrap();
    std::os::unix::fs::symlink(&plain, &link).unwrap();
    for target in [&plain, &link] {
        let seal = ["seal", plain.to_str().unwrap(), "--asset", "itself", "--replace", "-o", target.to_str().unwrap()];
        let ran = world.node().cli.run(seal).unwrap();
        assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("its plaintext would be lost"), "{}", ran.stderr);
    }
    assert_eq!(fs::read(&plain).unwrap(), b"the only copy");
    assert!(world.records(&["--action", "release.decided", "--asset", "itself"]).is_empty(), "a lease was asked for");
}

#[test]
fn a_file_that_has_more_than_it_says_is_not_sealed_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("x.sealed");
    let seal = ["seal", "/proc/cpuinfo", "--asset", "x", "-o", target.to_str().unwrap()];
    let ran = world().node().cli.run(seal).unwrap();
    assert_eq!(ran.code, Some(2), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("the file goes on where its size says that it ends"), "{}", ran.stderr);
    assert!(!target.exists());
}

#[test]
fn typing_errors_are_refused_and_told_as_json_where_that_was_asked_for() {
    let world = world();
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    for filter in [
        ["--verdict", "maybe"],
        ["--action", "nonsense.thing"],
        ["--node", "short"],
        ["--asset", "../x"],
        ["--actor", "olga"],
    ] {
        for list in [["audit", "query"], ["decision", "list"]] {
            let ran = auditor.run(list.iter().chain(&filter)).unwrap();
            assert_eq!(ran.code, Some(2), "{filter:?}: {}{}", ran.stdout, ran.stderr);
            assert!(ran.stdout.is_empty() && ran.stderr.starts_with("error:"), "{filter:?}: {}", ran.stderr);
        }
    }
    let ran = auditor.run(["--json", "audit", "query", "--verdict", "maybe"]).unwrap();
    let told: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!((ran.code, &told["error"]["exit"], &told["error"]["problem"]), (Some(2), &json!(2), &Value::Null));
    let help = auditor.run(["--help"]).unwrap().done().unwrap().stdout;
    assert!(help.contains("Exit codes:") && help.contains("  143  "), "{help}");
    let missing = auditor.clone().with_token("nosuch".into()).run(["audit", "query"]).unwrap();
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("token file nosuch is not there"), "{}", missing.stderr);
}

/// A home that was named relative to one directory means the same from every other.
#[test]
fn a_relative_home_is_the_same_from_everywhere() {
    // Of its own: another enrolment of a TPM takes the first one's approval.
    let world = World::found::<1>(&[]);
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let cli = Cli::new(home.clone()).unwrap();
    cli.join(&world.vault.join_path()).unwrap();
    let (tcti, log) = (world.node().node.tpm.tcti(), world.node().node.boot_log());
    let enrol = ["node", "enroll", "--tcti", &tcti, "--boot-log", log.to_str().unwrap()];
    let _alone = world.node().turn.take();
    let ran = relative(&cli, dir.path(), &enrol);
    assert_eq!(ran.0, Some(0), "{}", ran.1);
    let node: Value = serde_json::from_slice(&fs::read(home.join("node.json")).unwrap()).unwrap();
    assert_eq!(node["state_dir"], json!(home.join("node")), "{node}");
    // As an older version wrote it.
    let mut old = node.clone();
    old["state_dir"] = json!("home/node");
    fs::write(home.join("node.json"), old.to_string()).unwrap();
    let ran = cli.run(["evidence", "collect"]).unwrap();
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("state_dir"), "{}", ran.stderr);
    // An AK that is not there is not made anew.
    let mut moved = node;
    moved["state_dir"] = json!(dir.path().join("elsewhere"));
    fs::write(home.join("node.json"), moved.to_string()).unwrap();
    let ran = cli.run(["evidence", "collect"]).unwrap();
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("no AK in") && ran.stderr.contains("copied"), "{}", ran.stderr);
    assert!(!dir.path().join("elsewhere").exists(), "another AK was made");
}

/// Runs a command in a directory, with its home named relative to it.
fn relative(cli: &Cli, dir: &std::path::Path, arguments: &[&str]) -> (Option<i32>, String) {
    let command = cli.command(arguments);
    let name = cli.home().file_name().unwrap().to_owned();
    let mut again = std::process::Command::new(command.get_program());
    again.args(command.get_args().map(|a| if a == cli.home() { name.as_os_str() } else { a }));
    let output = again.current_dir(dir).stdin(Stdio::null()).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_release_is_explained_with_its_policy_and_its_obligations() {
    let world = world();
    world.asset("explained", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (room, devices) = client(&world);
    seal_once(&room, &devices, "explained", 1, b"x", &dir.path().join("x.sealed"));
    let decided = world.records(&["--action", "release.decided", "--asset", "explained"]);
    let id = decided[0]["id"].as_str().unwrap();
    let said = world.vault.cli(Role::Auditor).unwrap().run(["explain", id]).unwrap().done().unwrap().stdout;
    let digest = decided[0]["policy"]["digest"].as_str().unwrap();
    for part in [digest, "obligations of the holder", "lease_seconds", "no_swap"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn what_will_open_nothing_is_warned_of() {
    let world = world();
    let custodian = world.vault.cli(Role::Custodian).unwrap();
    let ran = custodian.run(["asset", "create", "closed"]).unwrap().done().unwrap();
    for option in ["--jurisdiction", "--reference-set"] {
        assert!(ran.stderr.contains(&format!("strongroom: warning: without {option}")), "{}", ran.stderr);
    }
    let open = ["asset", "create", "opened", "--jurisdiction", "DE", "--reference-set", "usual"];
    let ran = custodian.run(open).unwrap().done().unwrap();
    assert!(!ran.stderr.contains("warning"), "{}", ran.stderr);
}
