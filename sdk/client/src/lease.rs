//! A lease: keys in key pages, plaintext in arenas, and the time that both may be held.

use crate::{
    Error, boottime::Moment, ending::Endings, open::Shelf, pinned::PinnedVault, possession::Prover, protection,
    transport::Transport,
};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, atomic::AtomicU64},
    time::Duration,
};
use strongroom_envelope::{LeaseTerms, ObjectKey, Secret, VersionKey, WriterKey};
use strongroom_memory::KeySlot;
use strongroom_protocol::{
    Code, DecisionId, LeaseId, ObjectId, WriterId,
    lease::{ACT_END, ACT_RENEW, EndAnswer, EndRequest, Handling, RenewAnswer, RenewRequest},
    statement::{KeyRequest, Scope},
};
use ureq::http::Method;

/// Why a lease is over. Keys and plaintext are zero by the time anybody sees this.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseOver {
    /// Its time ran out and nothing prolonged it.
    #[error("the lease has expired; its keys and plaintext were zeroed: ask for another release")]
    Expired,
    /// A person, or a rule, took it back.
    #[error("the lease was revoked{}; its keys and plaintext were zeroed", .0.as_ref().map(|r| format!(" ({r})")).unwrap_or_default())]
    Revoked(Option<String>),
    /// Its holder ended it.
    #[error("the lease was ended; its keys and plaintext were zeroed")]
    Ended,
}

/// One key as it is held.
pub(crate) struct HeldKey {
    pub(crate) asset: String,
    pub(crate) version: u32,
    pub(crate) scope: Scope,
    pub(crate) writer: Option<WriterId>,
    pub(crate) object: Option<ObjectId>,
    pub(crate) slot: KeySlot,
}

/// What is gone once the lease is over.
struct Held {
    keys: Vec<HeldKey>,
    secret: KeySlot,
    recipient: KeySlot,
}

/// When to do what; by `CLOCK_BOOTTIME`, counted from the start of the request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) start: Moment,
    pub(crate) ends: Moment,
    pub(crate) renew: Moment,
    pub(crate) reattest: Moment,
}

impl Schedule {
    pub(crate) fn new(start: Moment, expires_in: u64, renew_after: u64, reattest_after: u64) -> Self {
        Self {
            start,
            ends: start.after(expires_in),
            renew: start.after(renew_after),
            reattest: start.after(reattest_after),
        }
    }

    /// From the start of the request to the end, if nothing prolongs it.
    pub(crate) fn life(&self) -> Duration {
        self.ends.since(self.start)
    }
}

/// A lease's state, shared by the lease, what it opened, and its keeper.
pub(crate) struct Inner {
    pub(crate) transport: Arc<Transport>,
    pub(crate) vault: PinnedVault,
    pub(crate) id: LeaseId,
    decision: DecisionId,
    requested: Vec<KeyRequest>,
    obligations: serde_json::Value,
    handling: Handling,
    held: RwLock<Result<Held, LeaseOver>>,
    schedule: Mutex<Schedule>,
    /// Bytes of the node's IMA log that the vault has, as its last answer says.
    pub(crate) ima_offset: AtomicU64,
    shelf: Shelf,
    endings: Endings,
}

/// The time-limited right to hold keys. Dropping it ends it at the vault where that can be reached,
/// and zeroes keys and plaintext in any case.
pub struct Lease {
    pub(crate) inner: Arc<Inner>,
}

/// What a release brought, on its way into a [`Lease`].
pub(crate) struct Granted {
    pub(crate) transport: Arc<Transport>,
    pub(crate) vault: PinnedVault,
    pub(crate) decision: DecisionId,
    pub(crate) requested: Vec<KeyRequest>,
    pub(crate) terms: LeaseTerms,
    pub(crate) ima_offset: u64,
    pub(crate) obligations: serde_json::Value,
    pub(crate) handling: Handling,
    pub(crate) keys: Vec<HeldKey>,
    pub(crate) secret: KeySlot,
    pub(crate) recipient: KeySlot,
    pub(crate) start: Moment,
}

