//! Confidential machines of Azure: found by the id of the machine, fresh by their vTPM's quote.

use super::{
    makers::{azure, azure_of_boot},
    *,
};
use strongroom_hardware::azure::{other_ak, runtime_data};
use strongroom_protocol::lease::LeaseState;

const VM: &str = "cloud-vm:0a1b2c3d-1111-2222-3333-444455556666";

/// Settings that accept the makers' paravisor.
fn paravisor() -> Value {
    json!({ "snp": { "paravisors": [hex::encode(makers().milan.snp.report.measurement)] } })
}

/// A processor of AMD's vouches for whatever its owner launched: for a machine of Azure only under a paravisor of Azure's.
#[tokio::test]
async fn who_owns_a_processor_is_no_machine_of_azure() {
    let of_makers = bench(ANY, paravisor()).await;
    let of_nobody = bench(ANY, json!({})).await;
    for (bench, forged) in [(of_makers, true), (of_nobody, false)] {
        let node = registered(&bench, &[VM.to_owned()]).await;
        let mut machine = makers().milan.clone();
        if forged {
            machine.snp.report.measurement = [0x66; 48];
        }
        unstored(&bench, told(401, "evidence_refused", "S12"), |bound| vec![azure(&machine, bound)]).await;
        assert_eq!(bench.vault.store.node(node).await.unwrap().unwrap().row.activated_at, None);
    }
}

#[tokio::test]
async fn a_machine_of_azure_is_known_by_its_id_and_its_lease_ends_with_its_launch() {
    let bench = bench(ANY, paravisor()).await;
    let node = registered(&bench, &[VM.to_owned()]).await;
    let mut machine = makers().milan.clone();
    let recipient = RecipientKey::generate().unwrap();
    let first = ask(&bench, &recipient).await;
    let reply = send(&bench, &first, |bound| vec![azure(&machine, bound)]).await.ok();
    let (payload, _) = bench.believe(&first, &reply, &recipient);
    let explained = explained(&bench).await;
    assert_eq!(
        (&explained["input"]["claims"]["tpm"], &explained["input"]["claims"]["snp"]),
        (&Value::Null, &Value::Null)
    );
    assert!(explained["input"]["claims"]["azure"]["snp"].is_object());
    let lease = async || bench.vault.store.lease(payload.lease.id).await.unwrap().unwrap().row;
    assert_eq!((lease().await.node, lease().await.ak_sha256, lease().await.boot), (node, None, None));
    assert!(lease().await.guest.unwrap().key_sha256.is_some());

    let own = renewal(&bench, &first, payload.lease.id).await;
    send(&bench, &own, |bound| vec![azure(&machine, bound)]).await.ok();
    // A quote of another vTPM is nobody's.
    let mut stranger = machine.clone();
    stranger.quote.signed_by = other_ak();
    unstored(&bench, told(401, "evidence_refused", "Q1"), |bound| vec![azure(&stranger, bound)]).await;
    let elsewhere = |bound: Bound<'_>| vec![azure(&machine, Bound { statement: b"another", ..bound })];
    unstored(&bench, told(401, "evidence_refused", "Q3"), elsewhere).await;

    machine.snp.report.report_id = [9; 32];
    let relaunched = renewal(&bench, &first, payload.lease.id).await;
    let reply = send(&bench, &relaunched, |bound| vec![azure_of_boot(&machine, 1, bound)]).await;
    assert_eq!(reply.json()["reasons"], json!(["rebooted"]));
    assert_eq!(lease().await.state, LeaseState::Revoked);
}

/// The envelope binds no request: the record knows which boot it is of.
#[tokio::test]
async fn s12_a_machine_of_azure_shows_the_envelope_of_no_earlier_boot() {
    let bench = bench(ANY, paravisor()).await;
    let node = registered(&bench, &[VM.to_owned()]).await;
    let first = makers().milan.clone();
    let mut second = first.clone();
    second.snp.report.report_id = [9; 32];
    let recipient = RecipientKey::generate().unwrap();
    let statement = ask(&bench, &recipient).await;
    let reply = send(&bench, &statement, |bound| vec![azure_of_boot(&first, 7, bound)]).await.ok();
    let (payload, _) = bench.believe(&statement, &reply, &recipient);
    let seven = bench.vault.store.node(node).await.unwrap().unwrap().row.cloud.unwrap();
    assert_eq!((seven.boot, seven.past.len()), ((7, 0), 0));

    denied(&bench, "S12", |bound| vec![azure_of_boot(&first, 8, bound)]).await;
    denied(&bench, "S12", |bound| vec![azure_of_boot(&second, 7, bound)]).await;
    assert_eq!(
        bench.vault.store.node(node).await.unwrap().unwrap().row.cloud,
        Some(seven),
        "what is refused is not held"
    );
    // A lease does not outlive the boot that such an envelope hides.
    let hidden = renewal(&bench, &statement, payload.lease.id).await;
    let reply = send(&bench, &hidden, |bound| vec![azure_of_boot(&first, 8, bound)]).await;
    assert_eq!(refused(&reply), told(403, "denied", "S12"));
    let lease = bench.vault.store.lease(payload.lease.id).await.unwrap().unwrap().row;
    assert_eq!(lease.state, LeaseState::Revoked);

    let statement = ask(&bench, &recipient).await;
    send(&bench, &statement, |bound| vec![azure_of_boot(&second, 8, bound)]).await.ok();
    denied(&bench, "S12", |bound| vec![azure_of_boot(&first, 9, bound)]).await;
}

