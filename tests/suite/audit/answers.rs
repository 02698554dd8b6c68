//! Answers that a TLS terminator changed before an auditor saw them.

use super::world;
use crate::world::World;
use serde_json::Value;
use std::fs;
use strongroom_protocol::{Code, admin::Role};
use strongroom_tests::{Cli, Intruder, Ran, Reply};

/// What an intruder does to an answer.
type Change = &'static (dyn Fn(&mut Value) + Sync);

/// An auditor who talks to an intruder, and believes its CA.
struct Misled {
    intruder: Intruder,
    cli: Cli,
}

impl Misled {
    fn by(world: &World, name: &str, role: Role) -> Self {
        let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
        let home = world.vault.beside(name);
        let cli = Cli::new(home.clone()).unwrap().with_token(world.vault.token(role).unwrap());
        let join = home.join("intruder.json");
        fs::write(&join, serde_json::to_vec(&intruder.join_file()).unwrap()).unwrap();
        cli.join(&join).unwrap();
        Self { intruder, cli }
    }

    /// Runs a command while answers from paths that contain `at` are changed.
    fn run(&self, at: &str, change: Change, arguments: &[&str]) -> Ran {
        let at = at.to_owned();
        self.intruder.tamper(move |seen, upstream| {
            let reply = upstream.forward(seen)?;
            if !seen.path.contains(&at) {
                return Ok(reply);
            }
            let mut body: Value = reply.json()?;
            change(&mut body);
            Ok(Reply { body: serde_json::to_vec(&body)?, ..reply })
        });
        self.cli.run(arguments).unwrap()
    }

