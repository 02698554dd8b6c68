//! Auditors: query, prove, export, and verify without trusting the service.

mod answers;
mod private;

use crate::{
    sealing::seal_once,
    world::{Shared, World},
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use strongroom::Request;
use strongroom_protocol::{Code, admin::Role};
use strongroom_tests::{Cli, Ran};

static WORLD: Shared = Shared::new();

/// A node that was released two keys and denied one.
fn world() -> Arc<World> {
    WORLD.get(|| {
        let world = World::with::<1>(&[]);
        world.asset("audited", |_| ());
        world.asset("french", |asset| asset.jurisdictions = vec!["FR".into()]);
        let dir = tempfile::tempdir().unwrap();
        let (room, devices) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
        seal_once(&room, &devices, "audited", 1, b"one", &dir.path().join("one.sealed"));
        seal_once(&room, &devices, "audited", 1, b"two", &dir.path().join("two.sealed"));
        assert!(room.release(&devices, Request::new().writer("french", 1)).is_err());
        world
    })
}

fn export(world: &World, to: &Path) -> Vec<String> {
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    auditor.run(["audit", "export", "--out", to.to_str().unwrap()]).unwrap().done().unwrap();
    fs::read_to_string(to).unwrap().lines().map(str::to_owned).collect()
}

/// Verifies on a laptop that knows nothing but the join file.
struct Laptop {
    cli: Cli,
    dir: PathBuf,
}

impl Laptop {
    fn verify(&self, lines: &[String], more: &[&str]) -> Ran {
        let file = self.dir.join("given.jsonl");
        fs::write(&file, lines.join("\n") + "\n").unwrap();
        self.cli.run(["audit", "verify", file.to_str().unwrap()].iter().chain(more)).unwrap()
    }

    #[track_caller]
    fn refuses(&self, forgery: &str, lines: &[String], more: &[&str], words: &str) {
        let ran = self.verify(lines, more);
        println!("{forgery:45} → exit {:?}: {}", ran.code.unwrap(), ran.stderr.trim());
        assert_eq!(ran.code, Some(1), "{forgery}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(words), "{forgery}: {}", ran.stderr);
    }
}

/// Bodies that were taken out are told from bodies that were changed; whoever knows why goes on.
fn bodies_taken_out(laptop: &Laptop, lines: &[String], at: usize) {
    let without = |fields: &[&str]| {
        let mut lines = lines.to_vec();
        let mut value: Value = serde_json::from_str(&lines[at]).unwrap();
        for field in fields {
            value[*field] = Value::Null;
        }
        lines[at] = value.to_string();
        lines
    };
    let pruned = without(&["record", "salt"]);
    let kept = laptop.dir.join("kept-of-pruned");
    let ran = laptop.verify(&pruned, &["--save-checkpoint", kept.to_str().unwrap()]);
    println!("{:45} → exit {:?}: {}", "the body of a record taken out", ran.code.unwrap(), ran.stdout.trim());
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("does not verify: 1 of "), "{}", ran.stdout);
    assert!(!ran.stdout.contains(" verifies") && !kept.exists(), "what is refused is not kept: {}", ran.stdout);
    laptop.verify(&pruned, &["--accept-pruned"]).done().unwrap();
    for half in ["record", "salt"] {
        laptop.refuses("half a body", &without(&[half]), &["--accept-pruned"], "entry");
    }
}

/// A line with one byte of a field's text changed to another of the same alphabet.
fn changed(line: &str, field: &str) -> String {
    let start = line.find(&format!("\"{field}\":\"")).unwrap() + field.len() + 4;
    let mut bytes = line.as_bytes().to_vec();
    let at = start + 10;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_export_verifies_offline_and_a_changed_one_does_not() {
    let mut world = World::with::<1>(&[]);
    world.asset("exported", |_| ());
    let dir = tempfile::tempdir().unwrap();
    let (room, devices) = (world.node().room(&world.vault).unwrap(), world.node().devices().unwrap());
    seal_once(&room, &devices, "exported", 1, b"one", &dir.path().join("one.sealed"));
    let first = export(&world, &dir.path().join("first.jsonl"));
    seal_once(&room, &devices, "exported", 1, b"two", &dir.path().join("two.sealed"));
    let second = export(&world, &dir.path().join("second.jsonl"));
    let laptop = Laptop { cli: Cli::new(dir.path().join("laptop")).unwrap(), dir: dir.path().to_owned() };
    laptop.cli.join(&world.vault.join_path()).unwrap();
    let stranger = Cli::new(dir.path().join("stranger")).unwrap();
    let join = world.vault.join_file().unwrap();
    drop(room);
    assert!(world.vault.stop().unwrap().success());

    let seen = dir.path().join("seen.txt");
    let seen = seen.to_str().unwrap();
    let good = laptop.verify(&first, &["--save-checkpoint", seen]).done().unwrap();
    println!("{}", good.stdout.trim());
    assert!(good.stdout.contains("1 releases, 0 denials"), "{}", good.stdout);
    laptop.verify(&second, &["--known", seen]).done().unwrap();
    let newest = dir.path().join("newest.txt");
    laptop.verify(&second, &["--save-checkpoint", newest.to_str().unwrap()]).done().unwrap();
    let known = ["--known", newest.to_str().unwrap()];
    laptop.refuses("an older export than the one that was seen", &first, &known, "entries before");

    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = second.clone();
        change(&mut lines);
        lines
    };
    let middle = second.len() / 2;
    for (forgery, change, words) in [
        (
            "one byte of a record",
            Box::new(|l: &mut Vec<String>| l[middle] = changed(&l[middle], "record")) as Box<dyn Fn(&mut Vec<String>)>,
            "entry",
        ),
        (
            "one byte of a salt",
            Box::new(|l: &mut Vec<String>| l[middle] = changed(&l[middle], "salt")),
            "does not hash to its entry",
        ),
        (
            "one byte of an entry",
            Box::new(|l: &mut Vec<String>| l[middle] = changed(&l[middle], "entry")),
            "does not hash to its entry",
        ),
        ("a record removed", Box::new(|l: &mut Vec<String>| drop(l.remove(middle))), "stands in its place"),
        ("two records swapped", Box::new(|l: &mut Vec<String>| l.swap(middle, middle + 1)), "stands in its place"),
        ("a record twice", Box::new(|l: &mut Vec<String>| l.insert(middle, l[middle].clone())), "stands in its place"),
        ("the end cut off", Box::new(|l: &mut Vec<String>| l.truncate(l.len() - 1)), "without its checkpoint"),
        ("the last record cut off", Box::new(|l: &mut Vec<String>| drop(l.remove(l.len() - 2))), "its checkpoint"),
        (
            "an older checkpoint",
            Box::new(|l: &mut Vec<String>| *l.last_mut().unwrap() = first.last().unwrap().clone()),
            "its checkpoint",
        ),
        ("no header", Box::new(|l: &mut Vec<String>| drop(l.remove(0))), "line 1"),
    ] {
        laptop.refuses(forgery, &with(&change), &[], words);
    }
    bodies_taken_out(&laptop, &second, middle);
    // A forger who numbers the rest anew still has the wrong tree.
    let renumbered = with(&|lines| {
        lines.remove(middle);
        for line in &mut lines[middle..] {
            let mut value: Value = serde_json::from_str(line).unwrap();
            if let Some(index) = value.get_mut("index") {
                *index = (index.as_u64().unwrap() - 1).into();
            }
            *line = value.to_string();
        }
    });
    let ran = laptop.verify(&renumbered, &[]);
    println!("{:45} → exit {:?}: {}", "a record removed, the rest numbered anew", ran.code.unwrap(), ran.stderr.trim());
    assert_eq!(ran.code, Some(1));

    // Whoever has no join file gives the key; another key verifies nothing.
    let file = dir.path().join("second.jsonl");
    let verify = ["audit", "verify", file.to_str().unwrap()];
    assert_eq!(stranger.run(verify).unwrap().code, Some(2));
    stranger.run(verify.iter().chain(&["--key", &join.ledger_verifier_key])).unwrap().done().unwrap();
    let other = strongroom_tests::Vault::init().unwrap().join_file().unwrap().ledger_verifier_key;
    let ran = stranger.run(verify.iter().chain(&["--key", &other])).unwrap();
    println!("{:45} → exit {:?}: {}", "the key of another vault", ran.code.unwrap(), ran.stderr.trim());
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
}

#[test]
fn a_record_is_shown_and_proved() {
    let world = world();
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let record = &world.records(&["--action", "release.decided", "--asset", "audited"])[0];
    let id = record["id"].as_str().unwrap();
    let shown: Value = auditor.ask(["audit", "show", id]).unwrap();
    assert_eq!(&shown["record"], record);
    let file = dir.path().join("proof.json");
    let path = file.to_str().unwrap();
    let proved: Value = auditor.ask(["audit", "prove", id, "--out", path]).unwrap();
    assert_eq!(proved["index"], shown["entry"]["index"]);
    let proof: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(proof["receipt"], proved["receipt"]);
    assert!(proof["receipt"].as_str().unwrap().starts_with("c2sp.org/tlog-proof@v1\n"));
    // Whoever has the file and the ledger's key needs no vault.
    let stranger = Cli::new(dir.path().join("stranger")).unwrap();
    let check = ["audit", "check-proof", path];
    assert_eq!(stranger.run(check).unwrap().code, Some(2), "without a key");
    let key = world.vault.join_file().unwrap().ledger_verifier_key;
    let checked: Value = stranger.ask(check.iter().chain(&["--key", key.as_str()])).unwrap();
    assert_eq!((&checked["record"], &checked["index"]), (record, &proved["index"]));
    for field in ["record", "salt"] {
        let mut forged = proof.clone();
        forged[field] = changed(&proof.to_string(), field).parse::<Value>().unwrap()[field].clone();
        fs::write(&file, forged.to_string()).unwrap();
        let ran = stranger.run(check.iter().chain(&["--key", key.as_str()])).unwrap();
        println!("a proof with another {field}: exit {:?}: {}", ran.code, ran.stderr.trim());
        assert_eq!(ran.code, Some(1), "{field}: {}{}", ran.stdout, ran.stderr);
    }
    let unknown = auditor.refused(["audit", "prove", "01ARZ3NDEKTSV4RRFFQ69G5FAV"]).unwrap();
    assert_eq!(unknown.code, Code::NotFound);
    assert_eq!(auditor.refused(["audit", "show", "nonsense"]).unwrap().code, Code::Malformed);
}

#[test]
fn a_query_gives_what_matches_and_nothing_else() {
    let world = world();
    let node = world.node().id.to_string();
    let all = world.records(&[]);
    let check = |filter: &[&str], matches: &dyn Fn(&Value) -> bool| {
        let got = world.records(filter);
        let expected: Vec<_> = all.iter().filter(|r| matches(r)).collect();
        assert!(!expected.is_empty(), "{filter:?} would match nothing anyway");
        // Other tests may have added records since.
        assert_eq!(got.iter().take(expected.len()).collect::<Vec<_>>(), expected, "{filter:?}");
        assert!(got.iter().all(matches), "{filter:?}");
    };
    let of_asset = |r: &Value, asset: &str| {
        let keys = r["keys"].as_array().is_some_and(|keys| keys.iter().any(|k| k["asset"] == asset));
        keys || (r["subject"]["kind"] == "asset" && r["subject"]["id"] == asset)
    };
    check(&["--asset", "audited"], &|r| of_asset(r, "audited"));
    check(&["--asset", "audited", "--verdict", "released"], &|r| of_asset(r, "audited") && r["verdict"] == "released");
    check(&["--verdict", "denied"], &|r| r["verdict"] == "denied");
    check(&["--reason", "jurisdiction_not_allowed"], &|r| {
        r["reasons"].as_array().is_some_and(|reasons| reasons.contains(&"jurisdiction_not_allowed".into()))
    });
    check(&["--action", "node.*"], &|r| r["action"].as_str().unwrap().starts_with("node."));
    check(&["--action", "release.decided"], &|r| r["action"] == "release.decided");
    check(&["--node", &node], &|r| r["node"] == node.as_str());
    check(&["--site", "fra-1"], &|r| {
        r["site"] == "fra-1" || (r["subject"]["kind"] == "site" && r["subject"]["id"] == "fra-1")
    });
    check(&["--actor", "person:custodian"], &|r| r["actor"]["kind"] == "person" && r["actor"]["id"] == "custodian");
    let actions: BTreeSet<_> = all.iter().map(|r| r["action"].as_str().unwrap()).collect();
    for action in
        ["vault.initialised", "token.created", "vault.started", "site.created", "node.enrolled", "node.approved"]
    {
        assert!(actions.contains(action), "{action} is not in the ledger");
    }
    assert!(world.records(&["--job", "no-such-job"]).is_empty());
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    let past: Value = auditor.ask(["audit", "query", "--to", "2020-01-01T00:00:00Z"]).unwrap();
    assert_eq!(past["records"], serde_json::json!([]));
    let late = ["audit", "query", "--from", "2020-01-02T00:00:00Z", "--to", "2020-01-01T00:00:00Z"];
    assert_eq!(auditor.refused(late).unwrap().code, Code::Malformed);
    for (option, value) in [("--limit", "100000"), ("--from", "yesterday")] {
        let ran = auditor.run(["audit", "query", option, value]).unwrap();
        assert!(ran.code == Some(2) && ran.stderr.contains(option.trim_start_matches('-')), "{}", ran.stderr);
    }
}

#[test]
fn pages_follow_one_another() {
    let world = world();
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    let first = auditor.run(["audit", "query", "--last", "1h", "--limit", "3"]).unwrap().done().unwrap().stdout;
    assert!(first.contains("the same with --after 2 shows it"), "{first}");
    let decisions = auditor.run(["decision", "list", "--last", "1h", "--limit", "1"]).unwrap().done().unwrap().stdout;
    assert!(decisions.contains("the same with --after "), "{decisions}");
    let whole = auditor.run(["audit", "query", "--last", "1h", "--limit", "1000"]).unwrap().done().unwrap().stdout;
    assert!(!whole.contains("--after"), "{whole}");
    let (mut after, mut indices) = (None::<u64>, Vec::new());
    loop {
        let mut arguments =
            vec!["audit".to_owned(), "query".into(), "--last".into(), "1h".into(), "--limit".into(), "3".into()];
        if let Some(after) = after {
            arguments.extend(["--after".to_owned(), after.to_string()]);
        }
        let page: Value = auditor.ask(&arguments).unwrap();
        let got: Vec<u64> = page["records"].as_array().unwrap().iter().map(|r| r["index"].as_u64().unwrap()).collect();
        assert!(got.len() <= 3);
        indices.extend(got);
        match page["next"].as_u64() {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(indices, (0..indices.len() as u64).collect::<Vec<_>>(), "a record is missing or came twice");
}

#[test]
fn only_auditors_read_the_log() {
    let world = world();
    for role in Role::ALL {
        let ran = world.vault.cli(role).unwrap().run(["--json", "audit", "query"]).unwrap();
        if role == Role::Auditor {
            ran.done().unwrap();
        } else {
            assert_eq!(ran.problem().unwrap().code, Code::Forbidden, "{}", role.as_str());
        }
    }
    let nobody = Cli::new(world.vault.beside("nobody")).unwrap();
    nobody.join(&world.vault.join_path()).unwrap();
    assert_eq!(nobody.run(["audit", "query"]).unwrap().code, Some(2));
    let token = world.vault.beside("forged.token");
    fs::write(&token, format!("srt_{}", "A".repeat(43))).unwrap();
    let nobody = nobody.with_token(token.clone());
    // A token that others may read is not even sent.
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = nobody.run(["audit", "query"]).unwrap();
    assert!(exposed.code == Some(2) && exposed.stderr.contains("chmod 600"), "{}", exposed.stderr);
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let forged = nobody.refused(["audit", "query"]).unwrap();
    assert_eq!((forged.status, forged.code), (401, Code::Unauthenticated));
}
