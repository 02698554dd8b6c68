//! The configuration file. The comments of the fields here are what the commented default and the
//! reference page say of them: `make docs` writes both.

use serde::Deserialize;
use std::{
    io::Read as _,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};
use strongroom_protocol::{evidence::PcrBank, evidence::PcrSelection, limits::BODY};
use strongroom_store::{DatabaseTls, PostgresOptions};

/// The commented default configuration.
pub const DEFAULT_TEXT: &str = include_str!("../config.default.toml");

/// Why a configuration was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Anybody may write the file, and so waive four eyes or name another root key.
    #[error(
        "configuration {path} has mode {mode:o}: anybody may write it; make sure of its content, then `chmod 600` it"
    )]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not TOML, or a line that is unknown or of another type.
    #[error("configuration {path}: {problem}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What the reader said, with its line.
        problem: String,
    },
    /// A value that cannot be meant.
    #[error("configuration: {field}: {problem}")]
    Value {
        /// The key, with its table.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Listeners, TLS, logs.
    pub server: ServerConfig,
    /// The database.
    pub store: StoreConfig,
    /// The root key.
    pub custody: CustodyConfig,
    /// The ledger.
    pub ledger: LedgerConfig,
    /// What evidence is measured against.
    pub attestation: AttestationConfig,
    /// Four eyes.
    pub four_eyes: FourEyesConfig,
    /// Caps of this vault; those of the protocol cannot be changed.
    pub limits: LimitsConfig,
    /// Leases; their other times are policy's to say.
    pub lease: LeaseConfig,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Listeners, TLS, logs.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Where the API listens, TLS 1.3 only.
    pub listen: SocketAddr,
    /// What clients call it by; stands in join files. Its host must be in the certificate.
    pub url: String,
    /// Certificate chain, PEM, leaf first. `init` makes a private CA, this file and the key; put your own in
    /// their place if you have a CA.
    pub tls_certificate: PathBuf,
    /// Its private key, PEM, mode 0600; one that others may use is refused.
    pub tls_key: PathBuf,
    /// The CA that clients are given in join files, PEM.
    pub tls_ca: PathBuf,
    /// Where Prometheus metrics and nothing else are served, in plain HTTP. Empty: nowhere.
    pub metrics_listen: String,
    /// This process's name in ledger records, 1 to 255 bytes without control characters.
    pub replica: String,
    /// Seconds that requests in flight may take to finish when the vault stops.
    pub shutdown_deadline_s: u64,
    /// How log lines look; they go to standard error.
    pub log_format: LogFormat,
    /// What is logged: `off`, `error`, `warn`, `info`, `debug`, `trace`, or directives `target=level` parted by
    /// commas.
    pub log_level: String,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8443)),
            url: "https://127.0.0.1:8443".into(),
            tls_certificate: "tls/server.pem".into(),
            tls_key: "tls/server.key".into(),
            tls_ca: "tls/ca.pem".into(),
            metrics_listen: "127.0.0.1:9464".into(),
            replica: "strongroomd-1".into(),
            shutdown_deadline_s: 10,
            log_format: LogFormat::Text,
            log_level: "info".into(),
        }
    }
}

/// The database.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// What keeps state and ledger.
    pub backend: BackendKind,
    /// SQLite's file.
    pub path: PathBuf,
    /// Bytes that must stay free on that file's disk; below that nothing is released.
    pub reserve_bytes: u64,
    /// How to reach PostgreSQL; read when `backend` is `postgres`. A file with these keys alone is what
    /// `strongroomd init --postgres` reads.
    pub postgres: PostgresConfig,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            backend: BackendKind::Sqlite,
            path: "vault.db".into(),
            reserve_bytes: 256 << 20,
            postgres: PostgresConfig::default(),
        }
    }
}

/// What keeps state and ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// A file on this machine, for one replica.
    Sqlite,
    /// A database that several replicas share.
    Postgres,
}

