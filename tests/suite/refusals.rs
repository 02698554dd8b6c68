//! What is refused, and that the refusal is told, recorded and explained.

use crate::{
    sealing::{open, read_lease, seal_once},
    world::{REFERENCES, Shared, World, act, content},
};
use serde_json::Value;
use std::{fs, path::Path, sync::Arc};
use strongroom::Request;
use strongroom_protocol::{Code, Problem, admin::Role, audit::DecisionView, lease::LeaseState};
use strongroom_tests::{Cli, Event, Machine, Member, Wire, bootlog::kind, tpm_commands, wire::writer_key};

static WORLD: Shared = Shared::new();

/// Node 0 is approved; node 1 is what the story of one node makes of it.
fn world() -> Arc<World> {
    WORLD.get(|| {
        let world = World::found::<2>(&[]);
        world.node().approve(&world.vault, "fra-1").unwrap();
        world.refer_to(world.node());
        world.vault.enforce_baseline(&[]).unwrap();
        world
    })
}

/// Names in a directory.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A node asks by the command line for what it must not get: exit code 1, a problem document with
/// exactly these reasons and nothing that tells what would be accepted, the denial in the ledger, an
/// explanation that names each reason, and no file that was not there.
fn denied(world: &World, node: &Member, arguments: &[&str], dir: &Path, reasons: &[&str]) -> (Problem, DecisionView) {
    let before = names(dir);
    let ran = node.cli.run(["--json"].iter().chain(arguments)).unwrap();
    let problem = ran.problem().unwrap();
    println!("denied: {} → {}", reasons.join(", "), ran.stderr.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!((problem.status, problem.code), (403, Code::Denied));
    assert_eq!(problem.kind, "urn:strongroom:problem:denied");
    assert_eq!(problem.reasons, reasons);
    assert!(problem.request_id.is_some() && problem.detail.is_none() && problem.field.is_none());
    let decision = problem.decision_id.expect("a denial is a decision").to_string();
    assert_eq!(names(dir), before, "a refusal left a file");
    let view = explained(world, &decision, node, reasons);
    (problem, view)
}

/// The record and the explanation of a denial.
fn explained(world: &World, decision: &str, node: &Member, reasons: &[&str]) -> DecisionView {
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    let shown: Value = auditor.ask(["audit", "show", decision]).unwrap();
    let record = &shown["record"];
    assert_eq!(record["verdict"], "denied");
    assert_eq!(record["reasons"], serde_json::json!(reasons));
    assert_eq!(record["node"], node.id.to_string());
    let text = auditor.run(["explain", decision]).unwrap().done().unwrap().stdout;
    for reason in reasons {
        assert!(text.contains(reason), "{reason} is not explained:\n{text}");
    }
    assert!(text.contains("checked: the record is in the ledger"), "{text}");
    let mut answer: Value = auditor.ask(["explain", decision]).unwrap();
    assert_eq!(answer.as_object_mut().unwrap().remove("in_ledger"), Some(true.into()));
    serde_json::from_value(answer).unwrap()
}

/// Opens a file on a node, by the command line.
fn opening<'a>(file: &'a Path, asset: &'a str) -> [&'a str; 5] {
    ["open", file.to_str().unwrap(), "--asset", asset, "--digest"]
}

#[test]
fn an_asset_is_refused_where_it_may_not_be_opened() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    world.asset("french", |_| ());
    let (room, collector) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    seal_once(&room, &collector, "french", 1, b"an object", &file);
    // A node is approved into another site by the same operator: what counts is where it stands now.
    world.asset("only-french", |asset| asset.jurisdictions = vec!["FR".into()]);
    let plain = dir.path().join("plain");
    fs::write(&plain, content(1, 1000)).unwrap();
    let seal = ["seal", plain.to_str().unwrap(), "--asset", "only-french"];
    let (_, view) = denied(&world, world.node(), &seal, dir.path(), &["jurisdiction_not_allowed"]);
    let denial = &view.denials[0];
    assert_eq!(denial.claim.as_deref(), Some("node.jurisdiction"));
    assert_eq!(denial.expected, Some(serde_json::json!(["FR"])));
    assert_eq!(denial.got, Some(serde_json::json!("DE")));

    world.asset("nowhere", |asset| asset.jurisdictions.clear());
    let seal = ["seal", plain.to_str().unwrap(), "--asset", "nowhere"];
    denied(&world, world.node(), &seal, dir.path(), &["jurisdiction_not_allowed"]);
}

#[test]
fn an_asset_without_references_is_for_nobody() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    fs::write(&plain, b"a file").unwrap();
    world.asset("unreferenced", |asset| asset.reference_sets.clear());
    let seal = ["seal", plain.to_str().unwrap(), "--asset", "unreferenced"];
    denied(&world, world.node(), &seal, dir.path(), &["reference_missing"]);
    world.asset("unrecorded", |asset| asset.reference_sets = vec!["nobody-recorded-it".into()]);
    let seal = ["seal", plain.to_str().unwrap(), "--asset", "unrecorded"];
    denied(&world, world.node(), &seal, dir.path(), &["reference_unusable"]);
}

