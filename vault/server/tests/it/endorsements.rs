//! Endorsements and pins through the API: what is taken in, what is refused, and what takes two persons.

mod order;

use crate::{
    bench::{Bench, Reply},
    vendor::Vendor,
};
use axum::http::Method;
use serde_json::{Value, json};
use strongroom_attest::Pins;
use strongroom_protocol::{
    Bytes,
    admin::Role::{self, Endorser},
};
use strongroom_server::{config::Config, endorsements::Endorsements};

const DAY: i64 = 86_400;

struct Desk {
    bench: Bench,
    /// Of a second endorser.
    second: String,
    now: i64,
}

impl Desk {
    async fn new() -> Self {
        Self::of(Bench::new().await).await
    }

    async fn of(bench: Bench) -> Self {
        let second = bench.token("second", &[Endorser]).await;
        let now = bench.vault.clock.now().await.unwrap();
        Self { bench, second, now }
    }

    async fn import(&self, bytes: impl Into<Vec<u8>>) -> Reply {
        self.bench.post(Endorser, "/v1/endorsements", json!({ "bytes": Bytes(bytes.into()) })).await
    }

    async fn propose(&self, sha256: &str) -> Reply {
        let body = json!({
            "kind": "tpm-vendor", "name": "CN=Vendor Root", "sha256": sha256, "source": "https://vendor.example/root",
        });
        self.bench.post(Endorser, "/v1/pins", body).await
    }

    /// A pin that two persons made.
    async fn pin(&self, sha256: &str) {
        self.propose(sha256).await.ok();
        self.bench.as_holder(&self.second, Method::POST, &format!("/v1/pins/tpm-vendor/{sha256}/approve")).await.ok();
    }

    async fn delete(&self, path: &str) -> Reply {
        self.bench.call(Some(Endorser), Method::DELETE, path, None).await
    }

    async fn list(&self) -> Vec<Value> {
        let list = self.bench.get(Endorser, "/v1/endorsements").await.ok();
        list.as_array().unwrap().clone()
    }

