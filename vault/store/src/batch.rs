//! What goes into one commit, and what comes out of it.

use crate::model::{
    AssetRow, EndorsementRow, KeyRow, LeaseRow, MeasuredRow, NodeRow, PinRow, PolicyRow, ReferenceRow, SiteRow,
    TokenRow,
};
use strongroom_ledger::Record;
use strongroom_protocol::{Fixed, LeaseId, NodeId, challenge::Nonce, lease::LeaseState, sha256};

/// A row that the decision was made from, as it was when it was read. The commit compares again.
/// A row that was not there has version 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// A node and the version of its row.
    Node(NodeId, i64),
    /// A site and the version of its row.
    Site(String, i64),
    /// An asset and the version of its row.
    Asset(String, i64),
    /// A key version and the version of its row.
    Key(String, u32, i64),
    /// A lease and the version of its row.
    Lease(LeaseId, i64),
    /// A policy and the version of its row.
    Policy(Fixed<32>, i64),
    /// A token and the version of its row.
    Token(String, i64),
    /// What a node has measured, and the version of its row.
    Measured(NodeId, i64),
    /// The generation of the enforced policy.
    PolicyGeneration(i64),
    /// The generation of all reference values.
    ReferenceGeneration(i64),
    /// The generation of all tokens: it grows with each that is created.
    TokenGeneration(i64),
    /// The generation of endorsements and pins: it grows with each change of them.
    EndorsementGeneration(i64),
    /// The lease with this statement must not exist yet.
    NewStatement(Fixed<32>),
}

impl Guard {
    /// The version that it wants; 0 for a row that must not be there.
    pub(crate) fn version(&self) -> i64 {
        match self {
            Self::Node(_, version)
            | Self::Site(_, version)
            | Self::Asset(_, version)
            | Self::Key(_, _, version)
            | Self::Lease(_, version)
            | Self::Policy(_, version)
            | Self::Token(_, version)
            | Self::Measured(_, version)
            | Self::PolicyGeneration(version)
            | Self::ReferenceGeneration(version)
            | Self::TokenGeneration(version)
            | Self::EndorsementGeneration(version) => *version,
            Self::NewStatement(_) => 0,
        }
    }
}

/// A limit that is counted inside the commit, earlier items of the same batch included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Quota {
    /// Live leases of a node, after this item.
    NodeLeases(NodeId, u64),
    /// Live leases that hold a key of an asset, after this item.
    AssetLeases(String, u64),
    /// Denials recorded for a node within the last hour, this one included.
    NodeDenials(NodeId, u64),
}

