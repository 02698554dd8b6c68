//! Enrolments that wait for their activation: few of one source, fewer of one EK.

use super::{SqliteStore, rows, unavailable};
use crate::{
    model::{EnrolmentRow, WAITING},
    store::StoreError,
};
use sqlx::{query, query_scalar};
use strongroom_protocol::sha256;

impl SqliteStore {
    /// Keeps an enrolment, and makes room for it.
    pub(super) async fn keep_enrolment(&self, enrolment: &EnrolmentRow) -> Result<(), StoreError> {
        let (row, ek) = (rows::to_json(enrolment)?, sha256(&enrolment.ek_public.0).to_vec());
        let mut tx = self.begin_writing().await?;
        let db = tx.connection()?;
        query("DELETE FROM enrolments WHERE node IS NULL AND expires_at <= unixepoch()")
            .execute(&mut *db)
            .await
            .map_err(unavailable)?;
        let waiting: i64 = query_scalar("SELECT count(*) FROM enrolments WHERE node IS NULL")
            .fetch_one(&mut *db)
            .await
            .map_err(unavailable)?;
        if waiting >= i64::from(WAITING.in_all) {
            query(
                "DELETE FROM enrolments WHERE id = (SELECT id FROM enrolments WHERE node IS NULL AND source =
                     (SELECT source FROM enrolments WHERE node IS NULL GROUP BY source
                          ORDER BY count(*) DESC, source LIMIT 1)
                     ORDER BY expires_at, id LIMIT 1)",
            )
            .execute(&mut *db)
            .await
            .map_err(unavailable)?;
        }
        let made = query(
            "INSERT INTO enrolments (id, expires_at, node, ek, source, row) VALUES (?, ?, NULL, ?, ?, ?)
                 ON CONFLICT DO NOTHING",
        )
        .bind(enrolment.id.as_array().to_vec())
        .bind(enrolment.expires_at)
        .bind(ek.clone())
        .bind(enrolment.source.as_str())
        .bind(row)
        .execute(&mut *db)
        .await
        .map_err(unavailable)?;
        if made.rows_affected() == 0 {
            tx.roll_back().await;
            return Err(StoreError::Unavailable("an enrolment with this id exists: choose another".to_owned()));
        }
        // The new one stays whatever its expiry; of the others, the newest.
        query(
            "DELETE FROM enrolments WHERE id IN (SELECT id FROM enrolments WHERE node IS NULL AND source = ?1
                     AND ek = ?2 ORDER BY id = ?3 DESC, expires_at DESC, id LIMIT -1 OFFSET ?4)
                 OR id IN (SELECT id FROM enrolments WHERE node IS NULL AND source = ?1
                     ORDER BY id = ?3 DESC, expires_at DESC, id LIMIT -1 OFFSET ?5)",
        )
        .bind(enrolment.source.as_str())
        .bind(ek)
        .bind(enrolment.id.as_array().to_vec())
        .bind(i64::from(WAITING.of_ek))
        .bind(i64::from(WAITING.of_source))
        .execute(db)
        .await
        .map_err(unavailable)?;
        tx.commit().await
    }
}
