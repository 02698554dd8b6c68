//! Endorsements and pins in SQLite.

use super::{
    SqliteStore,
    changes::{move_generation, one},
    rows::{self, to_json},
    unavailable,
};
use crate::{
    encoding::pin_state,
    model::{ENDORSEMENT_BYTES, ENDORSEMENTS, EndorsementList, EndorsementRow, PINS, PinRow},
    store::StoreError,
    unmade::{Applied, refused},
};
use sqlx::{Row as _, SqliteConnection, query, query_as, query_scalar, sqlite::SqliteRow};
use strongroom_protocol::{Fixed, endorsement::PinState};

impl SqliteStore {
    pub(super) async fn read_endorsements(&self) -> Result<EndorsementList, StoreError> {
        let mut tx = self.readers.begin().await.map_err(unavailable)?;
        let generation = query_scalar("SELECT value FROM generations WHERE name = 'endorsements'");
        let generation = generation.fetch_one(&mut *tx).await.map_err(unavailable)?;
        let asked = query("SELECT row, removal_proposed_by FROM endorsements ORDER BY name");
        let endorsements = asked.fetch_all(&mut *tx).await.map_err(unavailable)?;
        let asked = query("SELECT row, state, approver FROM pins ORDER BY kind, sha256");
        let pins = asked.fetch_all(&mut *tx).await.map_err(unavailable)?;
        Ok(EndorsementList {
            generation,
            endorsements: endorsements.iter().map(endorsement).collect::<Result<_, _>>()?,
            pins: pins.iter().map(pin).collect::<Result<_, _>>()?,
        })
    }

    pub(super) async fn read_endorsement_bytes(&self, names: &[String]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        query_as("SELECT name, bytes FROM endorsements WHERE name IN (SELECT value FROM json_each(?)) ORDER BY name")
            .bind(to_json(&names)?)
            .fetch_all(&self.readers)
            .await
            .map_err(unavailable)
    }
}

fn endorsement(row: &SqliteRow) -> Result<EndorsementRow, StoreError> {
    let mut endorsement: EndorsementRow = rows::json(row)?;
    endorsement.removal_proposed_by = row.try_get("removal_proposed_by").map_err(unavailable)?;
    Ok(endorsement)
}

fn pin(row: &SqliteRow) -> Result<PinRow, StoreError> {
    let mut pin: PinRow = rows::json(row)?;
    pin.state = pin_state(row.try_get("state").map_err(unavailable)?)?;
    pin.approved_by = row.try_get("approver").map_err(unavailable)?;
    Ok(pin)
}

/// Replaces what has its name, and with it the wish that it be removed.
pub(super) async fn put(db: &mut SqliteConnection, row: &EndorsementRow, bytes: &[u8]) -> Applied {
    if bytes.len() > ENDORSEMENT_BYTES {
        return refused("an endorsement is larger than one may be");
    }
    query(
        "INSERT INTO endorsements (name, sha256, removal_proposed_by, row, bytes) VALUES (?, ?, NULL, ?, ?)
             ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, removal_proposed_by = NULL,
                 row = excluded.row, bytes = excluded.bytes",
    )
    .bind(row.name.as_str())
    .bind(row.sha256.0.to_vec())
    .bind(to_json(row)?)
    .bind(bytes)
    .execute(&mut *db)
    .await?;
    let (count, total): (u32, i64) =
        query_as("SELECT count(*), coalesce(sum(length(bytes)), 0) FROM endorsements").fetch_one(&mut *db).await?;
    if count > ENDORSEMENTS.0 || total.cast_unsigned() > ENDORSEMENTS.1 {
        return refused("the vault keeps no more endorsements: remove some");
    }
    move_generation(db, "endorsements").await
}

pub(super) async fn propose_removal(db: &mut SqliteConnection, name: &str, person: &str) -> Applied {
    let asked = query("UPDATE endorsements SET removal_proposed_by = ? WHERE name = ?").bind(person).bind(name);
    one(asked.execute(&mut *db).await, || format!("there is no endorsement {name}"))?;
    move_generation(db, "endorsements").await
}

pub(super) async fn remove(db: &mut SqliteConnection, name: &str) -> Applied {
    let asked = query("DELETE FROM endorsements WHERE name = ?").bind(name);
    one(asked.execute(&mut *db).await, || format!("there is no endorsement {name}"))?;
    move_generation(db, "endorsements").await
}

pub(super) async fn propose_pin(db: &mut SqliteConnection, row: &PinRow) -> Applied {
    if row.state != PinState::Proposed || row.approved_by.is_some() {
        return refused("a pin begins as a proposal that nobody has approved");
    }
    let count: u32 = query_scalar("SELECT count(*) FROM pins").fetch_one(&mut *db).await?;
    if count >= PINS {
        return refused("the vault keeps no more pins: withdraw some");
    }
    let made = query(
        "INSERT INTO pins (kind, sha256, state, approver, row) VALUES (?, ?, 'proposed', NULL, ?) ON CONFLICT DO NOTHING",
    )
    .bind(row.kind.as_str())
    .bind(row.sha256.0.to_vec())
    .bind(to_json(row)?);
    one(made.execute(&mut *db).await, || "this root is proposed or pinned already".to_owned())?;
    move_generation(db, "endorsements").await
}

pub(super) async fn approve_pin(db: &mut SqliteConnection, kind: &str, sha256: Fixed<32>, approver: &str) -> Applied {
    let asked =
        query("UPDATE pins SET state = 'in_force', approver = ? WHERE kind = ? AND sha256 = ? AND state = 'proposed'")
            .bind(approver)
            .bind(kind)
            .bind(sha256.0.to_vec());
    one(asked.execute(&mut *db).await, || "this pin is not proposed".to_owned())?;
    move_generation(db, "endorsements").await
}

pub(super) async fn withdraw_pin(db: &mut SqliteConnection, kind: &str, sha256: Fixed<32>) -> Applied {
    let asked = query("DELETE FROM pins WHERE kind = ? AND sha256 = ?").bind(kind).bind(sha256.0.to_vec());
    one(asked.execute(&mut *db).await, || "there is no such pin".to_owned())?;
    move_generation(db, "endorsements").await
}