#[tokio::test]
async fn s12_another_vtpm_is_another_machine_until_an_operator_has_it_taken_anew() {
    let bench = bench(ANY, paravisor()).await;
    let node = registered(&bench, &[VM.to_owned()]).await;
    let own = makers().milan.clone();
    let mut other = own.clone();
    other.runtime_data = runtime_data(other_ak());
    other.quote.signed_by = other_ak();
    other.snp.report.report_id = [9; 32];
    let recipient = RecipientKey::generate().unwrap();
    let statement = ask(&bench, &recipient).await;
    let reply = send(&bench, &statement, |bound| vec![azure_of_boot(&own, 1, bound)]).await.ok();
    let (payload, _) = bench.believe(&statement, &reply, &recipient);
    denied(&bench, "S12", |bound| vec![azure_of_boot(&other, 2, bound)]).await;

    let anew = json!({ "add": [identity(VM)] });
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/identities"), anew).await.ok();
    assert_eq!(bench.last_record().await.details["taken_anew"], true);
    let lease = bench.vault.store.lease(payload.lease.id).await.unwrap().unwrap().row;
    assert_eq!(lease.state, LeaseState::Revoked, "it was granted to the key of before");
    let statement = ask(&bench, &recipient).await;
    send(&bench, &statement, |bound| vec![azure_of_boot(&other, 2, bound)]).await.ok();
    denied(&bench, "S12", |bound| vec![azure_of_boot(&own, 3, bound)]).await;
}

#[tokio::test]
async fn s6_a_machine_of_azure_shows_no_older_tcb_than_before() {
    let bench = bench(ANY, paravisor()).await;
    registered(&bench, &[VM.to_owned()]).await;
    let now = makers().milan.clone();
    let mut older = now.clone();
    older.snp.report.report_id = [9; 32];
    older.snp.report.committed_tcb[7] -= 1;
    older.snp.report.reported_tcb[7] -= 1;
    let report = &older.snp.report;
    older.snp.leaf.extensions =
        strongroom_hardware::snp::leaf_extensions(older.snp.product, strongroom_hardware::snp::Leaf::Vcek, report);
    let recipient = RecipientKey::generate().unwrap();
    let statement = ask(&bench, &recipient).await;
    send(&bench, &statement, |bound| vec![azure_of_boot(&now, 1, bound)]).await.ok();
    denied(&bench, "S6", |bound| vec![azure_of_boot(&older, 2, bound)]).await;
}

#[tokio::test]
async fn a_processor_alone_names_no_machine_of_azure() {
    let bench = bench(ANY, paravisor()).await;
    let machine = makers().milan.clone();
    let chip = format!("snp-chip:{}", hex::encode(machine.snp.report.chip_id));
    registered(&bench, &[chip]).await;
    unstored(&bench, told(401, "not_enrolled", ""), |bound| vec![azure(&machine, bound)]).await;
}

#[tokio::test]
async fn a_machine_of_azure_that_is_bound_to_a_processor_runs_on_no_other() {
    let bench = bench(ANY, paravisor()).await;
    let mut machine = makers().milan.clone();
    let chip = format!("snp-chip:{}", hex::encode(machine.snp.report.chip_id));
    registered(&bench, &[VM.to_owned(), chip]).await;
    let statement = ask(&bench, &RecipientKey::generate().unwrap()).await;
    send(&bench, &statement, |bound| vec![azure(&machine, bound)]).await.ok();
    machine.snp.report.chip_id[0] ^= 1;
    let report = &machine.snp.report;
    machine.snp.leaf.extensions =
        strongroom_hardware::snp::leaf_extensions(machine.snp.product, strongroom_hardware::snp::Leaf::Vcek, report);
    denied(&bench, "E7", |bound| vec![azure(&machine, bound)]).await;
}
