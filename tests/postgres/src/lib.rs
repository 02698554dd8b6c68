//! Throw-away PostgreSQL: a cluster of Debian's programs in a temporary directory, a database for each
//! test, a standby, and pgbouncer in front of it.
//!
//! ```text
//! Cluster::start(&["fsync=off"]) ──database()──> Database { host, port, name, user }
//!    └─ shared() one for the whole test binary     └── sql("…")  by the superuser
//! Cluster::standby() ──> Standby      Pooler::before(&cluster) ──> host, port, by transaction
//! Address::of(&database) ──> what a failover moves to another server
//! ```
//!
//! Everything listens on loopback and on a Unix socket in the temporary directory. A cluster ends, and
//! its directory goes, when it is dropped, and also when the test process ends in any other way: each
//! server is watched over by a shell that reads from the test process, and ends the server when there is
//! nobody to read from. PostgreSQL does not run as root; tests that do start it as `postgres`.

mod address;
mod pooler;
mod server;

pub use address::Address;
pub use pooler::Pooler;
pub use server::{Server, free_port};

use anyhow::{Context as _, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};
use tempfile::TempDir;

/// The role that tests connect as: it owns its databases, and nothing else.
pub const USER: &str = "strongroom";
/// Its password, where one is asked for: over TCP.
pub const PASSWORD: &str = "a password of tests";

/// A cluster that runs.
pub struct Cluster {
    server: Option<Server>,
    directory: TempDir,
    port: u16,
    databases: AtomicU32,
}

/// A database of its own, empty.
#[derive(Debug, Clone)]
pub struct Database {
    /// The directory of the cluster's Unix socket.
    pub socket: PathBuf,
    /// The port, of the socket and on loopback.
    pub port: u16,
    /// The database.
    pub name: String,
}

/// The directory of PostgreSQL's programs: the newest that is installed.
pub fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").context("PostgreSQL is not installed: run `make setup`")?;
    let mut found: Vec<_> = versions
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("postgres").is_file())
        .collect();
    found.sort();
    found.pop().map(|(_, bin)| bin).context("PostgreSQL is not installed: run `make setup`")
}

impl Cluster {
    /// The cluster that all tests of this process share.
    ///
    /// # Panics
    /// Where there is none to be had: a test cannot go on without it.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| {
            Self::start(&[]).unwrap_or_else(|error| {
                // INVARIANT: a test that cannot have its database cannot go on.
                #[expect(clippy::panic, reason = "a failed test is how this speaks")]
                {
                    panic!("no cluster: {error:#}")
                }
            })
        })
    }

    /// Makes a cluster and starts it with these settings (`name=value`) besides the usual ones.
    pub fn start(settings: &[&str]) -> anyhow::Result<Self> {
        let cluster = Self::make()?;
        cluster.running(settings)
    }

    /// A cluster with TLS: `certificate` and `key` are PEM.
    pub fn with_tls(certificate: &str, key: &str) -> anyhow::Result<Self> {
        let cluster = Self::make()?;
        for (name, text) in [("server.pem", certificate), ("server.key", key)] {
            server::give_file(&cluster.data().join(name), text)?;
        }
        cluster.running(&["ssl=on", "ssl_cert_file=server.pem", "ssl_key_file=server.key"])
    }

    /// `initdb`. Who connects by the socket is believed, who comes by TCP needs a password.
    fn make() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("strongroom-postgres-").tempdir()?;
        server::give_away(directory.path())?;
        let cluster = Self { server: None, directory, port: free_port()?, databases: AtomicU32::new(1) };
        let mut initdb = server::unprivileged(&programs()?.join("initdb"));
        initdb.arg("-D").arg(cluster.data());
        initdb.args(["-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync"]);
        initdb.args(["--auth-local=trust", "--auth-host=scram-sha-256"]);
        run(&mut initdb)?;
        Ok(cluster)
    }

    fn running(mut self, settings: &[&str]) -> anyhow::Result<Self> {
        self.restart(settings)?;
        self.sql("postgres", &format!("CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"))?;
        Ok(self)
    }

    /// Ends the server if it runs, as a power cut would, and starts it with these settings.
    pub fn restart(&mut self, settings: &[&str]) -> anyhow::Result<()> {
        drop(self.server.take());
        self.server = Some(serve(&self.data(), self.socket(), self.port, settings)?);
        Ok(())
    }

    /// The directory of its Unix socket.
    pub fn socket(&self) -> &Path {
        self.directory.path()
    }

    /// Its port, on loopback and in the name of the socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A new database that the tests' role owns.
    pub fn database(&self) -> anyhow::Result<Database> {
        let name = format!("vault_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {USER} TEMPLATE template0"))?;
        Ok(Database { socket: self.socket().to_owned(), port: self.port, name })
    }

    /// Runs SQL in a database, as the superuser; what it answers, a line a row.
    pub fn sql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        psql(self.socket(), self.port, database, sql)
    }

    /// A copy of the cluster that follows it.
    pub fn standby(&self) -> anyhow::Result<Standby> {
        let directory = tempfile::Builder::new().prefix("strongroom-standby-").tempdir()?;
        server::give_away(directory.path())?;
        let (data, port) = (directory.path().join("data"), free_port()?);
        let mut copy = server::unprivileged(&programs()?.join("pg_basebackup"));
        copy.arg("-h").arg(self.socket()).args(["-p", &self.port.to_string(), "-U", "postgres", "-R", "-c", "fast"]);
        copy.arg("-D").arg(&data);
        run(&mut copy)?;
        let server = serve(&data, directory.path(), port, &[])?;
        Ok(Standby { _server: server, directory, port })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Before its directory goes.
        drop(self.server.take());
    }
}

