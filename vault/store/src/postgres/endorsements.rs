//! Endorsements and pins in PostgreSQL.

use super::{
    PostgresStore, WriteTransaction,
    changes::{move_generation, one},
    reads::nameable,
    rows::{self, get},
};
use crate::{
    encoding::{pin_state, to_json},
    model::{ENDORSEMENT_BYTES, ENDORSEMENTS, EndorsementList, EndorsementRow, PINS, PinRow},
    store::StoreError,
    unmade::{Applied, refused},
};
use sqlx::{postgres::PgRow, query};
use strongroom_protocol::{Fixed, endorsement::PinState};

impl PostgresStore {
    pub(super) async fn read_endorsements(&self) -> Result<EndorsementList, StoreError> {
        let mut snapshot = self.snapshot().await?;
        let generation = query("SELECT value FROM generations WHERE name = 'endorsements'");
        let generation = snapshot.row(generation).await?;
        let generation =
            generation.ok_or_else(|| StoreError::Corrupt("it has no generation of endorsements".to_owned()))?;
        let asked = query("SELECT content, removal_proposed_by FROM endorsements ORDER BY name");
        let endorsements = snapshot.rows(asked).await?;
        let pins = snapshot.rows(query("SELECT content, state, approver FROM pins ORDER BY kind, sha256")).await?;
        Ok(EndorsementList {
            generation: get(&generation, "value")?,
            endorsements: endorsements.iter().map(endorsement).collect::<Result<_, _>>()?,
            pins: pins.iter().map(pin).collect::<Result<_, _>>()?,
        })
    }

    pub(super) async fn read_endorsement_bytes(&self, names: &[String]) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let names: Vec<_> = names.iter().filter(|name| nameable(name)).cloned().collect();
        let asked = query("SELECT name, bytes FROM endorsements WHERE name = ANY($1) ORDER BY name").bind(names);
        self.rows(asked).await?.iter().map(|row| Ok((get(row, "name")?, get(row, "bytes")?))).collect()
    }
}

fn endorsement(row: &PgRow) -> Result<EndorsementRow, StoreError> {
    let mut endorsement: EndorsementRow = rows::content(row)?;
    endorsement.removal_proposed_by = get(row, "removal_proposed_by")?;
    Ok(endorsement)
}

fn pin(row: &PgRow) -> Result<PinRow, StoreError> {
    let mut pin: PinRow = rows::content(row)?;
    pin.state = pin_state(get(row, "state")?)?;
    pin.approved_by = get(row, "approver")?;
    Ok(pin)
}

/// Replaces what has its name, and with it the wish that it be removed.
pub(super) async fn put(tx: &mut WriteTransaction, row: &EndorsementRow, bytes: &[u8]) -> Applied {
    if bytes.len() > ENDORSEMENT_BYTES {
        return refused("an endorsement is larger than one may be");
    }
    let put = query(
        "INSERT INTO endorsements (name, sha256, removal_proposed_by, content, bytes) VALUES ($1, $2, NULL, $3, $4)
             ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256, removal_proposed_by = NULL,
                 content = excluded.content, bytes = excluded.bytes",
    )
    .bind(row.name.clone())
    .bind(row.sha256.0.to_vec())
    .bind(to_json(row)?)
    .bind(bytes.to_vec());
    tx.execute(put).await?;
    let counted =
        query("SELECT count(*) AS count, coalesce(sum(octet_length(bytes)), 0)::bigint AS total FROM endorsements");
    let counted = tx.one(counted).await?;
    let (count, total): (i64, i64) = (get(&counted, "count")?, get(&counted, "total")?);
    if count > i64::from(ENDORSEMENTS.0) || total.cast_unsigned() > ENDORSEMENTS.1 {
        return refused("the vault keeps no more endorsements: remove some");
    }
    move_generation(tx, "endorsements").await
}

pub(super) async fn propose_removal(tx: &mut WriteTransaction, name: &str, person: &str) -> Applied {
    let asked = query("UPDATE endorsements SET removal_proposed_by = $1 WHERE name = $2");
    one(tx, asked.bind(person.to_owned()).bind(name.to_owned()), || format!("there is no endorsement {name}")).await?;
    move_generation(tx, "endorsements").await
}

pub(super) async fn remove(tx: &mut WriteTransaction, name: &str) -> Applied {
    let asked = query("DELETE FROM endorsements WHERE name = $1").bind(name.to_owned());
    one(tx, asked, || format!("there is no endorsement {name}")).await?;
    move_generation(tx, "endorsements").await
}

pub(super) async fn propose_pin(tx: &mut WriteTransaction, row: &PinRow) -> Applied {
    if row.state != PinState::Proposed || row.approved_by.is_some() {
        return refused("a pin begins as a proposal that nobody has approved");
    }
    let count: i64 = get(&tx.one(query("SELECT count(*) AS count FROM pins")).await?, "count")?;
    if count >= i64::from(PINS) {
        return refused("the vault keeps no more pins: withdraw some");
    }
    let made = query(
        "INSERT INTO pins (kind, sha256, state, approver, content) VALUES ($1, $2, 'proposed', NULL, $3)
             ON CONFLICT DO NOTHING",
    )
    .bind(row.kind.clone())
    .bind(row.sha256.0.to_vec())
    .bind(to_json(row)?);
    one(tx, made, || "this root is proposed or pinned already".to_owned()).await?;
    move_generation(tx, "endorsements").await
}

pub(super) async fn approve_pin(tx: &mut WriteTransaction, kind: &str, sha256: Fixed<32>, approver: &str) -> Applied {
    let asked = query(
        "UPDATE pins SET state = 'in_force', approver = $1 WHERE kind = $2 AND sha256 = $3 AND state = 'proposed'",
    )
    .bind(approver.to_owned())
    .bind(kind.to_owned())
    .bind(sha256.0.to_vec());
    one(tx, asked, || "this pin is not proposed".to_owned()).await?;
    move_generation(tx, "endorsements").await
}

pub(super) async fn withdraw_pin(tx: &mut WriteTransaction, kind: &str, sha256: Fixed<32>) -> Applied {
    let asked = query("DELETE FROM pins WHERE kind = $1 AND sha256 = $2");
    one(tx, asked.bind(kind.to_owned()).bind(sha256.0.to_vec()), || "there is no such pin".to_owned()).await?;
    move_generation(tx, "endorsements").await
}
