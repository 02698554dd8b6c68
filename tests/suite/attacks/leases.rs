//! A TLS terminator that changes what is said about leases, and thieves of possession.

use super::{ASSET, not_believed, refused, told, world};
use crate::world::eventually;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use strongroom::{Error, LeaseOver, Options, Request, Room};
use strongroom_protocol::{
    Code, LeaseId,
    lease::{ACT_END, ACT_RENEW, EventKind, LeaseEvent, SignedEvent},
    release::ReleaseResponse,
};
use strongroom_tests::{
    Intruder, Reply, Wire,
    wire::{json, writer_key},
};

#[test]
fn a_renewal_is_believed_once_and_as_it_was_signed() {
    let world = world();
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let room = Room::connect(&intruder.join_file(), Options::default()).unwrap();
    let collector = world.node().devices().unwrap();
    let lease = room.release(&collector, Request::new().writer(ASSET, 1)).unwrap();
    let unsigned = "is not signed by the pinned vault for this request";

    let kept: Arc<std::sync::Mutex<Option<Reply>>> = Arc::default();
    let keep = Arc::clone(&kept);
    intruder.tamper(move |seen, upstream| {
        let reply = upstream.forward(seen)?;
        if seen.path.ends_with("/renew") || seen.path == "/v1/releases" {
            *keep.lock().unwrap() = Some(reply.clone());
        }
        Ok(reply)
    });
    lease.renew().unwrap();
    let old = kept.lock().unwrap().take().unwrap();
    let earlier = old.clone();
    intruder.tamper(
        move |seen, upstream| {
            if seen.path.ends_with("/renew") { Ok(earlier.clone()) } else { upstream.forward(seen) }
        },
    );
    not_believed("the answer to an earlier renewal", lease.renew(), unsigned);

    intruder.tamper(|seen, upstream| {
        let reply = upstream.forward(seen)?;
        if !seen.path.ends_with("/renew") {
            return Ok(reply);
        }
        let mut answer: strongroom_protocol::lease::RenewAnswer = reply.json()?;
        answer.expires_in *= 1000;
        Ok(Reply { body: serde_json::to_vec(&answer)?, ..reply })
    });
    not_believed("a renewal that lasts a thousand times longer", lease.renew(), unsigned);

    intruder.tamper(|seen, upstream| {
        let mut reply = upstream.forward(seen)?;
        reply.headers.retain(|(name, _)| name != "strongroom-signature");
        Ok(reply)
    });
    not_believed("a renewal without a signature", lease.renew(), "carries no signature");

    let keep = Arc::clone(&kept);
    intruder.tamper(move |seen, upstream| {
        let reply = upstream.forward(seen)?;
        if seen.path == "/v1/releases" {
            *keep.lock().unwrap() = Some(reply.clone());
        }
        Ok(reply)
    });
    lease.reattest(&room, &collector).unwrap();
    let earlier = kept.lock().unwrap().take().unwrap();
    intruder.tamper(
        move |seen, upstream| {
            if seen.path == "/v1/releases" { Ok(earlier.clone()) } else { upstream.forward(seen) }
        },
    );
    let again = lease.reattest(&room, &collector);
    not_believed(
        "the answer to an earlier attested renewal",
        again,
        "not signed by the pinned vault over this statement",
    );

    // Keys are gone from the client in any case; what it cannot know is whether the vault heard.
    intruder.tamper(
        move |seen, upstream| {
            if seen.method == "DELETE" { Ok(old.clone()) } else { upstream.forward(seen) }
        },
    );
    let id = lease.id();
    not_believed("an end that the vault never heard of", lease.end(), unsigned);
    assert!(world.records(&["--action", "lease.ended"]).iter().all(|r| r["lease"] != serde_json::json!(id)));
}

#[test]
fn a_forged_event_ends_nothing() {
    let world = world();
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let room = Room::connect(&intruder.join_file(), Options::default()).unwrap();
    let collector = world.node().devices().unwrap();
    let lease = room.release(&collector, Request::new().writer(ASSET, 1)).unwrap();
    let (asked, id) = (Arc::new(AtomicUsize::new(0)), lease.id());
    let counter = Arc::clone(&asked);
    intruder.tamper(move |seen, upstream| {
        if !seen.path.ends_with("/events") {
            return upstream.forward(seen);
        }
        counter.fetch_add(1, Ordering::SeqCst);
        let event = LeaseEvent { lease: id, counter: 0, event: EventKind::Revoked, reason: Some("forged".into()) };
        let signed =
            SignedEvent { event: serde_json::to_vec(&event)?.into(), signature: strongroom_protocol::Fixed([3; 64]) };
        Ok(Reply {
            status: 200,
            headers: vec![("content-type".into(), "text/event-stream".into())],
            body: format!("data:{}\n\n", serde_json::to_string(&signed)?).into_bytes(),
        })
    });
    let keeper = lease.keep(Arc::new(room), Arc::new(collector));
    // It asks again when it has thrown the first away.
    eventually("a second stream", || (asked.load(Ordering::SeqCst) > 1).then_some(()));
    told("a revocation that the vault did not sign", &format!("client: the lease is {:?}", lease.check()));
    assert_eq!(lease.check(), Ok(()));
    drop(keeper);
    intruder.behave();
    lease.end().unwrap();
}

