//! A TLS terminator that changes the answers to a release.

use super::{ASSET, not_believed, told, world};
use crate::world::World;
use strongroom::{Error, Options, Request, Room};
use strongroom_envelope::{LeaseTerms, ReleasePayload, ReleasedKey, Secret};
use strongroom_protocol::{
    Bytes, Code, Fixed, Statement, WriterId,
    binding::release_info,
    release::{ReleaseRequest, ReleaseResponse},
    sha256,
};
use strongroom_tests::{Intruder, Reply, Wire, intruder::Seen, wire::writer_key};

/// A release of the same node for the same keys, got honestly.
fn another(world: &World) -> ReleaseResponse {
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let asking = wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
    asking.send(&wire, &world.node().devices().unwrap()).unwrap().json().unwrap()
}

fn changed(reply: Reply, change: impl FnOnce(&mut ReleaseResponse)) -> anyhow::Result<Reply> {
    let mut response: ReleaseResponse = reply.json()?;
    change(&mut response);
    Ok(Reply { body: serde_json::to_vec(&response)?, ..reply })
}

fn statement_of(seen: &Seen) -> (Vec<u8>, Statement) {
    let request: ReleaseRequest = serde_json::from_slice(&seen.body).unwrap();
    let statement = Statement::parse(&request.statement.0).unwrap();
    (request.statement.0, statement)
}

/// A payload of the intruder's own making: a lease of a week, no obligations, keys that it knows.
fn invented(seen: &Seen, response: &ReleaseResponse) -> strongroom_protocol::release::Envelope {
    let (bytes, statement) = statement_of(seen);
    let payload = ReleasePayload {
        decision_id: response.decision_id,
        lease: LeaseTerms { id: [9; 16].into(), expires_in: 604_800, renew_after: 604_800, reattest_after: 604_800 },
        obligations: serde_json::json!({
            "lease_seconds": 604_800, "renew_after": 604_800, "reattest_after": 604_800,
            "handling": [], "plaintext_to_disk": true,
        }),
        ima_offset: None,
        lease_secret: Secret::take(&mut [1; 32]),
        keys: vec![ReleasedKey {
            asset: ASSET.into(),
            version: 1,
            scope: statement.keys[0].scope,
            writer: Some(WriterId::from([9; 16])),
            object: None,
            key: Secret::take(&mut [2; 32]),
        }],
    };
    let info = release_info(response.decision_id);
    let plaintext = payload.to_json().unwrap();
    strongroom_envelope::seal(&statement.recipient.public_key.0, &info, &sha256(&bytes), &plaintext).unwrap()
}

#[test]
fn a_client_believes_no_answer_but_the_one_to_its_own_statement() {
    const UNSIGNED: &str = "the response is not signed by the pinned vault over this statement, record and envelope";
    const NOT_IN_LEDGER: &str = "the receipt does not prove that the decision is in the ledger";
    type Change = Box<dyn Fn(&Seen, &mut ReleaseResponse) + Send>;
    let world = world();
    let other = another(&world);
    let of = |change: fn(&mut ReleaseResponse, &ReleaseResponse)| -> Change {
        let other = other.clone();
        Box::new(move |_, response| change(response, &other))
    };
    let cases: [(&str, Change, &str); 10] = [
        ("the receipt of another decision", of(|r, o| r.receipt.clone_from(&o.receipt)), NOT_IN_LEDGER),
        (
            "record, salt and receipt of another decision",
            of(|r, o| (r.record, r.salt, r.receipt) = (o.record.clone(), o.salt, o.receipt.clone())),
            UNSIGNED,
        ),
        (
            "all of another decision but the envelope",
            of(|r, o| *r = ReleaseResponse { envelope: r.envelope.clone(), ..o.clone() }),
            UNSIGNED,
        ),
        ("the envelope of another decision", of(|r, o| r.envelope = o.envelope.clone()), UNSIGNED),
        (
            "an envelope with changed obligations, sealed by the intruder",
            Box::new(|seen, r| r.envelope = invented(seen, r)),
            UNSIGNED,
        ),
        ("one bit of the envelope", of(|r, _| r.envelope.ciphertext.0[0] ^= 1), UNSIGNED),
        ("an old answer to another statement", of(|r, o| *r = o.clone()), UNSIGNED),
        (
            "another decision id",
            of(|r, o| r.decision_id = o.decision_id),
            "the ledger's record has another decision id",
        ),
        ("no signature", of(|r, _| r.signature = Fixed([0; 64])), UNSIGNED),
        (
            "a record with another recipient",
            of(|r, _| {
                let text = String::from_utf8(r.record.0.clone()).unwrap();
                r.record = Bytes(text.replacen("\"recipient_sha256\":\"", "\"recipient_sha256\":\"A", 1).into_bytes());
            }),
            NOT_IN_LEDGER,
        ),
    ];
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let room = Room::connect(&intruder.join_file(), Options::default()).unwrap();
    let collector = world.node().devices().unwrap();
    let release = || room.release(&collector, Request::new().writer(ASSET, 1));
    for (attack, change, words) in cases {
        intruder.tamper(move |seen, upstream| {
            let reply = upstream.forward(seen)?;
            if seen.path == "/v1/releases" { changed(reply, |response| change(seen, response)) } else { Ok(reply) }
        });
        not_believed(attack, release(), words);
    }
    // Nothing of it was the terminator itself: an honest one is none of the client's business.
    intruder.behave();
    release().unwrap().end().unwrap();
}

#[test]
fn a_changed_request_is_not_what_the_node_signed() {
    let world = world();
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let room = Room::connect(&intruder.join_file(), Options::default()).unwrap();
    let collector = world.node().devices().unwrap();
    intruder.tamper(|seen, upstream| {
        if seen.path != "/v1/releases" {
            return upstream.forward(seen);
        }
        let mut request: ReleaseRequest = serde_json::from_slice(&seen.body)?;
        let (_, mut statement) = statement_of(seen);
        let own = strongroom_envelope::RecipientKey::generate().unwrap();
        statement.recipient.public_key = Bytes(own.public_key().to_vec());
        request.statement = Bytes(serde_json::to_vec(&statement)?);
        upstream.forward(&Seen { body: serde_json::to_vec(&request)?, ..seen.clone() })
    });
    let error = room.release(&collector, Request::new().writer(ASSET, 1)).err().unwrap();
    told("the intruder's recipient key in the client's statement", &format!("client: {error}"));
    let problem = error.problem().unwrap();
    assert_eq!((problem.code, problem.row.as_deref()), (Code::EvidenceRefused, Some("Q3")));

    // More keys than were asked for cannot come either: the statement is what was signed.
    intruder.tamper(|seen, upstream| {
        let reply = upstream.forward(seen)?;
        Ok(if seen.path == "/v1/releases" { Reply { body: b"{}".to_vec(), ..reply } } else { reply })
    });
    let error = room.release(&collector, Request::new().writer(ASSET, 1)).err().unwrap();
    told("an empty answer", &format!("client: {error}"));
    assert!(matches!(error, Error::Malformed(_)), "{error}");
}
