//! One release: statement, evidence, checks, keys into key pages.

use crate::{
    Error, Lease, Room,
    boottime::Moment,
    lease::{Granted, HeldKey},
    pinned::PinnedVault,
    transport::Transport,
};
use ring::rand::{SecureRandom, SystemRandom};
use strongroom_collect::{Attester, Wanted};
use strongroom_envelope::{LeaseTerms, RecipientKey, ReleasePayload, Secret};
use strongroom_protocol::{
    Bytes, Fixed, LeaseId, Statement, binding,
    challenge::{Challenge, ChallengeRequest, Purpose},
    lease::Handling,
    release::{ReleaseRequest, ReleaseResponse},
    sha256,
    statement::{Access, Act, CallerRef, Kem, KeyRequest, ObjectRef, Recipient, Scope},
};
use zeroize::Zeroize;

/// What to ask for.
#[derive(Debug, Clone, Default)]
pub struct Request {
    keys: Vec<KeyRequest>,
    plaintext_to_disk: bool,
}

impl Request {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The keys of these objects of a key version.
    #[must_use]
    pub fn objects(self, asset: &str, version: u32, objects: Vec<ObjectRef>) -> Self {
        self.key(asset, version, Access::Read, Scope::Object, objects)
    }

    /// The key of every object of a key version. Revoking such a lease costs a rotation.
    #[must_use]
    pub fn version(self, asset: &str, version: u32) -> Self {
        self.key(asset, version, Access::Read, Scope::Version, Vec::new())
    }

    /// A writer key: seals new objects, opens nothing that others wrote.
    #[must_use]
    pub fn writer(self, asset: &str, version: u32) -> Self {
        self.key(asset, version, Access::Write, Scope::Writer, Vec::new())
    }

    /// Says that plaintext will be written to a disk. The ledger shows it, and policy may forbid it.
    #[must_use]
    pub fn plaintext_to_disk(mut self) -> Self {
        self.plaintext_to_disk = true;
        self
    }

    fn key(mut self, asset: &str, version: u32, access: Access, scope: Scope, objects: Vec<ObjectRef>) -> Self {
        self.keys.push(KeyRequest { asset: asset.to_owned(), version, access, scope, objects });
        self
    }
}

/// A statement as it was sent, with what is needed to believe the answer.
pub(crate) struct Asked {
    pub(crate) bytes: Vec<u8>,
    pub(crate) statement: Statement,
    /// The caller bytes that the statement names; none where evidence is collected in process.
    pub(crate) caller: Option<Vec<u8>>,
    pub(crate) start: Moment,
}

impl Room {
    /// Asks for keys on fresh evidence, and takes them over under a lease.
    pub fn release(&self, attester: &dyn Attester, request: Request) -> Result<Lease, Error> {
        match self.release_once(attester, request.clone()) {
            // A TPM that others use may take longer than a nonce lives.
            Err(error) if error.wants_fresh_nonce() => self.release_once(attester, request),
            done => done,
        }
    }

    fn release_once(&self, attester: &dyn Attester, request: Request) -> Result<Lease, Error> {
        let recipient = RecipientKey::generate()?;
        let start = Moment::now();
        let asked = self.ask(attester, Act::Release, None, request.keys, &recipient, start)?;
        let response = self.send(&asked, attester, 0)?;
        self.accept(&asked, &response, &recipient, request.plaintext_to_disk)
    }

    /// Writes a statement under a fresh nonce, for the caller that the attester will bind.
    pub(crate) fn ask(
        &self,
        attester: &dyn Attester,
        act: Act,
        lease: Option<LeaseId>,
        keys: Vec<KeyRequest>,
        recipient: &RecipientKey,
        start: Moment,
    ) -> Result<Asked, Error> {
        // Before the nonce, whose minute it should not take from.
        let caller = attester.caller()?;
        let challenge: Challenge =
            self.transport_of(act).post("/v1/challenges", &ChallengeRequest { purpose: Purpose::Release })?;
        let statement = Statement {
            v: 1,
            act,
            lease,
            vault: self.vault().id(),
            nonce: challenge.nonce,
            client_random: random()?,
            recipient: Recipient { kem: Kem::XWing, public_key: Bytes(recipient.public_key().to_vec()) },
            keys,
            job: None,
            caller: caller.as_deref().map(|bytes| CallerRef { sha256: Fixed(sha256(bytes)) }),
        };
        statement.check().map_err(|e| Error::Request(e.to_string()))?;
        let bytes = serde_json::to_vec(&statement).map_err(|e| Error::Malformed(e.to_string()))?;
        Ok(Asked { bytes, statement, caller, start })
    }

    /// Has the statement attested and sends both. `ima_offset`: bytes of the node's IMA log that the vault has.
    pub(crate) fn send(
        &self,
        asked: &Asked,
        attester: &dyn Attester,
        ima_offset: u64,
    ) -> Result<ReleaseResponse, Error> {
        let wanted = Wanted { selection: self.pcr_selection(), ima_offset };
        let evidence = attester.collect(&asked.bytes, asked.caller.as_deref(), wanted)?;
        let caller = asked.caller.clone().map(Bytes);
        let request = ReleaseRequest { statement: Bytes(asked.bytes.clone()), caller, job_token: None, evidence };
        self.transport_of(asked.statement.act).post("/v1/releases", &request)
    }

