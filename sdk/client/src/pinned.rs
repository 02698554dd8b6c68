//! The vaults that this client believes, and the checks of what they sign.

use crate::Error;
use ring::signature::{ED25519, UnparsedPublicKey};
use strongroom_ledger::{Action, CheckedRecord, Record, Verdict, VerifierKey, check_release_record};
use strongroom_protocol::{
    LeaseId, Statement, VaultId,
    binding::{lease_message, response_message},
    join::JoinFile,
    release::ReleaseResponse,
    sha256,
    statement::Act,
};

/// A pinned vault: its identity key, which signs responses and checkpoints.
#[derive(Debug, Clone)]
pub(crate) struct PinnedVault {
    id: VaultId,
    verifier: VerifierKey,
}

impl PinnedVault {
    /// The vault whose ledger key the join file names; its hash must be among the pinned ids.
    pub(crate) fn from_join(join: &JoinFile) -> Result<Self, Error> {
        if join.v != 1 {
            return Err(Error::Join(format!("version {} is not known; this SDK reads version 1", join.v)));
        }
        let verifier: VerifierKey = join
            .ledger_verifier_key
            .parse()
            .map_err(|e| Error::Join(format!("`ledger_verifier_key` is not a verifier key: {e}")))?;
        let id = VaultId::from(sha256(verifier.public_key()));
        if !join.vault_ids.contains(&id) {
            return Err(Error::Join(format!(
                "the ledger's key belongs to the vault {id}, which is not among `vault_ids`"
            )));
        }
        Ok(Self { id, verifier })
    }

    pub(crate) fn id(&self) -> VaultId {
        self.id
    }

    pub(crate) fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Everything that must hold before the envelope of a release is opened: the signature by the
    /// pinned key, the record in the ledger, and the record being this client's own.
    pub(crate) fn check_response(
        &self,
        statement_bytes: &[u8],
        statement: &Statement,
        response: &ReleaseResponse,
    ) -> Result<Record, Error> {
        let CheckedRecord { record, receipt, .. } = check_release_record(
            &response.record.0,
            response.salt.as_array(),
            &response.receipt,
            std::slice::from_ref(&self.verifier),
        )
        .map_err(|e| {
            Error::NotBelieved(format!("the receipt does not prove that the decision is in the ledger: {e}"))
        })?;
        let message =
            response_message(statement_bytes, &receipt.leaf, &response.envelope.enc.0, &response.envelope.ciphertext.0);
        self.verify(&message, response.signature.as_array()).map_err(|()| {
            Error::NotBelieved(
                "the response is not signed by the pinned vault over this statement, record and envelope".to_owned(),
            )
        })?;
        let own = |what: &str, same: bool| {
            if same { Ok(()) } else { Err(Error::NotBelieved(format!("the ledger's record has another {what}"))) }
        };
        own("decision id", record.id == response.decision_id)?;
        own("statement", record.statement_sha256.is_some_and(|s| s.0 == sha256(statement_bytes)))?;
        own("recipient", record.recipient_sha256.is_some_and(|r| r.0 == statement.recipient_sha256()))?;
        let action = match statement.act {
            Act::Release => Action::ReleaseDecided,
            Act::Renew => Action::LeaseRenewed,
            Act::Identify => Action::NodeIdentified,
        };
        own("action", record.action == action)?;
        own("verdict", record.verdict == Some(Verdict::Released))?;
        Ok(record)
    }

    /// The vault's signature over an answer to a possession MAC, or over an event.
    pub(crate) fn check_lease_answer(
        &self,
        act: &str,
        lease: LeaseId,
        nonce: &[u8],
        client_random: &[u8; 16],
        answer: &[u8],
        signature: &[u8],
    ) -> Result<(), Error> {
        self.verify(&lease_message(act, lease, nonce, client_random, answer), signature).map_err(|()| {
            Error::NotBelieved(format!("the answer to `{act}` is not signed by the pinned vault for this request"))
        })
    }

    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), ()> {
        UnparsedPublicKey::new(&ED25519, self.verifier.public_key()).verify(message, signature).map_err(|_| ())
    }
}

#[cfg(test)]
pub(crate) mod tests;