/// How to reach PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct PostgresConfig {
    /// A host name as its certificate says it, an IP address, or the directory of a Unix socket.
    pub host: String,
    /// TCP port, or the number in the socket's name.
    pub port: u16,
    /// The database: the role owns it, and it holds nothing else.
    pub database: String,
    /// The role.
    pub user: String,
    /// A file with the password in its first line, mode 0600. Empty: none is sent.
    pub password_file: PathBuf,
    /// How the way there is protected, over TCP.
    pub tls: TlsMode,
    /// The database's certificate authorities, PEM, trusted for it besides the public ones. Empty: only those.
    pub ca: PathBuf,
    /// True behind a transaction pooler such as pgbouncer.
    pub pooler: bool,
    /// Connections that read; one more writes.
    pub readers: u32,
    /// Milliseconds that one statement, lock or connection is waited for.
    pub patience_ms: u64,
}

impl Default for PostgresConfig {
    fn default() -> Self {
        Self {
            host: "/var/run/postgresql".into(),
            port: 5432,
            database: "strongroom".into(),
            user: "strongroom".into(),
            password_file: PathBuf::new(),
            tls: TlsMode::VerifyFull,
            ca: PathBuf::new(),
            pooler: false,
            readers: 8,
            patience_ms: 4000,
        }
    }
}

/// How the way to a database is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// TLS, and a certificate for the host.
    VerifyFull,
    /// In the clear, on this machine only.
    Off,
    /// In the clear to any host: whoever is on the way reads and changes everything.
    OffAnywhere,
}

impl PostgresConfig {
    /// Makes relative paths relative to `directory`; empty ones stay empty.
    pub fn resolve(&mut self, directory: &Path) {
        for path in [&mut self.password_file, &mut self.ca] {
            if !path.as_os_str().is_empty() {
                *path = directory.join(&*path);
            }
        }
    }

    /// As the store takes it.
    pub fn options(&self) -> PostgresOptions {
        let named = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
        PostgresOptions {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            user: self.user.clone(),
            password_file: named(&self.password_file),
            tls: match self.tls {
                TlsMode::VerifyFull => DatabaseTls::VerifyFull { ca: named(&self.ca) },
                TlsMode::Off => DatabaseTls::Plaintext,
                TlsMode::OffAnywhere => DatabaseTls::PlaintextAnywhere,
            },
            pooler: self.pooler,
            readers: self.readers,
            patience: Duration::from_millis(self.patience_ms),
        }
    }
}

/// The root key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct CustodyConfig {
    /// How the root key is kept.
    pub kind: CustodyKind,
    /// The root key's file: 32 bytes, mode 0600, no link.
    pub path: PathBuf,
    /// File custody is used only when this says, word for word, `the root key lies unprotected on this disk`.
    pub acknowledge: String,
}

impl Default for CustodyConfig {
    fn default() -> Self {
        Self { kind: CustodyKind::File, path: "root.key".into(), acknowledge: String::new() }
    }
}

/// Kinds of custody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CustodyKind {
    /// A file, for development: whoever reads the disk has every key.
    File,
}

/// The ledger.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LedgerConfig {
    /// The expected first line of the ledger's checkpoints, so that a vault cannot be started over another
    /// vault's ledger. Empty: what `init` put into the database.
    pub origin: String,
    /// The last committed checkpoint, kept outside the database: on another disk, if you can, so that a
    /// database that went back in time is found out.
    pub outside_checkpoint: PathBuf,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        Self { origin: String::new(), outside_checkpoint: "checkpoint.outside".into() }
    }
}

/// What evidence is measured against.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AttestationConfig {
    /// Directory of TPM vendors' certificates: every `*.pem` in it is imported for EK certificates, self-issued
    /// CAs as roots, the rest as intermediates. Read at the start.
    pub ek_roots: PathBuf,
    /// Directory of their revocation lists, `*.pem` and `*.crl`. It must be there, and may be empty; a file in
    /// it that is no revocation list is an error that names it. Read at the start.
    pub crls: PathBuf,
    /// PCRs of the SHA-256 bank that quotes must select, exactly, until a policy says otherwise.
    pub pcrs: Vec<u8>,
}

impl Default for AttestationConfig {
    fn default() -> Self {
        Self { ek_roots: "roots/ek".into(), crls: "roots/crls".into(), pcrs: PcrSelection::default_sha256().pcrs }
    }
}

