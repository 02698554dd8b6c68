//! Rows, records and items to test with. A number tells rows of a kind apart.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicU64, Ordering},
};
use strongroom_ledger::{Action, Actor, ActorKind, Record, Subject, SubjectKind, Timestamp, Verdict};
use strongroom_protocol::{
    Bytes, DecisionId, EnrolmentId, Fixed, LeaseId, NodeId,
    admin::{CreateAsset, Integrity, KeyState, PolicyState, ReferenceState, ReferenceValues, Role},
    challenge::Nonce,
    enrol::NodeState,
    evidence::{PcrBank, PcrMap},
    identity::{Identity, IdentityKind},
    lease::LeaseState,
    statement::{Access, KeyRequest, Scope},
};
use strongroom_store::{Change, Item, model::*};

static COUNTER: AtomicU64 = AtomicU64::new(1);

pub(crate) fn id() -> DecisionId {
    DecisionId(ulid::Ulid::from_parts(1_700_000_000_000, COUNTER.fetch_add(1, Ordering::Relaxed).into()))
}

pub(crate) fn bytes32(n: u8) -> Fixed<32> {
    Fixed([n; 32])
}

pub(crate) fn node_id(n: u8) -> NodeId {
    NodeId::from([n; 32])
}

pub(crate) fn lease_id(n: u8) -> LeaseId {
    LeaseId::from([n; 16])
}

/// A record of an administrative act about the subject.
pub(crate) fn record(subject: &str) -> Record {
    Record::new(
        id(),
        Timestamp::from_unix_millis(0).unwrap(),
        "to be filled",
        Actor::new(ActorKind::Person, "alice"),
        Action::SiteChanged,
        Subject::new(SubjectKind::Site, subject),
    )
}

/// An item that only writes a record.
pub(crate) fn item() -> Item {
    with(vec![])
}

/// An item with changes.
pub(crate) fn with(changes: Vec<Change>) -> Item {
    Item { record: record("fra-1"), guards: vec![], nonce: None, quotas: vec![], changes, blobs: vec![] }
}

/// An item that denies something to a node.
pub(crate) fn denial(node: u8) -> Item {
    let mut item = item();
    item.record.action = Action::ReleaseDecided;
    item.record.subject = Subject::new(SubjectKind::Decision, item.record.id.to_string());
    item.record.node = Some(node_id(node));
    item.record.verdict = Some(Verdict::Denied);
    item.record.reasons = vec!["pcr_mismatch".into()];
    item.record.statement_sha256 = Some(bytes32(1));
    item.record.recipient_sha256 = Some(bytes32(2));
    item
}

/// A nonce that lives for this many seconds from `now` on.
pub(crate) fn nonce(now: i64, lifetime: i64) -> Nonce {
    let n = COUNTER.fetch_add(1, Ordering::Relaxed);
    let mut random = [0; 16];
    random[..8].copy_from_slice(&n.to_be_bytes());
    Nonce::new(random, u64::try_from(now + lifetime).unwrap(), [9; 16])
}

pub(crate) fn vault() -> VaultRow {
    VaultRow {
        root_commitment: bytes32(1),
        wrapped_identity: Bytes(vec![1; 60]),
        identity_key: bytes32(2),
        wrapped_tenant_key: Bytes(vec![2; 60]),
        ledger_origin: "strongroom/test".into(),
        created_at: 1,
    }
}

pub(crate) fn site(name: &str) -> SiteRow {
    SiteRow { name: name.into(), jurisdiction: "DE".into() }
}

pub(crate) fn node(n: u8) -> NodeRow {
    NodeRow {
        id: node_id(n),
        tpm: Some(TpmRow {
            ek_public: Bytes(vec![n; 4]),
            ak_public: Bytes(vec![n; 5]),
            ak_sha256: bytes32(n),
            model: "IBM swtpm 1".into(),
        }),
        identities: BTreeSet::from([Identity::of_tpm(&node_id(n))]),
        state: NodeState::Pending,
        site: None,
        labels: BTreeMap::from([("rack".into(), "7".into())]),
        requested_labels: BTreeMap::new(),
        single_job: false,
        hostname: Some(format!("node-{n}")),
        last_pcrs: Some(values()),
        last_boot_log: Some(bytes32(n)),
        last_boot: Some((n.into(), 0)),
        cloud: None,
        enrolled_at: 1000 - i64::from(n),
        activated_at: Some(1000 - i64::from(n)),
    }
}

/// An AMD processor.
pub(crate) fn chip(n: u8) -> Identity {
    Identity::read(IdentityKind::SnpChip, &format!("{n:02x}").repeat(64)).unwrap()
}

pub(crate) fn gpu(n: u16) -> Identity {
    Identity::read(IdentityKind::NvidiaGpu, &format!("{:06x}", n + 1)).unwrap()
}

