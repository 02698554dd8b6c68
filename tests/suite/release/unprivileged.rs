//! As somebody who has nothing but the right to lock memory, and as somebody who lacks even that.

use super::world;
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};
use strongroom_tests::{
    Cli,
    programs::{self, AS_NOBODY, NOBODY},
    vault::copy_files,
};

/// Gives up the right to lock memory too, with a limit that does not hold a model.
const WITHOUT: [&str; 8] = [
    "prlimit",
    "--memlock=65536:65536",
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--bounding-set=-all",
    "--",
];

/// A copy of the node's home and of the program that belongs to nobody.
fn hand_over(from: &Cli, dir: &Path) -> (PathBuf, PathBuf) {
    fs::set_permissions(dir, Permissions::from_mode(0o777)).unwrap();
    let program = dir.join("strongroom");
    fs::copy(programs::built("strongroom").unwrap(), &program).unwrap();
    let home = dir.join("home");
    copy_files(from.home(), &home).unwrap();
    copy_files(&from.home().join("node"), &home.join("node")).unwrap();
    let config = fs::read_to_string(home.join("node.json")).unwrap();
    let moved = config.replace(from.home().to_str().unwrap(), home.to_str().unwrap());
    fs::write(home.join("node.json"), moved).unwrap();
    for path in [home.clone(), home.join("node")] {
        for entry in fs::read_dir(&path).unwrap() {
            chown(entry.unwrap().path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    (program, home)
}

#[test]
fn the_right_to_lock_memory_is_all_that_is_needed_and_it_is_needed() {
    if !programs::is_root() {
        return programs::skip("unprivileged", "only root can take rights away");
    }
    let world = world();
    world.asset("unprivileged", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (program, home) = hand_over(&world.node().cli, dir.path());
    let plain = dir.path().join("model");
    fs::write(&plain, vec![5; 1 << 20]).unwrap();
    fs::set_permissions(&plain, Permissions::from_mode(0o644)).unwrap();
    // The boot log lies in the node's own directory, which is closed to others.
    let log = home.join("boot.log");
    fs::copy(world.node().node.boot_log(), &log).unwrap();
    let config = fs::read_to_string(home.join("node.json")).unwrap();
    let config = config.replace(world.node().node.boot_log().to_str().unwrap(), log.to_str().unwrap());
    fs::write(home.join("node.json"), config).unwrap();

    let allowed = Cli::new(home.clone()).unwrap().started_by(program.clone(), &AS_NOBODY).in_turn(&world.node().turn);
    let sealed: Value = allowed.ask(["seal", plain.to_str().unwrap(), "--asset", "unprivileged"]).unwrap();
    let file = sealed["file"].as_str().unwrap();
    let opened: Value = allowed.ask(["open", file, "--asset", "unprivileged", "--digest"]).unwrap();
    assert_eq!(opened["handling"]["weakened"], serde_json::json!([]));

    let lacking = Cli::new(home).unwrap().started_by(program, &WITHOUT).in_turn(&world.node().turn);
    let ran = lacking.run(["open", file, "--asset", "unprivileged", "--digest"]).unwrap();
    println!("without the right to lock memory: exit {:?}: {}", ran.code, ran.stderr.trim());
    assert_eq!(ran.code, Some(4), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.is_empty());
    for word in ["RLIMIT_MEMLOCK", "65536", "LimitMEMLOCK="] {
        assert!(ran.stderr.contains(word), "{word} is not named: {}", ran.stderr);
    }
}