#[test]
fn an_asset_has_so_many_leases_and_no_more() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    world.asset("scarce", |asset| asset.max_leases = Some(1));
    let (room, collector) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    seal_once(&room, &collector, "scarce", 1, b"an object", &file);
    let lease = read_lease(&room, &collector, "scarce", &file).unwrap();
    denied(&world, world.node(), &opening(&file, "scarce"), dir.path(), &["asset_quota"]);
    // The lease itself is not counted against its own renewal.
    lease.reattest(&room, &collector).unwrap();
    lease.end().unwrap();
    world.node().cli.run(opening(&file, "scarce")).unwrap().done().unwrap();
}

#[test]
fn what_is_not_there_is_refused_by_its_name() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    fs::write(&plain, b"a file").unwrap();
    let unknown = world.node().cli.refused(["seal", plain.to_str().unwrap(), "--asset", "no-such"]).unwrap();
    assert_eq!((unknown.status, unknown.code, unknown.decision_id), (404, Code::NotFound, None));
    assert_eq!(names(dir.path()), ["plain"]);

    // Who does not ask before gets a decision.
    world.asset("young", |_| ());
    let (room, collector) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    for (asset, version, reason) in [("no-such", 1, "asset_unknown"), ("young", 2, "key_unknown")] {
        let refused = room.release(&collector, Request::new().writer(asset, version)).err().unwrap();
        let problem = refused.problem().unwrap();
        assert_eq!((problem.code, problem.reasons.as_slice()), (Code::Denied, [reason.to_owned()].as_slice()));
        explained(&world, &problem.decision_id.unwrap().to_string(), world.node(), &[reason]);
    }
}

#[test]
fn plaintext_is_written_to_a_disk_only_where_policy_permits_it() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let (file, out) = (dir.path().join("object.sealed"), dir.path().join("out"));
    world.asset("memory-only", |_| ());
    let (room, collector) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    seal_once(&room, &collector, "memory-only", 1, b"an object", &file);
    let open = ["open", file.to_str().unwrap(), "--asset", "memory-only", "--plaintext-to", out.to_str().unwrap()];
    let ran = world.node().cli.run(open).unwrap();
    println!("plaintext to a disk: exit {:?}: {}", ran.code, ran.stderr.trim());
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(ran.stderr.contains("plaintext may not be written to a disk"), "{}", ran.stderr);
    assert!(!out.exists());
}

/// One node, from its enrolment to its end: at each stage but the right one it gets nothing.
#[test]
fn a_node_gets_keys_at_one_stage_of_its_life_only() {
    let world = world();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    world.asset("story", |_| ());
    let (room, collector) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    seal_once(&room, &collector, "story", 1, b"an object", &file);
    let node = &world.nodes[1];
    let asks = opening(&file, "story");

    // Not approved.
    let pending = ["caller_not_identified", "jurisdiction_not_allowed", "node_not_approved"];
    denied(&world, node, &asks, dir.path(), &pending);
    // Approved, but not as a node that runs one job only.
    let id = node.id.to_string();
    let operator = world.vault.cli(Role::Operator).unwrap();
    operator.run(["node", "approve", &id, "--site", "fra-1"]).unwrap().done().unwrap();
    denied(&world, node, &asks, dir.path(), &["caller_not_identified"]);
    // Approved in another country.
    operator.run(["node", "approve", &id, "--site", "iad-1", "--single-job"]).unwrap().done().unwrap();
    denied(&world, node, &asks, dir.path(), &["jurisdiction_not_allowed"]);
    // As it should be.
    node.approve(&world.vault, "fra-1").unwrap();
    node.cli.run(asks).unwrap().done().unwrap();
    // Something unknown was measured.
    let (room, collector) = (node.room(&world.vault).unwrap(), node.devices().unwrap());
    let lease = read_lease(&room, &collector, "story", &file).unwrap();
    node.node.measure_more(&Event::of_data(9, kind::IPL, "another initrd")).unwrap();
    let (_, view) = denied(&world, node, &asks, dir.path(), &["reference_mismatch"]);
    let denial = &view.denials[0];
    assert_eq!(denial.claim.as_deref(), Some("tpm.pcrs.9"));
    assert!(denial.message.contains(REFERENCES) && denial.expected != denial.got, "{denial:?}");
    let refused = lease.reattest(&room, &collector).unwrap_err();
    assert_eq!(refused.problem().unwrap().reasons, ["reference_mismatch"], "{refused}");
    assert!(lease.end().is_ok());
    // Something was measured that the log does not show.
    tpm_commands::extend(&mut tpm_commands::connect(&node.node.tpm.tcti()).unwrap(), 9, [7; 32]).unwrap();
    let (problem, _) = denied(&world, node, &asks, dir.path(), &["evidence_l7", "reference_mismatch"]);
    assert_eq!(problem.row.as_deref(), Some("L7"));
}

