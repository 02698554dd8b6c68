use crate::{World, rows::*};
use strongroom_protocol::{Fixed, endorsement::PinState, sha256};
use strongroom_store::{
    Change, Guard, Item, Refusal,
    model::{ENDORSEMENT_BYTES, EndorsementRow, PINS, PinRow},
};

fn endorsement(name: &str, bytes: &[u8]) -> EndorsementRow {
    EndorsementRow {
        name: name.to_owned(),
        of: "amd-ark".to_owned(),
        content: "certificate".to_owned(),
        subject: "CN=SEV-VCEK".to_owned(),
        sha256: Fixed(sha256(bytes)),
        from: 1,
        until: 2_000_000_000,
        id: None,
        imported_by: "alice".to_owned(),
        imported_at: 3,
        removal_proposed_by: None,
    }
}

fn put(name: &str, bytes: &[u8]) -> Change {
    Change::PutEndorsement(endorsement(name, bytes), bytes.to_vec())
}

fn pin(n: u8) -> PinRow {
    PinRow {
        kind: "tpm-vendor".to_owned(),
        name: "CN=Root".to_owned(),
        sha256: bytes32(n),
        source: "https://example.org/root".to_owned(),
        proposed_by: "alice".to_owned(),
        proposed_at: 4,
        state: PinState::Proposed,
        approved_by: None,
    }
}

fn refusal(refusal: &Refusal) -> String {
    format!("{refusal:?}")
}

pub(crate) async fn endorsements_are_kept_replaced_and_removed(w: World) {
    let empty = w.store.endorsements().await.unwrap();
    assert_eq!((empty.generation, empty.endorsements.len(), empty.pins.len()), (0, 0, 0));
    w.accepted(with(vec![put("vcek/b.der", b"b"), put("vcek/a.der", b"a")])).await;
    let list = w.store.endorsements().await.unwrap();
    assert_eq!(list.endorsements, [endorsement("vcek/a.der", b"a"), endorsement("vcek/b.der", b"b")], "by name");
    assert_eq!((list.generation, w.store.endorsement_generation().await.unwrap()), (2, 2));
    let names = ["vcek/b.der", "none", "vcek/a.der", "a\0"].map(str::to_owned);
    let bytes = w.store.endorsement_bytes(&names).await.unwrap();
    assert_eq!(bytes, [("vcek/a.der".to_owned(), b"a".to_vec()), ("vcek/b.der".to_owned(), b"b".to_vec())]);

    w.accepted(with(vec![put("vcek/a.der", b"newer")])).await;
    let bytes = w.store.endorsement_bytes(&["vcek/a.der".to_owned()]).await.unwrap();
    assert_eq!(bytes[0].1, b"newer");
    let list = w.store.endorsements().await.unwrap();
    assert_eq!((list.generation, &list.endorsements[0]), (3, &endorsement("vcek/a.der", b"newer")));

    w.accepted(with(vec![Change::RemoveEndorsement("vcek/a.der".into())])).await;
    let list = w.store.endorsements().await.unwrap();
    assert_eq!((list.generation, list.endorsements), (4, vec![endorsement("vcek/b.der", b"b")]));
    let gone = w.refused(with(vec![Change::RemoveEndorsement("vcek/a.der".into())])).await;
    assert!(refusal(&gone).contains("there is no endorsement vcek/a.der"));
    w.check_log().await;
}

pub(crate) async fn an_endorsement_has_its_bounds(w: World) {
    w.accepted(with(vec![put("a", &vec![0; ENDORSEMENT_BYTES])])).await;
    let larger = w.refused(with(vec![put("b", &vec![0; ENDORSEMENT_BYTES + 1])])).await;
    assert!(refusal(&larger).contains("larger than one may be"));
    // 128 MiB in all: the 129th of a full one is refused, and leaves nothing.
    let full: Vec<u8> = vec![7; ENDORSEMENT_BYTES];
    for n in 0..127 {
        w.accepted(with(vec![put(&format!("full-{n}"), &full)])).await;
    }
    let more = w.refused(with(vec![put("one-more", b"x")])).await;
    assert!(refusal(&more).contains("keeps no more endorsements"));
    assert_eq!(w.store.endorsements().await.unwrap().endorsements.len(), 128);
    w.accepted(with(vec![put("full-3", b"smaller"), put("one-more", b"x")])).await;
}

