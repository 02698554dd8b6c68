//! Endorsements as endorsers use them, through both programs: roots of TPM vendors pinned by two persons, imported,
//! listed, removed; and what the command that fetches refuses.

use crate::world::World;
use serde_json::Value;
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};
use strongroom_protocol::admin::Role;
use strongroom_tests::{Cli, Machine, Member, member};

fn second(world: &World) -> Cli {
    let token = world.vault.token_of("second-endorser", Role::Endorser).unwrap();
    let cli = Cli::new(world.vault.beside("second-desk")).unwrap().with_token(token);
    cli.join(&world.vault.join_path()).unwrap();
    cli
}

#[test]
fn a_tpm_is_enrolled_by_a_root_that_two_persons_pinned() {
    let world = World::found::<0>(&[]);
    let [node] = member::boot::<1>(&Machine::default()).unwrap();
    let (root, issuer) = (node.tpm.root_ca(), node.tpm.issuer_ca());
    let (root, issuer) = (root.to_str().unwrap(), issuer.to_str().unwrap());
    let (endorser, second) = (world.vault.cli(Role::Endorser).unwrap(), second(&world));

    let refused = endorser.run(["endorsement", "import", root]).unwrap();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stdout.contains("no pinned root vouches for"), "{}", refused.stdout);

    let propose = ["endorsement", "pin", "propose", root, "--source", "https://vendor.example/roots"];
    endorser.run(propose).unwrap().done().unwrap();
    let pins: Value = endorser.ask(["endorsement", "pin", "list"]).unwrap();
    let proposed = pins.as_array().unwrap().iter().find(|pin| pin["built_in"] == false).unwrap();
    let sha256 = proposed["sha256"].as_str().unwrap();
    let own = endorser.run(["endorsement", "pin", "approve", sha256]).unwrap();
    assert_eq!(own.code, Some(1));
    assert!(own.stderr.contains("somebody else has to approve it"), "{}", own.stderr);
    second.run(["endorsement", "pin", "approve", sha256]).unwrap().done().unwrap();

    let untrusted = world.vault.cli(Role::Operator).unwrap();
    let imported: Value = endorser.ask(["endorsement", "import", issuer, root]).unwrap();
    assert_eq!(imported["imported"].as_array().unwrap().len(), 2, "issuers may come later: {imported}");
    let listed: Vec<Value> = untrusted.ask(["endorsement", "list"]).unwrap();
    assert!(listed.iter().all(|one| one["of"] == "tpm-vendor" && one["vouched"] == true), "{listed:?}");
    endorser.run(["endorsement", "check"]).unwrap().done().unwrap();

    // From the next request on: no start, and nothing in the vault's directory.
    assert_eq!(fs::read_dir(world.vault.dir().join("roots/ek")).unwrap().count(), 0);
    Member::enrol(&world.vault, node, "node-1").unwrap();

    let withdraw = endorser.run(["endorsement", "pin", "withdraw", sha256]).unwrap();
    assert_eq!(withdraw.code, Some(1));
    assert!(withdraw.stderr.contains("it vouches for"), "{}", withdraw.stderr);
    let of_root = format!("tpm-vendor/certificate/{sha256}.der");
    let first = endorser.run(["endorsement", "remove", &of_root]).unwrap();
    assert_eq!(first.code, Some(1), "what it issued is there: {}", first.stdout);
    for one in listed.iter().map(|one| one["name"].as_str().unwrap()).filter(|name| *name != of_root) {
        endorser.run(["endorsement", "remove", one]).unwrap().done().unwrap();
    }
    endorser.run(["endorsement", "remove", &of_root]).unwrap().done().unwrap();
    endorser.run(["endorsement", "pin", "withdraw", sha256]).unwrap().done().unwrap();
    let acts: Vec<_> = world.records(&["--action", "trust.*"]).iter().map(|one| one["action"].clone()).collect();
    let expected = ["pin_proposed", "pin_approved", "endorsement_imported", "endorsement_imported"];
    assert_eq!(acts[..4], expected.map(|act| Value::from(format!("trust.{act}"))), "{acts:?}");
}

#[test]
fn what_cannot_be_had_is_named_and_the_others_go_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("nvidia=http://{}", listener.local_addr().unwrap());
    let service = thread::spawn(move || {
        let mut asked = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            asked.push(lines.next().unwrap());
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            (&stream).write_all(b"HTTP/1.1 404 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
        asked
    });
    let dir = tempfile::tempdir().unwrap();
    let cli = Cli::new(dir.path().join("home")).unwrap();
    let to = dir.path().join("fetched");
    let to = to.to_str().unwrap();
    let ids = ["NV_GPU_DRIVER_GH100_550.90.07", "NV_GPU_VBIOS_1010_0200_882_96009F0001"];
    let fetch = ["endorsement", "fetch", "--rim", ids[0], "--rim", ids[1], "--base-url", &base, "--to", to];
    let ran = cli.run(fetch).unwrap();
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("0 fetched") && ran.stdout.contains("2 failed"), "{}", ran.stdout);
    assert_eq!(service.join().unwrap(), ids.map(|id| format!("GET /v1/rim/{id} HTTP/1.1")));

    let report = dir.path().join("report.bin");
    fs::write(&report, b"no report").unwrap();
    let ran = cli.run(["endorsement", "fetch", "--snp", report.to_str().unwrap(), "--to", to]).unwrap();
    assert_eq!(ran.code, Some(2), "{}", ran.stdout);
    assert!(ran.stderr.contains("report.bin"), "{}", ran.stderr);
    let ran = cli.run(["endorsement", "fetch", "--rim", ids[0], "--base-url", "nvidia=http://mirror.example"]).unwrap();
    assert_eq!(ran.code, Some(2), "only this machine is asked without TLS: {}", ran.stdout);
}
