//! A lease that is over has neither keys nor plaintext.

use super::*;
use crate::{
    Patience,
    pinned::tests::{Vault, decision},
};
use std::time::Duration;
use strongroom_memory::{KeyPages, Protection};
use strongroom_protocol::{
    Problem,
    join::JoinFile,
    lease::{EVIDENCE_DUE, LEASE_EXPIRED},
};

/// Writer and object whose key every lease here holds.
const WRITER: [u8; 16] = [2; 16];
const OBJECT: [u8; 16] = [3; 16];

/// A write lease for `a@1` that reads one object of `b@2` and lives so many seconds, from a vault that cannot be reached.
pub(crate) fn held(vault: &Vault, expires_in: u64) -> Lease {
    let join = JoinFile {
        v: 1,
        url: "https://127.0.0.1:1".into(),
        replicas: vec![],
        tls_ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
        vault_ids: Vec::new(),
        ledger_verifier_key: String::new(),
    };
    let second = Duration::from_secs(1);
    let transport = Transport::new(&join, second, Patience { total: Duration::ZERO, ..Patience::default() }).unwrap();
    let pages = KeyPages::new(&Protection::default()).unwrap();
    let store = |byte| pages.store(&[byte; 32]).unwrap();
    let id = LeaseId::from([1; 16]);
    Lease::hold(Granted {
        transport: Arc::new(transport),
        vault: vault.pinned(),
        decision: decision(),
        requested: Vec::new(),
        ima_offset: 0,
        terms: LeaseTerms { id, expires_in, renew_after: expires_in, reattest_after: expires_in },
        obligations: serde_json::Value::Null,
        handling: Handling {
            key_pages: pages.kind().as_str().to_owned(),
            weakened: Vec::new(),
            plaintext_to_disk: false,
            client: "test".to_owned(),
        },
        keys: vec![
            HeldKey {
                asset: "a".to_owned(),
                version: 1,
                scope: Scope::Writer,
                writer: Some(id.into()),
                object: None,
                slot: store(7),
            },
            HeldKey {
                asset: "b".to_owned(),
                version: 2,
                scope: Scope::Object,
                writer: Some(WRITER.into()),
                object: Some(OBJECT.into()),
                slot: store(6),
            },
        ],
        secret: store(8),
        recipient: store(9),
        start: Moment::now(),
    })
}

#[track_caller]
fn has_nothing(lease: &Lease, over: &LeaseOver) {
    assert_eq!(lease.check().as_ref(), Err(over));
    let held = lease.inner.held.read().unwrap();
    assert!(held.is_err(), "the keys are still held");
    drop(held);
    assert!(matches!(lease.inner.writer_key("a"), Err(Error::LeaseOver(why)) if why == *over));
    assert_eq!(lease.inner.secret().err().as_ref(), Some(over));
    assert_eq!(lease.inner.recipient().err().as_ref(), Some(over));
}

#[test]
fn keys_go_when_the_lease_ends_is_revoked_or_expires() {
    let vault = Vault::new(1);
    let lease = held(&vault, 60);
    assert_eq!(lease.inner.writer_key("a").unwrap().1, 1);
    assert!(matches!(lease.inner.writer_key("b"), Err(Error::NoKey(_))));
    lease.inner.finish(LeaseOver::Revoked(None));
    has_nothing(&lease, &LeaseOver::Revoked(None));
    // The first reason stays.
    lease.inner.finish(LeaseOver::Ended);
    has_nothing(&lease, &LeaseOver::Revoked(None));

    let lease = held(&vault, 60);
    // The vault cannot be told; the keys go all the same.
    assert!(lease.inner.end().is_err());
    has_nothing(&lease, &LeaseOver::Ended);

    has_nothing(&held(&vault, 0), &LeaseOver::Expired);
}

#[test]
fn only_what_the_vault_will_not_prolong_ends_a_lease() {
    let vault = Vault::new(1);
    let refused = |code| Error::Refused(Box::new(Problem::new(code)));
    for code in [Code::NonceReused, Code::NonceExpired, Code::TooMany, Code::LedgerUnavailable, Code::Locked] {
        let lease = held(&vault, 60);
        lease.inner.heed(&refused(code));
        assert_eq!(lease.check(), Ok(()), "{code:?}");
    }
    for code in [Code::Denied, Code::KeyDestroyed, Code::PossessionRefused] {
        let lease = held(&vault, 60);
        lease.inner.heed(&refused(code));
        assert!(matches!(lease.check(), Err(LeaseOver::Revoked(_))), "{code:?}");
    }
}

/// A refused possession, for these reasons.
fn not_possessed(reasons: &[&str]) -> Error {
    let reasons = reasons.iter().map(|reason| (*reason).to_owned()).collect();
    Error::Refused(Box::new(Problem { reasons, ..Problem::new(Code::PossessionRefused) }))
}

#[test]
fn evidence_that_became_due_on_the_way_ends_nothing_and_is_due_now() {
    let lease = held(&Vault::new(1), 60);
    let before = *lease.inner.schedule();
    lease.inner.heed(&not_possessed(&[EVIDENCE_DUE]));
    assert_eq!(lease.check(), Ok(()));
    let schedule = *lease.inner.schedule();
    assert!(schedule.reattest.has_passed() && !before.reattest.has_passed());
    assert_eq!((schedule.ends, schedule.renew), (before.ends, before.renew), "it is not prolonged by it");
}

#[test]
fn a_lease_whose_time_the_vault_found_to_be_over_has_expired_and_was_not_taken_back() {
    let lease = held(&Vault::new(1), 60);
    lease.inner.heed(&not_possessed(&[LEASE_EXPIRED]));
    has_nothing(&lease, &LeaseOver::Expired);
}

#[test]
fn a_lease_has_the_keys_of_its_own_objects_and_no_others() {
    let lease = held(&Vault::new(1), 60);
    let (own, other) = (WriterId::from(lease.id()), [9; 16]);
    let key = |asset: &str, version, writer, object: [u8; 16]| {
        lease.inner.object_key(asset, version, writer, object.into()).map(drop)
    };
    key("a", 1, own, other).unwrap();
    key("b", 2, WRITER.into(), OBJECT).unwrap();
    for (what, result) in [
        ("what another writer wrote", key("a", 1, other.into(), OBJECT)),
        ("another version", key("a", 2, own, other)),
        ("another asset", key("c", 1, own, other)),
        ("another object", key("b", 2, WRITER.into(), other)),
        ("another writer's object", key("b", 2, other.into(), OBJECT)),
        ("another version's object", key("b", 1, WRITER.into(), OBJECT)),
    ] {
        assert!(matches!(result, Err(Error::NoKey(_))), "{what}");
    }
    // A key that reads one object writes none.
    assert!(matches!(lease.inner.writer_key("b"), Err(Error::NoKey(_))));
}

#[test]
fn a_renewal_counts_from_its_request_and_for_its_lease() {
    let lease = held(&Vault::new(1), 60);
    let start = Moment::now();
    let answer = |lease| RenewAnswer { lease, expires_in: 100, renew_after: 10, reattest_after: 20 };
    lease.inner.prolong(start, &answer(lease.id())).unwrap();
    let schedule = *lease.inner.schedule();
    let expected = (start.after(100), start.after(10), start.after(20));
    assert_eq!((schedule.ends, schedule.renew, schedule.reattest), expected);
    let refused = lease.inner.prolong(Moment::now(), &answer([7; 16].into()));
    assert!(matches!(refused, Err(Error::NotBelieved(_))));
    assert_eq!(lease.inner.schedule().ends, expected.0);
}