/// A node without a TPM, named by its processor.
pub(crate) fn imported(n: u8) -> NodeRow {
    NodeRow {
        id: chip(n).node_id().unwrap(),
        tpm: None,
        identities: BTreeSet::from([chip(n)]),
        last_pcrs: None,
        last_boot_log: None,
        last_boot: None,
        cloud: None,
        activated_at: None,
        ..node(n)
    }
}

pub(crate) fn values() -> ReferenceValues {
    ReferenceValues::of(PcrBank::Sha256, PcrMap(BTreeMap::from([(9, Bytes(vec![9; 32]))])))
}

pub(crate) fn enrolment(n: u8, expires_at: i64) -> EnrolmentRow {
    EnrolmentRow {
        id: EnrolmentId::from([n; 16]),
        ek_public: Bytes(vec![n; 4]),
        ak_public: Bytes(vec![n; 5]),
        secret_sha256: bytes32(n),
        requested_labels: BTreeMap::new(),
        hostname: None,
        tpm: "IBM swtpm 1".into(),
        expires_at,
        node: None,
        source: "192.0.2.1".into(),
    }
}

pub(crate) fn asset(name: &str) -> AssetRow {
    AssetRow {
        asset: CreateAsset {
            name: name.into(),
            labels: BTreeMap::new(),
            jurisdictions: vec!["DE".into()],
            reference_sets: vec!["boot".into()],
            integrity: Integrity::Plain,
            max_leases: Some(3),
        },
        created_at: 5,
    }
}

pub(crate) fn key(asset: &str, version: u32, state: KeyState) -> KeyRow {
    let wrapped = if state == KeyState::Destroyed { vec![] } else { vec![3; 60] };
    KeyRow { asset: asset.into(), version, state, wrapped: Bytes(wrapped), created_at: 6 }
}

pub(crate) fn reference(name: &str, version: u32) -> ReferenceRow {
    ReferenceRow {
        name: name.into(),
        version,
        values: values(),
        source: "import".into(),
        recorded_at: 7,
        proposed_by: "alice".into(),
        state: ReferenceState::Proposed,
        approved_by: None,
    }
}

/// A version as it is read once bob has approved it.
pub(crate) fn in_force(name: &str, version: u32) -> ReferenceRow {
    let (state, approved_by) = (ReferenceState::InForce, Some("bob".into()));
    ReferenceRow { state, approved_by, ..reference(name, version) }
}

/// What node `n` has measured since its boot with this reset count.
pub(crate) fn measured(n: u8, reset_count: u32, state: &[u8]) -> MeasuredRow {
    MeasuredRow { node: node_id(n), boot: (reset_count, u32::MAX), state: state.to_vec() }
}

pub(crate) fn propose(name: &str, version: u32) -> Change {
    Change::ProposeReference(reference(name, version))
}

pub(crate) fn approve(name: &str, version: u32) -> Change {
    Change::ApproveReference(name.into(), version, "bob".into())
}

/// Each version proposed, then put in force.
pub(crate) fn in_turn<const N: usize>(versions: [(&str, u32); N]) -> Vec<Change> {
    versions.into_iter().flat_map(|(name, version)| [propose(name, version), approve(name, version)]).collect()
}

pub(crate) fn policy(n: u8) -> PolicyRow {
    PolicyRow {
        digest: bytes32(n),
        files: BTreeMap::from([("main.rego".into(), "package strongroom".into())]),
        state: PolicyState::Proposed,
        author: "alice".into(),
        approver: None,
        proposed_at: i64::from(n),
    }
}

pub(crate) fn token(n: u8) -> TokenRow {
    TokenRow {
        id: format!("token-{n}"),
        token_sha256: bytes32(n),
        person: "alice".into(),
        roles: vec![Role::Auditor],
        expires_at: 8,
        revoked: false,
        created_at: 2,
        replaced_by: None,
        last_used_at: None,
    }
}

/// A live lease of a node on version 1 of an asset, until `expires_at`.
pub(crate) fn lease(n: u8, node: u8, asset: &str, expires_at: i64) -> LeaseRow {
    LeaseRow {
        id: lease_id(n),
        decision: id(),
        node: node_id(node),
        ak_sha256: Some(bytes32(node)),
        guest: None,
        statement_sha256: bytes32(n),
        caller_sha256: None,
        recipient_sha256: bytes32(n),
        keys: vec![holds(asset, 1, Access::Read)],
        job: Some("job-1".into()),
        boot: Some((1, 2)),
        wrapped_secret: Bytes(vec![4; 60]),
        obligations: "{}".into(),
        state: LeaseState::Live,
        granted_at: 1000 + i64::from(n),
        expires_at,
        reattest_at: expires_at - 10,
        delivered: false,
    }
}

pub(crate) fn holds(asset: &str, version: u32, access: Access) -> KeyRequest {
    let scope = if access == Access::Read { Scope::Version } else { Scope::Writer };
    KeyRequest { asset: asset.into(), version, access, scope, objects: vec![] }
}