#[test]
fn possession_is_proved_once_for_one_act_one_lease_and_one_body() {
    let world = world();
    let wire = Wire::to(&world.vault.join_file().unwrap()).unwrap();
    let collector = world.node().devices().unwrap();
    let grant = || {
        let asking = wire.ask(vec![writer_key(ASSET, 1)]).unwrap();
        let response: ReleaseResponse = asking.send(&wire, &collector).unwrap().json().unwrap();
        asking.open(&response).unwrap()
    };
    let (mine, other) = (grant(), grant());
    let renew = |lease: LeaseId| format!("/v1/leases/{lease}/renew");
    let handling = serde_json::json!({ "handling": {
        "key_pages": "memfd_secret", "weakened": [], "plaintext_to_disk": false, "client": "attacker/1" } });
    let body = json(&handling).unwrap();
    let prove = |act, payload: &strongroom_envelope::ReleasePayload, lease, body: &[u8]| {
        wire.possession(act, lease, payload.lease_secret.expose(), body).unwrap()
    };
    let id = mine.lease.id;

    let stolen = prove(ACT_RENEW, &other, id, &body);
    refused(
        "possession under another lease's secret",
        &wire.send("POST", &renew(id), &[stolen], body.clone()).unwrap(),
        Code::PossessionRefused,
    );
    let for_another = prove(ACT_RENEW, &mine, other.lease.id, &body);
    refused(
        "possession of another lease",
        &wire.send("POST", &renew(id), &[for_another], body.clone()).unwrap(),
        Code::PossessionRefused,
    );
    let to_end = prove(ACT_END, &mine, id, &body);
    refused(
        "possession for another act",
        &wire.send("POST", &renew(id), &[to_end], body.clone()).unwrap(),
        Code::PossessionRefused,
    );
    let of_another_body = prove(ACT_RENEW, &mine, id, b"{}");
    refused(
        "possession over another body",
        &wire.send("POST", &renew(id), &[of_another_body], body.clone()).unwrap(),
        Code::PossessionRefused,
    );
    refused("no possession at all", &wire.post(&renew(id), body.clone()).unwrap(), Code::PossessionRefused);
    let mut garbled = prove(ACT_RENEW, &mine, id, &body);
    garbled.1.push('!');
    refused(
        "a garbled possession header",
        &wire.send("POST", &renew(id), &[garbled], body.clone()).unwrap(),
        Code::Malformed,
    );

    let good = prove(ACT_RENEW, &mine, id, &body);
    assert_eq!(wire.send("POST", &renew(id), std::slice::from_ref(&good), body.clone()).unwrap().status, 200);
    refused(
        "a proof of possession sent again",
        &wire.send("POST", &renew(id), &[good], body.clone()).unwrap(),
        Code::NonceReused,
    );

    let honest = serde_json::json!({ "handling": {
        "key_pages": "memfd_secret", "weakened": ["unlocked_memory"], "plaintext_to_disk": false, "client": "careless/1" } });
    let honest = json(&honest).unwrap();
    let proof = prove(ACT_RENEW, &other, other.lease.id, &honest);
    let reply = wire.send("POST", &renew(other.lease.id), &[proof], honest).unwrap();
    let problem = refused("a holder that says it breaks its obligations", &reply, Code::Denied);
    assert_eq!(problem.reasons, ["memory_not_locked"]);
    let proof = prove(ACT_RENEW, &other, other.lease.id, &body);
    let reply = wire.send("POST", &renew(other.lease.id), &[proof], body).unwrap();
    refused("possession of a lease that was taken back", &reply, Code::PossessionRefused);
}

#[test]
fn a_lease_that_the_vault_no_longer_renews_is_over() {
    let world = world();
    let intruder = Intruder::before(&world.vault.join_file().unwrap()).unwrap();
    let room = Room::connect(&intruder.join_file(), Options::default()).unwrap();
    let collector = world.node().devices().unwrap();
    let lease = room.release(&collector, Request::new().writer(ASSET, 1)).unwrap();
    let revoke = strongroom_protocol::lease::RevokeLease { reason: "while the intruder held events back".into() };
    // Events are held back: the next renewal tells.
    intruder.tamper(|seen, upstream| {
        if seen.path.ends_with("/events") {
            return Ok(Reply { status: 200, headers: vec![], body: vec![] });
        }
        upstream.forward(seen)
    });
    let custodian = world.vault.admin(strongroom_protocol::admin::Role::Custodian).unwrap();
    crate::world::act(&custodian, &format!("/v1/leases/{}/revoke", lease.id()), &revoke);
    let error = lease.renew().unwrap_err();
    told("a revocation whose event was held back", &format!("client, at its next renewal: {error}"));
    assert_eq!(error.problem().map(|p| p.code), Some(Code::PossessionRefused));
    assert!(matches!(lease.check(), Err(LeaseOver::Revoked(_))), "{:?}", lease.check());
    assert!(matches!(lease.write_spec(ASSET), Err(Error::LeaseOver(_))));
}
