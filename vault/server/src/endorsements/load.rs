//! From rows to a store that verifications can use.

use super::Current;
use std::{collections::BTreeMap, collections::BTreeSet, sync::Arc};
use strongroom_attest::{
    Pins, TrustAnchors,
    endorsements::{Content, Endorsement, Store as Endorsed},
};
use strongroom_protocol::{endorsement::PinState, sha256};
use strongroom_store::{
    Store, StoreError,
    model::{EndorsementList, EndorsementRow, PinRow},
};

/// Endorsements whose bytes are read in one way to the database.
const AT_ONCE: usize = 256;

/// Pins of persons that do not go with those of the program.
#[derive(Debug, thiserror::Error)]
#[error("the pins of this vault cannot be read: {0}")]
pub struct PinsBroken(String);

/// The program's pins with those that two persons put in force. A root that both have counts once.
pub fn with_pins(built_in: &Pins, added: &[PinRow]) -> Result<Pins, PinsBroken> {
    let broken = |error: &dyn std::fmt::Display| PinsBroken(error.to_string());
    let mut written = serde_json::to_value(built_in).map_err(|error| broken(&error))?;
    let known: BTreeSet<_> = built_in.all().iter().map(|pin| (pin.kind.as_str(), pin.sha256)).collect();
    let list = written.get_mut("pins").and_then(serde_json::Value::as_array_mut);
    let list = list.ok_or_else(|| broken(&"they have no list"))?;
    for pin in added.iter().filter(|pin| pin.state == PinState::InForce) {
        if !known.contains(&(pin.kind.as_str(), pin.sha256.0)) {
            list.push(serde_json::json!({
                "kind": pin.kind, "name": pin.name, "sha256": hex::encode(pin.sha256.0), "source": pin.source,
            }));
        }
    }
    let written = serde_json::to_vec(&written).map_err(|error| broken(&error))?;
    Pins::parse(&written).map_err(|error| broken(&error))
}

/// Loads what changed since `before`, or everything.
pub(super) async fn load(
    store: &dyn Store,
    list: EndorsementList,
    built_in: Pins,
    before: Option<Arc<Current>>,
) -> Result<Current, StoreError> {
    let pins = with_pins(&built_in, &list.pins).map_err(|broken| StoreError::Corrupt(broken.to_string()))?;
    let base = before.and_then(|before| unchanged(&before, &list, &pins)).unwrap_or_else(|| Endorsed::new(pins));
    let missing: Vec<String> =
        list.endorsements.iter().filter(|row| base.get(&row.name).is_none()).map(|row| row.name.clone()).collect();
    let mut bytes = BTreeMap::new();
    for names in missing.chunks(AT_ONCE) {
        bytes.extend(store.endorsement_bytes(names).await?);
    }
    // Signatures are verified: not for a thread that answers requests.
    let built = tokio::task::spawn_blocking(move || build(base, list, bytes)).await;
    let built = built.map_err(|error| StoreError::Unavailable(format!("endorsements could not be loaded: {error}")))?;
    for (name, why) in &built.left_out {
        tracing::error!(%name, %why, "this endorsement is not used");
    }
    Ok(built)
}

/// What was loaded before, without what is gone, where nothing that others rest on is gone or replaced.
fn unchanged(before: &Current, list: &EndorsementList, pins: &Pins) -> Option<Endorsed> {
    if before.store.pins() != pins {
        return None;
    }
    let there: BTreeMap<&str, _> = list.endorsements.iter().map(|row| (row.name.as_str(), row.sha256.0)).collect();
    let gone: Vec<_> = before.store.list().filter(|one| there.get(one.name.as_str()) != Some(&one.sha256)).collect();
    if gone.iter().any(|one| issues(&one.name)) {
        return None;
    }
    let mut store = before.store.clone();
    for one in gone {
        store.remove(&one.name);
    }
    Some(store)
}

/// Whether others may rest on what has this name: a certificate that is not of a key that signs reports.
fn issues(name: &str) -> bool {
    name.strip_suffix(".der").is_some_and(|name| !name.starts_with("vcek/") && !name.starts_with("vlek/"))
}

