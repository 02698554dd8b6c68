//! Proof that the holder of a lease still holds it: a MAC under the lease secret, answered by the
//! vault's signature.

use crate::{
    Error,
    pinned::PinnedVault,
    transport::{Transport, parse},
};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use serde::{Serialize, de::DeserializeOwned};
use strongroom_protocol::{
    Fixed, LeaseId,
    binding::possession_message,
    challenge::{Challenge, ChallengeRequest, Nonce, Purpose},
    lease::{POSSESSION_HEADER, Possession},
};
use ureq::http::Method;

/// One request under possession: its nonce and random, which the answer's signature covers.
pub(crate) struct Proof {
    header: String,
    nonce: Nonce,
    client_random: [u8; 16],
}

/// What a request under possession needs.
pub(crate) struct Prover<'a> {
    pub(crate) transport: &'a Transport,
    pub(crate) vault: &'a PinnedVault,
    pub(crate) lease: LeaseId,
    pub(crate) secret: &'a [u8; 32],
}

impl<'a> Prover<'a> {
    /// The same by this way.
    pub(crate) fn over(self, transport: &'a Transport) -> Self {
        Self { transport, ..self }
    }

    /// Gets a nonce and makes the MAC over `act` and the exact bytes of the body.
    pub(crate) fn prove(&self, act: &str, body: &[u8]) -> Result<Proof, Error> {
        let challenge: Challenge =
            self.transport.post("/v1/challenges", &ChallengeRequest { purpose: Purpose::Possession })?;
        let mut client_random = [0; 16];
        SystemRandom::new().fill(&mut client_random)?;
        let message =
            possession_message(act, self.vault.id(), self.lease, challenge.nonce.as_bytes(), &client_random, body);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, self.secret), &message);
        let mac = Fixed::try_from(tag.as_ref()).map_err(|e| Error::Malformed(e.to_string()))?;
        let possession = Possession { nonce: challenge.nonce, client_random: Fixed(client_random), mac };
        Ok(Proof { header: possession.to_string(), nonce: challenge.nonce, client_random })
    }

    /// Sends `body` under possession and reads the answer, once its signature has verified. Where
    /// the answer to a first attempt was lost, or the nonce lived too short, it is proved anew.
    pub(crate) fn ask<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        act: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let body = serde_json::to_vec(body).map_err(|e| Error::Malformed(e.to_string()))?;
        match self.ask_once(method, path, act, &body) {
            Err(error) if error.wants_fresh_nonce() => self.ask_once(method, path, act, &body),
            done => done,
        }
    }

    fn ask_once<T: DeserializeOwned>(&self, method: &Method, path: &str, act: &str, body: &[u8]) -> Result<T, Error> {
        let proof = self.prove(act, body)?;
        let answer = self.transport.send(method, path, body, &[proof.header()])?;
        let signature: Fixed<64> = answer
            .signature
            .as_deref()
            .and_then(|s| s.parse().ok())
            .ok_or_else(|| Error::NotBelieved(format!("the answer to `{act}` carries no signature")))?;
        self.vault.check_lease_answer(
            act,
            self.lease,
            proof.nonce.as_bytes(),
            &proof.client_random,
            &answer.body,
            signature.as_array(),
        )?;
        parse(&answer.body)
    }
}

impl Proof {
    /// The header to send.
    pub(crate) fn header(&self) -> (&str, &str) {
        (POSSESSION_HEADER, &self.header)
    }

    /// The random that events of this stream are signed over.
    pub(crate) fn client_random(&self) -> &[u8; 16] {
        &self.client_random
    }
}