/// A change of the vault's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Creates a site; refused if it exists.
    CreateSite(SiteRow),
    /// Creates or replaces a node; another node's AK is refused.
    PutNode(NodeRow),
    /// Keeps what a node has measured, in the place of what was kept before; refused if it is too long.
    PutMeasured(MeasuredRow),
    /// Creates an asset; refused if it exists.
    CreateAsset(AssetRow),
    /// Replaces an asset's row; refused if there is none.
    PutAsset(AssetRow),
    /// Creates the next key version of an asset, or changes a version's state or wrapping; destroyed
    /// is for ever, and only a destroyed version has no wrapped key.
    PutKey(KeyRow),
    /// Adds a proposed version of a reference set; its number must be the next. Nothing is decided by it, so no
    /// generation moves.
    ProposeReference(ReferenceRow),
    /// Puts a proposed version of a set in force, for a person; all that came before it is superseded, also
    /// what was only proposed. Moves the generation.
    ApproveReference(String, u32, String),
    /// Adds a proposed policy, or proposes a superseded one anew; refused if it is proposed or enforced.
    ProposePolicy(PolicyRow),
    /// Makes a proposed policy the enforced one; the old one is superseded. Moves the generation.
    EnforcePolicy(Fixed<32>, String),
    /// Keeps an endorsement with its bytes in the place of what has its name, and forgets that somebody wanted that
    /// removed. Moves the generation, as all that follow here do.
    PutEndorsement(EndorsementRow, Vec<u8>),
    /// Notes that a person wants an endorsement removed.
    ProposeRemoval(String, String),
    /// Removes an endorsement.
    RemoveEndorsement(String),
    /// Adds a proposed pin; refused if its root is proposed or pinned for that purpose.
    ProposePin(PinRow),
    /// Puts a proposed pin (kind, fingerprint) in force, for a person.
    ApprovePin(String, Fixed<32>, String),
    /// Takes a pin (kind, fingerprint), or the proposal of one, back.
    WithdrawPin(String, Fixed<32>),
    /// Creates a token. Moves the generation.
    CreateToken(TokenRow),
    /// Revokes a token.
    RevokeToken(String),
    /// Says that another token takes a token's place, once, and ends it: at this time in Unix seconds,
    /// or earlier if it would have ended by then. A time that is past revokes it.
    ReplaceToken(String, String, i64),
    /// Grants a lease.
    GrantLease(LeaseRow),
    /// Prolongs a live lease: expiry and re-attestation, Unix seconds. One past its expiry is not live.
    RenewLease(LeaseId, i64, i64),
    /// Marks a live lease as delivered, once.
    DeliverLease(LeaseId),
    /// Closes a live lease. A lease that is closed has no secret any more; one that is closed as
    /// revoked makes every active version that it held whole decrypt-only.
    CloseLease(LeaseId, LeaseState),
    /// Closes every live lease of a node, in the same way.
    CloseLeasesOfNode(NodeId, LeaseState),
    /// Closes every live lease that holds a key of this version, in the same way.
    CloseLeasesOfKey(String, u32, LeaseState),
    /// Closes every live lease that holds a key of this asset, in the same way.
    CloseLeasesOfAsset(String, LeaseState),
    /// Closes every live lease of the nodes of this site, in the same way.
    CloseLeasesOfSite(String, LeaseState),
    /// Closes every live lease, in the same way.
    CloseEveryLease(LeaseState),
    /// Marks an enrolment that has not expired as activated, which can happen once.
    ActivateEnrolment(strongroom_protocol::EnrolmentId, NodeId),
}

/// What a change closed. Only the transaction that made it knows: a lease may be granted between an
/// act's reading and its commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Closed {
    /// The leases, in no order.
    pub leases: Vec<LeaseId>,
    /// Key versions (asset, version) that one of them held whole, active until now, in no order.
    pub retired: Vec<(String, u32)>,
}

/// Bytes kept by content beside a decision: evidence, claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// SHA-256 of `bytes`.
    pub sha256: Fixed<32>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Blob {
    /// Keeps `bytes` under their SHA-256.
    pub fn of(bytes: Vec<u8>) -> Self {
        Self { sha256: Fixed(sha256(&bytes)), bytes }
    }
}

/// One entry of the ledger and everything that happens with it, all or nothing.
#[derive(Debug, Clone)]
pub struct Item {
    /// The record. The sequencer fills `time`, `replica` and `previous`, and in `details` what the
    /// changes closed: `decrypt_only` (the names of key versions), and where a change may close more than
    /// one lease `leases_closed` (how many) and `leases` (the ids of the first of them, ascending).
    pub record: Record,
    /// What the decision was made from.
    pub guards: Vec<Guard>,
    /// The nonce to burn; its expiry is compared with the database's clock.
    pub nonce: Option<Nonce>,
    /// Limits to count.
    pub quotas: Vec<Quota>,
    /// Changes to make, in order.
    pub changes: Vec<Change>,
    /// Bytes to keep.
    pub blobs: Vec<Blob>,
}

/// An item that is durable, numbered, in the tree, and under a signed checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Index in the ledger.
    pub index: u64,
    /// The record as committed: RFC 8785 JSON.
    pub record: Vec<u8>,
    /// Its salt.
    pub salt: [u8; 16],
    /// Its leaf hash.
    pub leaf: [u8; 32],
    /// C2SP tlog-proof under the checkpoint of this commit.
    pub receipt: String,
}

/// Why one item was not committed. The others of its batch are not touched by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// A row that the decision was made from has changed: decide again.
    Stale(Guard),
    /// The nonce was burnt before.
    NonceReused,
    /// The nonce expired by the database's clock.
    NonceExpired,
    /// A limit is reached: decide again, or refuse.
    QuotaExceeded(Quota),
    /// What was to be created exists, or was not in the state that the change needs; or the ledger
    /// takes no such record.
    Conflict(String),
}

/// What became of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the ledger.
    Committed(Committed),
    /// It is not, and nothing of it was changed.
    Refused(Refusal),
}
