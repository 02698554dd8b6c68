//! A user without rights who tries the commands of a node: told what to do, in a line each.

use super::{Desk, Rig};
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
};
use strongroom_tests::{
    Cli, Ran,
    programs::{self, NOBODY},
};

/// As somebody who has nothing.
const WITHOUT: [&str; 7] =
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--bounding-set=-all", "--"];

/// What was found, and the remedy, of each check that does not hold.
fn failed(ran: &Ran) -> Vec<(String, String, String)> {
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{}", ran.stdout);
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    let failed = rows.iter().filter(|row| row["verdict"] == "fail");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    failed.map(|row| (text(row, "check"), text(row, "found"), text(row, "remedy"))).collect()
}

#[track_caller]
fn told(ran: &Ran, code: i32, words: &str) {
    println!("{}", ran.stderr.trim());
    assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
    let said: Vec<&str> = ran.stderr.lines().filter(|line| !line.contains(" WARN ")).collect();
    assert_eq!(said.len(), 1, "a stack of errors: {said:#?}");
    assert!(said[0].contains(words), "{words:?}: {}", said[0]);
}

#[test]
fn a_user_without_rights_is_told_what_to_do() {
    if !programs::is_root() {
        return programs::skip("nobody", "only root can take rights away");
    }
    let rig = Rig::with("0660", &[]);
    let desk = Desk::of(&rig);
    let program = Path::new(&desk.path("strongroom")).to_owned();
    let nobody = |home: &Path| Cli::new(home.to_owned()).unwrap().started_by(program.clone(), &WITHOUT);
    let doctor = ["--json", "--patience", "1s", "doctor", "--node"];

    // The agent's socket is for a group that he is not in.
    let own = Path::new(&desk.path("home")).to_owned();
    let found = failed(&nobody(&own).run(doctor).unwrap());
    let [(check, what, remedy)] = found.as_slice() else { panic!("{found:?}") };
    assert!(check == "agent" && what.contains("permission denied") && remedy.contains("usermod"), "{found:?}");
    told(&nobody(&own).run(["run", "--", "true"]).unwrap(), 4, "add this user to the group");

    // Another's home is not taken for one that is not enrolled.
    let closed = rig.member().cli.home();
    fs::set_permissions(closed, Permissions::from_mode(0o700)).unwrap();
    let found = failed(&nobody(closed).run(doctor).unwrap());
    assert_eq!(found.len(), 2, "{found:?}");
    for (_, what, remedy) in &found {
        assert!(what.contains("may not look there") && !what.contains("not enrolled"), "{found:?}");
        assert!(remedy.contains("--home"), "{found:?}");
    }
    told(&nobody(closed).run(["node", "status"]).unwrap(), 2, "may not look there");

    // A home of his own, with files that he may not read.
    for name in ["join.json", "node.json"] {
        chown(own.join(name), Some(0), Some(0)).unwrap();
        fs::set_permissions(own.join(name), Permissions::from_mode(0o600)).unwrap();
    }
    let found = failed(&nobody(&own).run(doctor).unwrap());
    assert!(found.len() == 2 && found.iter().all(|(.., remedy)| remedy.contains("chmod 0644")), "{found:?}");

    // And an agent: without its key, without a place for its socket.
    let (tcti, state) = (rig.member().node.tpm.tcti(), closed.join("node"));
    let agent = |state: &Path, socket: &str| {
        let _alone = rig.member().turn.take();
        let state = state.to_str().unwrap();
        let arguments = ["agent", "--accept-namespaces", "--tcti", &tcti, "--state-dir", state, "--socket", socket];
        nobody(&own).run(arguments).unwrap()
    };
    told(&agent(&state, &desk.path("agent.sock")), 4, "run this as the user to whom the AK's directory belongs");
    let copy = desk.dir.path().join("state");
    strongroom_tests::vault::copy_files(&state, &copy).unwrap();
    for path in fs::read_dir(&copy).unwrap().map(|entry| entry.unwrap().path()).chain([copy.clone()]) {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    told(&agent(&copy, "/run/strongroom-test/agent.sock"), 4, "give --socket a path");
    told(&agent(&copy, "/etc/agent.sock"), 4, "give --socket a path");
}