    /// A keeper comes again with its renewal, and is waited for when it is to leave.
    fn transport_of(&self, act: Act) -> Transport {
        match act {
            Act::Renew => self.transport().briefly(),
            Act::Release | Act::Identify => self.transport().clone(),
        }
    }

    /// Checks a response and takes its keys over.
    pub(crate) fn accept(
        &self,
        asked: &Asked,
        response: &ReleaseResponse,
        recipient: &RecipientKey,
        plaintext_to_disk: bool,
    ) -> Result<Lease, Error> {
        let mut payload = open_checked(self.vault(), asked, response, recipient)?;
        let pages = self.key_pages();
        let handling = Handling {
            key_pages: pages.kind().as_str().to_owned(),
            weakened: self.protection().weakened().into_iter().map(str::to_owned).collect(),
            plaintext_to_disk,
            client: concat!("strongroom/", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let store = |secret: &mut Secret<32>| {
            let slot = pages.store(secret.expose());
            secret.expose_mut().zeroize();
            slot
        };
        let keys = payload
            .keys
            .iter_mut()
            .map(|key| {
                Ok(HeldKey {
                    asset: key.asset.clone(),
                    version: key.version,
                    scope: key.scope,
                    writer: key.writer,
                    object: key.object,
                    slot: store(&mut key.key)?,
                })
            })
            .collect::<Result<Vec<_>, Error>>()?;
        check_keys(&asked.statement, &keys, payload.lease.id)?;
        let granted = Granted {
            transport: self.transport_handle(),
            vault: self.vault().clone(),
            decision: payload.decision_id,
            requested: asked.statement.keys.clone(),
            terms: payload.lease,
            ima_offset: payload.ima_offset.unwrap_or(0),
            obligations: payload.obligations.clone(),
            handling: handling.clone(),
            keys,
            secret: store(&mut payload.lease_secret)?,
            recipient: pages.store(recipient.seed().expose())?,
            start: asked.start,
        };
        let lease = Lease::hold(granted);
        // From here on an error drops the lease, which zeroes the keys and tells the vault.
        self.has().meet(&payload.obligations, handling.plaintext_to_disk)?;
        lease.deliver()?;
        Ok(lease)
    }
}

/// Fresh random bytes for a statement.
pub(crate) fn random() -> Result<Fixed<16>, Error> {
    let mut random = Fixed([0; 16]);
    SystemRandom::new().fill(&mut random.0)?;
    Ok(random)
}

/// Believes a response, then opens its envelope.
pub(crate) fn open_checked(
    vault: &PinnedVault,
    asked: &Asked,
    response: &ReleaseResponse,
    recipient: &RecipientKey,
) -> Result<ReleasePayload, Error> {
    vault.check_response(&asked.bytes, &asked.statement, response)?;
    let info = binding::release_info(response.decision_id);
    let plaintext = strongroom_envelope::open(recipient, &info, &sha256(&asked.bytes), &response.envelope)?;
    let payload = ReleasePayload::from_json(&plaintext).map_err(|e| Error::Malformed(e.to_string()))?;
    if payload.decision_id != response.decision_id {
        return Err(Error::NotBelieved("the envelope belongs to another decision".to_owned()));
    }
    Ok(payload)
}

/// The terms of a renewal, which is of this lease and brings no keys.
pub(crate) fn renewed(payload: &ReleasePayload, lease: LeaseId) -> Result<LeaseTerms, Error> {
    if payload.lease.id != lease || !payload.keys.is_empty() {
        return Err(Error::NotBelieved("the renewal is of another lease".to_owned()));
    }
    Ok(payload.lease)
}

/// The keys are exactly those that were asked for.
fn check_keys(statement: &Statement, keys: &[HeldKey], lease: LeaseId) -> Result<(), Error> {
    let mut expected = 0;
    for asked in &statement.keys {
        let same =
            |key: &&HeldKey| key.asset == asked.asset && key.version == asked.version && key.scope == asked.scope;
        let found = match asked.scope {
            Scope::Object => {
                expected += asked.objects.len();
                asked
                    .objects
                    .iter()
                    .all(|o| keys.iter().filter(same).any(|k| k.writer == Some(o.writer) && k.object == Some(o.object)))
            }
            Scope::Version => {
                expected += 1;
                keys.iter().any(|key| same(&key))
            }
            Scope::Writer => {
                expected += 1;
                keys.iter().filter(same).any(|key| key.writer == Some(lease.into()))
            }
        };
        if !found {
            return Err(Error::NotBelieved(format!("a key of {}@{} is missing", asked.asset, asked.version)));
        }
    }
    if keys.len() == expected {
        Ok(())
    } else {
        Err(Error::NotBelieved("there are keys that were not asked for".to_owned()))
    }
}

#[cfg(test)]
mod tests;
