//! `strongroomd init`: a new vault in a directory, or nothing at all.

use super::{output, system_time};
use crate::{
    api::{status::VERSION, tokens},
    config::{Config, DEFAULT_TEXT, PostgresConfig, TlsMode, url_host},
    start::{Committer, IdentitySigner, told, unprotected},
    tls, vault,
    vault::{subject, system},
};
use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};
use strongroom_keys::{
    FileCustody, KeyTree, NewVault,
    custody::{FILE_ACKNOWLEDGEMENT, FileCustodyConfig},
};
use strongroom_ledger::{Action, SubjectKind, VerifierKey, default_origin};
use strongroom_protocol::{
    Bytes, Fixed, VaultId,
    admin::{CreateToken, Role},
    join::JoinFile,
};
use strongroom_store::{Backend, Change, Item, Outcome, PostgresStore, Sequencer, SqliteStore, model::VaultRow};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::queue::Commit;

/// Seconds that the first token lives: a week, in which to make others.
pub(super) const FIRST_TOKEN: u64 = 7 * 24 * 3600;

/// How the directory begins that a vault is made in before it is whole.
pub(super) const UNFINISHED: &str = ".strongroom-init-";

/// What `init` made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// The vault.
    pub vault_id: VaultId,
    /// The configuration file.
    pub config: PathBuf,
    /// The join file.
    pub join_file: PathBuf,
    /// The file with the first token, mode 0600.
    pub first_token: PathBuf,
    /// The ledger's verifier key.
    pub ledger_verifier_key: String,
}

