//! The storage trait: reads, and the transaction of a batch.

use crate::{
    grounds::{Grounds, Requester, Whose},
    model::{
        AssetRow, EndorsementList, EnforcedPolicy, EnrolmentRow, EntryRow, Head, KeyRow, LeaseRow, MeasuredRow,
        NodeRow, PolicyRow, ReferenceRow, SiteRow, TokenRow, VaultRow, Versioned,
    },
};
use async_trait::async_trait;
use strongroom_protocol::{DecisionId, EnrolmentId, Fixed, LeaseId, NodeId, audit::AuditQuery, identity::Identity};

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached. Connection strings are never part of the message.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// What it was given does not serve; the message says what is so, and what to do.
    #[error("{0}")]
    Unusable(String),
    /// Another process commits under this replica's name.
    #[error(
        "another process has taken the name of the replica {replica}: give each replica a name of its own, and start this one again"
    )]
    Displaced {
        /// The name.
        replica: String,
    },
    /// Transactions stood in each other's way and this one gave way; nothing of it was changed.
    #[error("the database had another transaction in the way: {0}")]
    Conflicted(String),
    /// The database may lose what it has confirmed, so nothing is committed to it.
    #[error("the database may lose what it has confirmed: {0}")]
    Volatile(String),
    /// The database takes no writes: it is a standby, or was told so by its operator.
    #[error("the database takes no writes: {0}")]
    ReadOnly(String),
    /// What was read is not what was written.
    #[error("the database holds something that cannot be right: {0}")]
    Corrupt(String),
    /// The vault was initialised already.
    #[error("this database holds a vault already")]
    Initialised,
    /// The disk is nearly full; nothing is written.
    #[error("only {free} bytes are free where the ledger lies, {needed} are kept in reserve: make room")]
    DiskFull {
        /// Free bytes.
        free: u64,
        /// Bytes kept in reserve.
        needed: u64,
    },
    /// The tables are not those of this program, and it was asked to leave them as they are.
    #[error("the database has schema {found}, this program wants {wanted}: {}", schema_remedy(*.found, *.wanted))]
    Schema {
        /// The newest migration that was applied; 0 where there is none.
        found: i64,
        /// The newest migration of this program.
        wanted: i64,
    },
    /// The head does not extend the checkpoint kept outside the database.
    #[error(
        "the ledger has gone back in time or was forked: the database has {database}, the checkpoint kept outside has {outside}; the vault stays locked until a person decides"
    )]
    Rollback {
        /// Size and root in the database.
        database: String,
        /// Size and root outside.
        outside: String,
    },
    /// A fault that a test asked for.
    #[error("fault injected at {0}")]
    Injected(&'static str),
}

fn schema_remedy(found: i64, wanted: i64) -> &'static str {
    if found < wanted { "run serve, which brings it up to date" } else { "use the newer program that wrote it" }
}

