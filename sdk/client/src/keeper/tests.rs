//! Events end a lease only if the vault signed them for this stream, this lease, and in their order.

use super::*;
use crate::{lease::tests::held, pinned::tests::Vault};
use strongroom_protocol::{Bytes, LeaseId, binding::lease_message};

const RANDOM: [u8; 16] = [4; 16];

/// A line of the stream: an event with this counter, signed by `vault` for `lease`.
fn line(vault: &Vault, lease: LeaseId, counter: u64, event: EventKind, signed_for: &[u8; 16]) -> String {
    let event = serde_json::to_vec(&LeaseEvent { lease, counter, event, reason: None }).unwrap();
    let message = lease_message(ACT_LISTEN, lease, &counter.to_be_bytes(), signed_for, &event);
    let signed = SignedEvent { signature: vault.sign(&message), event: Bytes(event) };
    format!("data: {}\n\n", serde_json::to_string(&signed).unwrap())
}

/// What a lease has become after a stream of these lines, and how the stream ended.
fn after(lines: impl Fn(LeaseId) -> String) -> (Result<(), LeaseOver>, Result<(), Error>) {
    let lease = held(&Vault::new(1), 60);
    let text = lines(lease.id());
    let stream = Stream { lines: Box::new(std::io::Cursor::new(text.into_bytes())), client_random: RANDOM };
    let end = follow(stream, &Arc::downgrade(&lease.inner), &Stop::default());
    (lease.check(), end)
}

#[test]
fn a_signed_revocation_ends_the_lease() {
    let vault = Vault::new(1);
    let (lease, end) = after(|id| {
        line(&vault, id, 0, EventKind::Listening, &RANDOM) + &line(&vault, id, 1, EventKind::Revoked, &RANDOM)
    });
    assert_eq!(lease, Err(LeaseOver::Revoked(None)));
    end.unwrap();
    let (lease, _) = after(|id| line(&vault, id, 0, EventKind::Ended, &RANDOM));
    assert_eq!(lease, Err(LeaseOver::Expired));
}

/// A stream, for a lease.
type Lines<'a> = Box<dyn Fn(LeaseId) -> String + 'a>;

#[test]
fn an_event_of_another_place_lease_stream_or_vault_ends_nothing() {
    let vault = Vault::new(1);
    let revoked = EventKind::Revoked;
    let cases: [(&str, Lines<'_>); 5] = [
        ("of another vault", Box::new(|id| line(&Vault::new(2), id, 0, revoked, &RANDOM))),
        ("of another stream", Box::new(|id| line(&vault, id, 0, revoked, &[5; 16]))),
        ("of another lease", Box::new(|_| line(&vault, [7; 16].into(), 0, revoked, &RANDOM))),
        ("that skips one", Box::new(|id| line(&vault, id, 1, revoked, &RANDOM))),
        (
            "of a counter that was there",
            Box::new(|id| {
                let first = line(&vault, id, 0, EventKind::Listening, &RANDOM);
                first + &line(&vault, id, 0, revoked, &RANDOM)
            }),
        ),
    ];
    for (what, lines) in cases {
        let (lease, end) = after(lines);
        assert_eq!(lease, Ok(()), "{what}");
        assert!(matches!(end, Err(Error::NotBelieved(_))), "{what}: {end:?}");
    }
}
