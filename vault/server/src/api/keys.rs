//! Key versions: rotation and destruction.

use super::{Act, assets};
use crate::{
    authority::Holder,
    events::{Notice, Whose},
    json::{Json, Path},
    problem::{Answer, Refused},
    vault::{Shared, subject},
};
use axum::extract::State;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Bytes, Code, Problem,
    admin::{KeyState, Recorded},
    lease::{EventKind, LeaseState},
};
use strongroom_store::{Change, Guard, model::KeyRow};

/// `POST /v1/assets/{name}/keys`: a new active version; the older ones open only.
pub async fn rotate(State(vault): State<Shared>, Path(name): Path<String>, holder: Holder) -> Answer<Json<Recorded>> {
    let asset = assets::find(&vault, &name).await?;
    let keys = vault.store.keys(&name).await?;
    let version = keys.last().map_or(0, |k| k.row.version).checked_add(1);
    let version = version.ok_or_else(|| Refused::new(Code::Conflict, "an asset has at most 2^32 - 1 versions"))?;
    let act =
        Act::by(&vault, &holder, Action::KeyRotated, subject(SubjectKind::Key, format!("{name}@{version}"))).await?;
    let created_at = act.now();
    let mut act = act.guarded(Guard::Asset(name.clone(), asset.version)).saying("version", version);
    for key in keys {
        act = act.guarded(Guard::Key(name.clone(), key.row.version, key.version));
        if key.row.state == KeyState::Active {
            act = act.changing(Change::PutKey(KeyRow { state: KeyState::DecryptOnly, ..key.row }));
        }
    }
    let wrapped = Bytes(vault.keys.new_version_key(&name, version)?);
    let row = KeyRow { asset: name, version, state: KeyState::Active, wrapped, created_at };
    let recorded = act.changing(Change::PutKey(row)).commit(&vault).await?;
    Ok(Json(Recorded { version: Some(version), ..recorded }))
}

/// `DELETE /v1/assets/{name}/keys/{version}`: the wrapped key is gone, and the leases that hold it end.
pub async fn destroy(
    State(vault): State<Shared>,
    Path((name, version)): Path<(String, u32)>,
    holder: Holder,
) -> Answer<Json<Recorded>> {
    assets::find(&vault, &name).await?;
    let key = vault.store.key(&name, version).await?.ok_or_else(|| Refused::not_found("key version"))?;
    if key.row.state == KeyState::Destroyed {
        return Err(Problem::new(Code::KeyDestroyed).into());
    }
    let act =
        Act::by(&vault, &holder, Action::KeyDestroyed, subject(SubjectKind::Key, format!("{name}@{version}"))).await?;
    let row = KeyRow { state: KeyState::Destroyed, wrapped: Bytes::default(), ..key.row };
    let recorded = act
        .guarded(Guard::Key(name.clone(), version, key.version))
        .saying("version", version)
        .changing(Change::PutKey(row))
        .changing(Change::CloseLeasesOfKey(name, version, LeaseState::Revoked))
        .commit(&vault)
        .await?;
    let reason = Some("the key version was destroyed".to_owned());
    vault.events.tell(Notice { whose: Whose::Any, event: EventKind::Revoked, reason });
    vault.shredder.shred(vault.store.as_ref()).await;
    Ok(Json(Recorded { version: Some(version), ..recorded }))
}