impl Lease {
    /// Takes over what was released.
    pub(crate) fn hold(granted: Granted) -> Self {
        let terms = granted.terms;
        let schedule = Schedule::new(granted.start, terms.expires_in, terms.renew_after, terms.reattest_after);
        let lease = Self {
            inner: Arc::new(Inner {
                transport: granted.transport,
                vault: granted.vault,
                id: terms.id,
                decision: granted.decision,
                requested: granted.requested,
                obligations: granted.obligations,
                handling: granted.handling,
                held: RwLock::new(Ok(Held {
                    keys: granted.keys,
                    secret: granted.secret,
                    recipient: granted.recipient,
                })),
                schedule: Mutex::new(schedule),
                ima_offset: AtomicU64::new(granted.ima_offset),
                shelf: Shelf::default(),
                endings: Endings::default(),
            }),
        };
        protection::watch(&lease.inner);
        lease
    }

    /// Proves possession for the first time, and says how keys and plaintext are held: before
    /// anything is used, so that the ledger knows it.
    pub(crate) fn deliver(&self) -> Result<(), Error> {
        self.inner.renew_by_possession(Some(self.inner.handling.clone()))
    }

    /// The lease's id; the writer id of what it seals.
    pub fn id(&self) -> LeaseId {
        self.inner.id
    }

    /// The decision that granted it.
    pub fn decision(&self) -> DecisionId {
        self.inner.decision
    }

    /// What policy obliges the holder to do.
    pub fn obligations(&self) -> &serde_json::Value {
        &self.inner.obligations
    }

    /// How keys and plaintext are held, as the ledger has it.
    pub fn handling(&self) -> &Handling {
        &self.inner.handling
    }

    /// Whether it is over, and why.
    pub fn check(&self) -> Result<(), LeaseOver> {
        self.inner.check()
    }

    /// Proves possession, which prolongs the lease until fresh evidence is due. From then on it is refused
    /// (`possession_refused`, reason `evidence_due`) and the lease lives on: [`Lease::reattest`] prolongs it.
    pub fn renew(&self) -> Result<(), Error> {
        self.inner.renew_by_possession(None)
    }

    /// Zeroes keys and plaintext, then tells the vault. What is called afterwards fails with
    /// [`LeaseOver::Ended`]; ending twice does nothing.
    pub fn end(&self) -> Result<(), Error> {
        self.inner.end()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Err(error) = self.inner.end() {
            tracing::debug!(%error, "the vault did not hear of the lease's end; it will expire there");
        }
    }
}

impl Inner {
    pub(crate) fn check(&self) -> Result<(), LeaseOver> {
        if self.schedule().ends.has_passed() {
            self.finish(LeaseOver::Expired);
        }
        match &*self.held.read().unwrap_or_else(PoisonError::into_inner) {
            Ok(_) => Ok(()),
            Err(over) => Err(over.clone()),
        }
    }

    /// Whether somebody has found it over; does not look at the clock.
    pub(crate) fn is_over(&self) -> bool {
        self.held.read().unwrap_or_else(PoisonError::into_inner).is_err()
    }

    pub(crate) fn schedule(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    pub(crate) fn endings(&self) -> &Endings {
        &self.endings
    }

    pub(crate) fn requested(&self) -> &[KeyRequest] {
        &self.requested
    }

    /// Zeroes keys and plaintext. The first reason stays.
    pub(crate) fn finish(&self, over: LeaseOver) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        let first = held.is_ok().then(|| over.clone());
        if first.is_some() {
            *held = Err(over);
        }
        drop(held);
        if let Some(over) = first {
            // Before the plaintext goes, which may have to wait for a reader who has to be told.
            self.endings.over(&over);
        }
        self.shelf.clear();
    }

    /// Ends the lease if this refusal says that the vault will not prolong it any more. All else may
    /// pass: a nonce that was used by an answer which got lost, a vault that is locked or busy, a proof of possession
    /// that was on its way when fresh evidence became due.
    pub(crate) fn heed(&self, error: &Error) {
        if error.wants_evidence() {
            self.schedule().reattest = Moment::now();
        } else if error.found_expired() {
            self.finish(LeaseOver::Expired);
        } else if let Some(problem) = error.problem()
            && matches!(problem.code, Code::Denied | Code::KeyDestroyed | Code::PossessionRefused)
        {
            tracing::warn!(code = problem.code.as_str(), "the vault does not renew this lease");
            let reasons = problem.reasons.join(", ");
            let why = if reasons.is_empty() { problem.title.clone() } else { reasons };
            self.finish(LeaseOver::Revoked(Some(why)));
        }
    }

