//! Opening a vault: database, custody, ledger, trust; or why it stays locked.

use crate::{
    admission::Admission,
    bodies::Bodies,
    clock::Clock,
    config::{BackendKind, Config, CustodyKind},
    endorsements::Endorsements,
    enforced::EnforcedPolicyCache,
    events::Events,
    lease::events::Listeners,
    lock::Lock,
    problem::Answer,
    queue::{Commit, Queue},
    refusals::Refusals,
    release::{room::Room, turns::Turns},
    shredder::Shredder,
    token_use::TokenUse,
    trust::Trust,
    vault::{Shared, Vault, subject, system},
};
use anyhow::{Context as _, Result, anyhow, bail};
use async_trait::async_trait;
use std::{path::Path, sync::Arc};
use strongroom_attest::Pins;
use strongroom_keys::{
    Custody, CustodyError, FileCustody, KeyTree, NewVault, ProtectedKey, RootKey, custody::FileCustodyConfig,
};
use strongroom_ledger::{Action, Signer, SubjectKind, VerifierKey};
use strongroom_memory::{KeyPages, KeySlot, Protection};
use strongroom_store::{
    Backend, Item, Outcome, PostgresStore, Sequencer, SqliteStore, Store, StoreError, model::VaultRow,
    sqlite::SqliteOptions,
};
use tokio::sync::{Mutex, watch};

/// Entries whose hashes are checked at the start, and each minute.
pub const TAIL: u64 = 4096;

/// A vault, open or locked.
pub enum Opened {
    /// It serves.
    Open(Box<Open>),
    /// It answers 423, and says why.
    Locked(String),
}

/// An open vault with the writer of its ledger.
pub struct Open {
    /// The vault.
    pub vault: Shared,
    /// Its sequencer, for checks of the tail.
    pub sequencer: Sequencer,
    /// What key pages are made of.
    pub key_pages: &'static str,
}

/// Opens the vault that the configuration names, with the roots that this release was reviewed with. An error is one
/// that an operator has to repair before there is anything to serve.
pub async fn open(config: Config) -> Result<Opened> {
    open_with(config, Pins::built_in().clone()).await
}

/// [`open`] with other pinned roots. They are data of the program that opens the vault, as a test gives its own; no
/// configuration changes them.
pub async fn open_with(config: Config, pins: Pins) -> Result<Opened> {
    let store = open_store(&config).await?;
    let row = vault_row(&*store, &config).await?;
    let root = match custody(&config)?.unlock() {
        Ok(root) => root,
        Err(error) => return Ok(Opened::Locked(format!("custody does not yield the root key: {error}"))),
    };
    let pages = KeyPages::new(&Protection::default()).context("put the root key into protected memory")?;
    let root = ProtectedRoot(pages.store(root.expose()).context("put the root key into protected memory")?);
    let keys = match KeyTree::unlock(Box::new(root), &new_vault(&row)) {
        Ok(keys) => Arc::new(keys),
        Err(error) => return Ok(Opened::Locked(error.to_string())),
    };
    let ledger_key = VerifierKey::new(row.ledger_origin, *keys.identity().public_key())?;
    let signer = Arc::new(IdentitySigner(Arc::clone(&keys)));
    let outside = config.ledger.outside_checkpoint.clone();
    let replica = config.server.replica.clone();
    let sequencer = match Sequencer::new(Arc::clone(&store), signer, ledger_key.clone(), outside, &replica).await {
        Ok(sequencer) => sequencer,
        Err(error) => return locked_or_broken(error),
    };
    store.occupy(&replica).await.context("take the replica's name")?;
    if let Err(error) = sequencer.follow().await {
        return locked_or_broken(error);
    }
    if let Err(error) = sequencer.verify_tail(TAIL).await {
        return locked_or_broken(error);
    }
    let trust = Trust::load(&config.attestation.ek_roots, &config.attestation.crls)?;
    for crl in trust.expired(store.now().await?) {
        tracing::error!(file = %crl.path.display(), "this revocation list is out of date: no TPM of its issuer is enrolled");
    }
    let committer = Arc::new(Committer(sequencer.clone()));
    let trust = Trusted { tpm: trust, pins };
    let vault = assemble(config, store, committer, keys, trust, ledger_key);
    Ok(Opened::Open(Box::new(Open { vault, sequencer, key_pages: pages.kind().as_str() })))
}

/// What evidence is measured against.
#[derive(Default)]
pub struct Trusted {
    /// Roots and lists of TPMs' vendors, from the configuration.
    pub tpm: Trust,
    /// The pinned roots of all else.
    pub pins: Pins,
}

/// Puts an open vault together from its parts, and starts the writer of its ledger.
pub fn assemble(
    config: Config,
    store: Arc<dyn Store>,
    committer: Arc<dyn Commit>,
    keys: Arc<KeyTree>,
    trust: Trusted,
    ledger_key: VerifierKey,
) -> Shared {
    let lock = Arc::new(Lock::default());
    Arc::new(Vault {
        clock: Clock::new(Arc::clone(&store)),
        queue: Queue::start(committer, &config.limits, Arc::clone(&lock)),
        admission: Admission::new(&config.limits),
        bodies: Bodies::new(&config.limits),
        config,
        store,
        lock,
        keys,
        policy: EnforcedPolicyCache::default(),
        trust: trust.tpm,
        endorsements: Endorsements::new(trust.pins.clone()),
        pins: trust.pins,
        turns: Turns::default(),
        room: Room::default(),
        known: Arc::default(),
        refusals: Refusals::default(),
        events: Events::default(),
        listeners: Listeners::default(),
        shredder: Shredder::default(),
        grants: Mutex::default(),
        token_use: TokenUse::default(),
        stopping: watch::Sender::new(false),
        ledger_key,
    })
}