pub(crate) async fn a_proposed_removal_is_forgotten_with_what_replaces(w: World) {
    w.accepted(with(vec![put("crl", b"1")])).await;
    w.accepted(with(vec![Change::ProposeRemoval("crl".into(), "bob".into())])).await;
    let proposed = EndorsementRow { removal_proposed_by: Some("bob".into()), ..endorsement("crl", b"1") };
    let list = w.store.endorsements().await.unwrap();
    assert_eq!((list.generation, list.endorsements), (2, vec![proposed]));
    w.accepted(with(vec![put("crl", b"2")])).await;
    assert_eq!(w.store.endorsements().await.unwrap().endorsements, [endorsement("crl", b"2")]);
    let none = w.refused(with(vec![Change::ProposeRemoval("none".into(), "bob".into())])).await;
    assert!(refusal(&none).contains("there is no endorsement none"));
}

pub(crate) async fn a_pin_takes_two_changes(w: World) {
    w.accepted(with(vec![Change::ProposePin(pin(1))])).await;
    let again = w.refused(with(vec![Change::ProposePin(pin(1))])).await;
    assert!(refusal(&again).contains("proposed or pinned already"));
    let approved = PinRow { state: PinState::InForce, ..pin(2) };
    assert!(refusal(&w.refused(with(vec![Change::ProposePin(approved)])).await).contains("nobody has approved"));
    let unknown = w.refused(with(vec![Change::ApprovePin("tpm-vendor".into(), bytes32(2), "bob".into())])).await;
    assert!(refusal(&unknown).contains("not proposed"));
    let other_kind = w.refused(with(vec![Change::ApprovePin("amd-ark".into(), bytes32(1), "bob".into())])).await;
    assert!(refusal(&other_kind).contains("not proposed"));
    assert_eq!(w.store.endorsements().await.unwrap().pins, [pin(1)]);

    let approve = || Change::ApprovePin("tpm-vendor".into(), bytes32(1), "bob".into());
    w.accepted(with(vec![approve()])).await;
    let in_force = PinRow { state: PinState::InForce, approved_by: Some("bob".into()), ..pin(1) };
    let list = w.store.endorsements().await.unwrap();
    assert_eq!((list.generation, list.pins), (2, vec![in_force]));
    assert!(refusal(&w.refused(with(vec![approve()])).await).contains("not proposed"), "once");

    w.accepted(with(vec![Change::WithdrawPin("tpm-vendor".into(), bytes32(1))])).await;
    assert!(w.store.endorsements().await.unwrap().pins.is_empty());
    let gone = w.refused(with(vec![Change::WithdrawPin("tpm-vendor".into(), bytes32(1))])).await;
    assert!(refusal(&gone).contains("no such pin"));

    let all: Vec<_> = (0..PINS).map(|n| PinRow { sha256: Fixed(sha256(&n.to_be_bytes())), ..pin(0) }).collect();
    w.accepted(with(all.into_iter().map(Change::ProposePin).collect())).await;
    assert!(refusal(&w.refused(with(vec![Change::ProposePin(pin(1))])).await).contains("keeps no more pins"));
}

pub(crate) async fn each_change_of_an_endorsement_or_pin_is_seen(w: World) {
    let changes = [
        put("crl", b"1"),
        Change::ProposeRemoval("crl".into(), "bob".into()),
        Change::RemoveEndorsement("crl".into()),
        Change::ProposePin(pin(1)),
        Change::ApprovePin("tpm-vendor".into(), bytes32(1), "bob".into()),
        Change::WithdrawPin("tpm-vendor".into(), bytes32(1)),
    ];
    for (generation, change) in (0..).zip(changes) {
        let guarded = |generation| Item { guards: vec![Guard::EndorsementGeneration(generation)], ..item() };
        w.accepted(guarded(generation)).await;
        w.accepted(Item { changes: vec![change], ..guarded(generation) }).await;
        let stale = Guard::EndorsementGeneration(generation);
        assert_eq!(w.refused(guarded(generation)).await, Refusal::Stale(stale));
    }
}
