//! The whole main job by the command line alone.

use crate::world::content;
use serde_json::Value;
use std::fs;
use strongroom_protocol::{admin::Role, sha256};
use strongroom_tests::{Cli, Machine, Vault, member, programs};

#[test]
fn the_main_job_by_the_command_line_alone() {
    let [node] = member::boot(&Machine::default()).unwrap();
    let mut vault = Vault::init().unwrap();
    vault.trust(&node).unwrap();
    assert!(!vault.serve().unwrap());
    let desk = Cli::new(vault.beside("desk")).unwrap();
    desk.join(&vault.join_path()).unwrap();
    let admin = desk.clone().with_token(vault.admin_token());
    let person = |name: &str, role: Role| {
        let out = vault.beside(name);
        let out_text = out.to_str().unwrap();
        let create = ["token", "create", "--person", name, "--role", role.as_str(), "--expires-in", "1d", "--out"];
        admin.run(create.into_iter().chain([out_text])).unwrap().done().unwrap();
        desk.clone().with_token(out)
    };
    let olga = person("olga", Role::Operator);
    let carl = person("carl", Role::Custodian);
    let (edna, emil) = (person("edna", Role::Endorser), person("emil", Role::Endorser));
    let (anne, paul) = (person("anne", Role::PolicyAuthor), person("paul", Role::PolicyApprover));
    let vera = person("vera", Role::Auditor);
    olga.run(["site", "create", "fra-1", "--jurisdiction", "DE"]).unwrap().done().unwrap();

    let on = Cli::new(vault.beside("node")).unwrap();
    on.join(&vault.join_path()).unwrap();
    let (tcti, log) = (node.tpm.tcti(), node.boot_log());
    let enrol = ["node", "enroll", "--tcti", &tcti, "--boot-log", log.to_str().unwrap(), "--label", "rack=b7"];
    let enrolled: Value = on.ask(enrol).unwrap();
    let id = enrolled["node"].as_str().unwrap();
    assert!(on.run(["node", "status"]).unwrap().done().unwrap().stdout.contains("pending"));
    assert_eq!(on.run(enrol).unwrap().code, Some(2), "enrolled twice");
    olga.run(["node", "approve", id, "--site", "fra-1", "--single-job"]).unwrap().done().unwrap();
    assert!(on.run(["node", "status"]).unwrap().done().unwrap().stdout.contains("approved, in site fra-1"));
    edna.run(["reference", "from-node", id, "--record", "gpu-nodes"]).unwrap().done().unwrap();
    assert_eq!(edna.refused(["reference", "approve", "gpu-nodes", "1"]).unwrap().status, 403, "her own");
    emil.run(["reference", "approve", "gpu-nodes", "1"]).unwrap().done().unwrap();

    let baseline = programs::project().join("policies/baseline");
    let proposed: Value = anne.ask(["policy", "propose", baseline.to_str().unwrap()]).unwrap();
    let digest = proposed["digest"].as_str().unwrap();
    assert_eq!(anne.refused(["policy", "enforce", digest]).unwrap().status, 403);
    paul.run(["policy", "enforce", digest]).unwrap().done().unwrap();
    let create = ["asset", "create", "minilm", "--jurisdiction", "DE", "--reference-set", "gpu-nodes"];
    carl.run(create).unwrap().done().unwrap();

    let dir = tempfile::tempdir().unwrap();
    for (i, plaintext) in [content(3, 3 << 20), Vec::new(), vec![1]].iter().enumerate() {
        let file = dir.path().join(format!("model-{i}"));
        fs::write(&file, plaintext).unwrap();
        let sealed: Value = on.ask(["seal", file.to_str().unwrap(), "--asset", "minilm"]).unwrap();
        let path = sealed["file"].as_str().unwrap();
        assert_eq!(path, format!("{}.sealed", file.display()));
        let opened: Value = on.ask(["open", path, "--asset", "minilm", "--digest"]).unwrap();
        assert_eq!(opened["sha256"], hex::encode(sha256(plaintext)), "{opened}");
        let inspected: Value = desk.ask(["inspect", path]).unwrap();
        assert_eq!(inspected["asset"], "minilm");
        assert_eq!(on.run(["seal", file.to_str().unwrap(), "--asset", "minilm"]).unwrap().code, Some(2), "replaced");
    }
    let granted = vera.run(["audit", "query", "--last", "1h", "--asset", "minilm", "--verdict", "released"]).unwrap();
    assert_eq!(granted.done().unwrap().stdout.matches("release.decided").count(), 6);
    assert_eq!(carl.run(["lease", "list"]).unwrap().done().unwrap().stdout.lines().nth(1), Some("(none)"));
    for list in [["node", "list"], ["site", "list"], ["token", "list"], ["asset", "list"], ["policy", "list"]] {
        vera.run(list).unwrap().done().unwrap();
    }
    assert!(vault.stop().unwrap().success());
    let down = on.run(["open", "x", "--asset", "minilm"]).unwrap();
    assert_eq!(down.code, Some(2), "a file that is not there: {}", down.stderr);
    let file = dir.path().join("model-0.sealed");
    let down = on.run(["open", file.to_str().unwrap(), "--asset", "minilm"]).unwrap();
    assert_eq!(down.code, Some(3), "a vault that is not there: {}", down.stderr);
}
