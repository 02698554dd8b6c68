//! Enrolments that wait for their activation: few of one source, fewer of one EK.

use super::PostgresStore;
use crate::{
    encoding::to_json,
    model::{EnrolmentRow, WAITING},
    store::StoreError,
};
use sqlx::query;
use strongroom_protocol::sha256;

impl PostgresStore {
    /// Keeps an enrolment, and makes room for it.
    pub(super) async fn keep_enrolment(&self, enrolment: &EnrolmentRow) -> Result<(), StoreError> {
        let (content, ek) = (to_json(enrolment)?, sha256(&enrolment.ek_public.0).to_vec());
        // Under the head's lock: of replicas that keep enrolments, one counts at a time.
        let mut tx = self.begin_writing().await?;
        tx.execute(query("DELETE FROM enrolments WHERE node IS NULL AND expires_at <= unix_now()")).await?;
        tx.execute(
            query(
                "DELETE FROM enrolments WHERE (SELECT count(*) FROM enrolments WHERE node IS NULL) >= $1
                     AND id = (SELECT id FROM enrolments WHERE node IS NULL AND source =
                         (SELECT source FROM enrolments WHERE node IS NULL GROUP BY source
                              ORDER BY count(*) DESC, source LIMIT 1)
                         ORDER BY expires_at, id LIMIT 1)",
            )
            .bind(i64::from(WAITING.in_all)),
        )
        .await?;
        let made = query(
            "INSERT INTO enrolments (id, expires_at, node, ek, source, content) VALUES ($1, $2, NULL, $3, $4, $5)
                 ON CONFLICT DO NOTHING",
        )
        .bind(enrolment.id.as_array().to_vec())
        .bind(enrolment.expires_at)
        .bind(ek.clone())
        .bind(enrolment.source.as_str())
        .bind(content);
        if tx.execute(made).await? == 0 {
            tx.roll_back().await;
            return Err(StoreError::Unavailable("an enrolment with this id exists: choose another".to_owned()));
        }
        // The new one stays whatever its expiry; of the others, the newest.
        let beyond = query(
            "DELETE FROM enrolments WHERE id IN (SELECT id FROM enrolments WHERE node IS NULL AND source = $1
                     AND ek = $2 ORDER BY id = $3 DESC, expires_at DESC, id OFFSET $4)
                 OR id IN (SELECT id FROM enrolments WHERE node IS NULL AND source = $1
                     ORDER BY id = $3 DESC, expires_at DESC, id OFFSET $5)",
        )
        .bind(enrolment.source.as_str())
        .bind(ek)
        .bind(enrolment.id.as_array().to_vec())
        .bind(i64::from(WAITING.of_ek))
        .bind(i64::from(WAITING.of_source));
        tx.execute(beyond).await?;
        tx.commit().await
    }
}