/// Records that this replica serves: with which software, custody and waivers.
pub async fn record_start(vault: &Shared, key_pages: &str) -> Answer<()> {
    let now = vault.clock.now().await?;
    let subject = subject(SubjectKind::Vault, vault.keys.vault_id());
    let mut record = vault.record(now, system("strongroomd"), Action::VaultStarted, subject)?;
    let details = [
        ("version", crate::api::status::VERSION.into()),
        ("custody", "file".into()),
        ("key_pages", key_pages.into()),
        ("four_eyes_waived", vault.config.four_eyes.waived.into()),
    ];
    record.details.extend(details.map(|(name, value): (_, serde_json::Value)| (name.to_owned(), value)));
    vault.commit(record, Vec::new(), Vec::new()).await.map(|_| ())
}

/// A refusal as an error of a command.
pub fn told(refused: crate::problem::Refused) -> anyhow::Error {
    let problem = refused.0;
    anyhow!("{} {}", problem.title, problem.detail.unwrap_or_default())
}

/// Opens the database, which has to be there, and brings its tables up to date.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Backend>> {
    if config.store.backend == BackendKind::Postgres {
        let options = config.store.postgres.options();
        let opened = PostgresStore::open(&options).await;
        return Ok(Arc::new(opened.with_context(|| format!("open the database {}", options.place()))?));
    }
    let (path, options) = database(config)?;
    let opened = SqliteStore::open_with(path, options).await;
    Ok(Arc::new(opened.with_context(|| format!("open the database {}", path.display()))?))
}

/// Opens the database for a look or a copy: its tables are left as they are, and refused if they are
/// not those of this program.
pub async fn open_store_as_it_is(config: &Config) -> Result<Arc<dyn Backend>> {
    if config.store.backend == BackendKind::Postgres {
        let options = config.store.postgres.options();
        let opened = PostgresStore::open_as_it_is(&options).await;
        return Ok(Arc::new(opened.with_context(|| format!("open the database {}", options.place()))?));
    }
    let (path, options) = database(config)?;
    let opened = SqliteStore::open_as_it_is(path, options).await;
    Ok(Arc::new(opened.with_context(|| format!("open the database {}", path.display()))?))
}

fn database(config: &Config) -> Result<(&Path, SqliteOptions)> {
    let path = &config.store.path;
    if !path.exists() {
        bail!("there is no database {}: run `strongroomd init`, or correct [store] path", path.display());
    }
    let reserve_bytes = config.store.reserve_bytes;
    Ok((path, SqliteOptions { reserve_bytes, ..SqliteOptions::default() }))
}

/// What `init` wrote, compared with the configuration.
pub async fn vault_row(store: &dyn Store, config: &Config) -> Result<VaultRow> {
    let row = store.vault().await?.context("this database holds no vault: run `strongroomd init`")?;
    let expected = &config.ledger.origin;
    if !expected.is_empty() && *expected != row.ledger_origin {
        bail!("[ledger] origin is {expected}, the database's ledger is {}: this is another vault", row.ledger_origin);
    }
    Ok(row)
}

/// The custody that the configuration names.
pub fn custody(config: &Config) -> Result<FileCustody, CustodyError> {
    match config.custody.kind {
        CustodyKind::File => FileCustody::new(&FileCustodyConfig {
            path: config.custody.path.clone(),
            acknowledge: config.custody.acknowledge.clone(),
        }),
    }
}

/// The wrapped keys of a vault's row.
pub fn new_vault(row: &VaultRow) -> NewVault {
    NewVault {
        root_commitment: row.root_commitment.0,
        wrapped_identity: row.wrapped_identity.0.clone(),
        identity_key: row.identity_key.0,
        wrapped_tenant_key: row.wrapped_tenant_key.0.clone(),
    }
}

fn locked_or_broken(error: StoreError) -> Result<Opened> {
    match error {
        StoreError::Rollback { .. } | StoreError::Corrupt(_) => Ok(Opened::Locked(error.to_string())),
        other => Err(other.into()),
    }
}

/// The root key in a key page.
struct ProtectedRoot(KeySlot);

impl ProtectedKey for ProtectedRoot {
    fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

/// The vault's identity as the ledger's signer.
pub struct IdentitySigner(pub Arc<KeyTree>);

impl Signer for IdentitySigner {
    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.identity().sign(message)
    }
}

/// The store's sequencer as the queue sees it.
pub struct Committer(pub Sequencer);

#[async_trait]
impl Commit for Committer {
    async fn commit(&self, items: Vec<Item>) -> Result<Vec<Outcome>, StoreError> {
        self.0.commit(items).await
    }
}

/// A root key that nobody protects, for `init`, which ends before anybody could look for it.
pub fn unprotected(root: RootKey) -> Box<dyn ProtectedKey> {
    Box::new(root)
}