impl AttestationConfig {
    /// The selection that quotes are asked for until a policy says otherwise.
    pub fn pcr_selection(&self) -> PcrSelection {
        PcrSelection { bank: PcrBank::Sha256, pcrs: self.pcrs.clone() }
    }
}

/// Four eyes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct FourEyesConfig {
    /// Development only: lets the author of a policy enforce it. Recorded in the ledger at each start and in
    /// each act, and shown by `GET /v1/vault`.
    pub waived: bool,
}

/// Caps.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Requests a second of one peer: an IPv4 address, an IPv6 /64, and again one node's AK once it is known.
    pub requests_per_second: u32,
    /// Requests of one peer in a burst. A whole cluster may stand behind one address, and asks as a herd when a
    /// job starts.
    pub burst: u32,
    /// Connections at one time.
    pub connections: usize,
    /// Connections of one address (IPv4, or an IPv6 /64) at one time. Where a balancer or a gateway stands for all
    /// clients, as many as there are.
    pub connections_per_address: usize,
    /// Seconds for a TLS handshake.
    pub handshake_timeout_s: u64,
    /// Seconds for request headers.
    pub header_timeout_s: u64,
    /// Seconds for a request's body.
    pub body_timeout_s: u64,
    /// Bytes of a body that have to come in each second, after the first five.
    pub body_bytes_per_second: u32,
    /// Bytes of bodies that are held at one time, from before anybody is known to the answer. A request waits for
    /// room for its body before any of it is read, for 15 seconds; then 429. The vault may take three times as much
    /// memory: what was sent, and what was read from it.
    pub body_bytes: u64,
    /// The same for one address, so that it leaves room for others. Where a balancer or a gateway stands for all
    /// clients, as much as there is.
    pub body_bytes_per_address: u64,
    /// Decisions and acts that may wait for the ledger; beyond it 503.
    pub queue_length: usize,
    /// Milliseconds that one may wait; beyond it 503.
    pub commit_deadline_ms: u64,
    /// Seconds that an enrolment waits for its activation.
    pub enrolment_lifetime_s: u64,
    /// Denials that the ledger keeps of one node within an hour; beyond it 429.
    pub denials_per_node_per_hour: u64,
    /// Bytes of its boot logs and IMA logs that are kept of one node within an hour; beyond it decisions are made
    /// all the same, and only digests of the logs are kept.
    pub log_bytes_per_node_per_hour: u64,
    /// Live leases that one node may hold; policy may allow fewer.
    pub leases_per_node: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            requests_per_second: 5000,
            burst: 10_000,
            connections: 4096,
            connections_per_address: 2048,
            handshake_timeout_s: 10,
            header_timeout_s: 10,
            body_timeout_s: 30,
            body_bytes_per_second: 64 << 10,
            body_bytes: 256 << 20,
            body_bytes_per_address: 128 << 20,
            queue_length: 4096,
            commit_deadline_ms: 5000,
            enrolment_lifetime_s: 600,
            denials_per_node_per_hour: 600,
            log_bytes_per_node_per_hour: 32 << 20,
            leases_per_node: 1024,
        }
    }
}

/// Leases.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize, schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LeaseConfig {
    /// A lease that nobody proved possession of within these seconds ends, and gives its quota back.
    pub delivery_deadline_s: u64,
    /// Seconds between two looks for leases whose time ran out.
    pub sweep_interval_s: u64,
}

impl Default for LeaseConfig {
    fn default() -> Self {
        Self { delivery_deadline_s: 120, sweep_interval_s: 5 }
    }
}

