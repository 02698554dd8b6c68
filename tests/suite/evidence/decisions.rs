//! Why a decision was denied, told by what the machine did.

use crate::world::World;
use std::fs;
use strongroom_protocol::admin::Role;
use strongroom_tests::Machine;

/// What `explain` says of the denial of a seal on the world's node.
fn explained(world: &World, reasons: &[&str]) -> String {
    let node = world.node();
    let file = node.cli.home().join("model");
    fs::write(&file, b"weights").unwrap();
    let refused = node.cli.refused(["seal", file.to_str().unwrap(), "--asset", "minilm"]).unwrap();
    assert_eq!(refused.reasons, reasons);
    let id = refused.decision_id.unwrap().to_string();
    world.vault.cli(Role::Auditor).unwrap().run(["explain", &id]).unwrap().done().unwrap().stdout
}

#[test]
fn another_kernel_command_line_is_named_with_both_lines() {
    let mut world = World::found::<1>(&[]);
    world.node().approve(&world.vault, "fra-1").unwrap();
    world.vault.enforce_baseline(&[]).unwrap();
    world.asset("minilm", |_| ());
    // Enrolment sends no log: a first request does, so that the set has events.
    let file = world.node().cli.home().join("first");
    fs::write(&file, b"weights").unwrap();
    world.node().cli.refused(["seal", file.to_str().unwrap(), "--asset", "minilm"]).unwrap();
    world.refer_to(world.node());
    let usual = Machine::default();
    let other = Machine { kernel_cmdline: "/vmlinuz root=/dev/vda single".into(), ..usual.clone() };
    world.nodes[0].node.reboot(&other).unwrap();
    let text = explained(&world, &["reference_mismatch"]);
    for words in [
        "PCR 8 holds: kernel command line",
        "PCR 8 differs: kernel command line",
        "usual@1: event",
        &usual.kernel_cmdline,
        "this node: event",
        &other.kernel_cmdline,
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(!text.contains("PCR 4 "), "{text}");
}

#[test]
fn a_log_that_a_row_refuses_is_told_with_what_to_do() {
    let world = World::with::<1>(&[]);
    world.asset("minilm", |_| ());
    let other = Machine { kernel: 2, ..Machine::default() };
    other.boot_log().write(&world.node().node.boot_log()).unwrap();
    let text = explained(&world, &["evidence_l7"]);
    assert!(text.contains("row L7 checks: the log leads to the quoted values"), "{text}");
    assert!(text.contains("what to do: send the log of this boot"), "{text}");
}