/// A standby that runs.
pub struct Standby {
    _server: Server,
    directory: TempDir,
    port: u16,
}

impl Standby {
    /// A database of the cluster that it follows, by way of the standby.
    pub fn database(&self, of: &Database) -> Database {
        Database { socket: self.directory.path().to_owned(), port: self.port, name: of.name.clone() }
    }
}

impl Database {
    /// How a vault reaches it, with the keys of `[store.postgres]`.
    pub fn configuration(&self) -> String {
        let (host, port, name) = (self.socket.display(), self.port, &self.name);
        // A loaded machine is slow.
        format!("host = \"{host}\"\nport = {port}\ndatabase = \"{name}\"\nuser = \"{USER}\"\npatience_ms = 20000\n")
    }

    /// The same over TLS, by a port of loopback (the cluster's, or a pooler's) that shows a certificate for
    /// `localhost` of the authority in `ca`; with a password.
    pub fn configuration_over_tls(&self, port: u16, ca: &Path, password_file: &Path) -> String {
        let (name, ca, password_file) = (&self.name, ca.display(), password_file.display());
        format!(
            "host = \"localhost\"\nport = {port}\ndatabase = \"{name}\"\nuser = \"{USER}\"\nca = \"{ca}\"\n\
             password_file = \"{password_file}\"\npatience_ms = 20000\n"
        )
    }

    /// Runs SQL in it, as the superuser; what it answers, a line a row.
    pub fn sql(&self, sql: &str) -> anyhow::Result<String> {
        psql(&self.socket, self.port, &self.name, sql)
    }
}

fn serve(data: &Path, socket: &Path, port: u16, settings: &[&str]) -> anyhow::Result<Server> {
    let bin = programs()?;
    let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
    let usual = [
        format!("unix_socket_directories={}", socket.display()),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        "max_connections=200".to_owned(),
        "shared_buffers=32MB".to_owned(),
    ];
    for setting in usual.into_iter().chain(settings.iter().map(|setting| (*setting).to_owned())) {
        arguments.extend(["-c".to_owned(), setting]);
    }
    let server = Server::start(&bin.join("postgres"), &arguments, "QUIT", socket)?;
    server.wait_until(|| {
        let mut ready = Command::new(bin.join("pg_isready"));
        ready.arg("-q").arg("-h").arg(socket).args(["-p", &port.to_string()]);
        Ok(ready.status()?.success())
    })?;
    Ok(server)
}

fn psql(socket: &Path, port: u16, database: &str, sql: &str) -> anyhow::Result<String> {
    let mut psql = Command::new(programs()?.join("psql"));
    psql.arg("-h").arg(socket).args(["-p", &port.to_string(), "-U", "postgres", "-d", database]);
    psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]).env_clear();
    Ok(String::from_utf8_lossy(&run(&mut psql)?.stdout).trim().to_owned())
}

fn run(command: &mut Command) -> anyhow::Result<Output> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output)
}
