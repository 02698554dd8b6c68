//! As many enrolments as may wait: the rows are put there behind the store's back, which is quick.

use super::{damage::meddle, world};
use crate::{
    enrolments::{begin, row, waits},
    rows::enrolment,
};
use strongroom_store::model::{EnrolmentRow, WAITING};

/// Puts rows with ids that no test uses: so many, of as many EKs, the first expiring first.
async fn wait(w: &crate::World, source: &str, count: u32, expires_at: i64) {
    let json = serde_json::to_string(&enrolment(1, expires_at)).unwrap();
    meddle(
        w.directory.path(),
        &format!(
            "INSERT INTO enrolments (id, expires_at, node, ek, source, row)
                 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
                 SELECT randomblob(16), {expires_at} + i, NULL, randomblob(32), '{source}', '{json}' FROM n"
        ),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_has_so_many_enrolments_waiting() {
    let w = world().await;
    let now = w.now().await;
    let (of_victim, oldest) = (row(1, 7, "192.0.2.9", now + 500), row(2, 7, "192.0.2.1", now + 500));
    begin(&w, &of_victim).await;
    begin(&w, &oldest).await;
    wait(&w, "192.0.2.1", WAITING.of_source - 2, now + 600).await;
    begin(&w, &row(3, 8, "192.0.2.1", now + 5000)).await;
    assert!(waits(&w, &oldest).await, "there is room for so many");
    let newest = row(4, 9, "192.0.2.1", now + 5001);
    begin(&w, &newest).await;
    assert!(!waits(&w, &oldest).await, "the oldest made room");
    assert!(waits(&w, &newest).await && waits(&w, &of_victim).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_places_are_taken_whoever_has_the_most_makes_room() {
    let w = world().await;
    let now = w.now().await;
    let (of_victim, of_greedy) = (row(1, 7, "192.0.2.9", now + 400), row(2, 7, "198.51.100.0", now + 500));
    begin(&w, &of_victim).await;
    begin(&w, &of_greedy).await;
    let greedy = WAITING.of_source - 1;
    wait(&w, "198.51.100.0", greedy, now + 600).await;
    let mut left = WAITING.in_all - greedy - 2;
    let mut source = 0;
    while left > 0 {
        let some = left.min(900);
        source += 1;
        wait(&w, &format!("198.51.100.{source}"), some, now + 300).await;
        left -= some;
    }
    let newcomer = EnrolmentRow { expires_at: now + 450, ..row(3, 9, "203.0.113.1", now) };
    begin(&w, &newcomer).await;
    assert!(waits(&w, &newcomer).await && waits(&w, &of_victim).await);
    assert!(!waits(&w, &of_greedy).await, "the oldest of the source with the most");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_ones_make_room_before_anybody_elses() {
    let w = world().await;
    let now = w.now().await;
    let mine = row(1, 7, "192.0.2.9", now + 500);
    begin(&w, &mine).await;
    // Of one source, and all over: without them the only other source would have the most.
    wait(&w, "198.51.100.0", WAITING.in_all - 1, now - 20_000).await;
    begin(&w, &row(2, 9, "203.0.113.1", now + 500)).await;
    assert!(waits(&w, &mine).await);
}
