//! Names that vaults and files choose cannot steer the terminal that they are printed to.

use super::world;
use serde_json::Value;
use std::{fs, fs::File, path::Path};
use strongroom::sealed::{WriteSpec, Writer};
use strongroom_envelope::{Secret, WriterKey};
use strongroom_protocol::{Code, Problem, WriterId, admin::Role};
use strongroom_tests::{Cli, Intruder, Ran, Reply};

/// Clears a screen by either set of controls, turns text around, and forges a line.
const BAD: &str = "x\u{1b}[2J\u{9b}31m\u{202e}desrever\u{2066}\u{200b}\nforged line\r";

/// Nothing of it came through: no control but the ends of lines, no mark without a glyph, no line of
/// its own; but something was said.
#[track_caller]
fn harmless(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        let steers = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{200b}' | '\u{202e}' | '\u{2066}');
        assert!(!text.contains(steers), "{text:?}");
        assert!(!text.lines().any(|line| line.starts_with("forged line")), "{text:?}");
    }
    assert!(ran.stdout.contains("desrever") || ran.stderr.contains("desrever"), "{ran:?}");
}

fn sealed_as(asset: &str, path: &Path) {
    let key = WriterKey::new(Secret::random().unwrap());
    let spec = WriteSpec::new(asset, 1, WriterId::from([1; 16]));
    Writer::create(File::create(path).unwrap(), &key, spec).unwrap().finish().unwrap();
}

#[test]
fn a_sealed_files_name_is_shown_as_it_is_not_meant() {
    let dir = tempfile::tempdir().unwrap();
    let cli = Cli::new(dir.path().join("home")).unwrap();
    let file = dir.path().join("file.sealed");
    sealed_as(BAD, &file);
    let file = file.to_str().unwrap();
    let shown = cli.run(["inspect", file]).unwrap().done().unwrap();
    assert_eq!(shown.stdout.lines().count(), 7, "{}", shown.stdout);
    harmless(&shown);
    let shown = cli.run(["--json", "inspect", file]).unwrap().done().unwrap();
    harmless(&shown);
    assert_eq!(serde_json::from_str::<Value>(&shown.stdout).unwrap()["asset"], BAD);
    let refused = cli.run(["open", file, "--asset", "minilm"]).unwrap();
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    harmless(&refused);
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
}

#[test]
fn what_a_vault_says_is_shown_as_it_is_not_meant() {
    let world = world();
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let home = world.vault.beside("shown");
    let auditor = Cli::new(home.clone()).unwrap().with_token(world.vault.token(Role::Auditor).unwrap());
    let join = home.join("intruder.json");
    fs::write(&join, serde_json::to_vec(&intruder.join_file()).unwrap()).unwrap();
    auditor.join(&join).unwrap();
    world.asset("shown", |_| ());
    let (path, field) = (
        ["/v1/nodes", "/v1/sites", "/v1/assets", "/v1/tokens", "/v1/policies"],
        ["hostname", "name", "created_at", "person", "author"],
    );
    intruder.tamper(move |seen, upstream| {
        let reply = upstream.forward(seen)?;
        let Some(which) = path.iter().position(|p| *p == seen.path) else { return Ok(reply) };
        let mut body: Value = reply.json()?;
        body[0][field[which]] = BAD.into();
        Ok(Reply { body: serde_json::to_vec(&body)?, ..reply })
    });
    for subject in ["node", "site", "asset", "token", "policy"] {
        harmless(&auditor.run([subject, "list"]).unwrap().done().unwrap());
        harmless(&auditor.run(["--json", subject, "list"]).unwrap().done().unwrap());
    }
    intruder.tamper(|seen, upstream| {
        if seen.path == "/v1/vault" {
            return upstream.forward(seen);
        }
        let problem = Problem::new(Code::NotFound).detail(BAD);
        Ok(Reply { status: 404, headers: Vec::new(), body: serde_json::to_vec(&problem)? })
    });
    for arguments in [["audit", "query"], ["node", "list"], ["explain", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]] {
        let ran = auditor.run(arguments).unwrap();
        assert_eq!((ran.code, ran.stderr.lines().count()), (Some(1), 1), "{}", ran.stderr);
        harmless(&ran);
        harmless(&auditor.run(["--json"].iter().chain(&arguments)).unwrap());
    }
}