impl Config {
    /// Reads a file; relative paths in it become relative to its directory.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |source| ConfigError::Io { path: path.to_owned(), source };
        let mut file = std::fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o002 != 0 {
            return Err(ConfigError::TooOpen { path: path.to_owned(), mode });
        }
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        let mut config =
            Self::parse(&text).map_err(|e| ConfigError::Malformed { path: path.to_owned(), problem: e.to_string() })?;
        config.resolve(path.parent().unwrap_or(Path::new(".")));
        config.check()?;
        Ok(config)
    }

    /// Reads TOML without resolving its paths.
    pub fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }

    /// Makes relative paths relative to `directory`.
    pub fn resolve(&mut self, directory: &Path) {
        for path in [
            &mut self.server.tls_certificate,
            &mut self.server.tls_key,
            &mut self.server.tls_ca,
            &mut self.store.path,
            &mut self.custody.path,
            &mut self.ledger.outside_checkpoint,
            &mut self.attestation.ek_roots,
            &mut self.attestation.crls,
        ] {
            *path = directory.join(&*path);
        }
        self.store.postgres.resolve(directory);
    }

    /// The rules that the types do not carry.
    pub fn check(&self) -> Result<(), ConfigError> {
        let value = |field, problem: &str| Err(ConfigError::Value { field, problem: problem.to_owned() });
        if let Err(problem) = url_host(&self.server.url) {
            return value("server.url", problem);
        }
        if !is_log_filter(&self.server.log_level) {
            return value(
                "server.log_level",
                "off, error, warn, info, debug or trace, or target=level, parted by commas",
            );
        }
        // The ledger takes no other text.
        let replica = &self.server.replica;
        if !(1..=255).contains(&replica.len()) || replica.contains(char::is_control) {
            return value("server.replica", "1 to 255 bytes without control characters");
        }
        if !self.server.metrics_listen.is_empty() && self.server.metrics_listen.parse::<SocketAddr>().is_err() {
            return value("server.metrics_listen", "an address and port, or empty");
        }
        if self.attestation.pcr_selection().bitmap().is_none() {
            return value("attestation.pcrs", "indices 0 to 23, ascending, without repetition, at least one");
        }
        if self.lease.delivery_deadline_s == 0 || self.lease.sweep_interval_s == 0 {
            return value("lease", "times are above 0");
        }
        let postgres = &self.store.postgres;
        if postgres.host.is_empty() || postgres.readers == 0 || postgres.patience_ms == 0 {
            return value("store.postgres", "a host, at least one reader, and a patience above 0");
        }
        let limits = &self.limits;
        if limits.requests_per_second == 0
            || limits.burst == 0
            || limits.connections == 0
            || limits.connections_per_address == 0
            || limits.body_bytes_per_second == 0
            || limits.queue_length == 0
            || limits.commit_deadline_ms == 0
        {
            return value("limits", "rates, lengths and deadlines are above 0");
        }
        if limits.body_bytes.min(limits.body_bytes_per_address) < BODY as u64 {
            return value("limits", "body_bytes and body_bytes_per_address hold one body of 4194304 bytes, at least");
        }
        Ok(())
    }

    /// The metrics listener's address, if there is one.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.server.metrics_listen.parse().ok()
    }
}

/// The host of a URL of a vault: `https://host` or `https://host:port`, a name or an address.
pub fn url_host(url: &str) -> Result<&str, &'static str> {
    const SHAPE: &str = "it is https://host or https://host:port, without a path";
    let authority = url.strip_prefix("https://").ok_or("it starts with https://")?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, rest) = v6.split_once(']').ok_or(SHAPE)?;
            host.parse::<Ipv6Addr>().map_err(|_| "the host is no IPv6 address")?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or(SHAPE)?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    // `parse` alone would take a sign.
    let digits = |port: &&str| port.bytes().all(|b| b.is_ascii_digit());
    let is_port = |port: &str| Some(port).filter(digits).and_then(|p| p.parse().ok()).is_some_and(|p: u16| p > 0);
    if !port.is_none_or(is_port) {
        return Err("its port is a number, 1 to 65535");
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last_is_a_number = host.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    match () {
        () if authority.starts_with('[') => Ok(host),
        () if last_is_a_number => host.parse::<Ipv4Addr>().map(|_| host).map_err(|_| "the host is no IPv4 address"),
        () if host.len() <= 253 && host.split('.').all(label) => Ok(host),
        () => Err("the host is a name of letters, digits, hyphens and dots, or an address"),
    }
}

