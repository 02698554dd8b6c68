//! `strongroom doctor --node`: says of a real node what it has, and of each fault what to do.

use super::{fallback::without_memfd_secret, has_memfd_secret, strict};
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};
use strongroom_protocol::join::JoinFile;
use strongroom_tests::{Cli, Ran, programs, vault::copy_files};

/// The verdict on one check; a remedy stands with everything that is not ok.
fn verdict(ran: &Ran, check: &str) -> String {
    let rows: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    for row in &rows {
        assert_eq!(row["verdict"] == "ok", row.get("remedy").is_none(), "{row}");
    }
    let row = rows.iter().find(|row| row["check"] == check).unwrap_or_else(|| panic!("no row {check}: {rows:?}"));
    row["verdict"].as_str().unwrap().to_owned()
}

#[test]
fn a_node_is_examined_and_each_fault_is_named() {
    let world = strict();
    let node = world.node();
    let examine = |cli: &Cli| cli.run(["--json", "--patience", "1s", "doctor", "--node"]).unwrap();
    let good = examine(&node.cli);
    assert_eq!(good.code, Some(0), "{}{}", good.stdout, good.stderr);
    for check in ["hardening", "tpm", "vault", "clock", "file modes", "core_pattern"] {
        assert_eq!(verdict(&good, check), "ok", "{check}: {}", good.stdout);
    }
    // For people: the same, a line each.
    let text = node.cli.run(["doctor", "--node"]).unwrap();
    assert!(text.code == Some(0) && text.stdout.contains("ok    vault          "), "{}", text.stdout);
    // Without --node there is nothing of the machine.
    let client = node.cli.run(["doctor"]).unwrap();
    assert!(!client.stdout.contains("swap") && client.stdout.contains("vault"), "{}", client.stdout);

    // Settings are read below another root, where one is given: here there is nothing.
    let empty = tempfile::tempdir().unwrap();
    let root = empty.path().to_str().unwrap();
    let elsewhere = node.cli.run(["--json", "doctor", "--node", "--root", root]).unwrap();
    assert_eq!((verdict(&elsewhere, "swap").as_str(), elsewhere.code), ("fail", Some(1)));

    if has_memfd_secret() {
        assert_eq!(verdict(&good, "memfd_secret"), "ok");
        let starter = without_memfd_secret();
        let words: Vec<&str> = starter.iter().map(|word| word.to_str().unwrap()).collect();
        let without = node.cli.clone().started_by(programs::built("strongroom").unwrap(), &words);
        let ran = examine(&without);
        assert_eq!((verdict(&ran, "memfd_secret").as_str(), ran.code), ("warn", Some(0)));
    }

    // A copy of the home, to be spoilt.
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("home");
    copy_files(node.cli.home(), &path).unwrap();
    let spoilt = Cli::new(path.clone()).unwrap().in_turn(&node.turn);
    fs::set_permissions(path.join("join.json"), Permissions::from_mode(0o666)).unwrap();
    let ran = examine(&spoilt);
    assert_eq!((verdict(&ran, "file modes").as_str(), ran.code), ("fail", Some(1)));
    fs::set_permissions(path.join("join.json"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(examine(&spoilt).code, Some(0));

    let config = fs::read_to_string(path.join("node.json")).unwrap();
    let mut other: Value = serde_json::from_str(&config).unwrap();
    other["state_dir"] = path.join("nothing").to_str().unwrap().into();
    fs::write(path.join("node.json"), other.to_string()).unwrap();
    let ran = examine(&spoilt);
    assert_eq!((verdict(&ran, "tpm").as_str(), ran.code), ("fail", Some(1)));
    fs::write(path.join("node.json"), r#"{"agent": "/nonexistent/agent.sock"}"#).unwrap();
    assert_eq!(verdict(&examine(&spoilt), "agent"), "fail");
    fs::remove_file(path.join("node.json")).unwrap();
    assert_eq!(verdict(&examine(&spoilt), "evidence"), "fail");

    // Another vault than the pinned one, and none at all.
    let mut join = world.vault.join_file().unwrap();
    let url = std::mem::replace(&mut join.url, "https://127.0.0.1:1".to_owned());
    let write = |join: &JoinFile| fs::write(path.join("join.json"), serde_json::to_vec(join).unwrap()).unwrap();
    write(&join);
    assert_eq!(verdict(&examine(&spoilt), "vault"), "fail");
    join.url = url;
    join.vault_ids.clear();
    write(&join);
    assert_eq!(verdict(&examine(&spoilt), "vault"), "fail");
}
