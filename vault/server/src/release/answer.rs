//! The answer of a release: derived keys, sealed to the recipient, signed.

use super::{evidence::Attested, facts::Facts};
use crate::{
    problem::{Answer, Refused},
    vault::Vault,
};
use strongroom_envelope::{EnvelopeError, LeaseTerms, ReleasePayload, ReleasedKey, Secret, VersionKey, seal};
use strongroom_protocol::{
    Bytes, DecisionId, Fixed, LeaseId, WriterId,
    binding::{release_info, response_message},
    obligations::Obligations,
    release::ReleaseResponse,
    statement::{KeyRequest, Scope},
};
use strongroom_store::{Committed, model::KeyRow};

/// What is handed over, if the ledger takes it.
pub(super) struct Terms {
    pub(super) lease: LeaseId,
    pub(super) secret: Secret<32>,
    pub(super) obligations: Obligations,
    /// False for a renewal, which hands over no keys.
    pub(super) with_keys: bool,
}

impl Terms {
    /// When the lease ends and when it wants fresh evidence, Unix seconds, if it starts at `now`.
    pub(super) fn ends(&self, now: i64) -> (i64, i64) {
        let after = |seconds: u64| now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
        (after(self.obligations.lease_seconds), after(self.obligations.reattest_after))
    }
}

/// A decision's entry in the ledger, with what proves that it is there.
pub(super) struct Entry {
    pub(super) record: Vec<u8>,
    pub(super) salt: [u8; 16],
    pub(super) leaf: [u8; 32],
    pub(super) receipt: String,
}

impl From<Committed> for Entry {
    fn from(committed: Committed) -> Self {
        let Committed { record, salt, leaf, receipt, .. } = committed;
        Self { record, salt, leaf, receipt }
    }
}

/// A decision that is in the ledger, under a signed checkpoint: the only thing that keys are given for.
pub(super) struct Granted {
    pub(super) decision: DecisionId,
    pub(super) entry: Entry,
    pub(super) terms: Terms,
    /// Seconds until the lease ends, until possession is proved, until fresh evidence.
    pub(super) times: (u64, u64, u64),
    /// Up to where the vault has the node's IMA log, bytes.
    pub(super) ima_offset: Option<u64>,
}

impl Granted {
    /// Takes what the sequencer committed.
    pub(super) fn after(committed: Committed, decision: DecisionId, terms: Terms, ima_offset: Option<u64>) -> Self {
        let times = (terms.obligations.lease_seconds, terms.obligations.renew_after, terms.obligations.reattest_after);
        Self { decision, entry: committed.into(), terms, times, ima_offset }
    }

    /// Derives the keys, seals them, signs the response.
    pub(super) fn answer(self, vault: &Vault, attested: &Attested, facts: &Facts) -> Answer<ReleaseResponse> {
        let asked = &attested.asked;
        let keys = if self.terms.with_keys { self.keys(vault, &asked.statement.keys, facts)? } else { Vec::new() };
        let (expires_in, renew_after, reattest_after) = self.times;
        let payload = ReleasePayload {
            decision_id: self.decision,
            lease: LeaseTerms { id: self.terms.lease, expires_in, renew_after, reattest_after },
            obligations: serde_json::to_value(&self.terms.obligations).map_err(Refused::internal)?,
            ima_offset: self.ima_offset,
            lease_secret: self.terms.secret,
            keys,
        };
        let plaintext = payload.to_json().map_err(Refused::internal)?;
        sealed(vault, attested, self.decision, self.entry, &plaintext)
    }

    fn keys(&self, vault: &Vault, asked: &[KeyRequest], facts: &Facts) -> Answer<Vec<ReleasedKey>> {
        let mut keys = Vec::new();
        for (request, (_, row)) in asked.iter().zip(&facts.keys) {
            let version = version_key(vault, row)?;
            let writer_key = |writer| version.writer_key(&row.asset, row.version, writer);
            let released = |writer, object, bytes: &[u8; 32]| {
                // INVARIANT: a key has 32 bytes.
                let key = Secret::copy_from(bytes).ok_or_else(|| Refused::internal("a key of another length"))?;
                Ok::<_, Refused>(ReleasedKey {
                    asset: row.asset.clone(),
                    version: row.version,
                    scope: request.scope,
                    writer,
                    object,
                    key,
                })
            };
            match request.scope {
                Scope::Version => keys.push(released(None, None, version.expose())?),
                Scope::Writer => {
                    let writer = WriterId::from(self.terms.lease);
                    keys.push(released(Some(writer), None, writer_key(writer).expose())?);
                }
                Scope::Object => {
                    for of in &request.objects {
                        let key = writer_key(of.writer).object_key(of.object);
                        keys.push(released(Some(of.writer), Some(of.object), key.expose())?);
                    }
                }
            }
        }
        Ok(keys)
    }
}

/// Seals what the recipient is told of a decision that is in the ledger, and signs the response.
pub(super) fn sealed(
    vault: &Vault,
    attested: &Attested,
    decision: DecisionId,
    entry: Entry,
    plaintext: &[u8],
) -> Answer<ReleaseResponse> {
    let asked = &attested.asked;
    let recipient = &asked.statement.recipient.public_key.0;
    let envelope = seal(recipient, &release_info(decision), &asked.statement_sha256.0, plaintext);
    let envelope = envelope.map_err(|e| match e {
        EnvelopeError::RecipientKey => Refused::malformed("recipient.public_key", e.to_string()),
        other => Refused::internal(other),
    })?;
    let message = response_message(&asked.statement_bytes, &entry.leaf, &envelope.enc.0, &envelope.ciphertext.0);
    Ok(ReleaseResponse {
        decision_id: decision,
        envelope,
        record: Bytes(entry.record),
        salt: Fixed(entry.salt),
        receipt: entry.receipt,
        signature: Fixed(vault.keys.identity().sign(&message)),
    })
}

fn version_key(vault: &Vault, row: &KeyRow) -> Answer<VersionKey> {
    Ok(vault.keys.version_key(&row.asset, row.version, &row.wrapped.0)?)
}
