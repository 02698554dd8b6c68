//! A response is believed only when everything about it is the vault's and this client's own.

use super::*;
use ring::signature::{Ed25519KeyPair, KeyPair};
use strongroom_ledger::{
    Action, Actor, ActorKind, Checkpoint, Frontier, Prover, Receipt, Subject, SubjectKind, TileSet, Timestamp, append,
    edge_tiles, entry_hash, leaf_hash,
};
use strongroom_protocol::{
    Bytes, DecisionId, Fixed,
    challenge::Nonce,
    release::Envelope,
    statement::{Access, Act, Kem, KeyRequest, Recipient, Scope, X_WING_PUBLIC_KEY},
};

/// The decision of every response.
pub(crate) fn decision() -> DecisionId {
    "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap()
}

/// A vault that signs what it is told to.
pub(crate) struct Vault {
    pair: Ed25519KeyPair,
    key: VerifierKey,
}

impl Vault {
    pub(crate) fn new(seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let key = VerifierKey::new("strongroom/test", public).unwrap();
        Self { pair, key }
    }

    pub(crate) fn pinned(&self) -> PinnedVault {
        let id = VaultId::from(sha256(self.key.public_key()));
        PinnedVault::from_join(&join(vec![id], self.key.to_string())).unwrap()
    }

    /// The vault's signature over an answer or an event.
    pub(crate) fn sign(&self, message: &[u8]) -> Fixed<64> {
        Fixed(self.pair.sign(message).as_ref().try_into().unwrap())
    }

    /// A response as a vault would make it for `statement`, with whatever `change` does to the record first.
    fn respond(&self, bytes: &[u8], statement: &Statement, change: impl FnOnce(&mut Record)) -> ReleaseResponse {
        let envelope = Envelope { enc: Bytes(vec![1; 3]), ciphertext: Bytes(vec![2; 3]) };
        self.respond_with(bytes, statement, envelope, change)
    }

    /// The same with this envelope.
    pub(crate) fn respond_with(
        &self,
        bytes: &[u8],
        statement: &Statement,
        envelope: Envelope,
        change: impl FnOnce(&mut Record),
    ) -> ReleaseResponse {
        let id = decision();
        let mut record = Record::new(
            id,
            Timestamp::from_unix_millis(0).unwrap(),
            "replica".to_owned(),
            Actor::new(ActorKind::Node, "node"),
            Action::ReleaseDecided,
            Subject::new(SubjectKind::Decision, id.to_string()),
        );
        record.statement_sha256 = Some(Fixed(sha256(bytes)));
        record.recipient_sha256 = Some(Fixed(statement.recipient_sha256()));
        record.verdict = Some(Verdict::Released);
        change(&mut record);
        let canonical = record.to_canonical().unwrap();
        let salt = [5; 16];
        let entry = entry_hash(&salt, &canonical);
        let mut tiles = TileSet::new();
        assert!(edge_tiles(0).is_empty());
        let appended = append(&Frontier::new(), &[entry], &tiles).unwrap();
        tiles.extend(appended.tiles);
        let checkpoint = Checkpoint::of("strongroom/test", &appended.frontier).sign(&self.key, &self.pair).unwrap();
        let proof = Prover::new(&tiles, 1).inclusion(0).unwrap();
        let message = response_message(bytes, &leaf_hash(&entry), &envelope.enc.0, &envelope.ciphertext.0);
        ReleaseResponse {
            decision_id: id,
            envelope,
            record: Bytes(canonical),
            salt: Fixed(salt),
            receipt: Receipt::new(0, proof, checkpoint).encode(),
            signature: Fixed(self.pair.sign(&message).as_ref().try_into().unwrap()),
        }
    }
}

fn join(vault_ids: Vec<VaultId>, ledger_verifier_key: String) -> JoinFile {
    let (url, replicas, tls_ca) = ("https://vault".into(), vec![], String::new());
    JoinFile { v: 1, url, replicas, tls_ca, vault_ids, ledger_verifier_key }
}

pub(crate) fn statement(random: u8) -> (Vec<u8>, Statement) {
    let statement = Statement {
        v: 1,
        act: Act::Release,
        lease: None,
        vault: VaultId::from([0; 32]),
        nonce: Nonce::new([0; 16], 0, [0; 16]),
        client_random: Fixed([random; 16]),
        recipient: Recipient { kem: Kem::XWing, public_key: Bytes(vec![random; X_WING_PUBLIC_KEY]) },
        keys: vec![KeyRequest {
            asset: "a".into(),
            version: 1,
            access: Access::Read,
            scope: Scope::Version,
            objects: Vec::new(),
        }],
        job: None,
        caller: None,
    };
    (serde_json::to_vec(&statement).unwrap(), statement)
}

