//! Answers that get lost, vaults that are busy, TPMs that hang: what is asked again, and for how long.

use super::{client, world};
use serde_json::{Value, json};
use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use strongroom::{Admin, Error, Options, Patience, Request, Room, Token};
use strongroom_protocol::{
    Code, Problem,
    admin::{Recorded, Role, Site},
};
use strongroom_tests::{Cli, Intruder, Reply, intruder::Seen};

/// Hands everything on, but loses the answers to the first `lost` requests that `which` picks; the
/// count of those that came.
fn loses(intruder: &Intruder, lost: usize, which: impl Fn(&Seen) -> bool + Send + 'static) -> Arc<AtomicUsize> {
    let came = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&came);
    intruder.tamper(move |seen, upstream| {
        let reply = upstream.forward(seen)?;
        anyhow::ensure!(!which(seen) || counter.fetch_add(1, Ordering::SeqCst) >= lost, "the answer is lost");
        Ok(reply)
    });
    came
}

/// Answers every request to `path` as a vault does whose ledger's disk is full.
fn full_disk(intruder: &Intruder, path: &'static str, retry_after: u64) -> Arc<AtomicUsize> {
    let came = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&came);
    intruder.tamper(move |seen, upstream| {
        if !seen.path.starts_with(path) {
            return upstream.forward(seen);
        }
        counter.fetch_add(1, Ordering::SeqCst);
        let problem = Problem::new(Code::LedgerUnavailable).detail("the disk is full").retry_after(retry_after);
        Ok(Reply { status: 503, headers: Vec::new(), body: serde_json::to_vec(&problem)? })
    });
    came
}

#[test]
fn an_act_whose_answer_was_lost_is_not_repeated_and_a_question_is() {
    let world = world();
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let token = |role| Some(Token::from_file(&world.vault.token(role).unwrap()).unwrap());
    let operator = Admin::connect(&intruder.join_file(), token(Role::Operator)).unwrap();
    let site = Site { name: "lost-1".into(), jurisdiction: "DE".into() };
    let came = loses(&intruder, 1, |seen| seen.method == "POST" && seen.path == "/v1/sites");
    let error = operator.post::<Recorded>("/v1/sites", &site).err().unwrap();
    println!("an act whose answer was lost: {error}");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert_eq!(came.load(Ordering::SeqCst), 1, "the act was sent again");
    let came = loses(&intruder, 1, |seen| seen.method == "DELETE");
    let custodian = Admin::connect(&intruder.join_file(), token(Role::Custodian)).unwrap();
    assert!(matches!(custodian.delete::<Recorded>("/v1/assets/none/keys/1"), Err(Error::Unreachable { .. })));
    assert_eq!(came.load(Ordering::SeqCst), 1, "the act was sent again");

    let came = loses(&intruder, 2, |seen| seen.method == "GET" && seen.path == "/v1/sites");
    let sites: Vec<Site> = operator.get("/v1/sites").unwrap();
    assert!(sites.contains(&site), "the act was done all the same");
    assert_eq!(came.load(Ordering::SeqCst), 3);
}

/// The vault knows the statement by its nonce: however often it comes, there is one decision.
#[test]
fn a_release_whose_answer_was_lost_is_asked_for_again_and_decided_once() {
    let world = world();
    world.asset("lost-answer", |_| ());
    let (_, devices) = client(&world);
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let room = Room::connect(&intruder.join_file(), Options::default()).unwrap();
    let came = loses(&intruder, 2, |seen| seen.path == "/v1/releases");
    let lease = room.release(&devices, Request::new().writer("lost-answer", 1)).unwrap();
    assert_eq!(came.load(Ordering::SeqCst), 3);
    let decided = world.records(&["--action", "release.decided", "--asset", "lost-answer"]);
    assert_eq!(decided.len(), 1, "{decided:?}");
    // A renewal too: under a fresh nonce, since the first was burnt.
    let came = loses(&intruder, 1, |seen| seen.path.ends_with("/renew"));
    lease.renew().unwrap();
    assert_eq!(came.load(Ordering::SeqCst), 3);
    lease.end().unwrap();
}

#[test]
fn patience_with_a_full_disk_ends() {
    let world = world();
    world.asset("patient", |_| ());
    let (_, devices) = client(&world);
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let patience = Patience { total: Duration::from_secs(5), ..Patience::default() };
    let room = Room::connect(&intruder.join_file(), Options { patience, ..Options::default() }).unwrap();
    let came = full_disk(&intruder, "/v1/releases", 30);
    let start = Instant::now();
    let error = room.release(&devices, Request::new().writer("patient", 1)).err().unwrap();
    println!("a full disk, after {:?}: {error}", start.elapsed());
    assert!(matches!(&error, Error::PatienceOver { attempts: 1, .. }), "{error}");
    assert_eq!(error.problem().map(|p| p.code), Some(Code::LedgerUnavailable));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(came.load(Ordering::SeqCst), 1);
    intruder.behave();
    room.release(&devices, Request::new().writer("patient", 1)).unwrap().end().unwrap();
}

#[test]
fn a_command_says_what_it_waits_for_and_gives_up() {
    let world = world();
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let home = world.vault.beside("patient");
    let cli = Cli::new(home.clone()).unwrap().with_token(world.vault.token(Role::Auditor).unwrap());
    let join = home.join("intruder.json");
    fs::write(&join, serde_json::to_vec(&intruder.join_file()).unwrap()).unwrap();
    cli.join(&join).unwrap();
    let came = full_disk(&intruder, "/v1/audit/", 1);
    let ran = cli.run(["--patience", "3s", "audit", "query"]).unwrap();
    println!("{}", ran.stderr.trim());
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("strongroom: waiting 1 s: ") && ran.stderr.contains("the disk is full"),
        "{}",
        ran.stderr
    );
    assert!(ran.stderr.contains("strongroom: gave up after "), "{}", ran.stderr);
    let times = came.load(Ordering::SeqCst);
    assert!((2..=3).contains(&times), "asked {times} times");

    let ran = cli.run(["--json", "--patience", "2s", "audit", "query"]).unwrap();
    assert_eq!(ran.code, Some(3));
    let mut documents = serde_json::Deserializer::from_str(&ran.stderr).into_iter::<Value>();
    let waiting = documents.next().unwrap().unwrap();
    assert!(waiting["waiting"].as_str().unwrap().contains("the disk is full"), "{waiting}");
    let last = documents.last().unwrap().unwrap();
    assert_eq!(last["error"]["problem"]["code"], json!("ledger_unavailable"), "{last}");
}

#[test]
fn a_command_does_not_wait_for_a_hung_tpm() {
    let pair = || {
        let data = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
        let port = data.local_addr().ok()?.port();
        let control = TcpListener::bind((Ipv4Addr::LOCALHOST, port.checked_add(1)?)).ok()?;
        Some((data, control, port))
    };
    let (_data, _control, port) = (0..50).find_map(|_| pair()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cli = Cli::new(dir.path().join("home")).unwrap();
    let tcti = format!("swtpm:host=127.0.0.1,port={port}");
    let node = json!({ "tcti": tcti, "state_dir": dir.path().join("state"), "tpm_timeout_s": 1 });
    fs::write(cli.home().join("node.json"), node.to_string()).unwrap();
    let start = Instant::now();
    let ran = cli.run(["evidence", "collect"]).unwrap();
    println!("a hung TPM, after {:?}: {}", start.elapsed(), ran.stderr.trim());
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains(&tcti) && ran.stderr.contains("no answer within 1 s"), "{}", ran.stderr);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
