//! What a node measures under a lease: what the vault keeps of its IMA log, and what ends the lease.

use crate::{
    bench::{Bench, Reply, baseline, request},
    boot::{Ima, digest_of},
    tpm::Tpm,
};
use axum::http::Method;
use serde_json::{Value, json};
use strongroom_envelope::{RecipientKey, ReleasePayload};
use strongroom_protocol::{
    Bytes, LeaseId, NodeId,
    admin::Role,
    evidence::Tpm2Evidence,
    lease::LeaseState,
    statement::{Act, Statement},
};
use strongroom_server::config::Config;

/// A node that measures, under a policy that reads PCR 10.
pub(crate) struct Measuring {
    pub(crate) bench: Bench,
    pub(crate) tpm: Tpm,
    pub(crate) node: NodeId,
    recipient: RecipientKey,
}

impl Measuring {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let bench = Bench::with(config).await;
        let (mut tpm, node) = bench.ready().await;
        let this = Self { bench, tpm: Tpm::new(), node, recipient: RecipientKey::generate().unwrap() };
        this.enforce(&[]).await;
        let mut ima = Ima::of(&tpm.boot);
        ima.run("/sbin/init");
        tpm.ima = Some(ima);
        Self { tpm, ..this }
    }

    /// The baseline with PCR 10 selected, and other settings.
    async fn enforce(&self, settings: &[(&str, Value)]) {
        let mut files = baseline();
        let mut data: Value = serde_json::from_str(&files["data.json"]).unwrap();
        data["settings"]["pcr_selection"]["pcrs"] = json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
        for (setting, value) in settings {
            data["settings"][setting] = value.clone();
        }
        files.insert("data.json".to_owned(), data.to_string());
        self.bench.enforce(files).await;
    }

    /// The node's own reference set, with these files forbidden.
    pub(crate) async fn forbid(&self, paths: &[&str]) {
        let path = format!("/v1/nodes/{}/measurements", self.node);
        let mut values = self.bench.get(Role::Endorser, &path).await.ok();
        let forbidden: serde_json::Map<_, _> = paths.iter().map(|path| (digest_of(path), json!(path))).collect();
        values["files"] = json!({ "forbidden": forbidden });
        self.bench.refer("fleet", json!({ "values": values })).await;
    }

    pub(crate) fn run(&mut self, path: &str) {
        self.tpm.ima.as_mut().unwrap().run(path);
    }

    pub(crate) fn log(&self) -> Vec<u8> {
        self.tpm.ima.as_ref().unwrap().log()
    }

    pub(crate) async fn statement(&self, lease: Option<LeaseId>) -> Statement {
        let mut statement = self.bench.ask(&self.recipient).await;
        statement.caller = None;
        if lease.is_some() {
            (statement.act, statement.lease) = (Act::Renew, lease);
        }
        statement
    }

    /// A release, or a renewal, the evidence changed.
    pub(crate) async fn ask(
        &self,
        lease: Option<LeaseId>,
        change: impl FnOnce(&mut Tpm2Evidence),
    ) -> (Statement, Reply) {
        let statement = self.statement(lease).await;
        let mut body = request(&self.tpm, &statement);
        let item = body.evidence[0].as_tpm2_mut().unwrap();
        change(item);
        let reply = self.bench.public(Method::POST, "/v1/releases", &body).await;
        (statement, reply)
    }

    pub(crate) async fn granted(
        &self,
        lease: Option<LeaseId>,
        change: impl FnOnce(&mut Tpm2Evidence),
    ) -> ReleasePayload {
        let (statement, reply) = self.ask(lease, change).await;
        self.bench.believe(&statement, &reply.ok(), &self.recipient).0
    }

    pub(crate) async fn reasons(&self, lease: Option<LeaseId>, change: impl FnOnce(&mut Tpm2Evidence)) -> Value {
        let (_, reply) = self.ask(lease, change).await;
        assert_eq!(reply.problem(), (403, "denied".to_owned()));
        reply.json()["reasons"].clone()
    }

    /// The part of the log from here on.
    fn from(&self, offset: u64) -> impl FnOnce(&mut Tpm2Evidence) + use<> {
        let part = self.log()[usize::try_from(offset).unwrap()..].to_vec();
        move |item| (item.ima_log, item.ima_offset) = (Some(Bytes(part)), Some(offset))
    }

    async fn state(&self, lease: LeaseId) -> LeaseState {
        self.bench.vault.store.lease(lease).await.unwrap().unwrap().row.state
    }

    /// The IMA claims of the last decision.
    async fn ima(&self) -> Value {
        let claims = self.bench.last_record().await.claims_sha256.unwrap();
        let kept = self.bench.vault.store.blob(claims).await.unwrap().unwrap();
        serde_json::from_slice::<Value>(&kept).unwrap()["claims"]["ima"].clone()
    }
}