/// Whether each directive ends in a level. The filter's own reader takes a lone word for a target.
fn is_log_filter(text: &str) -> bool {
    let level = |directive: &str| {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level).trim();
        ["off", "error", "warn", "info", "debug", "trace"].iter().any(|known| level.eq_ignore_ascii_case(known))
    };
    text.split(',').all(level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commented_default_is_the_default() {
        assert_eq!(Config::parse(DEFAULT_TEXT).unwrap(), Config::default());
        assert_eq!(Config::parse("").unwrap(), Config::default());
        Config::default().check().unwrap();
    }

    #[test]
    fn unknown_lines_are_refused() {
        for wrong in
            ["[server]\nlisten_on = \"x\"", "[servre]\n", "[limits]\nburst = \"many\"", "[custody]\nkind = \"none\""]
        {
            assert!(Config::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        let refused = |text: &str| Config::parse(text).unwrap().check().unwrap_err().to_string();
        assert!(refused("[server]\nurl = \"http://x\"").contains("server.url"));
        assert!(refused("[server]\nurl = \"https://x:99999\"").contains("server.url"));
        assert!(refused("[server]\nlog_level = \"loud\"").contains("server.log_level"));
        assert!(refused("[server]\nreplica = \"\"").contains("server.replica"));
        assert!(refused("[server]\nreplica = \"a\\nb\"").contains("server.replica"));
        assert!(refused("[server]\nmetrics_listen = \"x\"").contains("server.metrics_listen"));
        assert!(refused("[attestation]\npcrs = [4, 0]").contains("attestation.pcrs"));
        assert!(refused("[lease]\nsweep_interval_s = 0").contains("lease"));
        assert!(refused("[store.postgres]\nreaders = 0").contains("store.postgres"));
        assert!(refused("[limits]\nqueue_length = 0").contains("limits"));
        assert!(refused("[limits]\nconnections_per_address = 0").contains("limits"));
        assert!(refused("[limits]\nbody_bytes_per_second = 0").contains("limits"));
        for room in ["body_bytes", "body_bytes_per_address"] {
            assert!(refused(&format!("[limits]\n{room} = 4194303")).contains("body_bytes"));
            Config::parse(&format!("[limits]\n{room} = 4194304")).unwrap().check().unwrap();
        }
    }

    #[test]
    fn a_url_has_a_host_and_perhaps_a_port() {
        for (url, host) in [
            ("https://vault.example:8443", "vault.example"),
            ("https://vault/", "vault"),
            ("https://192.0.2.1:1", "192.0.2.1"),
            ("https://[2001:db8::1]:65535", "2001:db8::1"),
            ("https://[::1]", "::1"),
        ] {
            assert_eq!(url_host(url), Ok(host), "{url}");
        }
        for wrong in [
            "https://",
            "https:///",
            "https://exa mple",
            "https://x:99999",
            "https://x:0",
            "https://x:",
            "https://x:+1",
            "https://a/b",
            "https://a@b",
            "https://-a",
            "https://a..b",
            "https://999.1.1.1",
            "https://[::1",
            "https://[x]",
            "https://[::1]8443",
            "https://::1",
            "https://a\"b",
            "http://a",
            "https://\u{e9}",
        ] {
            assert!(url_host(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_log_filter_names_levels() {
        for good in ["info", "DEBUG", "off", "info,strongroom_server=debug", "hyper=warn"] {
            assert!(is_log_filter(good), "{good}");
        }
        for wrong in ["loud", "", "strongroom_server", "info,loud", "hyper=loud"] {
            assert!(!is_log_filter(wrong), "{wrong}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("strongroomd.toml");
        std::fs::write(&path, "[store]\npath = \"a.db\"\n[custody]\npath = \"/root.key\"").unwrap();
        let config = Config::load(&path).unwrap();
        assert_eq!(config.store.path, directory.path().join("a.db"));
        assert_eq!(config.custody.path, Path::new("/root.key"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o646)).unwrap();
        let error = Config::load(&path).unwrap_err();
        assert!(matches!(error, ConfigError::TooOpen { mode: 0o646, .. }), "{error}");
    }
}