/// Why a response was not believed.
fn refusal(change: impl FnOnce(&mut ReleaseResponse)) -> String {
    let vault = Vault::new(1);
    let (bytes, statement) = statement(1);
    let mut response = vault.respond(&bytes, &statement, |_| {});
    change(&mut response);
    vault.pinned().check_response(&bytes, &statement, &response).unwrap_err().to_string()
}

#[test]
fn a_response_of_the_pinned_vault_to_this_statement_is_believed() {
    let vault = Vault::new(1);
    let (bytes, statement) = statement(1);
    let response = vault.respond(&bytes, &statement, |_| {});
    assert_eq!(vault.pinned().check_response(&bytes, &statement, &response).unwrap().id, response.decision_id);
}

#[test]
fn a_swapped_envelope_is_not_believed() {
    assert!(refusal(|r| r.envelope.ciphertext.0[0] ^= 1).contains("not signed by the pinned vault"));
    assert!(refusal(|r| r.envelope.enc.0[0] ^= 1).contains("not signed by the pinned vault"));
}

#[test]
fn a_receipt_for_another_entry_is_not_believed() {
    assert!(refusal(|r| r.salt.0[0] ^= 1).contains("receipt does not prove"));
    let (bytes, other) = statement(2);
    let another = Vault::new(1).respond(&bytes, &other, |record| record.replica = "other".to_owned());
    assert!(refusal(|r| r.receipt = another.receipt).contains("receipt does not prove"));
}

#[test]
fn another_vaults_response_is_not_believed() {
    let (bytes, statement) = statement(1);
    let response = Vault::new(2).respond(&bytes, &statement, |_| {});
    let error = Vault::new(1).pinned().check_response(&bytes, &statement, &response).unwrap_err();
    assert!(error.to_string().contains("receipt does not prove"), "{error}");
}

#[test]
fn the_answer_to_another_statement_is_not_believed() {
    let vault = Vault::new(1);
    let (bytes, one) = statement(1);
    let (other, two) = statement(2);
    let response = vault.respond(&bytes, &one, |_| {});
    let error = vault.pinned().check_response(&other, &two, &response).unwrap_err();
    assert!(error.to_string().contains("not signed by the pinned vault"), "{error}");
}

/// Signed by the vault and in its ledger, but not this client's decision: each field alone.
#[test]
fn a_record_that_is_not_this_clients_own_is_not_believed() {
    let vault = Vault::new(1);
    let (bytes, statement) = statement(1);
    let refusal = |change: fn(&mut Record)| {
        let response = vault.respond(&bytes, &statement, change);
        vault.pinned().check_response(&bytes, &statement, &response).unwrap_err().to_string()
    };
    assert!(refusal(|r| r.id = "01ARZ3NDEKTSV4RRFFQ69G5FAW".parse().unwrap()).contains("another decision id"));
    assert!(refusal(|r| r.statement_sha256 = Some(Fixed([9; 32]))).contains("another statement"));
    assert!(refusal(|r| r.recipient_sha256 = Some(Fixed([9; 32]))).contains("another recipient"));
    assert!(refusal(|r| r.action = Action::LeaseRenewed).contains("another action"));
    let denied = |r: &mut Record| {
        r.verdict = Some(Verdict::Denied);
        r.reasons = vec!["pcr_mismatch".to_owned()];
    };
    assert!(refusal(denied).contains("another verdict"));
}

#[test]
fn a_ledger_key_that_is_not_pinned_is_refused() {
    let vault = Vault::new(1);
    let error = PinnedVault::from_join(&join(vec![VaultId::from([7; 32])], vault.key.to_string())).unwrap_err();
    assert!(error.to_string().contains("not among `vault_ids`"), "{error}");
}

#[test]
fn an_answer_counts_for_one_act_lease_nonce_and_random() {
    let vault = Vault::new(1);
    let lease = LeaseId::from([1; 16]);
    let signature = vault.pair.sign(&lease_message("renew", lease, b"nonce", &[2; 16], b"answer"));
    let pinned = vault.pinned();
    let check = |act, lease, nonce: &[u8], random, answer: &[u8]| {
        pinned.check_lease_answer(act, lease, nonce, &[random; 16], answer, signature.as_ref()).is_ok()
    };
    assert!(check("renew", lease, b"nonce", 2, b"answer"));
    assert!(!check("end", lease, b"nonce", 2, b"answer"));
    assert!(!check("renew", LeaseId::from([2; 16]), b"nonce", 2, b"answer"));
    assert!(!check("renew", lease, b"other", 2, b"answer"));
    assert!(!check("renew", lease, b"nonce", 3, b"answer"));
    assert!(!check("renew", lease, b"nonce", 2, b"ANSWER"));
}