/// What the vault reads. Every backend passes the same conformance suite.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The database's clock, Unix seconds.
    async fn now(&self) -> Result<i64, StoreError>;
    /// What `init` wrote.
    async fn vault(&self) -> Result<Option<VaultRow>, StoreError>;
    /// Writes what `init` made; refused if there is a vault already.
    async fn initialise(&self, vault: &VaultRow) -> Result<(), StoreError>;

    /// A site.
    async fn site(&self, name: &str) -> Result<Option<Versioned<SiteRow>>, StoreError>;
    /// All sites, by name.
    async fn sites(&self) -> Result<Vec<SiteRow>, StoreError>;
    /// A node.
    async fn node(&self, id: NodeId) -> Result<Option<Versioned<NodeRow>>, StoreError>;
    /// The node whose AK has this name's hash.
    async fn node_by_ak(&self, ak_sha256: Fixed<32>) -> Result<Option<Versioned<NodeRow>>, StoreError>;
    /// The node whose record lists this identity.
    async fn node_by_identity(&self, identity: &Identity) -> Result<Option<Versioned<NodeRow>>, StoreError>;
    /// All nodes, by time of enrolment.
    async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError>;
    /// What a node has measured since its last boot that is known.
    async fn measured(&self, node: NodeId) -> Result<Option<Versioned<MeasuredRow>>, StoreError>;
    /// Keeps an enrolment until it expires. One source has so many waiting, and so many of one EK
    /// ([`crate::model::WAITING`]): beyond that its new one takes the place of its oldest. When too many
    /// wait in all, the oldest of whoever has the most makes room.
    async fn put_enrolment(&self, enrolment: &EnrolmentRow) -> Result<(), StoreError>;
    /// An enrolment that has not expired, or was activated.
    async fn enrolment(&self, id: EnrolmentId) -> Result<Option<EnrolmentRow>, StoreError>;

    /// An asset.
    async fn asset(&self, name: &str) -> Result<Option<Versioned<AssetRow>>, StoreError>;
    /// All assets, by name.
    async fn assets(&self) -> Result<Vec<AssetRow>, StoreError>;
    /// A key version.
    async fn key(&self, asset: &str, version: u32) -> Result<Option<Versioned<KeyRow>>, StoreError>;
    /// All key versions of an asset, ascending.
    async fn keys(&self, asset: &str) -> Result<Vec<Versioned<KeyRow>>, StoreError>;

    /// The reference sets in force by these names, with the generation of all reference values.
    async fn references(&self, names: &[String]) -> Result<(Vec<ReferenceRow>, i64), StoreError>;
    /// Every version of a set, ascending, with the generation of all reference values.
    async fn reference_versions(&self, name: &str) -> Result<(Vec<ReferenceRow>, i64), StoreError>;
    /// Every version of every set, by name and version.
    async fn all_references(&self) -> Result<Vec<ReferenceRow>, StoreError>;

    /// Every endorsement without its bytes, and every pin that persons made, read together.
    async fn endorsements(&self) -> Result<EndorsementList, StoreError>;
    /// Only their generation: cheap, read for each release so that no cache is trusted.
    async fn endorsement_generation(&self) -> Result<i64, StoreError>;
    /// The bytes of these endorsements by name; one that is not there is not in the answer.
    async fn endorsement_bytes(&self, names: &[String]) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// The policy in force.
    async fn enforced_policy(&self) -> Result<EnforcedPolicy, StoreError>;
    /// Only its generation: cheap, read for each release so that no cache is trusted.
    async fn policy_generation(&self) -> Result<i64, StoreError>;
    /// A policy.
    async fn policy(&self, digest: Fixed<32>) -> Result<Option<Versioned<PolicyRow>>, StoreError>;
    /// All policies, newest first.
    async fn policies(&self) -> Result<Vec<PolicyRow>, StoreError>;

    /// A token by its hash.
    async fn token(&self, token_sha256: Fixed<32>) -> Result<Option<Versioned<TokenRow>>, StoreError>;
    /// All tokens, by id.
    async fn tokens(&self) -> Result<Vec<Versioned<TokenRow>>, StoreError>;
    /// The generation of all tokens.
    async fn token_generation(&self) -> Result<i64, StoreError>;
    /// Notes when tokens (by id) were last used, Unix seconds. An earlier time than the noted one, and
    /// an unknown token, change nothing. No row's version grows.
    async fn note_token_use(&self, used: &[(String, i64)]) -> Result<(), StoreError>;

    /// A lease.
    async fn lease(&self, id: LeaseId) -> Result<Option<Versioned<LeaseRow>>, StoreError>;
    /// The lease that was granted to this statement.
    async fn lease_by_statement(&self, sha256: Fixed<32>) -> Result<Option<Versioned<LeaseRow>>, StoreError>;
    /// Leases, newest first (by time of grant, then by id); only live ones if `live`, only those behind
    /// `after`, at most `limit`. There is nothing behind a lease that is not known.
    async fn leases(&self, live: bool, after: Option<LeaseId>, limit: u32) -> Result<Vec<LeaseRow>, StoreError>;
    /// Every lease that [`crate::Change::CloseLeasesOfNode`] would close now.
    async fn leases_of_node(&self, node: NodeId) -> Result<Vec<LeaseRow>, StoreError>;
    /// Every lease that [`crate::Change::CloseLeasesOfKey`] would close now.
    async fn leases_of_key(&self, asset: &str, version: u32) -> Result<Vec<LeaseRow>, StoreError>;
    /// Live leases of a node, and of each asset.
    async fn live_leases(&self, node: NodeId, assets: &[String]) -> Result<(u64, Vec<u64>), StoreError>;
    /// Live leases whose time ran out, or that nobody proved possession of since `undelivered_before`
    /// (Unix seconds): the vault closes them, at most `limit`.
    async fn lapsed_leases(&self, undelivered_before: i64, limit: u32) -> Result<Vec<LeaseRow>, StoreError>;

    /// Who asks, what was answered to this statement before, and the lease that is to be renewed, read together.
    async fn requester(
        &self,
        whose: &Whose,
        statement_sha256: Fixed<32>,
        lease: Option<LeaseId>,
    ) -> Result<Requester, StoreError>;
    /// What there is of the site and the key versions that a node asks for, and what is live,
    /// read together.
    async fn grounds(&self, node: NodeId, site: Option<&str>, keys: &[(String, u32)]) -> Result<Grounds, StoreError>;

    /// The ledger's head; `None` before the first commit.
    async fn head(&self) -> Result<Option<Head>, StoreError>;
    /// An entry.
    async fn entry(&self, index: u64) -> Result<Option<EntryRow>, StoreError>;
    /// The entry whose record has this id.
    async fn entry_by_id(&self, id: DecisionId) -> Result<Option<EntryRow>, StoreError>;
    /// Entries from `first`, ascending, at most `limit`.
    async fn entries(&self, first: u64, limit: u32) -> Result<Vec<EntryRow>, StoreError>;
    /// Entries that match, ascending by index. `from` and `to` are Unix seconds that the caller has
    /// taken from the query.
    async fn query(&self, query: &AuditQuery, from: i64, to: i64) -> Result<Vec<EntryRow>, StoreError>;
    /// A tile by its C2SP path (`tile/0/x001/234`, `tile/entries/...`).
    async fn tile(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Bytes kept by content.
    async fn blob(&self, sha256: Fixed<32>) -> Result<Option<Vec<u8>>, StoreError>;
    /// Whether bytes are kept, without reading them.
    async fn has_blob(&self, sha256: Fixed<32>) -> Result<bool, StoreError>;
    /// A consistent copy of the whole database at a new path; the vault keeps serving.
    async fn backup(&self, to: &std::path::Path) -> Result<(), StoreError>;
    /// An error where nothing may be written now: [`StoreError::DiskFull`] for want of room,
    /// [`StoreError::ReadOnly`] and [`StoreError::Volatile`] where the database is none to commit to,
    /// [`StoreError::Displaced`] where another process has this replica's name, and [`StoreError::Rollback`] where
    /// a replica marked the ledger as gone back in time. A backend that does not see its disk finds out when it
    /// writes.
    async fn check_writable(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// Takes what was overwritten or deleted out of the database's own files, its log of changes
    /// included. False if somebody who reads, or another process, held it up: ask again.
    async fn shred(&self) -> Result<bool, StoreError>;
}
