//! Leases of guests: who has signed, and which launch of the guest it was.

use super::*;
use strongroom_protocol::lease::LeaseState;

#[tokio::test]
async fn a_renewal_after_another_launch_ends_the_lease() {
    let bench = bench(ANY, json!({})).await;
    let (mut machine, _) = machine(&bench).await;
    let (payload, first, recipient) = open(&bench, &machine).await;
    let lease = payload.lease.id;
    let again = renewal(&bench, &first, lease).await;
    let reply = send(&bench, &again, |bound| machine.evidence(bound)).await.ok();
    let (renewed, _) = bench.believe(&again, &reply, &recipient);
    assert_eq!((renewed.lease.id, renewed.keys.len()), (lease, 0));
    // A renewal's nonce is burnt, and its evidence is good for no other.
    let replayed = send(&bench, &again, |bound| machine.evidence(bound)).await;
    assert_eq!(replayed.problem(), (409, "nonce_reused".to_owned()));

    machine.snp.report.report_id = [9; 32];
    let relaunched = renewal(&bench, &first, lease).await;
    let reply = send(&bench, &relaunched, |bound| machine.evidence(bound)).await;
    assert_eq!((reply.problem().0, &reply.json()["reasons"]), (403, &json!(["rebooted"])));
    assert_eq!(bench.last_record().await.details["lease_ended"], "rebooted");
    let row = bench.vault.store.lease(lease).await.unwrap().unwrap().row;
    assert_eq!(row.state, LeaseState::Revoked);
}

#[tokio::test]
async fn another_guest_of_the_processor_cannot_end_a_lease() {
    let bench = bench(ANY, json!({})).await;
    let (machine, _) = machine(&bench).await;
    let (payload, first, _) = open(&bench, &machine).await;
    let mut other = machine.clone();
    other.snp.report.report_id = [9; 32];
    let stranger = ask(&bench, &RecipientKey::generate().unwrap()).await;
    let theirs = Statement { recipient: stranger.recipient, ..renewal(&bench, &first, payload.lease.id).await };
    let reply = send(&bench, &theirs, |bound| other.evidence(bound)).await;
    assert_eq!(reply.json()["reasons"], json!(["lease_mismatch", "rebooted"]));
    let row = bench.vault.store.lease(payload.lease.id).await.unwrap().unwrap().row;
    assert_eq!(row.state, LeaseState::Live);
    let own = renewal(&bench, &first, payload.lease.id).await;
    send(&bench, &own, |bound| machine.evidence(bound)).await.ok();
}

#[tokio::test]
async fn a_renewal_shows_the_guest_that_the_lease_was_granted_to() {
    let bench = bench(ANY, json!({})).await;
    let machine = Machine::new(1, &[]);
    let tpm = Tpm::new();
    let node = bench.approved(&tpm, "fra-1").await;
    let add = json!({ "add": [identity(&machine.chip())] });
    bench.post(Role::Operator, &format!("/v1/nodes/{node}/identities"), add).await.ok();
    let (payload, first, _) = open(&bench, &machine).await;
    // The host's TPM alone holds no guest's lease, nor beside the guest one that the guest holds alone.
    let quote = |bound: Bound<'_>| Evidence::Tpm2(tpm.quote(bound.tpm()));
    let hosts = renewal(&bench, &first, payload.lease.id).await;
    let reply = send(&bench, &hosts, |bound| vec![quote(bound)]).await;
    assert_eq!(reply.json()["reasons"], json!(["lease_mismatch"]));
    let both = renewal(&bench, &first, payload.lease.id).await;
    let reply = send(&bench, &both, |bound| vec![quote(bound), machine.report(bound)]).await;
    assert_eq!(reply.json()["reasons"], json!(["lease_mismatch"]));
    let own = renewal(&bench, &first, payload.lease.id).await;
    send(&bench, &own, |bound| machine.evidence(bound)).await.ok();
    // And a lease that both have signed for is not the host's alone.
    let recipient = RecipientKey::generate().unwrap();
    let of_both = ask(&bench, &recipient).await;
    let reply = send(&bench, &of_both, |bound| vec![quote(bound), machine.report(bound)]).await.ok();
    let (payload, _) = bench.believe(&of_both, &reply, &recipient);
    let hosts = renewal(&bench, &of_both, payload.lease.id).await;
    let reply = send(&bench, &hosts, |bound| vec![quote(bound)]).await;
    assert_eq!(reply.json()["reasons"], json!(["lease_mismatch"]));
    let both = renewal(&bench, &of_both, payload.lease.id).await;
    send(&bench, &both, |bound| vec![quote(bound), machine.report(bound)]).await.ok();
}

#[tokio::test]
async fn a_lost_answer_is_given_again_to_the_same_launch_only() {
    let bench = bench(ANY, json!({})).await;
    let (mut machine, _) = machine(&bench).await;
    let (payload, first, recipient) = open(&bench, &machine).await;
    let before = bench.ledger_size().await;
    let reply = send(&bench, &first, |bound| machine.evidence(bound)).await.ok();
    let (again, _) = bench.believe(&first, &reply, &recipient);
    assert_eq!((again.decision_id, again.lease.id, again.keys.len()), (payload.decision_id, payload.lease.id, 1));
    assert_eq!(bench.ledger_size().await, before);
    machine.snp.report.report_id = [9; 32];
    let reply = send(&bench, &first, |bound| machine.evidence(bound)).await;
    assert_eq!(reply.problem(), (409, "nonce_reused".to_owned()));
}

#[tokio::test]
async fn evidence_that_a_device_has_not_signed_ends_no_lease() {
    let bench = bench(ANY, json!({})).await;
    let (machine, _) = machine(&bench).await;
    let (payload, first, _) = open(&bench, &machine).await;
    let state = async || bench.vault.store.lease(payload.lease.id).await.unwrap().unwrap().row.state;
    for row in ["G1", "E7"] {
        let tampered = renewal(&bench, &first, payload.lease.id).await;
        let collect = |bound: Bound<'_>| {
            let of_another = Bound { statement: b"another statement", ..bound };
            let gpus = if row == "G1" { machine.gpu_reports(of_another) } else { Vec::new() };
            [vec![machine.report(bound)], gpus].concat()
        };
        let reply = send(&bench, &tampered, collect).await;
        assert_eq!(refused(&reply), told(403, "denied", row));
        assert_eq!(state().await, LeaseState::Live, "somebody on the way may have done that");
    }
    // What nobody imported, or not again, is no drift of the machine's.
    let week = json!({ "gpu": { "not_devtools": "measurements", "revocation_max_age": 604_800 } });
    bench.enforce(policy(ANY, &week)).await;
    let unknown = renewal(&bench, &first, payload.lease.id).await;
    let reply = send(&bench, &unknown, |bound| machine.evidence(bound)).await;
    assert_eq!(refused(&reply), told(403, "denied", "G5"));
    assert_eq!(state().await, LeaseState::Live, "endorsements that are missing say nothing of the GPU");
    // A policy of today that the machine does not meet is of the machine itself.
    bench.enforce(policy(ANY, &json!({ "snp": { "smt_off": true } }))).await;
    let drifted = renewal(&bench, &first, payload.lease.id).await;
    let reply = send(&bench, &drifted, |bound| machine.evidence(bound)).await;
    assert_eq!(refused(&reply), told(403, "denied", "S7"));
    assert_eq!(state().await, LeaseState::Revoked);
}