    async fn names(&self) -> Vec<String> {
        self.list().await.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn detail(reply: &Reply) -> String {
    reply.json()["detail"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn only_what_a_pin_vouches_for_is_taken_in_and_all_of_it_or_nothing() {
    let (desk, vendor, other) = (Desk::new().await, Vendor::new(), Vendor::new());
    let refused = desk.import(vendor.root.der()).await;
    assert_eq!(refused.problem(), (400, "malformed".to_owned()));
    assert!(detail(&refused).contains("no pinned root vouches for CN=Vendor Root"), "{}", detail(&refused));
    desk.pin(&vendor.root.fingerprint()).await;

    let mixed = vendor.root.pem() + &other.root.pem();
    let size = desk.bench.ledger_size().await;
    assert_eq!(desk.import(mixed).await.problem(), (400, "malformed".to_owned()));
    assert_eq!((desk.list().await.len(), desk.bench.ledger_size().await), (0, size), "not half of it");

    let both = vendor.intermediate.pem() + &vendor.root.pem();
    let taken = desk.import(both.clone()).await.ok();
    assert_eq!(taken["endorsements"].as_array().unwrap().len(), 2);
    let record = desk.bench.last_record().await;
    assert_eq!(record.action.as_str(), "trust.endorsement_imported");
    let told = &record.details["endorsements"];
    assert_eq!(told[0]["name"], vendor.intermediate.name());
    assert_eq!(told[1]["sha256"], vendor.root.fingerprint());
    assert!(told[1]["until"].is_string());
    let listed = desk.list().await;
    assert_eq!((&listed[0]["state"], &listed[0]["vouched"]), (&json!("valid"), &json!(true)));
    assert_eq!((&listed[0]["of"], &listed[0]["imported_by"]), (&json!("tpm-vendor"), &json!("endorser")));

    let again = desk.import(both).await.ok();
    assert_eq!((&again["record"], again["endorsements"].as_array().unwrap().len()), (&Value::Null, 2));
    assert_eq!(desk.bench.last_record().await.id, record.id, "nothing was done");

    for (bytes, problem) in [(b"nonsense".to_vec(), "neither certificates"), (Vec::new(), "1 to 1048576 bytes")] {
        let refused = desk.import(bytes).await;
        assert_eq!(refused.problem(), (400, "malformed".to_owned()));
        assert!(detail(&refused).contains(problem), "{}", detail(&refused));
    }
    let body = json!({ "bytes": Bytes(b"<xml/>".to_vec()), "id": "NV_GPU_DRIVER_../x" });
    let refused = desk.bench.post(Endorser, "/v1/endorsements", body).await;
    assert_eq!(refused.json()["field"], "id");
    let refused = desk.import(*b"<xml/>").await;
    assert_eq!(refused.json()["field"], "id", "a manifest needs one: {}", detail(&refused));
}

#[tokio::test]
async fn a_list_is_replaced_by_a_newer_one_only_and_its_end_is_told_of() {
    let (desk, vendor) = (Desk::new().await, Vendor::new());
    desk.pin(&vendor.root.fingerprint()).await;
    desk.import(vendor.root.der()).await.ok();
    desk.import(vendor.root.list(desk.now - DAY, desk.now + 13 * DAY)).await.ok();
    let state = async || desk.list().await[1]["state"].clone();
    assert_eq!(state().await, "expiring");
    let older = desk.import(vendor.root.list(desk.now - 2 * DAY, desk.now + 30 * DAY)).await;
    assert_eq!(older.problem(), (409, "conflict".to_owned()));
    desk.import(vendor.root.list(desk.now - DAY + 60, desk.now + 15 * DAY)).await.ok();
    assert_eq!((state().await, desk.list().await.len()), (json!("valid"), 2));
    desk.import(vendor.root.list(desk.now - 3600, desk.now - 60)).await.ok();
    assert_eq!(state().await, "expired");
    // Nobody knows yet what a vendor will say: a list dated ahead would keep out all that come before its date.
    let ahead = desk.import(vendor.root.list(desk.now + 3600, desk.now + 30 * DAY)).await;
    assert_eq!(ahead.problem(), (400, "malformed".to_owned()));
    assert!(detail(&ahead).contains("and the clock says"), "{}", detail(&ahead));
    desk.import(vendor.root.list(desk.now + 200, desk.now + 30 * DAY)).await.ok();
    assert_eq!(state().await, "not_yet_valid", "clocks differ a little");
}

#[tokio::test]
async fn removing_a_list_takes_two_persons() {
    let (desk, vendor) = (Desk::new().await, Vendor::new());
    desk.pin(&vendor.root.fingerprint()).await;
    desk.import(vendor.root.der()).await.ok();
    let list = desk.import(vendor.root.list(desk.now - DAY, desk.now + 20 * DAY)).await.ok();
    let path = format!("/v1/endorsements/{}", list["endorsements"][0]["name"].as_str().unwrap());

    let proposed = desk.delete(&path).await.ok();
    assert!(proposed["warnings"][0].as_str().unwrap().contains("not removed yet"));
    assert_eq!(desk.bench.last_record().await.action.as_str(), "trust.endorsement_removal_proposed");
    assert_eq!(desk.list().await[1]["removal_proposed_by"], "endorser");
    assert_eq!(desk.delete(&path).await.problem(), (403, "four_eyes".to_owned()), "not the same person");
    assert_eq!(desk.list().await.len(), 2);

    // What replaces it is not what somebody wanted removed.
    desk.import(vendor.root.list(desk.now - DAY + 60, desk.now + 20 * DAY)).await.ok();
    assert_eq!(desk.list().await[1]["removal_proposed_by"], Value::Null);
    desk.delete(&path).await.ok();
    desk.bench.as_holder(&desk.second, Method::DELETE, &path).await.ok();
    let record = desk.bench.last_record().await;
    assert_eq!(
        (record.action.as_str(), &record.details["proposed_by"]),
        ("trust.endorsement_removed", &json!("endorser"))
    );
    assert_eq!(desk.names().await, [vendor.root.name()]);

    desk.delete(&format!("/v1/endorsements/{}", vendor.root.name())).await.ok();
    assert_eq!(desk.list().await.len(), 0, "less is trusted without a certificate: one person does it");
    assert_eq!(desk.delete(&path).await.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn where_four_eyes_are_waived_one_person_removes_a_list() {
    let mut config = Config::default();
    config.four_eyes.waived = true;
    let (desk, vendor) = (Desk::of(Bench::with(config).await).await, Vendor::new());
    desk.pin(&vendor.root.fingerprint()).await;
    desk.import(vendor.root.der()).await.ok();
    let list = desk.import(vendor.root.list(desk.now - DAY, desk.now + 20 * DAY)).await.ok();
    desk.delete(&format!("/v1/endorsements/{}", list["endorsements"][0]["name"].as_str().unwrap())).await.ok();
    assert_eq!(desk.names().await, [vendor.root.name()]);
}

#[tokio::test]
async fn what_vouches_for_others_stays_while_they_do() {
    let (desk, vendor) = (Desk::new().await, Vendor::new());
    desk.pin(&vendor.root.fingerprint()).await;
    desk.import(vendor.root.pem() + &vendor.intermediate.pem()).await.ok();
    // Without the intermediate nobody would vouch for its list, and what it revokes would pass.
    let list = desk.import(vendor.intermediate.list(desk.now - DAY, desk.now + 20 * DAY)).await.ok();
    let list = list["endorsements"][0]["name"].as_str().unwrap().to_owned();
    let path = format!("/v1/endorsements/{}", vendor.intermediate.name());
    let refused = desk.delete(&path).await;
    assert_eq!(refused.problem(), (409, "conflict".to_owned()));
    assert!(detail(&refused).contains(&list), "{}", detail(&refused));
    let pin = format!("/v1/pins/tpm-vendor/{}", vendor.root.fingerprint());
    let refused = desk.delete(&pin).await;
    assert_eq!(refused.problem(), (409, "conflict".to_owned()));
    assert!(detail(&refused).contains("it vouches for"), "{}", detail(&refused));

    desk.delete(&format!("/v1/endorsements/{list}")).await.ok();
    desk.bench.as_holder(&desk.second, Method::DELETE, &format!("/v1/endorsements/{list}")).await.ok();
    desk.delete(&path).await.ok();
    desk.delete(&format!("/v1/endorsements/{}", vendor.root.name())).await.ok();
    desk.delete(&pin).await.ok();
    assert_eq!(desk.bench.last_record().await.action.as_str(), "trust.pin_withdrawn");
    assert_eq!(desk.import(vendor.root.der()).await.problem(), (400, "malformed".to_owned()));
}

#[tokio::test]
async fn a_pin_takes_two_persons_and_is_of_a_tpm_vendor_only() {
    let (desk, vendor) = (Desk::new().await, Vendor::new());
    let sha256 = vendor.root.fingerprint();
    let approve = format!("/v1/pins/tpm-vendor/{sha256}/approve");
    assert_eq!(desk.bench.as_holder(&desk.second, Method::POST, &approve).await.problem().0, 404);
    desk.propose(&sha256).await.ok();
    assert_eq!(desk.import(vendor.root.der()).await.problem().0, 400, "a proposal vouches for nothing");
    let own = desk.bench.call(Some(Endorser), Method::POST, &approve, None).await;
    assert_eq!(own.problem(), (403, "four_eyes".to_owned()));
    assert_eq!(desk.propose(&sha256).await.problem(), (409, "conflict".to_owned()));
    desk.bench.as_holder(&desk.second, Method::POST, &approve).await.ok();
    let record = desk.bench.last_record().await;
    assert_eq!((record.action.as_str(), &record.details["sha256"]), ("trust.pin_approved", &json!(sha256)));
    assert_eq!(record.details["proposed_by"], "endorser");
    desk.import(vendor.root.der()).await.ok();
    assert_eq!(desk.bench.as_holder(&desk.second, Method::POST, &approve).await.problem().0, 409);
    let pins = desk.bench.get(Role::Auditor, "/v1/pins").await.ok();
    let pin = &pins.as_array().unwrap()[0];
    assert_eq!(
        (&pin["state"], &pin["approved_by"], &pin["built_in"]),
        (&json!("in_force"), &json!("second"), &json!(false))
    );

    for kind in ["amd-ark", "intel-sgx-root", "nvidia-device-root", "nvidia-rim-root"] {
        let body = json!({ "kind": kind, "name": "CN=X", "sha256": "00".repeat(32), "source": "here" });
        let refused = desk.bench.post(Endorser, "/v1/pins", body).await;
        assert_eq!(refused.problem(), (400, "malformed".to_owned()), "{kind}");
        assert!(detail(&refused).contains(&format!("roots of {kind} come with a release")), "{}", detail(&refused));
    }
    for (field, value) in
        [("sha256", "A".repeat(64)), ("sha256", "0".repeat(63)), ("name", " ".into()), ("source", "a\nb".into())]
    {
        let mut body = json!({ "kind": "tpm-vendor", "name": "CN=X", "sha256": "00".repeat(32), "source": "here" });
        body[field] = value.into();
        assert_eq!(desk.bench.post(Endorser, "/v1/pins", body).await.json()["field"], field);
    }
}

#[tokio::test]
async fn what_no_pin_vouches_for_any_more_is_left_out_and_told_of() {
    let (desk, vendor) = (Desk::new().await, Vendor::new());
    desk.pin(&vendor.root.fingerprint()).await;
    desk.import(vendor.root.pem() + &vendor.intermediate.pem()).await.ok();
    let store = desk.bench.vault.store.as_ref();
    let kept = desk.bench.vault.endorsements.load(store).await.unwrap();
    assert_eq!((kept.store.list().count(), kept.left_out.len()), (2, 0));
    assert_eq!(kept.tpm.roots_sha256().count(), 1);
    // Another replica, from the same rows: the same.
    let again = Endorsements::new(Pins::default()).load(store).await.unwrap();
    assert_eq!(again.store.list().collect::<Vec<_>>(), kept.store.list().collect::<Vec<_>>());
    assert_eq!(again.generation, kept.generation);

    // As if the next release did not know the root any more.
    let change = strongroom_store::Change::WithdrawPin(
        "tpm-vendor".to_owned(),
        strongroom_protocol::Fixed(strongroom_protocol::sha256(&vendor.root.der())),
    );
    let record = desk.bench.vault.record(
        desk.now,
        strongroom_server::vault::system("test"),
        strongroom_ledger::Action::PinWithdrawn,
        strongroom_server::vault::subject(strongroom_ledger::SubjectKind::Trust, "test"),
    );
    desk.bench.vault.commit(record.unwrap(), vec![], vec![change]).await.unwrap();
    let left = desk.bench.vault.endorsements.load(store).await.unwrap();
    assert_eq!((left.store.list().count(), left.left_out.len(), left.tpm.roots_sha256().count()), (0, 2, 0));
    assert!(left.left_out[&vendor.root.name()].contains("no pinned root vouches"));
    assert!(desk.list().await.iter().all(|one| one["vouched"] == false));
    // Once it is pinned again it counts again.
    desk.pin(&vendor.root.fingerprint()).await;
    assert!(desk.list().await.iter().all(|one| one["vouched"] == true));
}

#[tokio::test]
async fn nothing_is_loaded_anew_while_nothing_changes() {
    let (desk, vendor) = (Desk::new().await, Vendor::new());
    desk.pin(&vendor.root.fingerprint()).await;
    desk.import(vendor.root.der()).await.ok();
    let vault = &desk.bench.vault;
    let current = async || vault.endorsements.load(vault.store.as_ref()).await.unwrap();
    let first = current().await;
    assert!(std::sync::Arc::ptr_eq(&first, &current().await));
    desk.import(vendor.intermediate.der()).await.ok();
    let second = current().await;
    assert!(second.generation > first.generation && second.store.list().count() == 2);
}