pub(crate) fn whole(_: &mut Tpm2Evidence) {}

#[tokio::test]
async fn a_renewal_sends_only_what_is_new() {
    let mut node = Measuring::new().await;
    let first = node.granted(None, whole).await;
    let (lease, told) = (first.lease.id, first.ima_offset.unwrap());
    assert_eq!(told, node.log().len() as u64);
    node.run("/usr/bin/job");
    let second = node.granted(Some(lease), node.from(told)).await;
    assert_eq!(second.ima_offset, Some(node.log().len() as u64));
    let ima = node.ima().await;
    assert_eq!((&ima["entries"], &ima["files"]), (&json!(3), &json!(2)), "of the whole boot");
    // Nothing new, and from a place that was told to another process of the node before.
    node.granted(Some(lease), node.from(second.ima_offset.unwrap())).await;
    node.granted(Some(lease), node.from(told)).await;
    // The whole log is as good.
    assert_eq!(node.granted(Some(lease), whole).await.ima_offset, second.ima_offset);
    assert_eq!(node.granted(Some(lease), |item| item.ima_offset = Some(0)).await.ima_offset, second.ima_offset);
}

#[tokio::test]
async fn a_part_that_goes_on_from_nowhere_is_asked_for_as_a_whole() {
    let mut node = Measuring::new().await;
    let first = node.granted(None, whole).await;
    let (lease, told) = (first.lease.id, first.ima_offset.unwrap());
    node.run("/usr/bin/job");
    let elsewhere = |offset| move |item: &mut Tpm2Evidence| item.ima_offset = Some(offset);
    assert_eq!(node.reasons(Some(lease), elsewhere(told - 1)).await, json!(["ima_log_incomplete"]));
    assert_eq!(node.state(lease).await, LeaseState::Live);
    // From the right place, but not what follows it.
    let skipped = move |item: &mut Tpm2Evidence| (item.ima_log, item.ima_offset) = (Some(Bytes(vec![])), Some(told));
    assert_eq!(node.reasons(None, skipped).await, json!(["evidence_l8"]));
    node.granted(Some(lease), whole).await;
    // Another boot goes on from nothing.
    node.tpm.reset_count += 1;
    assert_eq!(node.reasons(None, node.from(told)).await, json!(["ima_log_incomplete"]));
    assert_eq!(node.granted(None, whole).await.ima_offset, Some(node.log().len() as u64));
}

#[tokio::test]
async fn what_a_boot_has_measured_is_not_forgotten_by_a_shorter_log() {
    let mut node = Measuring::new().await;
    node.forbid(&["/usr/bin/nc"]).await;
    node.granted(None, whole).await;
    let before = node.tpm.ima.clone();
    node.run("/usr/bin/nc");
    assert_eq!(node.reasons(None, whole).await, json!(["file_forbidden"]));
    let measured = node.bench.vault.store.measured(node.node).await.unwrap().unwrap();
    // A quote that was made before, and comes after; a denial kept what it showed.
    node.tpm.ima = before;
    assert_eq!(node.reasons(None, whole).await, json!(["file_forbidden"]));
    let after = node.bench.vault.store.measured(node.node).await.unwrap().unwrap();
    assert_eq!(after, measured, "the place was told before, and nothing else is new");
    // A reboot begins anew.
    node.tpm.reset_count += 1;
    node.granted(None, whole).await;
    let files = node.bench.get(Role::Endorser, &format!("/v1/nodes/{}/measurements", node.node)).await.ok();
    assert_eq!(files["files"]["accepted"], json!({ digest_of("/sbin/init"): "/sbin/init" }));
}

#[tokio::test]
async fn a_forbidden_program_ends_the_lease_at_its_renewal() {
    let mut node = Measuring::new().await;
    node.forbid(&["/usr/bin/nc"]).await;
    let first = node.granted(None, whole).await;
    let (lease, told) = (first.lease.id, first.ima_offset.unwrap());
    let mut events = node.bench.vault.events.listen();
    node.run("/usr/bin/nc");
    assert_eq!(node.reasons(Some(lease), node.from(told)).await, json!(["file_forbidden"]));
    assert_eq!(node.state(lease).await, LeaseState::Revoked);
    let record = node.bench.last_record().await;
    assert_eq!((record.lease, &record.details["lease_ended"]), (Some(lease), &json!("drifted")));
    assert_eq!(record.details["decrypt_only"], json!(["model@1"]), "it may have been copied");
    let told = events.try_recv().unwrap();
    assert_eq!(told.reason.as_deref(), Some("drifted"));
    let reply = node.bench.possess("renew", lease, first.lease_secret.expose(), Some(json!({}))).await;
    assert_ne!(reply.status, 200, "possession is worth nothing any more");
}

