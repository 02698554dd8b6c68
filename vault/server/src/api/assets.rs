//! Assets: creation with the first key version, changes, and views.

use super::{Act, check_jurisdiction, check_name, labels};
use crate::{
    authority::Holder,
    clock::rfc3339,
    enrol::check_labels,
    json::{Json, Path},
    problem::{Answer, Refused},
    vault::{Shared, Vault, subject},
};
use axum::extract::State;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Bytes, Code,
    admin::{AssetCurrent, AssetView, CreateAsset, KeyState, KeyVersionView, Recorded, UpdateAsset},
};
use strongroom_store::{
    Change, Guard,
    model::{AssetRow, KeyRow, Versioned},
};

/// Jurisdictions or reference sets of an asset.
const MANY: usize = 256;
/// Characters of an asset's name: the ledger names its versions `name@4294967295`, in 255 bytes.
const LONGEST_NAME: usize = 244;

/// `POST /v1/assets`.
pub async fn create(
    State(vault): State<Shared>,
    holder: Holder,
    Json(asset): Json<CreateAsset>,
) -> Answer<Json<Recorded>> {
    check(&asset)?;
    let act = Act::by(&vault, &holder, Action::AssetCreated, subject(SubjectKind::Asset, &asset.name)).await?;
    let created_at = act.now();
    let key = KeyRow {
        asset: asset.name.clone(),
        version: 1,
        state: KeyState::Active,
        wrapped: Bytes(vault.keys.new_version_key(&asset.name, 1)?),
        created_at,
    };
    let unknown = unknown_sets(&vault, &asset.reference_sets).await?;
    let recorded = act
        .saying("labels", labels(&asset.labels))
        .saying("jurisdictions", asset.jurisdictions.clone())
        .saying("reference_sets", asset.reference_sets.clone())
        .saying("integrity", serde_json::to_value(asset.integrity).map_err(Refused::internal)?)
        .saying("max_leases", asset.max_leases)
        .saying("version", 1)
        .changing(Change::CreateAsset(AssetRow { asset, created_at }))
        .changing(Change::PutKey(key))
        .commit(&vault)
        .await?;
    Ok(Json(Recorded { version: Some(1), warnings: unknown, ..recorded }))
}

/// `POST /v1/assets/{name}`: what is given takes the place of what was. Releases are decided by it from
/// now on, and live leases at their next renewal on evidence.
pub async fn update(
    State(vault): State<Shared>,
    Path(name): Path<String>,
    holder: Holder,
    Json(request): Json<UpdateAsset>,
) -> Answer<Json<Recorded>> {
    if request == UpdateAsset::default() {
        return Err(Refused::malformed("body", "nothing is to be changed"));
    }
    let before = find(&vault, &name).await?;
    let AssetRow { asset: was, created_at } = before.row;
    let asset = CreateAsset {
        labels: request.labels.unwrap_or_else(|| was.labels.clone()),
        jurisdictions: request.jurisdictions.unwrap_or_else(|| was.jurisdictions.clone()),
        reference_sets: request.reference_sets.unwrap_or_else(|| was.reference_sets.clone()),
        max_leases: request.max_leases.unwrap_or(was.max_leases),
        name: was.name.clone(),
        integrity: was.integrity,
    };
    check(&asset)?;
    if asset == was {
        return Err(Refused::new(Code::Conflict, "the asset is so already"));
    }
    let act = Act::by(&vault, &holder, Action::AssetChanged, subject(SubjectKind::Asset, &name)).await?;
    let mut act = act.guarded(Guard::Asset(name, before.version));
    for (field, was, is) in [
        ("labels", labels(&was.labels), labels(&asset.labels)),
        ("jurisdictions", was.jurisdictions.clone().into(), asset.jurisdictions.clone().into()),
        ("reference_sets", was.reference_sets.clone().into(), asset.reference_sets.clone().into()),
        ("max_leases", was.max_leases.into(), asset.max_leases.into()),
    ] {
        if was != is {
            act = act.saying(field, is).saying(&format!("{field}_before"), was);
        }
    }
    let warnings = unknown_sets(&vault, &asset.reference_sets).await?;
    let recorded = act.changing(Change::PutAsset(AssetRow { asset, created_at })).commit(&vault).await?;
    Ok(Json(Recorded { warnings, ..recorded }))
}

/// A warning for each set that nobody has recorded: no node matches it.
async fn unknown_sets(vault: &Vault, names: &[String]) -> Answer<Vec<String>> {
    let (known, _) = vault.store.references(names).await?;
    let unknown = names.iter().filter(|name| known.iter().all(|row| row.name != **name));
    Ok(unknown.map(|name| format!("no reference set {name} is recorded: no node matches it")).collect())
}

/// `GET /v1/assets`.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<AssetView>>> {
    let mut views = Vec::new();
    for asset in vault.store.assets().await? {
        views.push(view(&vault, asset).await?);
    }
    Ok(Json(views))
}

/// `GET /v1/assets/{name}`.
pub async fn show(State(vault): State<Shared>, Path(name): Path<String>) -> Answer<Json<AssetView>> {
    let asset = find(&vault, &name).await?;
    Ok(Json(view(&vault, asset.row).await?))
}

/// `GET /v1/assets/{name}/current`: what a client needs to seal, or to open. A version that opens only
/// is told as well: who asks to seal under it is denied with `key_decrypt_only`.
pub async fn current(State(vault): State<Shared>, Path(name): Path<String>) -> Answer<Json<AssetCurrent>> {
    let asset = find(&vault, &name).await?.row;
    let keys = vault.store.keys(&name).await?;
    let newest = keys.iter().map(|k| &k.row).rfind(|k| k.state != KeyState::Destroyed);
    let newest =
        newest.ok_or_else(|| Refused::new(Code::Conflict, "every key version was destroyed: rotate the key"))?;
    let AssetRow { asset, .. } = asset;
    Ok(Json(AssetCurrent {
        name: asset.name,
        version: newest.version,
        state: newest.state,
        integrity: asset.integrity,
    }))
}

pub(super) async fn find(vault: &Vault, name: &str) -> Answer<Versioned<AssetRow>> {
    check_name("asset", name)?;
    vault.store.asset(name).await?.ok_or_else(|| Refused::not_found("asset"))
}

async fn view(vault: &Vault, row: AssetRow) -> Answer<AssetView> {
    let keys = vault.store.keys(&row.asset.name).await?;
    let version = |k: Versioned<KeyRow>| KeyVersionView {
        version: k.row.version,
        state: k.row.state,
        created_at: rfc3339(k.row.created_at),
    };
    Ok(AssetView {
        asset: row.asset,
        versions: keys.into_iter().map(version).collect(),
        created_at: rfc3339(row.created_at),
    })
}

fn check(asset: &CreateAsset) -> Answer<()> {
    check_name("name", &asset.name)?;
    if asset.name.len() > LONGEST_NAME {
        return Err(Refused::malformed("name", format!("at most {LONGEST_NAME} characters")));
    }
    check_labels("labels", &asset.labels)?;
    if asset.jurisdictions.len() > MANY || asset.reference_sets.len() > MANY {
        return Err(Refused::malformed("jurisdictions", "at most 256 jurisdictions and reference sets"));
    }
    for code in &asset.jurisdictions {
        check_jurisdiction("jurisdictions", code)?;
    }
    for name in &asset.reference_sets {
        check_name("reference_sets", name)?;
    }
    Ok(())
}
