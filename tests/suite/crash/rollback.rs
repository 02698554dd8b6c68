//! A database that goes back in time is found before it can fork the log.

use crate::world::{World, act};
use std::{fs, path::Path};
use strongroom_protocol::{
    Code,
    admin::{Role, Site},
};
use strongroom_tests::{Vault, Wire, programs, wire};

/// The database and what SQLite keeps beside it.
fn copy_database(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in ["vault.db", "vault.db-wal", "vault.db-shm"] {
        let _ = fs::remove_file(to.join(name));
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

fn site(vault: &Vault, name: &str) {
    let body = Site { name: name.into(), jurisdiction: "DE".into() };
    act(&vault.admin(Role::Operator).unwrap(), "/v1/sites", &body);
}

fn get(vault: &Vault, path: &str) -> strongroom_tests::Reply {
    let join = vault.join_file().unwrap();
    let url = format!("{}{path}", join.url);
    wire::send(&wire::agent(&join).unwrap(), "GET", &url, &[], Vec::new()).unwrap()
}

#[test]
fn a_database_that_went_back_in_time_locks_the_vault() {
    let mut world = World::found::<0>(&[]);
    let vault = &mut world.vault;
    let saved = tempfile::tempdir().unwrap();
    site(vault, "before");
    assert!(vault.stop().unwrap().success());
    copy_database(&vault.dir(), &saved.path().join("old"));
    assert!(!vault.serve().unwrap());
    site(vault, "after");
    // Also what a crash leaves: the process is killed.
    vault.kill();
    copy_database(&vault.dir(), &saved.path().join("new"));
    copy_database(&saved.path().join("old"), &vault.dir());
    assert!(vault.serve().unwrap(), "an old database was served");
    for path in ["/v1/vault", "/v1/sites", "/v1/ledger/checkpoint", "/readyz"] {
        let problem = get(vault, path).problem().unwrap();
        assert_eq!((problem.status, problem.code), (423, Code::Locked), "{path}");
        println!("{path} of a vault whose database went back in time → {}: {:?}", problem.status, problem.detail);
    }
    assert_eq!(get(vault, "/healthz").status, 200);
    assert!(Wire::to(&vault.join_file().unwrap()).is_err());
    let node = strongroom_tests::Cli::new(vault.beside("somebody")).unwrap();
    let joined = node.run(["join", vault.join_path().to_str().unwrap()]).unwrap();
    assert_eq!(joined.code, Some(3), "{}", joined.stderr);
    let mut doctor = programs::bare(&programs::built("strongroomd").unwrap());
    let checked = doctor.arg("doctor").arg("--config").arg(vault.configuration()).output().unwrap();
    assert_eq!(
        checked.status.code(),
        Some(1),
        "the doctor finds nothing: {}",
        String::from_utf8_lossy(&checked.stdout)
    );
    assert!(vault.stop().unwrap().success());
    // The true database is served again, and nothing was added to the false one's log.
    copy_database(&saved.path().join("new"), &vault.dir());
    assert!(!vault.serve().unwrap(), "the true database is refused");
    site(vault, "later");
}

#[test]
fn an_outside_checkpoint_of_a_longer_log_is_not_passed_over() {
    let mut world = World::found::<0>(&[]);
    let vault = &mut world.vault;
    site(vault, "before");
    assert!(vault.stop().unwrap().success());
    let saved = tempfile::tempdir().unwrap();
    copy_database(&vault.dir(), &saved.path().join("old"));
    assert!(!vault.serve().unwrap());
    site(vault, "after");
    // The outside checkpoint of another ledger's future: as if another replica had lost commits.
    let ahead = fs::read(vault.dir().join("checkpoint.outside")).unwrap();
    vault.kill();
    copy_database(&saved.path().join("old"), &vault.dir());
    fs::remove_file(vault.dir().join("checkpoint.outside")).unwrap();
    let served = vault.serve();
    println!("an old database without its outside checkpoint → {served:?}");
    // Without the file there is nothing to compare with; whoever has it puts it back.
    vault.kill();
    fs::write(vault.dir().join("checkpoint.outside"), ahead).unwrap();
    assert!(vault.serve().unwrap(), "the checkpoint of a longer log was passed over");
}