/// A node that is rebooted cannot hold what it held, even into the very same software.
#[test]
fn a_reboot_ends_a_lease_and_a_revoked_node_gets_nothing() {
    let mut world = World::with::<1>(&[]);
    world.asset("rebooted", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("object.sealed");
    let (room, collector) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    seal_once(&room, &collector, "rebooted", 1, b"an object", &file);
    let lease = read_lease(&room, &collector, "rebooted", &file).unwrap();
    let opened = open(&lease, "rebooted", &file).unwrap();
    world.nodes[0].node.reboot(&Machine::default()).unwrap();
    let refused = lease.reattest(&room, &collector).unwrap_err();
    println!("a rebooted node under a lease: {refused}");
    let problem = refused.problem().unwrap();
    assert_eq!((problem.code, problem.row.as_deref()), (Code::Denied, Some("Q5")));
    assert_eq!(problem.reasons, ["rebooted"]);
    explained(&world, &problem.decision_id.unwrap().to_string(), world.node(), &["rebooted"]);
    let custodian = world.vault.cli(Role::Custodian).unwrap();
    let leases: Vec<strongroom_protocol::lease::LeaseView> = custodian.ask(["lease", "list", "--all"]).unwrap();
    let state = leases.iter().find(|l| l.id == lease.id()).unwrap().state;
    assert_eq!(state, LeaseState::Revoked);
    drop(opened);
    drop(lease);
    // The same machine in the same state gets a new lease.
    world.node().cli.run(opening(&file, "rebooted")).unwrap().done().unwrap();

    let lease = read_lease(&room, &collector, "rebooted", &file).unwrap();
    let id = world.node().id.to_string();
    let operator = world.vault.cli(Role::Operator).unwrap();
    operator.run(["node", "revoke", &id, "--reason", "stolen"]).unwrap().done().unwrap();
    let refused = lease.renew().unwrap_err();
    assert_eq!(refused.problem().map(|p| p.code), Some(Code::PossessionRefused), "{refused}");
    let asks = opening(&file, "rebooted");
    denied(&world, world.node(), &asks, dir.path(), &["node_not_approved", "node_revoked"]);
    // Nor can it come back under another name.
    let home = tempfile::tempdir().unwrap();
    let again = Cli::new(home.path().join("again")).unwrap();
    again.join(&world.vault.join_path()).unwrap();
    let (tcti, log) = (world.node().node.tpm.tcti(), world.node().node.boot_log());
    let problem = again.refused(["node", "enroll", "--tcti", &tcti, "--boot-log", log.to_str().unwrap()]).unwrap();
    assert_eq!(problem.code, Code::Conflict);
}

#[test]
fn without_a_policy_nothing_is_released() {
    let world = World::found::<1>(&[]);
    world.node().approve(&world.vault, "fra-1").unwrap();
    world.refer_to(world.node());
    world.asset("unruled", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    fs::write(&plain, b"a file").unwrap();
    let seal = ["seal", plain.to_str().unwrap(), "--asset", "unruled"];
    denied(&world, world.node(), &seal, dir.path(), &["no_policy"]);
    // A policy that was only proposed is none.
    let files = [("release.rego".to_owned(), "package strongroom.release\nallow := true".to_owned())].into();
    let body = strongroom_protocol::admin::PolicyFiles { files };
    // Whether it can be proposed at all is not the question here.
    let _ = world
        .vault
        .admin(Role::PolicyAuthor)
        .unwrap()
        .post::<strongroom_protocol::admin::Recorded>("/v1/policies", &body);
    denied(&world, world.node(), &seal, dir.path(), &["no_policy"]);
    // With one, it is.
    world.vault.enforce_baseline(&[]).unwrap();
    world.node().cli.run(seal).unwrap().done().unwrap();
}

#[test]
fn a_node_has_so_many_leases_and_so_many_denials() {
    let world = World::found::<1>(&[("denials_per_node_per_hour", "2")]);
    world.node().approve(&world.vault, "fra-1").unwrap();
    world.refer_to(world.node());
    world.vault.enforce_baseline(&[("max_leases_per_node", 1.into())]).unwrap();
    world.asset("one", |_| ());
    world.asset("two", |_| ());
    let collector = world.node().devices().unwrap();
    let room = world.node().room(&world.vault).unwrap();
    let held = room.release(&collector, Request::new().writer("one", 1)).unwrap();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let ask = || wire.ask(vec![writer_key("two", 1)]).unwrap().send(&wire, &collector).unwrap();
    for _ in 0..2 {
        let problem = ask().problem().unwrap();
        assert_eq!((problem.code, problem.reasons), (Code::Denied, vec!["node_quota".to_owned()]));
    }
    let third = ask();
    let problem = third.problem().unwrap();
    assert_eq!((problem.status, problem.code, problem.decision_id), (429, Code::TooMany, None));
    assert_eq!(third.header("retry-after"), Some("60"));
    assert_eq!(world.records(&["--verdict", "denied"]).len(), 2, "a flood of denials stays out of the ledger");
    // What is allowed goes on.
    held.end().unwrap();
    act_once(&world);
    assert_eq!(ask().status, 200);
}

/// An administrative act: quotas of nodes are nobody else's.
fn act_once(world: &World) {
    let site = strongroom_protocol::admin::Site { name: "par-1".into(), jurisdiction: "FR".into() };
    act(&world.vault.admin(Role::Operator).unwrap(), "/v1/sites", &site);
}
