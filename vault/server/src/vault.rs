//! The open vault: everything that a request needs, put together once.

use crate::{
    admission::Admission,
    bodies::Bodies,
    clock::Clock,
    config::Config,
    endorsements::Endorsements,
    enforced::EnforcedPolicyCache,
    events::Events,
    lease::events::Listeners,
    lock::Lock,
    problem::Answer,
    queue::Queue,
    refusals::Refusals,
    release::{known::Known, room::Room, turns::Turns},
    shredder::Shredder,
    token_use::TokenUse,
    trust::Trust,
};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use strongroom_attest::Pins;
use strongroom_keys::{KeyTree, KeysError};
use strongroom_ledger::{Action, Actor, ActorKind, Record, Subject, SubjectKind, Timestamp, VerifierKey};
use strongroom_protocol::{
    DecisionId,
    evidence::{PcrBank, PcrSelection},
};
use strongroom_store::{Change, Committed, Guard, Item, Store};
use tokio::sync::{Mutex, watch};

/// The vault as handlers share it.
pub type Shared = Arc<Vault>;

/// A vault whose root key is here. A vault that custody left locked has a router of its own.
pub struct Vault {
    /// The configuration.
    pub config: Config,
    /// State and ledger, to be read.
    pub store: Arc<dyn Store>,
    /// The database's clock.
    pub clock: Clock,
    /// State and ledger, to be written.
    pub queue: Queue,
    /// Set when the vault cannot trust its own past.
    pub lock: Arc<Lock>,
    /// The key tree.
    pub keys: Arc<KeyTree>,
    /// The policy in force.
    pub policy: EnforcedPolicyCache,
    /// What TPMs' certificates are measured against.
    pub trust: Trust,
    /// The pinned roots of hardware vendors: those of this release, or what the program that opened the vault gave.
    pub pins: Pins,
    /// What vendors publish about their hardware, as those roots vouch for it.
    pub endorsements: Endorsements,
    /// Who may ask how often.
    pub admission: Admission,
    /// Room for bodies of requests.
    pub bodies: Bodies,
    /// Lines of requests, a node each.
    pub(crate) turns: Turns,
    /// How much of their logs was kept, a node each.
    pub(crate) room: Room,
    /// What was verified of endorsements, and holds for many requests.
    pub(crate) known: Arc<Known>,
    /// Requests that failed before a decision, counted.
    pub refusals: Refusals,
    /// What happens to leases, for those who listen.
    pub events: Events,
    /// Nonces of those who listen.
    pub listeners: Listeners,
    /// What was destroyed and may still lie in a file.
    pub shredder: Shredder,
    /// Held while a token is made, so that those who ask here at one time wait instead of being refused.
    pub grants: Mutex<()>,
    /// When tokens were used, and which were refused.
    pub token_use: TokenUse,
    /// True once the vault stops.
    pub stopping: watch::Sender<bool>,
    /// The ledger's verifier key.
    pub ledger_key: VerifierKey,
}

impl Vault {
    /// The PCRs that quotes must select: the enforced policy's, or the configuration's before there is one.
    pub async fn pcr_selection(&self) -> Answer<PcrSelection> {
        Ok(match self.policy.current(self.store.as_ref()).await?.policy {
            Some(policy) => policy.bundle().pcr_selection(),
            None => PcrSelection { bank: PcrBank::Sha256, pcrs: self.config.attestation.pcrs.clone() },
        })
    }

    /// A record of this replica. The sequencer sets its time.
    pub fn record(&self, now: i64, actor: Actor, action: Action, subject: Subject) -> Answer<Record> {
        record(&self.config.server.replica, now, actor, action, subject).map_err(Into::into)
    }

    /// Commits what `record` tells of, with `changes` made from the rows of `guards`.
    pub async fn commit(&self, record: Record, guards: Vec<Guard>, changes: Vec<Change>) -> Answer<Committed> {
        let item = Item { record, guards, nonce: None, quotas: Vec::new(), changes, blobs: Vec::new() };
        Ok(self.queue.submit(item).await?)
    }
}

/// A record with a fresh id, made at `now` (Unix seconds).
pub fn record(replica: &str, now: i64, actor: Actor, action: Action, subject: Subject) -> Result<Record, KeysError> {
    let millis = u64::try_from(now).unwrap_or_default().saturating_mul(1000);
    let id = DecisionId(ulid::Ulid::from_parts(millis, u128::from_be_bytes(random()?)));
    let time = Timestamp::from_unix_millis(millis).or(Timestamp::from_unix_millis(0));
    // INVARIANT: zero milliseconds are a time.
    let time = time.ok_or(KeysError::NoRandomness)?;
    Ok(Record::new(id, time, replica, actor, action, subject))
}

/// Fresh random bytes, not for keys.
pub fn random<const N: usize>() -> Result<[u8; N], KeysError> {
    let mut out = [0; N];
    SystemRandom::new().fill(&mut out).map_err(|_| KeysError::NoRandomness)?;
    Ok(out)
}

/// The vault as an actor, by the part that acts.
pub fn system(part: &str) -> Actor {
    Actor { kind: ActorKind::System, id: part.to_owned() }
}

/// A node as an actor.
pub fn node_actor(node: strongroom_protocol::NodeId) -> Actor {
    Actor { kind: ActorKind::Node, id: node.to_string() }
}

/// A subject.
pub fn subject(kind: SubjectKind, id: impl std::fmt::Display) -> Subject {
    Subject { kind, id: format!("{id}") }
}

/// Waits until the vault stops.
pub async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the vault is gone already.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
