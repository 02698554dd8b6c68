//! Replicas that may not commit any more: of a database that went back in time, and under a name that another
//! process took.

use crate::world::{act, eventually};
use serde_json::{Value, json};
use std::{fs, process::Output};
use strongroom_protocol::{Code, Problem, admin::Role};
use strongroom_tests::{
    Vault,
    postgres::{Cluster, Database, USER},
    programs, wire,
};

fn ready(vault: &Vault) -> Option<Problem> {
    let join = vault.join_file().unwrap();
    let url = format!("{}/readyz", join.url);
    let reply = wire::send(&wire::agent(&join).unwrap(), "GET", &url, &[], Vec::new()).unwrap();
    (reply.status != 200).then(|| reply.problem().unwrap())
}

fn strongroomd(vault: &Vault, arguments: &[&str]) -> Output {
    let mut command = programs::bare(&programs::built("strongroomd").unwrap());
    command.args(arguments).arg("--config").arg(vault.configuration()).output().unwrap()
}

/// Two replicas that are stopped, over a database from before the last commits of the second: the first knows
/// nothing of those.
fn restored() -> (Vault, Vault, Database) {
    let cluster = Cluster::shared();
    let database = cluster.database().unwrap();
    let (name, old) = (&database.name, format!("{}_old", database.name));
    let first = Vault::init_over(&database).unwrap();
    let mut second = first.replica("strongroomd-2").unwrap();
    assert!(!second.serve().unwrap(), "the vault is locked");
    second.stop().unwrap();
    // A connection that was just closed may still be there.
    let copy = format!("CREATE DATABASE {old} OWNER {USER} TEMPLATE {name}");
    eventually("a database that nobody uses", || cluster.sql("postgres", &copy).ok());
    assert!(!second.serve().unwrap(), "the vault is locked");
    second.stop().unwrap();
    cluster.sql("postgres", &format!("DROP DATABASE {name} WITH (FORCE)")).unwrap();
    cluster.sql("postgres", &format!("ALTER DATABASE {old} RENAME TO {name}")).unwrap();
    (first, second, database)
}

fn size(database: &Database) -> u64 {
    database.sql("SELECT count(*) FROM entries").unwrap().parse().unwrap()
}

#[test]
fn a_restored_database_that_one_replica_found_locks_the_others_until_somebody_decides() {
    let (mut first, mut second, database) = restored();
    let before = size(&database);
    assert!(second.serve().unwrap(), "it knows what is lost");
    assert!(first.serve().unwrap(), "what another replica found does not lock this one");
    for vault in [&first, &second] {
        let problem = ready(vault).expect("a locked vault is ready");
        let detail = problem.detail.unwrap();
        assert!(problem.code == Code::Locked && detail.contains("gone back in time"), "{detail}");
    }
    assert!(ready(&first).unwrap().detail.unwrap().contains("found by the replica strongroomd-2"));
    assert_eq!(size(&database), before, "the ledger was forked");
    first.stop().unwrap();
    second.stop().unwrap();

    // What doctor says is what is to be said to accept it.
    let doctor = strongroomd(&second, &["doctor", "--json"]);
    assert!(!doctor.status.success());
    let report: Value = serde_json::from_slice(&doctor.stdout).unwrap();
    let found = report.as_array().unwrap().iter().find(|check| check["name"] == "ledger").unwrap();
    let signed = database.sql("SELECT checkpoint FROM head").unwrap();
    assert_eq!(found["checkpoint"].as_str().unwrap().trim_end(), signed, "{found}");
    let said = format!("accept-restore --size {before}");
    assert!(found["remedy"].as_str().unwrap().contains(&said), "{found}");
    let wrong = strongroomd(&second, &["accept-restore", "--size", "1", "--person", "ada"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("look again"), "{wrong:?}");
    let accept = strongroomd(&second, &["accept-restore", "--size", &before.to_string(), "--person", "ada"]);
    assert!(accept.status.success(), "{accept:?}");

    assert!(!first.serve().unwrap() && !second.serve().unwrap(), "the decision does not count");
    let query = "SELECT convert_from(record, 'UTF8') FROM entries WHERE idx = ";
    let record: Value = serde_json::from_str(&database.sql(&format!("{query}{before}")).unwrap()).unwrap();
    assert_eq!(record["action"], "vault.unlocked");
    assert_eq!(
        (&record["details"]["person"], &record["details"]["found_by"]),
        (&json!("ada"), &json!("strongroomd-2"))
    );
    assert_eq!((ready(&first), ready(&second)), (None, None));
}

#[test]
fn a_replica_that_commits_to_a_restored_database_is_stopped_by_one_that_knows_better() {
    let (mut first, mut second, database) = restored();
    assert!(!first.serve().unwrap(), "it cannot know what is lost");
    let operator = first.admin(Role::Operator).unwrap();
    act(&operator, "/v1/sites", &json!({ "name": "fra-1", "jurisdiction": "DE" }));
    let before = size(&database);
    assert!(second.serve().unwrap(), "it knows what is lost");
    // By its next commit; its readiness is looked at after that, or would lock it first.
    let refused = operator.post::<Value>("/v1/sites", &json!({ "name": "fra-2", "jurisdiction": "DE" })).unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!(problem.code, Code::Locked, "{problem:?}");
    assert!(problem.detail.as_ref().unwrap().contains("found by the replica strongroomd-2"), "{problem:?}");
    assert_eq!(ready(&first).map(|problem| problem.code), Some(Code::Locked));
    assert_eq!(size(&database), before, "something was committed after it was found");
}

#[test]
fn a_replica_whose_name_was_taken_is_not_ready_and_says_why() {
    let mut first = Vault::init_over(&Cluster::shared().database().unwrap()).unwrap();
    assert!(!first.serve().unwrap(), "the vault is locked");
    assert_eq!(ready(&first), None);
    let mut namesake = first.replica("strongroomd-1").unwrap();
    fs::copy(first.dir().join("checkpoint.outside"), namesake.dir().join("checkpoint.outside")).unwrap();
    assert!(!namesake.serve().unwrap(), "the vault is locked");
    let problem = ready(&first).expect("a replica that commits nothing is ready");
    assert_eq!((problem.status, problem.code), (503, Code::LedgerUnavailable));
    let detail = problem.detail.unwrap();
    assert!(detail.contains("another process has taken the name of the replica strongroomd-1"), "{detail}");
    assert_eq!(ready(&namesake), None);
}