    #[track_caller]
    fn refuses(&self, what: &str, at: &str, change: Change, arguments: &[&str], words: &str) {
        let ran = self.run(at, change, arguments);
        println!("{what:45} → exit {:?}: {}", ran.code, ran.stderr.trim());
        assert_eq!(ran.code, Some(1), "{what}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stdout.is_empty(), "{what}: {} was shown", ran.stdout);
        assert!(ran.stderr.contains(words), "{what}: {}", ran.stderr);
    }
}

/// The first character of a base64url text, changed.
fn change(text: &mut Value) {
    let old = text.as_str().unwrap();
    let first = if old.starts_with('e') { "f" } else { "e" };
    *text = format!("{first}{}", &old[1..]).into();
}

const NOT_ITS_ENTRY: &str = "the record does not hash to its entry";

#[test]
fn a_page_is_believed_only_as_the_vault_signed_it() {
    let world = world();
    let misled = Misled::by(&world, "misled-query", Role::Auditor);
    let query = ["audit", "query", "--last", "1h", "--limit", "4"];
    let at = "/v1/audit/records?";
    assert_eq!(misled.run(at, &|_| (), &query).code, Some(0), "an honest terminator");
    let cases: [(&str, Change, &str); 9] = [
        ("half a body: no salt", &|p| p["entries"][1]["salt"] = Value::Null, NOT_ITS_ENTRY),
        ("half a body: no record", &|p| p["entries"][1]["record"] = Value::Null, NOT_ITS_ENTRY),
        ("a changed record", &|p| change(&mut p["entries"][1]["record"]), NOT_ITS_ENTRY),
        ("a changed salt", &|p| change(&mut p["entries"][1]["salt"]), NOT_ITS_ENTRY),
        (
            "a larger ledger than was signed",
            &|p| {
                let note = p["checkpoint"].as_str().unwrap().to_owned();
                let size = note.lines().nth(1).unwrap();
                p["checkpoint"] = note.replacen(&format!("\n{size}\n"), &format!("\n1{size}\n"), 1).into();
            },
            "the page's checkpoint does not verify",
        ),
        ("no checkpoint", &|p| p["checkpoint"] = "".into(), "the page's checkpoint does not verify"),
        ("an entry beyond the checkpoint", &|p| p["entries"][3]["index"] = 1_000_000.into(), "out of place"),
        ("an entry twice", &|p| p["entries"][2] = p["entries"][1].clone(), "out of place"),
        ("a cursor that leaves records out", &|p| p["next"] = 1000.into(), "goes on at another place than it ends"),
    ];
    for (what, change, words) in cases {
        misled.refuses(what, at, change, &query, words);
    }
    let list = ["decision", "list", "--last", "1h"];
    misled.refuses(
        "a changed decision",
        "/v1/decisions?",
        &|p| change(&mut p["entries"][0]["record"]),
        &list,
        NOT_ITS_ENTRY,
    );
    // A body that is gone altogether is shown as gone.
    let pruned = |p: &mut Value| (p["entries"][1]["record"], p["entries"][1]["salt"]) = (Value::Null, Value::Null);
    assert_eq!(misled.run(at, Box::leak(Box::new(pruned)), &query).code, Some(0));
}

#[test]
fn what_is_shown_and_proved_is_the_record_that_was_asked_for() {
    let world = world();
    let records = world.records(&["--action", "release.decided", "--asset", "audited"]);
    let id = |i: usize| records[i]["id"].as_str().unwrap().to_owned();
    let (id, other) = (id(0), id(1));
    let misled = Misled::by(&world, "misled-show", Role::Auditor);

    let show = ["audit", "show", &id];
    let at = format!("/v1/audit/records/{id}");
    misled.refuses("shown: half a body", &at, &|e| e["salt"] = Value::Null, &show, NOT_ITS_ENTRY);
    misled.refuses("shown: a changed record", &at, &|e| change(&mut e["record"]), &show, NOT_ITS_ENTRY);
    misled.refuses("shown: a changed entry", &at, &|e| change(&mut e["entry"]), &show, NOT_ITS_ENTRY);

    let prove = ["audit", "prove", &id];
    let at = format!("{at}/proof");
    misled.refuses("proved: half a body", &at, &|p| p["entry"]["record"] = Value::Null, &prove, NOT_ITS_ENTRY);
    misled.refuses("proved: a changed record", &at, &|p| change(&mut p["entry"]["record"]), &prove, NOT_ITS_ENTRY);
    misled.refuses(
        "proved: an entry without a body",
        &at,
        &|p| (p["entry"]["record"], p["entry"]["salt"]) = (Value::Null, Value::Null),
        &prove,
        "without a body",
    );
    misled.refuses(
        "proved: at another index",
        &at,
        &|p| p["receipt"] = p["receipt"].as_str().unwrap().replacen("index ", "index 1", 1).into(),
        &prove,
        "the proof does not verify",
    );

    // True answers, but about another record.
    let (asked, told) = (id.clone(), other);
    misled.intruder.tamper(move |seen, upstream| {
        let mut seen = seen.clone();
        if seen.path.contains("/v1/audit/") {
            seen.path = seen.path.replace(&asked, &told);
        }
        upstream.forward(&seen)
    });
    for (arguments, words) in [
        (["audit", "show", &id].as_slice(), "is not the record"),
        (&["audit", "prove", &id], "is not the record"),
        (&["explain", &id], "is not the record"),
    ] {
        let ran = misled.cli.run(arguments).unwrap();
        println!("another record for {arguments:?} → {}", ran.stderr.trim());
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}

#[test]
fn an_explanation_is_of_the_record_in_the_ledger_or_says_that_it_was_not_checked() {
    const OTHER: &str = "is not the record";
    let world = world();
    let denied = &world.records(&["--verdict", "denied"])[0];
    let id = denied["id"].as_str().unwrap().to_owned();
    let at = format!("/v1/decisions/{id}");
    let misled = Misled::by(&world, "misled-explain", Role::Auditor);
    let explain = ["explain", &id];
    let honest = misled.run(&at, &|_| (), &explain);
    assert!(honest.stdout.contains("checked: the record is in the ledger"), "{}", honest.stdout);
    misled.refuses("another verdict", &at, &|v| v["record"]["verdict"] = "released".into(), &explain, OTHER);
    misled.refuses("another node", &at, &|v| v["record"]["node"] = "a".into(), &explain, OTHER);
    misled.refuses("another index", &at, &|v| v["index"] = 0.into(), &explain, OTHER);
    let id_of = |v: &mut Value| v["decision_id"] = "01ARZ3NDEKTSV4RRFFQ69G5FAV".into();
    misled.refuses("another decision id", &at, Box::leak(Box::new(id_of)), &explain, OTHER);

    let operator = Misled::by(&world, "misled-operator", Role::Operator);
    let ran = operator.run(&at, &|_| (), &explain).done().unwrap();
    assert!(ran.stdout.contains("not checked: this token may not read the ledger"), "{}", ran.stdout);
    let answer: Value = operator.cli.ask(explain).unwrap();
    assert_eq!(answer["in_ledger"], false);
    // Only the vault's word that a proof is not for this person counts as that.
    let proof = format!("/v1/audit/records/{id}/proof");
    operator.intruder.tamper(move |seen, upstream| {
        let reply = upstream.forward(seen)?;
        if seen.path != proof {
            return Ok(reply);
        }
        let problem = strongroom_protocol::Problem::new(Code::NotFound);
        Ok(Reply { status: 404, body: serde_json::to_vec(&problem)?, ..reply })
    });
    assert_eq!(operator.cli.refused(explain).unwrap().code, Code::NotFound);
}