pub(super) async fn run(
    dir: &Path,
    url: &str,
    person: &str,
    postgres: Option<&Path>,
    waive: bool,
    json: bool,
) -> Result<ExitCode> {
    let postgres = postgres.map(postgres_config).transpose()?;
    let made = make_over(dir, url, person, waive, postgres.as_ref(), system_time()).await?;
    let printed = if json { output::json(&made) } else { output::text(told_of(&made, dir, waive)) };
    printed.with_context(|| format!("the vault is made, in {}", dir.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn told_of(made: &Made, dir: &Path, waive: bool) -> String {
    let waived =
        if waive { "Four eyes are waived: the author of a policy may enforce it. The ledger says so.\n" } else { "" };
    format!(
        "vault        {}
ledger key   {}
config       {}
join file    {}
first token  {} (role admin, one week)

The root key lies unprotected in {}: this custody is for development.
{waived}Next: put your TPM vendors' roots into {}
      strongroomd serve --config {}
      and make a token of role admin for a person before the first one expires
",
        made.vault_id,
        made.ledger_verifier_key,
        made.config.display(),
        made.join_file.display(),
        made.first_token.display(),
        dir.join("root.key").display(),
        dir.join("roots/ek").display(),
        made.config.display(),
    )
}

/// Makes a vault over SQLite.
pub async fn make(dir: &Path, url: &str, person: &str, waive: bool, now: OffsetDateTime) -> Result<Made> {
    make_over(dir, url, person, waive, None, now).await
}

/// Makes a vault, over PostgreSQL where it is given. It is built in a directory beside `dir` and renamed when it is whole, so that a
/// failure leaves nothing half-made; an existing directory has to be empty.
async fn make_over(
    dir: &Path,
    url: &str,
    person: &str,
    waive: bool,
    postgres: Option<&PostgresConfig>,
    now: OffsetDateTime,
) -> Result<Made> {
    let hosts = hosts(url)?;
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                bail!("{} has something in it: a vault is never made over anything", dir.display());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("look into {}", dir.display())),
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    fs::create_dir_all(&parent).with_context(|| format!("make {}", parent.display()))?;
    let unfinished = Unfinished::new(parent.join(format!("{UNFINISHED}{}", hex::encode(vault::random::<8>()?))))?;
    let mut made = build(&unfinished.0, &hosts, url, person, waive, postgres, now).await?;
    if dir.exists() {
        fs::remove_dir(dir).with_context(|| format!("replace the empty {}", dir.display()))?;
    }
    fs::rename(&unfinished.0, dir).with_context(|| format!("put the vault at {}", dir.display()))?;
    sync(&parent)?;
    for path in [&mut made.config, &mut made.join_file, &mut made.first_token] {
        *path = dir.join(path.file_name().unwrap_or_default());
    }
    Ok(made)
}

/// A directory that goes away unless it was renamed.
struct Unfinished(PathBuf);

impl Unfinished {
    fn new(path: PathBuf) -> Result<Self> {
        directory(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Gone already when it was renamed.
        let _ = fs::remove_dir_all(&self.0);
    }
}

async fn build(
    dir: &Path,
    hosts: &[String],
    url: &str,
    person: &str,
    waive: bool,
    postgres: Option<&PostgresConfig>,
    now: OffsetDateTime,
) -> Result<Made> {
    for name in ["tls", "roots", "roots/ek", "roots/crls"] {
        directory(&dir.join(name))?;
    }
    let certificates = tls::make_certificates(hosts.to_vec(), now)?;
    write(&dir.join("tls/ca.pem"), certificates.ca.as_bytes(), 0o644)?;
    write(&dir.join("tls/server.pem"), certificates.certificate.as_bytes(), 0o644)?;
    write(&dir.join("tls/server.key"), certificates.key.as_bytes(), 0o600)?;

    let acknowledge = FILE_ACKNOWLEDGEMENT.to_owned();
    let root = FileCustody::new(&FileCustodyConfig { path: dir.join("root.key"), acknowledge })?.create()?;
    let new = NewVault::generate(&root)?;
    let keys = Arc::new(KeyTree::unlock(unprotected(root), &new)?);
    let ledger_key = VerifierKey::new(default_origin(keys.vault_id()), new.identity_key)?;

    let config = config_text(url, waive, postgres);
    write(&dir.join("strongroomd.toml"), config.as_bytes(), 0o600)?;
    let token = first_records(dir, &keys, &new, &ledger_key, person, waive, postgres).await?;
    write(&dir.join("admin.token"), format!("{}\n", token.as_str()).as_bytes(), 0o600)?;
    let join = JoinFile {
        v: 1,
        url: url.trim_end_matches('/').to_owned(),
        replicas: Vec::new(),
        tls_ca: certificates.ca,
        vault_ids: vec![keys.vault_id()],
        ledger_verifier_key: ledger_key.to_string(),
    };
    write(&dir.join("join.json"), format!("{}\n", serde_json::to_string_pretty(&join)?).as_bytes(), 0o644)?;
    sync(dir)?;
    Ok(Made {
        vault_id: keys.vault_id(),
        config: dir.join("strongroomd.toml"),
        join_file: dir.join("join.json"),
        first_token: dir.join("admin.token"),
        ledger_verifier_key: ledger_key.to_string(),
    })
}

/// The database with the first two entries of its ledger: the vault, and the first token.
async fn first_records(
    dir: &Path,
    keys: &Arc<KeyTree>,
    new: &NewVault,
    ledger_key: &VerifierKey,
    person: &str,
    waive: bool,
    postgres: Option<&PostgresConfig>,
) -> Result<Zeroizing<String>> {
    let defaults = Config::default();
    let store: Arc<dyn Backend> = match postgres {
        None => {
            let made = SqliteStore::open(&dir.join(&defaults.store.path)).await;
            Arc::new(made.context("make the database")?)
        }
        Some(postgres) => {
            let options = postgres.options();
            let opened = PostgresStore::open(&options).await;
            Arc::new(opened.with_context(|| format!("open the database {}", options.place()))?)
        }
    };
    let now = store.now().await?;
    let row = VaultRow {
        root_commitment: Fixed(new.root_commitment),
        wrapped_identity: Bytes(new.wrapped_identity.clone()),
        identity_key: Fixed(new.identity_key),
        wrapped_tenant_key: Bytes(new.wrapped_tenant_key.clone()),
        ledger_origin: ledger_key.name().to_owned(),
        created_at: now,
    };
    store.initialise(&row).await?;
    let sequencer = Sequencer::new(
        store,
        Arc::new(IdentitySigner(Arc::clone(keys))),
        ledger_key.clone(),
        dir.join(&defaults.ledger.outside_checkpoint),
        &defaults.server.replica,
    )
    .await?;

    let request = CreateToken { person: person.to_owned(), roles: vec![Role::Admin], expires_in: FIRST_TOKEN };
    tokens::check(&request).map_err(told)?;
    let (token, token_row) = tokens::make(request, now)?;
    let record = |action, subject| vault::record(&defaults.server.replica, now, system("init"), action, subject);
    let mut initialised = record(Action::VaultInitialised, subject(SubjectKind::Vault, keys.vault_id()))?;
    let details = [
        ("version", VERSION.into()),
        ("identity_key", Fixed(new.identity_key).to_string().into()),
        ("custody", "file".into()),
        ("four_eyes_waived", waive.into()),
    ];
    initialised.details.extend(details.map(|(name, value): (_, serde_json::Value)| (name.to_owned(), value)));
    let mut created = record(Action::TokenCreated, subject(SubjectKind::Token, &token_row.id))?;
    created.details.insert("person".to_owned(), person.into());
    created.details.insert("roles".to_owned(), tokens::roles(&token_row.roles).into());
    let item = |record, changes| Item { record, guards: vec![], nonce: None, quotas: vec![], changes, blobs: vec![] };
    let items = vec![item(initialised, vec![]), item(created, vec![Change::CreateToken(token_row)])];
    for outcome in Committer(sequencer).commit(items).await? {
        if let Outcome::Refused(refusal) = outcome {
            bail!("the first entries of the ledger were refused: {refusal:?}");
        }
    }
    Ok(token)
}

/// The commented default configuration with this vault's values.
fn config_text(url: &str, waive: bool, postgres: Option<&PostgresConfig>) -> String {
    let url = url.trim_end_matches('/');
    let mut text = DEFAULT_TEXT
        .replace("acknowledge = \"\"", &format!("acknowledge = \"{FILE_ACKNOWLEDGEMENT}\""))
        .replace("url = \"https://127.0.0.1:8443\"", &format!("url = \"{url}\""));
    // An address in the URL is one of this machine; a name may be anything, a load balancer's too.
    if let Some(address) = url.strip_prefix("https://").and_then(|a| a.parse::<std::net::SocketAddr>().ok()) {
        text = text.replace("listen = \"127.0.0.1:8443\"", &format!("listen = \"{address}\""));
    } else if let Some(port) = url.rsplit(':').next().and_then(|p| p.parse::<u16>().ok()) {
        text = text.replace("listen = \"127.0.0.1:8443\"", &format!("listen = \"127.0.0.1:{port}\""));
    }
    if waive {
        text = text.replace("waived = false", "waived = true");
    }
    match postgres {
        Some(postgres) => with_postgres(&text, postgres),
        None => text,
    }
}

/// The configuration with this database in it.
fn with_postgres(text: &str, postgres: &PostgresConfig) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let path = |path: &Path| quoted(&path.to_string_lossy());
    let tls = match postgres.tls {
        TlsMode::VerifyFull => "verify-full",
        TlsMode::Off => "off",
        TlsMode::OffAnywhere => "off-anywhere",
    };
    let values = [
        ("host", quoted(&postgres.host)),
        ("port", postgres.port.to_string()),
        ("database", quoted(&postgres.database)),
        ("user", quoted(&postgres.user)),
        ("password_file", path(&postgres.password_file)),
        ("tls", quoted(tls)),
        ("ca", path(&postgres.ca)),
        ("pooler", postgres.pooler.to_string()),
        ("readers", postgres.readers.to_string()),
        ("patience_ms", postgres.patience_ms.to_string()),
    ];
    let mut within = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if line.starts_with('[') {
            within = line == "[store.postgres]";
        }
        let key = line.split_once(" = ").map(|(key, _)| key);
        let value = values.iter().find(|(name, _)| within && Some(*name) == key);
        lines.push(match value {
            Some((name, value)) => format!("{name} = {value}"),
            None if line == "backend = \"sqlite\"" => "backend = \"postgres\"".to_owned(),
            None => line.to_owned(),
        });
    }
    lines.join("\n") + "\n"
}

/// The keys of `[store.postgres]`, in a file of their own; its paths are relative to it.
fn postgres_config(path: &Path) -> Result<PostgresConfig> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let mut postgres: PostgresConfig = toml::from_str(&text).with_context(|| format!("read {}", path.display()))?;
    let path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
    postgres.resolve(path.parent().unwrap_or(Path::new("/")));
    Ok(postgres)
}