#[tokio::test]
async fn evidence_that_does_not_hold_ends_the_lease_and_a_reboot_does() {
    let mut node = Measuring::new().await;
    let lease = node.granted(None, whole).await.lease.id;
    let other = crate::boot::Boot { command_line: "init=/bin/sh", ..node.tpm.boot.clone() };
    let changed = move |item: &mut Tpm2Evidence| item.boot_log = Some(Bytes(other.log()));
    assert_eq!(node.reasons(Some(lease), changed).await, json!(["evidence_l7"]));
    assert_eq!(node.state(lease).await, LeaseState::Revoked);
    let lease = node.granted(None, whole).await.lease.id;
    node.tpm.reset_count += 1;
    assert_eq!(node.reasons(Some(lease), whole).await, json!(["rebooted"]));
    assert_eq!(node.state(lease).await, LeaseState::Revoked);
    assert_eq!(node.bench.last_record().await.details["lease_ended"], "rebooted");
}

/// Lease ids are no secrets, and logs are not signed: whoever is not the lease's holder cannot end it by bad evidence
/// of the node, only by what is the whole machine's.
/// Whoever can make a node be denied could use its denials up, and keep a lease alive that has to end.
#[tokio::test]
async fn a_lease_ends_though_the_denials_of_its_node_are_used_up() {
    let mut config = Config::default();
    config.limits.denials_per_node_per_hour = 1;
    let mut node = Measuring::with(config).await;
    let lease = node.granted(None, whole).await.lease.id;
    let without = |item: &mut Tpm2Evidence| item.boot_log = None;
    assert_eq!(node.reasons(None, without).await, json!(["boot_log_missing"]));
    assert_eq!(node.ask(None, without).await.1.status, 429, "they are used up");
    node.tpm.reset_count += 1;
    assert_eq!(node.reasons(Some(lease), whole).await, json!(["rebooted"]));
    assert_eq!(node.state(lease).await, LeaseState::Revoked);
}

#[tokio::test]
async fn another_process_of_the_node_cannot_end_a_lease_by_its_evidence() {
    let mut node = Measuring::new().await;
    node.forbid(&["/usr/bin/nc"]).await;
    let lease = node.granted(None, whole).await.lease.id;
    let holder = std::mem::replace(&mut node.recipient, RecipientKey::generate().unwrap());
    let other = crate::boot::Boot { command_line: "init=/bin/sh", ..node.tpm.boot.clone() };
    let changed = move |item: &mut Tpm2Evidence| item.boot_log = Some(Bytes(other.log()));
    assert_eq!(node.reasons(Some(lease), changed).await, json!(["evidence_l7", "lease_mismatch"]));
    assert_eq!(node.state(lease).await, LeaseState::Live);
    node.run("/usr/bin/nc");
    assert_eq!(node.reasons(Some(lease), whole).await, json!(["file_forbidden", "lease_mismatch"]));
    assert_eq!(node.state(lease).await, LeaseState::Live);
    // What it showed is kept, and ends the lease when its holder comes.
    node.recipient = holder;
    assert_eq!(node.reasons(Some(lease), whole).await, json!(["file_forbidden"]));
    assert_eq!(node.state(lease).await, LeaseState::Revoked);
}

#[tokio::test]
async fn a_denial_that_says_nothing_of_the_node_ends_no_lease() {
    let node = Measuring::new().await;
    let lease = node.granted(None, whole).await.lease.id;
    let garbage = |item: &mut Tpm2Evidence| item.boot_log = Some(Bytes(b"no log".to_vec()));
    assert_eq!(node.reasons(Some(lease), garbage).await, json!(["evidence_l1"]));
    assert_eq!(node.reasons(Some(lease), |item| item.boot_log = None).await, json!(["boot_log_missing"]));
    assert_eq!(node.reasons(Some(lease), |item| item.ima_log = None).await, json!(["ima_log_missing"]));
    node.enforce(&[("max_leases_per_node", json!(0))]).await;
    assert_eq!(node.reasons(Some(lease), whole).await, json!(["node_quota"]));
    assert_eq!(node.state(lease).await, LeaseState::Live);
    assert!(!node.bench.last_record().await.details.contains_key("lease_ended"));
    node.enforce(&[]).await;
    node.granted(Some(lease), whole).await;
}
