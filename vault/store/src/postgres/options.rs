//! How to reach a database. Nothing of it is read from the environment, and the password is in no
//! message, no log and no `Debug`.

use crate::store::StoreError;
use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgSslMode},
};
use std::{
    fs,
    io::Read as _,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// A password file, bytes.
const PASSWORD_BYTES: u16 = 4096;
/// What libpq, and with it sqlx, would take from the environment without any way to leave it out.
const FOREIGN: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// How to reach a PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// A host name, as its certificate says it; an IP address; or the directory of a Unix socket.
    pub host: String,
    /// TCP port, or the number in the socket's name.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// A file that only its owner may read, with the password; none for peer or trust authentication.
    pub password_file: Option<PathBuf>,
    /// How the way there is protected.
    pub tls: DatabaseTls,
    /// True behind a transaction pooler: no statement is prepared for longer than its transaction.
    pub pooler: bool,
    /// Connections that read, at least 1. One more writes.
    pub readers: u32,
    /// How long one statement, one lock, or one connection is waited for.
    pub patience: Duration,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            host: "/var/run/postgresql".to_owned(),
            port: 5432,
            database: "strongroom".to_owned(),
            user: "strongroom".to_owned(),
            password_file: None,
            tls: DatabaseTls::VerifyFull { ca: None },
            pooler: false,
            readers: 8,
            patience: Duration::from_secs(4),
        }
    }
}

/// How the way to a database is protected. A Unix socket needs no protection, whatever stands here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseTls {
    /// TLS, with a certificate for the host.
    VerifyFull {
        /// Certificate authorities (PEM) that are trusted besides the public ones.
        ca: Option<PathBuf>,
    },
    /// Nothing: refused unless the host is a Unix socket or a loopback address.
    Plaintext,
    /// Nothing, to any host: whoever is on the way reads and changes everything.
    PlaintextAnywhere,
}

impl PostgresOptions {
    /// The place without anything secret, for messages.
    pub fn place(&self) -> String {
        format!("{} on {}, port {}", self.database, self.host, self.port)
    }

    fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// As sqlx takes them, with everything set that it would take from elsewhere.
    pub(super) fn connect(&self) -> Result<PgConnectOptions, StoreError> {
        for name in FOREIGN {
            if std::env::var_os(name).is_some() {
                return Err(refused(format!(
                    "{name} is set in the environment, from which nothing is taken: unset it"
                )));
            }
        }
        let password = match &self.password_file {
            Some(path) => read_password(path)?,
            None => Zeroizing::new(String::new()),
        };
        let mut connect = PgConnectOptions::new_without_pgpass()
            .port(self.port)
            .username(&self.user)
            .password(&password)
            .database(&self.database)
            .application_name("strongroomd")
            // A pooler takes no start-up parameter that it does not know.
            .extra_float_digits(None)
            .statement_cache_capacity(if self.pooler { 0 } else { 256 })
            .ssl_mode(self.ssl_mode()?)
            .disable_statement_logging();
        connect =
            if self.is_socket() { connect.host("localhost").socket(&self.host) } else { connect.host(&self.host) };
        if let (DatabaseTls::VerifyFull { ca: Some(ca) }, false) = (&self.tls, self.is_socket()) {
            let pem = fs::read(ca).map_err(|e| refused(format!("the CA {} cannot be read: {e}", ca.display())))?;
            connect = connect.ssl_root_cert_from_pem(pem);
        }
        Ok(connect)
    }

    fn ssl_mode(&self) -> Result<PgSslMode, StoreError> {
        if self.is_socket() {
            return Ok(PgSslMode::Disable);
        }
        let loopback = self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
        match self.tls {
            DatabaseTls::VerifyFull { .. } => Ok(PgSslMode::VerifyFull),
            DatabaseTls::Plaintext if !loopback => Err(refused(format!(
                "{} is another machine, and everything would travel there in the clear: use TLS",
                self.host
            ))),
            DatabaseTls::Plaintext | DatabaseTls::PlaintextAnywhere => Ok(PgSslMode::Disable),
        }
    }
}

fn refused(mut why: String) -> StoreError {
    why.insert_str(0, "[store.postgres] does not serve: ");
    StoreError::Unusable(why)
}

/// The first line of a file that nobody but its owner may read.
fn read_password(path: &Path) -> Result<Zeroizing<String>, StoreError> {
    let unreadable = |e| refused(format!("the password file {} cannot be read: {e}", path.display()));
    let file = fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        return Err(refused(format!("others may read the password file {path}: change the password, `chmod 600` it")));
    }
    let mut text = Zeroizing::new(String::with_capacity(PASSWORD_BYTES.into()));
    file.take(PASSWORD_BYTES.into()).read_to_string(&mut text).map_err(unreadable)?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(refused(format!("the password file {} has no password in its first line", path.display())));
    }
    Ok(Zeroizing::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn to(host: &str, tls: DatabaseTls) -> PostgresOptions {
        PostgresOptions { host: host.to_owned(), tls, ..PostgresOptions::default() }
    }

    #[test]
    fn plaintext_stays_on_this_machine_unless_told() {
        use DatabaseTls::{Plaintext, PlaintextAnywhere, VerifyFull};
        for host in ["localhost", "127.0.0.1", "::1", "/run/postgresql"] {
            assert!(matches!(to(host, Plaintext).connect().unwrap().get_ssl_mode(), PgSslMode::Disable), "{host}");
        }
        for host in ["db.example", "192.0.2.1", "::2", "localhost.example"] {
            let error = to(host, Plaintext).connect().unwrap_err().to_string();
            assert!(error.contains("in the clear"), "{error}");
            let mode = |tls| to(host, tls).connect().unwrap().get_ssl_mode();
            assert!(matches!(mode(PlaintextAnywhere), PgSslMode::Disable));
            assert!(matches!(mode(VerifyFull { ca: None }), PgSslMode::VerifyFull));
        }
    }

    #[test]
    fn a_password_is_taken_from_a_private_file_and_shown_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        let options = PostgresOptions { password_file: Some(path.clone()), ..PostgresOptions::default() };
        fs::write(&path, "correct horse\nsecond line\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(options.connect().unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(*read_password(&path).unwrap(), "correct horse");
        options.connect().unwrap();
        assert!(!format!("{options:?} {}", options.place()).contains("horse"));
        fs::write(&path, "\n").unwrap();
        assert!(options.connect().unwrap_err().to_string().contains("no password"));
        fs::remove_file(&path).unwrap();
        assert!(options.connect().unwrap_err().to_string().contains("cannot be read"));
    }
}
