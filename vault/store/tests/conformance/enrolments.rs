//! Who begins many enrolments takes the place of its own, not of others.

use crate::{World, rows::*};
use strongroom_protocol::{Bytes, EnrolmentId};
use strongroom_store::model::{EnrolmentRow, WAITING};

pub(crate) fn row(n: u32, ek: u8, source: &str, expires_at: i64) -> EnrolmentRow {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_be_bytes());
    EnrolmentRow {
        id: EnrolmentId::from(id),
        ek_public: Bytes(vec![ek; 4]),
        source: source.to_owned(),
        ..enrolment(1, expires_at)
    }
}

pub(crate) async fn begin(w: &World, row: &EnrolmentRow) {
    w.store.put_enrolment(row).await.unwrap();
}

pub(crate) async fn waits(w: &World, row: &EnrolmentRow) -> bool {
    w.store.enrolment(row.id).await.unwrap().is_some()
}

pub(crate) async fn a_source_has_few_enrolments_of_an_ek_waiting(w: World) {
    let now = w.now().await;
    let of_victim = row(100, 7, "192.0.2.9", now + 500);
    begin(&w, &of_victim).await;
    let mine: Vec<_> = (0..=WAITING.of_ek).map(|n| row(n, 7, "192.0.2.1", now + 600 + i64::from(n))).collect();
    let other_ek = row(101, 8, "192.0.2.1", now + 500);
    begin(&w, &other_ek).await;
    for row in &mine {
        begin(&w, row).await;
    }
    assert!(!waits(&w, &mine[0]).await, "the oldest made room");
    for row in &mine[1..] {
        assert!(waits(&w, row).await);
    }
    assert!(waits(&w, &of_victim).await, "another source's enrolment of the same EK was pushed out");
    assert!(waits(&w, &other_ek).await, "another EK's enrolment was pushed out");
    // The new one stays, even if its time is shorter.
    let short = row(200, 7, "192.0.2.1", now + 100);
    begin(&w, &short).await;
    assert!(waits(&w, &short).await);
    assert!(!waits(&w, &mine[1]).await);
}
