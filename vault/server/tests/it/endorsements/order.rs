//! What lay there already, what is of no use, what an earlier release named otherwise, and how long loading takes.

use super::{DAY, Desk};
use crate::vendor::Vendor;
use axum::http::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{Bytes, Fixed, admin::Role::Endorser, sha256};
use strongroom_server::{
    endorsements::{Current, Endorsements},
    vault::{subject, system},
};
use strongroom_store::{Change, model::EndorsementRow};

async fn change(desk: &Desk, changes: Vec<Change>) {
    let of = subject(SubjectKind::Trust, "test");
    let record = desk.bench.vault.record(desk.now, system("test"), Action::EndorsementImported, of);
    desk.bench.vault.commit(record.unwrap(), vec![], changes).await.unwrap();
}

async fn load(desk: &Desk) -> Arc<Current> {
    desk.bench.vault.endorsements.load(desk.bench.vault.store.as_ref()).await.unwrap()
}

#[tokio::test]
async fn an_import_says_what_lay_there_already_and_what_is_of_no_use() {
    let (desk, vendor) = (Desk::new().await, Vendor::new());
    desk.pin(&vendor.root.fingerprint()).await;
    desk.import(vendor.root.der()).await.ok();
    // Twice in one file, beside something new.
    let file = vendor.root.pem() + &vendor.intermediate.pem() + &vendor.root.pem();
    let taken = desk.import(file.clone()).await.ok();
    assert_eq!(taken["endorsements"].as_array().unwrap().len(), 2, "each once");
    assert_eq!(taken["unchanged"], json!([vendor.root.name()]));
    assert_eq!(taken["warnings"], Value::Null);
    let told = desk.bench.last_record().await.details["endorsements"].clone();
    assert_eq!(told.as_array().unwrap().len(), 1, "the ledger has what was new");
    let again = desk.import(file).await.ok();
    assert_eq!(again["unchanged"].as_array().unwrap().len(), 2);

    // A client made from the OpenAPI document writes the slashes of a name in another way.
    desk.delete(&format!("/v1/endorsements/{}", vendor.intermediate.name().replace('/', "%2F"))).await.ok();

    let taken = desk.import(vendor.root.list(desk.now - 2 * DAY, desk.now - DAY)).await.ok();
    let warning = taken["warnings"][0].as_str().unwrap();
    assert!(warning.contains("expired at 20") && warning.contains("counts for nothing"), "{warning}");
    assert_eq!(taken["endorsements"][0]["state"], "expired");
}

#[tokio::test]
async fn a_list_that_an_earlier_release_named_otherwise_counts_and_is_replaced() {
    let (desk, vendor) = (Desk::new().await, Vendor::new());
    desk.pin(&vendor.root.fingerprint()).await;
    desk.import(vendor.root.der()).await.ok();
    let named = |name: &str, list: &[u8], from: i64| {
        let row = EndorsementRow {
            name: name.to_owned(),
            of: "tpm-vendor".to_owned(),
            content: "revocation list".to_owned(),
            subject: "CN=Vendor Root".to_owned(),
            sha256: Fixed(sha256(list)),
            from,
            until: desk.now + 20 * DAY,
            id: None,
            imported_by: "endorser".to_owned(),
            imported_at: desk.now,
            removal_proposed_by: None,
        };
        Change::PutEndorsement(row, list.to_vec())
    };
    // As an earlier release named it: by the name of its issuer.
    let old = format!("tpm-vendor/crl/{}.crl", "ab".repeat(32));
    let list = vendor.root.list(desk.now - DAY, desk.now + 20 * DAY);
    change(&desk, vec![named(&old, &list, desk.now - DAY)]).await;
    let current = load(&desk).await;
    assert_eq!((current.left_out.len(), current.moved.len()), (0, 1), "{:?}", current.left_out);
    assert_eq!(current.store.lists(strongroom_attest::PinKind::TpmVendor), [list.as_slice()]);
    let listed = desk.names().await;
    let place = listed.iter().find(|name| name.contains("/crl/")).unwrap().clone();
    assert_ne!(place, old, "it has its new name");
    // Nothing goes back for that, and what is newer takes its place in the database too.
    let older = desk.import(vendor.root.list(desk.now - 2 * DAY, desk.now + 30 * DAY)).await;
    assert_eq!(older.problem(), (409, "conflict".to_owned()));
    desk.import(vendor.root.list(desk.now - DAY + 60, desk.now + 20 * DAY)).await.ok();
    let current = load(&desk).await;
    assert_eq!((current.moved.len(), current.rows.len(), current.left_out.len()), (0, 2, 0));

    // Both there, as after an import by a replica of the earlier release: the newer counts.
    change(&desk, vec![named(&old, &list, desk.now - DAY)]).await;
    let fresh = Endorsements::new(desk.bench.vault.endorsements.built_in().clone());
    let current = fresh.load(desk.bench.vault.store.as_ref()).await.unwrap();
    assert_eq!(current.left_out.keys().collect::<Vec<_>>(), [&old]);
    assert_eq!(current.store.get(&place).unwrap().from, (desk.now - DAY + 60).cast_unsigned());
    let path = |name: &str| format!("/v1/endorsements/{name}");
    desk.delete(&path(&old)).await.ok();
    desk.bench.as_holder(&desk.second, Method::DELETE, &path(&old)).await.ok();
    assert_eq!(load(&desk).await.left_out.len(), 0);

    // One that was never replaced is removed by its new name.
    desk.delete(&path(&place)).await.ok();
    desk.bench.as_holder(&desk.second, Method::DELETE, &path(&place)).await.ok();
    change(&desk, vec![named(&old, &list, desk.now - DAY)]).await;
    desk.delete(&path(&place)).await.ok();
    assert_eq!(desk.list().await[1]["removal_proposed_by"], "endorser");
    desk.bench.as_holder(&desk.second, Method::DELETE, &path(&place)).await.ok();
    assert_eq!(desk.names().await, [vendor.root.name()]);
}

/// How long it takes to load a thousand certificates below one issuer, of which none helps another. Shown, not judged:
/// `STRONGROOM_TEST_CERTIFICATES` makes them more.
#[tokio::test]
async fn many_certificates_are_loaded_in_a_while() {
    let (desk, vendor) = (Desk::new().await, Vendor::new());
    desk.pin(&vendor.root.fingerprint()).await;
    desk.import(vendor.root.pem() + &vendor.intermediate.pem()).await.ok();
    #[expect(clippy::disallowed_methods, reason = "how much is measured")]
    let many =
        std::env::var("STRONGROOM_TEST_CERTIFICATES").ok().and_then(|many| many.parse().ok()).unwrap_or(200_usize);
    for chunk in (0..many).collect::<Vec<_>>().chunks(50) {
        let file: String = chunk.iter().map(|number| vendor.intermediate.issues(&format!("Chip {number}"))).collect();
        let body = json!({ "bytes": Bytes(file.into_bytes()) });
        desk.bench.post(Endorser, "/v1/endorsements", body).await.ok();
    }
    let fresh = Endorsements::new(desk.bench.vault.endorsements.built_in().clone());
    let begun = std::time::Instant::now();
    let current = fresh.load(desk.bench.vault.store.as_ref()).await.unwrap();
    println!("{} endorsements were loaded in {:?}", current.store.list().count(), begun.elapsed());
    assert_eq!((current.store.list().count(), current.left_out.len()), (many + 2, 0));
}
