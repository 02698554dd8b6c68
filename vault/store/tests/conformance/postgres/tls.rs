//! The way to the database: verified, or on this machine; and a password that nobody sees.

use super::options;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use strongroom_postgres::{Cluster, PASSWORD};
use strongroom_store::{DatabaseTls, PostgresOptions, PostgresStore, Store as _};

fn private(path: &Path, text: &str) -> PathBuf {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_owned()
}

/// A CA, and a certificate of it for a name: certificate of the CA, certificate, key.
fn certificates(name: &str) -> (String, String, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    (ca, certificate.pem(), key.serialize_pem())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_named_host_under_the_given_ca_is_believed() {
    let directory = tempfile::tempdir().unwrap();
    let (ca, certificate, key) = certificates("localhost");
    let (other_ca, ..) = certificates("localhost");
    let cluster = Cluster::with_tls(&certificate, &key).unwrap();
    let database = cluster.database().unwrap();
    let password_file = Some(private(&directory.path().join("password"), PASSWORD));
    let with = |host: &str, ca: &str| {
        let ca = Some(private(&directory.path().join("ca.pem"), ca));
        let tls = DatabaseTls::VerifyFull { ca };
        PostgresOptions { host: host.to_owned(), tls, password_file: password_file.clone(), ..options(&database) }
    };
    let store = PostgresStore::open(&with("localhost", &ca)).await.unwrap();
    assert_eq!(store.vault().await.unwrap(), None);
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
         WHERE application_name = 'strongroomd'";
    assert_eq!(database.sql(encrypted).unwrap(), "t");

    let refused = |options: PostgresOptions| async move {
        let error = PostgresStore::open(&options).await.map(drop).unwrap_err();
        let told = format!("{error} {error:?} {options:?}");
        assert!(!told.contains(PASSWORD), "{told}");
        error.to_string()
    };
    let unknown = refused(with("localhost", &other_ca)).await;
    assert!(unknown.contains("UnknownIssuer") || unknown.contains("BadSignature"), "{unknown}");
    let misnamed = refused(with("127.0.0.1", &ca)).await;
    assert!(misnamed.contains("not valid for name"), "{misnamed}");
    let public_only = PostgresOptions { tls: DatabaseTls::VerifyFull { ca: None }, ..with("localhost", &ca) };
    assert!(refused(public_only).await.contains("UnknownIssuer"));

    // A server without TLS is not spoken to.
    let plain = Cluster::shared().database().unwrap();
    let to_plain = PostgresOptions { port: plain.port, database: plain.name.clone(), ..with("localhost", &ca) };
    assert!(refused(to_plain.clone()).await.contains("does not support TLS"));
    let unprotected = PostgresOptions { tls: DatabaseTls::Plaintext, ..to_plain };
    PostgresStore::open(&unprotected).await.unwrap();
    let elsewhere = PostgresOptions { host: "192.0.2.1".to_owned(), ..unprotected };
    assert!(refused(elsewhere).await.contains("in the clear"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused_and_not_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let database = Cluster::shared().database().unwrap();
    let with = |password: &str| PostgresOptions {
        host: "127.0.0.1".to_owned(),
        tls: DatabaseTls::Plaintext,
        password_file: Some(private(&directory.path().join("password"), password)),
        patience: Duration::from_secs(10),
        ..options(&database)
    };
    PostgresStore::open(&with(PASSWORD)).await.unwrap();
    for password in ["hunter2", "postgres://strongroom:hunter2@db/vault"] {
        let error = PostgresStore::open(&with(password)).await.map(drop).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains("password authentication failed"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let none = PostgresOptions { password_file: None, ..with(PASSWORD) };
    assert!(PostgresStore::open(&none).await.is_err());
}