    /// Zeroes keys and plaintext, then tells the vault.
    pub(crate) fn end(&self) -> Result<(), Error> {
        let secret = self.copy(|held| &held.secret);
        self.finish(LeaseOver::Ended);
        // Over already: the vault knows, or will find out by itself.
        let Ok(secret) = secret else { return Ok(()) };
        let path = format!("/v1/leases/{}", self.id);
        // It expires there by itself: whoever leaves is not held up for long.
        let transport = self.transport.briefly();
        self.prover(&secret)
            .over(&transport)
            .ask::<EndAnswer>(&Method::DELETE, &path, ACT_END, &EndRequest {})
            .map(|_| ())
    }

    pub(crate) fn renew_by_possession(&self, handling: Option<Handling>) -> Result<(), Error> {
        self.check()?;
        let secret = self.copy(|held| &held.secret)?;
        let start = Moment::now();
        let path = format!("/v1/leases/{}/renew", self.id);
        // A delivery is part of a release. A renewal's keeper comes again, and is waited for when it is to leave.
        let brief = handling.is_none().then(|| self.transport.briefly());
        let transport = brief.as_ref().unwrap_or(&self.transport);
        let answer: RenewAnswer = self
            .prover(&secret)
            .over(transport)
            .ask(&Method::POST, &path, ACT_RENEW, &RenewRequest { handling })
            .inspect_err(|e| self.heed(e))?;
        self.prolong(start, &answer)
    }

    /// Takes over the times of a renewal that was asked for at `start`.
    fn prolong(&self, start: Moment, answer: &RenewAnswer) -> Result<(), Error> {
        if answer.lease != self.id {
            return Err(Error::NotBelieved("the renewal is of another lease".to_owned()));
        }
        *self.schedule() = Schedule::new(start, answer.expires_in, answer.renew_after, answer.reattest_after);
        Ok(())
    }

    /// The lease's secret, out of its key page for one use.
    pub(crate) fn secret(&self) -> Result<Secret<32>, LeaseOver> {
        self.copy(|held| &held.secret)
    }

    /// The recipient key's seed, out of its key page for one use.
    pub(crate) fn recipient(&self) -> Result<Secret<32>, LeaseOver> {
        self.copy(|held| &held.recipient)
    }

    pub(crate) fn prover<'a>(&'a self, secret: &'a Secret<32>) -> Prover<'a> {
        Prover { transport: &self.transport, vault: &self.vault, lease: self.id, secret: secret.expose() }
    }

    /// The key of an object: held as such, or derived from the version's or this lease's writer key.
    pub(crate) fn object_key(
        &self,
        asset: &str,
        version: u32,
        writer: WriterId,
        object: ObjectId,
    ) -> Result<ObjectKey, Error> {
        self.check()?;
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let held = held.as_ref().map_err(Clone::clone)?;
        let fits = |key: &&HeldKey| {
            key.asset == asset
                && key.version == version
                && match key.scope {
                    Scope::Object => key.writer == Some(writer) && key.object == Some(object),
                    Scope::Version => true,
                    Scope::Writer => writer == WriterId::from(self.id),
                }
        };
        let key = held.keys.iter().find(fits);
        let key = key.ok_or_else(|| Error::NoKey(format!("object {object} of {asset}@{version}")))?;
        let secret = copy_slot(&key.slot);
        Ok(match key.scope {
            Scope::Object => ObjectKey::new(secret),
            Scope::Version => VersionKey::new(secret).writer_key(asset, version, writer).object_key(object),
            Scope::Writer => WriterKey::new(secret).object_key(object),
        })
    }

    /// The writer key of an asset, with its key version.
    pub(crate) fn writer_key(&self, asset: &str) -> Result<(WriterKey, u32), Error> {
        self.check()?;
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        let held = held.as_ref().map_err(Clone::clone)?;
        let key = held.keys.iter().find(|key| key.asset == asset && key.scope == Scope::Writer);
        let key = key.ok_or_else(|| Error::NoKey(format!("writing {asset}")))?;
        Ok((WriterKey::new(copy_slot(&key.slot)), key.version))
    }

    fn copy(&self, which: impl Fn(&Held) -> &KeySlot) -> Result<Secret<32>, LeaseOver> {
        match &*self.held.read().unwrap_or_else(PoisonError::into_inner) {
            Ok(held) => Ok(copy_slot(which(held))),
            Err(over) => Err(over.clone()),
        }
    }
}

/// A copy for the time of one operation; zeroed when it is dropped.
fn copy_slot(slot: &KeySlot) -> Secret<32> {
    let mut secret = Secret::zeroed();
    secret.expose_mut().copy_from_slice(slot.expose());
    secret
}

#[cfg(test)]
pub(crate) mod tests;
