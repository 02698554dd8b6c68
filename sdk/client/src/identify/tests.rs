//! What came into a record is believed only from the pinned vault, by this statement's own entry of the ledger.

use super::*;
use crate::pinned::tests::{Vault, decision, statement};
use strongroom_ledger::{Action, Record, Verdict};

const CHIP: &str = "snp-chip:0102030405060708";

/// An answer of the pinned vault to an identification whose envelope holds this payload.
fn answered(act: Act, payload: &serde_json::Value, change: impl FnOnce(&mut Record)) -> Result<Identified, Error> {
    let (vault, recipient) = (Vault::new(1), RecipientKey::generate().unwrap());
    let (_, mut statement) = statement(1);
    statement.act = act;
    statement.recipient.public_key = Bytes(recipient.public_key().to_vec());
    let bytes = serde_json::to_vec(&statement).unwrap();
    let public = &statement.recipient.public_key.0;
    let info = binding::release_info(decision());
    let plaintext = serde_json::to_vec(payload).unwrap();
    let envelope = strongroom_envelope::seal(public, &info, &sha256(&bytes), &plaintext).unwrap();
    let response = vault.respond_with(&bytes, &statement, envelope, change);
    let asked = Asked { bytes, statement, caller: None, start: Moment::now() };
    identified(&vault.pinned(), &asked, &response, &recipient)
}

fn payload(inner: DecisionId) -> serde_json::Value {
    let added: Identity = CHIP.parse().unwrap();
    serde_json::to_value(IdentifiedPayload { decision_id: inner, node: NodeId::from([7; 32]), added: vec![added] })
        .unwrap()
}

fn as_identified(record: &mut Record) {
    record.action = Action::NodeIdentified;
}

#[test]
fn what_came_into_the_record_is_read_from_the_envelope() {
    let identified = answered(Act::Identify, &payload(decision()), as_identified).unwrap();
    assert_eq!(identified.added, [CHIP.parse().unwrap()]);
    assert_eq!((identified.node, identified.decision), (NodeId::from([7; 32]), decision()));
}

#[test]
fn another_decisions_envelope_and_another_acts_record_are_not_believed() {
    let not_believed = |result: Result<Identified, Error>, why: &str| {
        let error = result.unwrap_err();
        assert!(matches!(&error, Error::NotBelieved(told) if told.contains(why)), "{error}");
    };
    let other = "01ARZ3NDEKTSV4RRFFQ69G5FAW".parse().unwrap();
    not_believed(answered(Act::Identify, &payload(other), as_identified), "another decision");
    // A release that was decided is no change of a record, and a change of a record is no release.
    not_believed(answered(Act::Identify, &payload(decision()), |_| {}), "another action");
    not_believed(answered(Act::Release, &payload(decision()), as_identified), "another action");
    let denied = |record: &mut Record| {
        as_identified(record);
        record.verdict = Some(Verdict::Denied);
        record.reasons = vec!["identity_taken".to_owned()];
    };
    not_believed(answered(Act::Identify, &payload(decision()), denied), "another verdict");
}

#[test]
fn a_payload_is_read_whole() {
    let mut more = payload(decision());
    more["keys"] = serde_json::json!([]);
    let error = answered(Act::Identify, &more, as_identified).unwrap_err();
    assert!(matches!(error, Error::Malformed(_)), "{error}");
}

/// Devices that hand over what they were asked to bind.
struct Echo(std::sync::Mutex<Vec<u8>>);

impl Attester for Echo {
    fn collect(
        &self,
        statement: &[u8],
        _: Option<&[u8]>,
        _: Wanted<'_>,
    ) -> Result<Vec<Evidence>, strongroom_collect::CollectError> {
        *self.0.lock().unwrap() = statement.to_vec();
        Ok(Vec::new())
    }
}

#[test]
fn evidence_to_look_at_is_of_a_statement_that_no_vault_takes() {
    let devices = Echo(std::sync::Mutex::default());
    assert!(evidence_to_look_at(&devices).unwrap().is_empty());
    let sent = devices.0.into_inner().unwrap();
    // Well formed, so that an agent signs it; under a nonce that was over before it began.
    let statement = Statement::parse(&sent).unwrap();
    assert_eq!((statement.act, statement.vault, statement.nonce.expiry()), (Act::Identify, VaultId::from([0; 32]), 0));
    assert!(statement.keys.is_empty());
}
