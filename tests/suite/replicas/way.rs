//! The way from a vault to its database: TLS with a certificate for the name, a pooler that lends its
//! connections for a transaction, and a password that nobody gets to see.

use super::furnished;
use crate::world::act;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use strongroom::{LeaseOver, Options, Request, Room};
use strongroom_protocol::{admin::Role, lease::RevokeLease};
use strongroom_tests::{
    Machine, Vault, member,
    postgres::{Cluster, PASSWORD, Pooler},
    programs,
};

/// A certificate authority of its own, and a certificate of it for `localhost`.
struct Certified {
    ca: String,
    certificate: String,
    key: String,
}

impl Certified {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self { ca, certificate: leaf.pem(), key: key.serialize_pem() }
    }
}

fn private(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// A vault over this database, from its making to the audit of its ledger. It logs all that it can log.
fn lives(configuration: &str) -> Vault {
    let [node] = member::boot(&Machine::default()).unwrap();
    let mut vault = Vault::init_by(configuration).unwrap();
    vault.configure("log_level", "\"trace\"").unwrap();
    vault.trust(&node).unwrap();
    assert!(!vault.serve().unwrap(), "the vault is locked");
    let world = furnished(vault, node, |vault| vault.admin(Role::Custodian).unwrap());
    let devices = world.node().devices().unwrap();
    let room = Room::connect(&world.vault.join_file().unwrap(), Options::default()).unwrap();

    let lease = room.release(&devices, Request::new().writer("minilm", 1)).unwrap();
    lease.renew().unwrap();
    lease.reattest(&room, &devices).unwrap();
    let custodian = world.vault.admin(Role::Custodian).unwrap();
    act(&custodian, &format!("/v1/leases/{}/revoke", lease.id()), &RevokeLease { reason: "incident 17".into() });
    assert!(lease.renew().is_err());
    assert!(matches!(lease.check(), Err(LeaseOver::Revoked(_))));

    let dir = tempfile::tempdir().unwrap();
    let export = dir.path().join("ledger.jsonl");
    let auditor = world.vault.cli(Role::Auditor).unwrap();
    auditor.run(["audit", "export", "--out", export.to_str().unwrap()]).unwrap().done().unwrap();
    let report: Value = auditor.ask(["audit", "verify", export.to_str().unwrap()]).unwrap();
    assert_eq!(report["released"], 2, "the release and the renewal on evidence: {report}");
    world.vault
}

/// Whatever was logged or printed so far holds none of these passwords; the log goes into all detail.
fn shows_none_of(vault: &Vault, passwords: &[&str]) {
    let log = [vault.log(), vault.output()].map(|path| fs::read_to_string(path).unwrap_or_default()).concat();
    assert!(log.contains("TRACE") && log.contains("DEBUG"), "the log does not go into detail");
    for password in passwords {
        for form in [(*password).to_owned(), STANDARD.encode(password), hex::encode(password)] {
            assert!(!log.contains(&form), "a password is in the log");
        }
    }
}

/// `serve` ends at the start with these words.
fn refuses(vault: &mut Vault, words: &[&str]) {
    let refused = vault.serve().unwrap_err().to_string();
    println!(
        "refused at the start: {}",
        refused.lines().find(|line| line.starts_with("strongroomd: ")).unwrap_or_default()
    );
    for words in words {
        assert!(refused.contains(words), "{words:?}: {refused}");
    }
}

#[test]
fn a_vault_lives_over_tls_and_refuses_another_server() {
    const WRONG: &str = "not the database's pass phrase";
    let directory = tempfile::tempdir().unwrap();
    let server = Certified::new();
    let cluster = Cluster::with_tls(&server.certificate, &server.key).unwrap();
    let database = cluster.database().unwrap();
    let ca = private(directory.path(), "ca.pem", &server.ca);
    let password_file = private(directory.path(), "password", PASSWORD);
    let mut vault = lives(&database.configuration_over_tls(database.port, &ca, &password_file));
    let encrypted = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE application_name = 'strongroomd'";
    assert_eq!(database.sql(encrypted).unwrap(), "t");
    programs::run(
        programs::bare(&programs::built("strongroomd").unwrap())
            .args(["doctor", "--config"])
            .arg(vault.configuration()),
    )
    .unwrap();
    vault.stop().unwrap();

    vault.configure("host", "\"127.0.0.1\"").unwrap();
    refuses(&mut vault, &["not valid for name", "set `host` to a name that the database's certificate says"]);
    vault.configure("host", "\"localhost\"").unwrap();
    private(directory.path(), "ca.pem", &Certified::new().ca);
    refuses(&mut vault, &["invalid peer certificate", "signed the database's own as `ca`"]);
    private(directory.path(), "ca.pem", &server.ca);
    private(directory.path(), "password", WRONG);
    refuses(&mut vault, &["password authentication failed", "correct the password in `password_file`"]);
    private(directory.path(), "password", PASSWORD);
    assert!(!vault.serve().unwrap(), "with everything put right it serves");
    shows_none_of(&vault, &[PASSWORD, WRONG]);
    vault.stop().unwrap();

    // A server without TLS is not spoken to, and is told nothing.
    let plain = Cluster::shared().database().unwrap();
    vault.configure("port", &plain.port.to_string()).unwrap();
    refuses(&mut vault, &["does not support TLS", "turn `ssl` on"]);
}

#[test]
fn a_vault_lives_behind_a_pooler_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (server, cluster) = (Certified::new(), Cluster::shared());
    let pooler = Pooler::with_tls(cluster, &server.certificate, &server.key).unwrap();
    let ca = private(directory.path(), "ca.pem", &server.ca);
    let password_file = private(directory.path(), "password", PASSWORD);
    let database = cluster.database().unwrap();
    let over_tls = database.configuration_over_tls(pooler.port(), &ca, &password_file);
    let mut vault = lives(&format!("{over_tls}pooler = true\n"));
    shows_none_of(&vault, &[PASSWORD]);
    vault.stop().unwrap();
    vault.configure("host", "\"127.0.0.1\"").unwrap();
    refuses(&mut vault, &["not valid for name", "set `host`"]);
    vault.configure("host", "\"localhost\"").unwrap();
    private(directory.path(), "password", "hunter two");
    refuses(&mut vault, &["`password_file`"]);
    shows_none_of(&vault, &[PASSWORD, "hunter two"]);
}
