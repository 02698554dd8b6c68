//! What was released is taken over only if it is what was asked for, and can be kept as policy obliges.

use super::*;
use crate::pinned::tests::{Vault, decision, statement};
use serde_json::{Value, json};
use strongroom_envelope::ReleasedKey;
use strongroom_memory::{KeyPages, Protection as Demanded};
use strongroom_protocol::{DecisionId, ObjectId, WriterId};

fn obligations(handling: &[&str]) -> Value {
    json!({
        "lease_seconds": 60, "renew_after": 10, "reattest_after": 20, "handling": handling, "plaintext_to_disk": false,
    })
}

/// An answer of the pinned vault to this statement whose envelope holds this payload.
fn answered(inner: DecisionId) -> Result<ReleasePayload, Error> {
    let (vault, recipient) = (Vault::new(1), RecipientKey::generate().unwrap());
    let (_, mut statement) = statement(1);
    statement.recipient.public_key = Bytes(recipient.public_key().to_vec());
    let bytes = serde_json::to_vec(&statement).unwrap();
    let payload = ReleasePayload {
        decision_id: inner,
        lease: LeaseTerms { id: [1; 16].into(), expires_in: 60, renew_after: 10, reattest_after: 20 },
        obligations: obligations(&[]),
        ima_offset: None,
        lease_secret: Secret::take(&mut [2; 32]),
        keys: Vec::new(),
    };
    let plaintext = payload.to_json().unwrap();
    let public = &statement.recipient.public_key.0;
    let envelope =
        strongroom_envelope::seal(public, &binding::release_info(decision()), &sha256(&bytes), &plaintext).unwrap();
    let response = vault.respond_with(&bytes, &statement, envelope, |_| {});
    let asked = Asked { bytes, statement, caller: None, start: Moment::now() };
    open_checked(&vault.pinned(), &asked, &response, &recipient)
}

#[test]
fn an_envelope_belongs_to_its_decision() {
    assert_eq!(answered(decision()).ok().unwrap().decision_id, decision());
    let error = answered("01ARZ3NDEKTSV4RRFFQ69G5FAW".parse().unwrap()).err().unwrap();
    assert!(matches!(&error, Error::NotBelieved(why) if why.contains("another decision")), "{error}");
}

/// Asset, version, scope, writer, object.
type Spec = (&'static str, u32, Scope, Option<WriterId>, Option<ObjectId>);

#[test]
fn keys_are_those_that_were_asked_for_and_no_others() {
    let (lease, writer, object) = (LeaseId::from([1; 16]), WriterId::from([2; 16]), ObjectId::from([3; 16]));
    let (_, mut statement) = statement(1);
    statement.keys =
        Request::new().objects("a", 1, vec![ObjectRef { writer, object }]).version("b", 2).writer("c", 3).keys;
    let pages = KeyPages::new(&Demanded::default()).unwrap();
    let good: [Spec; 3] = [
        ("a", 1, Scope::Object, Some(writer), Some(object)),
        ("b", 2, Scope::Version, None, None),
        ("c", 3, Scope::Writer, Some(lease.into()), None),
    ];
    let check = |keys: &[Spec]| {
        let hold = |&(asset, version, scope, writer, object): &Spec| HeldKey {
            asset: asset.to_owned(),
            version,
            scope,
            writer,
            object,
            slot: pages.store(&[9; 32]).unwrap(),
        };
        check_keys(&statement, &keys.iter().map(hold).collect::<Vec<_>>(), lease)
    };
    check(&good).unwrap();
    let changed = |at: usize, key: Spec| {
        let mut keys = good;
        keys[at] = key;
        check(&keys)
    };
    let other = Some(WriterId::from([8; 16]));
    for (what, result) in [
        ("a key less", check(&good[..2])),
        ("a key more", check(&[good[0], good[1], good[2], ("d", 1, Scope::Version, None, None)])),
        ("a key twice", check(&[good[0], good[1], good[2], good[2]])),
        ("of another asset", changed(1, ("d", 2, Scope::Version, None, None))),
        ("of another version", changed(1, ("b", 1, Scope::Version, None, None))),
        ("of another scope", changed(0, ("a", 1, Scope::Version, None, None))),
        ("of another object", changed(0, ("a", 1, Scope::Object, Some(writer), Some(ObjectId::from([8; 16]))))),
        ("of another object's writer", changed(0, ("a", 1, Scope::Object, other, Some(object)))),
        ("of another lease's writer", changed(2, ("c", 3, Scope::Writer, other, None))),
    ] {
        assert!(matches!(result, Err(Error::NotBelieved(_))), "{what}");
    }
}

#[test]
fn a_renewal_brings_no_keys_and_is_of_its_lease() {
    let id = LeaseId::from([1; 16]);
    let payload = |id: LeaseId, keys| ReleasePayload {
        decision_id: decision(),
        lease: LeaseTerms { id, expires_in: 60, renew_after: 10, reattest_after: 20 },
        obligations: obligations(&[]),
        ima_offset: None,
        lease_secret: Secret::take(&mut [2; 32]),
        keys,
    };
    assert_eq!(renewed(&payload(id, Vec::new()), id).unwrap().expires_in, 60);
    assert!(matches!(renewed(&payload([2; 16].into(), Vec::new()), id), Err(Error::NotBelieved(_))));
    let key = ReleasedKey {
        asset: "a".into(),
        version: 1,
        scope: Scope::Version,
        writer: None,
        object: None,
        key: Secret::take(&mut [2; 32]),
    };
    assert!(matches!(renewed(&payload(id, vec![key]), id), Err(Error::NotBelieved(_))));
}