/// What `current` uses and what these pins would not vouch for, or not without one endorsement.
pub(super) fn fallen(current: &Current, pins: &Pins, without: Option<&str>) -> Vec<String> {
    if current.store.pins() == pins && without.is_some_and(|name| !issues(name)) {
        return Vec::new();
    }
    let used = |row: &&EndorsementRow| without != Some(row.name.as_str()) && !current.is_left_out(&row.name);
    let endorsements: Vec<_> = current.rows.iter().filter(used).cloned().collect();
    let bytes = current.store.list().map(|one| (one.name.clone(), one.bytes.clone())).collect();
    let list = EndorsementList { generation: current.generation, endorsements, pins: Vec::new() };
    build(Endorsed::new(pins.clone()), list, bytes).left_out.into_keys().collect()
}

/// Imports what is missing in `store`, issuers before what they issued, whatever their names are.
fn build(mut store: Endorsed, list: EndorsementList, mut bytes: BTreeMap<String, Vec<u8>>) -> Current {
    let EndorsementList { generation, endorsements: mut rows, pins } = list;
    let (mut left_out, mut moved) = (BTreeMap::<String, String>::new(), BTreeMap::<String, String>::new());
    let mut waiting: Vec<&EndorsementRow> = rows.iter().filter(|row| store.get(&row.name).is_none()).collect();
    // Of thousands of chips' certificates none helps another: they are tried once all issuers are there.
    waiting.sort_by_key(|row| !issues(&row.name));
    loop {
        let mut helped = false;
        waiting.retain(|row| match bytes.get(&row.name).map(|bytes| import(&mut store, row, bytes)) {
            Some(Ok(place)) => {
                helped |= issues(&place);
                if place != row.name {
                    moved.insert(place, row.name.clone());
                }
                bytes.remove(&row.name);
                left_out.remove(&row.name);
                false
            }
            Some(Err(why)) => {
                left_out.insert(row.name.clone(), why);
                true
            }
            // Removed since the list was read: the next look has another generation.
            None => false,
        });
        if waiting.is_empty() || !helped {
            break;
        }
    }
    // What an earlier release named otherwise has its new name everywhere but in the database, until it is replaced.
    moved.retain(|place, name| {
        let replaced = rows.iter().any(|row| row.name == *place);
        if replaced {
            left_out.insert(name.clone(), format!("{place} has taken its place: remove it"));
        }
        !replaced
    });
    for (place, name) in &moved {
        for row in rows.iter_mut().filter(|row| row.name == *name) {
            row.name.clone_from(place);
        }
    }
    let snp_roots = store.snp_roots();
    // Without them no TPM of these vendors is enrolled, and nothing else is.
    let tpm = store.tpm_anchors().unwrap_or_else(|error| {
        tracing::error!(%error, "the TPM vendors' roots cannot be used");
        TrustAnchors::default()
    });
    Current { store, snp_roots, tpm, generation, rows, pins, left_out, moved }
}

/// Takes one in as it was imported, and says what it is named now. The time is that of the import, when a manifest's
/// signers were valid.
fn import(store: &mut Endorsed, row: &EndorsementRow, bytes: &[u8]) -> Result<String, String> {
    if sha256(bytes) != row.sha256.0 {
        return Err("its bytes are not those that were imported: remove it, and import it again".to_owned());
    }
    let at = u64::try_from(row.imported_at).unwrap_or_default();
    let mut taken = store.import(bytes, row.id.as_deref(), at).map_err(|error| error.to_string())?;
    match (taken.pop(), taken.is_empty()) {
        (Some(one), true) if one.name == row.name || was_named(&one, &row.name) => Ok(one.name),
        (one, _) => {
            for one in taken.into_iter().chain(one) {
                store.remove(&one.name);
            }
            Err("it is named otherwise now: remove it, and import it again".to_owned())
        }
    }
}

/// Whether an earlier release gave a list this name: by the name of its issuer, which two may have.
fn was_named(one: &Endorsement, name: &str) -> bool {
    one.content == Content::RevocationList && name.starts_with(&format!("{}/crl/", one.of))
}
