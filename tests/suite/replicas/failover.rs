//! A database that is not the one any more that the vault was started on.

use super::furnished;
use crate::world::eventually;
use std::fs;
use strongroom::{Options, Request, Room};
use strongroom_protocol::{Code, Problem, admin::Role};
use strongroom_tests::{
    Machine, Vault, Wire, member,
    postgres::{Cluster, Database, USER},
    wire::writer_key,
};

/// Sets it for the vault's role, as a server that a failover led to may have it set, and ends its sessions.
fn set(database: &Database, setting: &str) {
    database.sql(&format!("ALTER ROLE {USER} IN DATABASE {} SET {setting}", database.name)).unwrap();
    let others = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.sql(others).unwrap();
}

#[test]
fn a_database_that_began_to_forget_or_takes_no_writes_stops_releases_and_says_why() {
    let [node] = member::boot(&Machine::default()).unwrap();
    let database = Cluster::shared().database().unwrap();
    let mut vault = Vault::init_over(&database).unwrap();
    vault.trust(&node).unwrap();
    assert!(!vault.serve().unwrap(), "the vault is locked");
    let world = furnished(vault, node, |vault| vault.admin(Role::Custodian).unwrap());
    let devices = world.node().devices().unwrap();
    let join = world.vault.join_file().unwrap();
    let (room, wire) = (Room::connect(&join, Options::default()).unwrap(), Wire::to(&join).unwrap());
    let lease = room.release(&devices, Request::new().writer("minilm", 1)).unwrap();
    let ready = || wire.send("GET", "/readyz", &[], Vec::new()).unwrap();
    assert_eq!(ready().status, 200);

    for (weak, strong, words) in [
        ("synchronous_commit = off", "synchronous_commit = on", "synchronous_commit is off: set it to on"),
        (
            "default_transaction_read_only = on",
            "default_transaction_read_only = off",
            "connect to the primary, or let this server take writes again",
        ),
    ] {
        set(&database, weak);
        // Connections that read find out first that they were ended: that is a 503 too, but of another kind.
        let told = |problem: Problem| problem.detail.is_some_and(|d| d.contains("standby")).then_some(problem.code);
        let refused = eventually("a refusal that says why", || {
            let asking = wire.ask(vec![writer_key("minilm", 1)]).ok()?;
            told(asking.send(&wire, &devices).unwrap().problem().unwrap())
        });
        assert_eq!(refused, Code::StoreUnavailable);
        assert_eq!(ready().problem().unwrap().code, Code::StoreUnavailable, "a load balancer does not learn of it");
        let log = fs::read_to_string(world.vault.log()).unwrap();
        assert!(log.contains(words), "the operator is not told {words:?}");
        // What is held goes on until its time: the vault may be mended by then.
        lease.check().unwrap();

        set(&database, strong);
        room.release(&devices, Request::new().writer("minilm", 1)).unwrap().end().unwrap();
        lease.renew().unwrap();
        assert_eq!(eventually("readiness", || Some(ready().status).filter(|s| *s == 200)), 200);
    }
}