/// The host of a URL, and the loopback names that people use on the machine itself.
fn hosts(url: &str) -> Result<Vec<String>> {
    let host = match url_host(url) {
        Ok(host) => host,
        Err(problem) => bail!("the URL {url:?}: {problem}"),
    };
    let mut hosts = vec![host.to_owned()];
    for local in ["localhost", "127.0.0.1", "::1"] {
        if host != local {
            hosts.push(local.to_owned());
        }
    }
    Ok(hosts)
}

fn directory(path: &Path) -> Result<()> {
    fs::DirBuilder::new().mode(0o700).create(path).with_context(|| format!("make {}", path.display()))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).with_context(|| format!("protect {}", path.display()))
}

pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| format!("write {}", path.display()))
}

fn sync(directory: &Path) -> Result<()> {
    fs::File::open(directory).and_then(|d| d.sync_all()).with_context(|| format!("sync {}", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackendKind;

    #[tokio::test]
    async fn a_vault_is_made_once_and_its_secrets_are_for_its_owner() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("vault");
        let made = make(&dir, "https://vault.example:8443", "root", false, system_time()).await.unwrap();
        let permissions = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        for (name, expected) in [
            ("", 0o700),
            ("root.key", 0o600),
            ("admin.token", 0o600),
            ("tls/server.key", 0o600),
            ("vault.db", 0o600),
            ("join.json", 0o644),
        ] {
            assert_eq!(permissions(name), expected, "{name}");
        }
        let config = Config::load(&made.config).unwrap();
        assert_eq!(config.server.url, "https://vault.example:8443");
        let token = fs::read_to_string(&made.first_token).unwrap();
        assert!(token.starts_with("srt_") && token.trim_end().len() == 47);
        let join: JoinFile = serde_json::from_slice(&fs::read(&made.join_file).unwrap()).unwrap();
        assert_eq!(join.vault_ids, [made.vault_id]);

        let again = make(&dir, "https://vault.example:8443", "root", false, system_time()).await.unwrap_err();
        assert!(again.to_string().contains("has something in it"), "{again}");
        assert_eq!(fs::read_to_string(&made.first_token).unwrap(), token);
    }

    #[tokio::test]
    async fn a_failure_leaves_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("vault");
        // The person's name is refused late, when keys, certificates and database are there.
        assert!(make(&dir, "https://a", "two words", false, system_time()).await.is_err());
        assert!(make(&dir, "http://a", "a", false, system_time()).await.is_err());
        assert!(make(&dir, "https://a/b", "a", false, system_time()).await.is_err());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn certificates_name_the_host_of_the_url() {
        assert_eq!(hosts("https://vault.example:8443").unwrap()[0], "vault.example");
        assert_eq!(hosts("https://[2001:db8::1]:8443/").unwrap()[0], "2001:db8::1");
        assert_eq!(hosts("https://127.0.0.1:1").unwrap(), ["127.0.0.1", "localhost", "::1"]);
    }

    #[test]
    fn a_url_that_nobody_could_call_is_refused() {
        for wrong in ["https://exa mple", "https://x:99999", "https://x:0", "https://a/b", "https://", "http://a"] {
            assert!(hosts(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_database_of_init_is_that_of_the_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("database.toml");
        let told = "host = \"db.example\"\nport = 6432\nuser = \"va\\\"ult\"\npassword_file = \"password\"\n\
                    ca = \"/ca.pem\"\npooler = true\nreaders = 3\npatience_ms = 100\n";
        fs::write(&file, told).unwrap();
        let postgres = postgres_config(&file).unwrap();
        assert_eq!(postgres.password_file, directory.path().canonicalize().unwrap().join("password"));
        let config = Config::parse(&config_text("https://vault.example:9001", false, Some(&postgres))).unwrap();
        assert_eq!((config.store.backend, &config.store.postgres), (BackendKind::Postgres, &postgres));
        config.check().unwrap();
        fs::write(&file, "passwort_file = \"x\"").unwrap();
        assert!(postgres_config(&file).is_err());
    }

    #[test]
    fn the_configuration_says_what_was_asked_for() {
        let config = Config::parse(&config_text("https://192.0.2.1:9000/", true, None)).unwrap();
        assert_eq!(config.server.url, "https://192.0.2.1:9000");
        assert_eq!(config.server.listen.to_string(), "192.0.2.1:9000");
        assert_eq!(config.custody.acknowledge, FILE_ACKNOWLEDGEMENT);
        assert!(config.four_eyes.waived);
        config.check().unwrap();
        let named = Config::parse(&config_text("https://vault.example:9001", false, None)).unwrap();
        assert_eq!(named.server.listen.to_string(), "127.0.0.1:9001");
    }
}
