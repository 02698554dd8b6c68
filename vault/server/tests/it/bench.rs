//! A vault to test, with a token for each role, and what a client does.

use crate::{ahead::Ahead, tpm::Tpm};
use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};
use strongroom_attest::Pins;
use strongroom_envelope::{RecipientKey, ReleasePayload, open};
use strongroom_keys::{KeyTree, NewVault, RootKey};
use strongroom_ledger::{CheckedRecord, VerifierKey, check_release_record, default_origin};
use strongroom_protocol::{
    Bytes, EnrolmentId, Fixed, LeaseId, NodeId,
    admin::{CreateToken, Role},
    binding::{
        TAG_ENROL, TAG_TPM, TAG_TPM_AGENT, lease_message, possession_message, release_info, response_message,
        tpm_extra_data,
    },
    challenge::{Nonce, Purpose},
    evidence::{Evidence, Tpm2Evidence},
    lease::{POSSESSION_HEADER, Possession, SIGNATURE_HEADER},
    release::{ReleaseRequest, ReleaseResponse},
    sha256,
    statement::{Access, Act, CallerRef, Kem, KeyRequest, Recipient, Scope, Statement},
};
use strongroom_server::{
    api::tokens,
    config::Config,
    routes,
    start::{Committer, IdentitySigner, Trusted, assemble},
    vault::{Shared, record, subject, system},
};
use strongroom_store::{
    Change, Item, Outcome, Sequencer, SqliteStore, Store,
    model::{EnrolmentRow, VaultRow},
};
use tower::ServiceExt;

pub(crate) const CALLER: &[u8] = br#"{"job":"train-7","uid":1000}"#;

pub(crate) struct Bench {
    pub(crate) vault: Shared,
    pub(crate) router: Router,
    pub(crate) tokens: BTreeMap<Role, String>,
    pub(crate) sequencer: Sequencer,
    pub(crate) ahead: Arc<Ahead>,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or(Value::Null)
    }
    /// Status and code of a problem document.
    #[track_caller]
    pub(crate) fn problem(&self) -> (u16, String) {
        let problem = self.json();
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/problem+json", "{problem}");
        assert!(problem["request_id"].is_string(), "{problem}");
        (self.status.as_u16(), problem["code"].as_str().unwrap().to_owned())
    }
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", String::from_utf8_lossy(&self.bytes));
        self.json()
    }
}

impl Bench {
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    pub(crate) async fn with(mut config: Config) -> Self {
        // One process asks for all nodes here.
        config.limits.requests_per_second = 100_000;
        config.limits.burst = 100_000;
        Self::with_limits(config).await
    }

    pub(crate) async fn with_limits(config: Config) -> Self {
        Self::trusting(config, Pins::default()).await
    }

    /// A vault whose program gives it these roots.
    pub(crate) async fn trusting(config: Config, pins: Pins) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = RootKey::generate().unwrap();
        let new = NewVault::generate(&root).unwrap();
        let keys = Arc::new(KeyTree::unlock(Box::new(root), &new).unwrap());
        let ledger_key = VerifierKey::new(default_origin(keys.vault_id()), new.identity_key).unwrap();
        let store = SqliteStore::open(&directory.path().join("vault.db")).await.unwrap();
        let row = VaultRow {
            root_commitment: Fixed(new.root_commitment),
            wrapped_identity: Bytes(new.wrapped_identity),
            identity_key: Fixed(new.identity_key),
            wrapped_tenant_key: Bytes(new.wrapped_tenant_key),
            ledger_origin: ledger_key.name().to_owned(),
            created_at: 0,
        };
        store.initialise(&row).await.unwrap();
        let sequencer = Sequencer::new(
            Arc::new(store.clone()),
            Arc::new(IdentitySigner(Arc::clone(&keys))),
            ledger_key.clone(),
            directory.path().join("outside"),
            "test",
        )
        .await
        .unwrap();
        let ahead = Arc::new(Ahead::of(Committer(sequencer.clone())));
        let committer = Arc::clone(&ahead);
        let vault =
            assemble(config, Arc::new(store), committer, keys, Trusted { pins, ..Trusted::default() }, ledger_key);
        let router = routes::router(Shared::clone(&vault));
        let mut bench = Self { vault, router, tokens: BTreeMap::new(), sequencer, ahead, directory };
        for role in Role::ALL {
            let token = bench.token(role.as_str(), &[role]).await;
            bench.tokens.insert(role, token);
        }
        bench
    }

    /// A token that stands in the ledger, as `init` makes the first.
    pub(crate) async fn token(&self, person: &str, roles: &[Role]) -> String {
        let now = self.vault.store.now().await.unwrap();
        let request = CreateToken { person: person.to_owned(), roles: roles.to_vec(), expires_in: 3600 };
        let (text, row) = tokens::make(request, now).unwrap();
        let subject = subject(strongroom_ledger::SubjectKind::Token, &row.id);
        let record = record("test", now, system("test"), strongroom_ledger::Action::TokenCreated, subject).unwrap();
        let changes = vec![Change::CreateToken(row)];
        let item = Item { record, guards: vec![], nonce: None, quotas: vec![], changes, blobs: vec![] };
        let outcomes = self.sequencer.commit(vec![item]).await.unwrap();
        assert!(matches!(outcomes[..], [Outcome::Committed(_)]), "{outcomes:?}");
        text.as_str().to_owned()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, 16 << 20).await.unwrap().to_vec();
        Reply { status: parts.status, headers: parts.headers, bytes }
    }

    pub(crate) async fn call(&self, role: Option<Role>, method: Method, path: &str, body: Option<Value>) -> Reply {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(role) = role {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", self.tokens[&role]));
        }
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    pub(crate) async fn post(&self, role: Role, path: &str, body: Value) -> Reply {
        self.call(Some(role), Method::POST, path, Some(body)).await
    }

    pub(crate) async fn get(&self, role: Role, path: &str) -> Reply {
        self.call(Some(role), Method::GET, path, None).await
    }

    pub(crate) async fn public(&self, method: Method, path: &str, body: &impl Serialize) -> Reply {
        self.call(None, method, path, Some(serde_json::to_value(body).unwrap())).await
    }

    pub(crate) async fn nonce(&self, purpose: Purpose) -> Nonce {
        let reply = self.public(Method::POST, "/v1/challenges", &json!({ "purpose": purpose })).await.ok();
        serde_json::from_value(reply["nonce"].clone()).unwrap()
    }

    /// An enrolment whose secret the test knows, as if its TPM had opened the credential.
    pub(crate) async fn enrolment(&self, tpm: &Tpm, secret: &[u8]) -> EnrolmentId {
        let id = EnrolmentId::from(strongroom_server::vault::random().unwrap());
        let row = EnrolmentRow {
            id,
            ek_public: Bytes(tpm.ek_public.clone()),
            ak_public: Bytes(tpm.ak_public.clone()),
            secret_sha256: Fixed(sha256(secret)),
            requested_labels: BTreeMap::new(),
            hostname: Some("node-1".to_owned()),
            tpm: "TEST model 1".to_owned(),
            expires_at: self.vault.store.now().await.unwrap() + 600,
            node: None,
            source: String::new(),
        };
        self.vault.store.put_enrolment(&row).await.unwrap();
        id
    }

    pub(crate) async fn enrol_statement(&self, tpm: &Tpm, enrolment: EnrolmentId) -> Value {
        json!({
            "v": 1, "act": "enrol", "vault": self.vault.keys.vault_id(), "nonce": self.nonce(Purpose::Enrol).await,
            "enrolment": enrolment, "ek_sha256": Fixed(sha256(&tpm.ek_public)), "ak_name": Bytes(tpm.ak_name()),
        })
    }

    pub(crate) async fn activate(&self, tpm: &Tpm, enrolment: EnrolmentId, secret: &[u8], statement: &Value) -> Reply {
        let statement = statement.to_string().into_bytes();
        let quote = tpm.quote(tpm_extra_data(TAG_ENROL, &statement, None));
        let body = json!({ "secret": Bytes::from(secret), "statement": Bytes(statement), "quote": quote });
        self.public(Method::POST, &format!("/v1/enrolments/{enrolment}/activate"), &body).await
    }

    /// A node that waits for approval.
    pub(crate) async fn pending(&self, tpm: &Tpm) -> NodeId {
        let enrolment = self.enrolment(tpm, b"secret").await;
        let statement = self.enrol_statement(tpm, enrolment).await;
        let state = self.activate(tpm, enrolment, b"secret", &statement).await.ok();
        serde_json::from_value(state["node"].clone()).unwrap()
    }

    /// A node, approved into a site to run one job only.
    pub(crate) async fn approved(&self, tpm: &Tpm, site: &str) -> NodeId {
        let node = self.pending(tpm).await;
        let body = json!({ "site": site, "labels": {}, "single_job": true });
        self.post(Role::Operator, &format!("/v1/nodes/{node}/approve"), body).await.ok();
        node
    }

    /// Sites, an approved node, its reference set, the asset `model` and an enforced policy.
    pub(crate) async fn ready(&self) -> (Tpm, NodeId) {
        let tpm = Tpm::new();
        for (name, jurisdiction) in [("fra-1", "DE"), ("iad-1", "US")] {
            let site = json!({ "name": name, "jurisdiction": jurisdiction });
            self.post(Role::Operator, "/v1/sites", site).await.ok();
        }
        let node = self.approved(&tpm, "fra-1").await;
        self.refer("fleet", json!({ "from_node": node })).await;
        self.asset("model").await;
        self.enforce(baseline()).await;
        (tpm, node)
    }

    /// A version of a reference set, proposed by the endorser and put in force by another.
    pub(crate) async fn refer(&self, name: &str, what: Value) -> Value {
        let mut body = what;
        body["name"] = name.into();
        let proposed = self.post(Role::Endorser, "/v1/references", body).await.ok();
        let path = format!("/v1/references/{name}/{}/approve", proposed["version"]);
        let second = self.token("second-endorser", &[Role::Endorser]).await;
        self.as_holder(&second, Method::POST, &path).await.ok();
        proposed
    }

    /// Asks with this token, without a body.
    pub(crate) async fn as_holder(&self, token: &str, method: Method, path: &str) -> Reply {
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn asset(&self, name: &str) {
        let asset = json!({
            "name": name, "labels": { "version_scope": "allowed" }, "jurisdictions": ["DE"], "reference_sets": ["fleet"],
        });
        self.post(Role::Custodian, "/v1/assets", asset).await.ok();
    }

    pub(crate) async fn enforce(&self, files: BTreeMap<String, String>) {
        let proposed = self.post(Role::PolicyAuthor, "/v1/policies", json!({ "files": files })).await.ok();
        let path = format!("/v1/policies/{}/enforce", proposed["digest"].as_str().unwrap());
        self.call(Some(Role::PolicyApprover), Method::POST, &path, None).await.ok();
    }

    /// A statement that asks to read the whole of `model@1`, for a caller.
    pub(crate) async fn ask(&self, recipient: &RecipientKey) -> Statement {
        Statement {
            v: 1,
            act: Act::Release,
            lease: None,
            vault: self.vault.keys.vault_id(),
            nonce: self.nonce(Purpose::Release).await,
            client_random: Fixed(strongroom_server::vault::random().unwrap()),
            recipient: Recipient { kem: Kem::XWing, public_key: Bytes(recipient.public_key().to_vec()) },
            keys: vec![read("model", 1)],
            job: None,
            caller: Some(CallerRef { sha256: Fixed(sha256(CALLER)) }),
        }
    }

    /// Sends a statement with the evidence that binds it.
    pub(crate) async fn release(&self, tpm: &Tpm, statement: &Statement) -> Reply {
        self.public(Method::POST, "/v1/releases", &request(tpm, statement)).await
    }

    /// Asks, and opens the answer as a client does.
    pub(crate) async fn open(
        &self,
        tpm: &Tpm,
        statement: &Statement,
        recipient: &RecipientKey,
    ) -> (ReleasePayload, CheckedRecord) {
        let reply = self.release(tpm, statement).await.ok();
        self.believe(statement, &reply, recipient)
    }

    /// What a client checks before it opens an envelope, and what it finds inside.
    pub(crate) fn believe(
        &self,
        statement: &Statement,
        reply: &Value,
        recipient: &RecipientKey,
    ) -> (ReleasePayload, CheckedRecord) {
        let (plaintext, checked) = self.unseal(statement, reply, recipient);
        (ReleasePayload::from_json(&plaintext).unwrap(), checked)
    }

    /// The same, of whatever is inside.
    pub(crate) fn unseal(
        &self,
        statement: &Statement,
        reply: &Value,
        recipient: &RecipientKey,
    ) -> (Vec<u8>, CheckedRecord) {
        let reply: ReleaseResponse = serde_json::from_value(reply.clone()).unwrap();
        let bytes = serde_json::to_vec(statement).unwrap();
        let keys = [self.vault.ledger_key.clone()];
        let checked = check_release_record(&reply.record.0, &reply.salt.0, &reply.receipt, &keys).unwrap();
        let (enc, ciphertext) = (&reply.envelope.enc.0, &reply.envelope.ciphertext.0);
        self.verify(&response_message(&bytes, &checked.receipt.leaf, enc, ciphertext), &reply.signature.0);
        assert_eq!(checked.record.id, reply.decision_id);
        assert_eq!(checked.record.statement_sha256, Some(Fixed(sha256(&bytes))));
        let plaintext = open(recipient, &release_info(reply.decision_id), &sha256(&bytes), &reply.envelope).unwrap();
        (plaintext.to_vec(), checked)
    }

    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) {
        let key = self.vault.keys.identity().public_key();
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key).verify(message, signature).unwrap();
    }

    /// A request with a possession MAC; a signed answer is verified.
    pub(crate) async fn possess(&self, act: &str, lease: LeaseId, secret: &[u8; 32], body: Option<Value>) -> Reply {
        let proof = self.proof(act, lease, secret, body.as_ref()).await;
        self.possess_with(act, lease, &proof, body).await
    }

    pub(crate) async fn proof(&self, act: &str, lease: LeaseId, secret: &[u8; 32], body: Option<&Value>) -> Possession {
        let nonce = self.nonce(Purpose::Possession).await;
        let client_random = strongroom_server::vault::random().unwrap();
        let body = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let vault = self.vault.keys.vault_id();
        let message = possession_message(act, vault, lease, nonce.as_bytes(), &client_random, &body);
        let tag = ring::hmac::sign(&ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret), &message);
        Possession { nonce, client_random: Fixed(client_random), mac: Fixed::try_from(tag.as_ref()).unwrap() }
    }

    pub(crate) async fn possess_with(
        &self,
        act: &str,
        lease: LeaseId,
        proof: &Possession,
        body: Option<Value>,
    ) -> Reply {
        let (method, path) = match act {
            "renew" => (Method::POST, format!("/v1/leases/{lease}/renew")),
            "end" => (Method::DELETE, format!("/v1/leases/{lease}")),
            _ => (Method::GET, format!("/v1/leases/{lease}/events")),
        };
        let request = Request::builder().method(method).uri(path).header(POSSESSION_HEADER, proof.to_string());
        let request = match body {
            Some(body) => request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        let reply = self.send(request.unwrap()).await;
        if reply.status == StatusCode::OK {
            let signature: Fixed<64> = reply.headers[SIGNATURE_HEADER].to_str().unwrap().parse().unwrap();
            let message =
                lease_message(act, lease, proof.nonce.as_bytes(), proof.client_random.as_array(), &reply.bytes);
            self.verify(&message, &signature.0);
        }
        reply
    }

    pub(crate) async fn ledger_size(&self) -> u64 {
        self.vault.store.head().await.unwrap().map_or(0, |h| h.size)
    }

    /// The newest record.
    pub(crate) async fn last_record(&self) -> strongroom_ledger::Record {
        let entry = self.vault.store.entry(self.ledger_size().await - 1).await.unwrap().unwrap();
        strongroom_ledger::Record::parse(&entry.body.unwrap().0).unwrap()
    }
}

pub(crate) fn read(asset: &str, version: u32) -> KeyRequest {
    KeyRequest { asset: asset.to_owned(), version, access: Access::Read, scope: Scope::Version, objects: vec![] }
}

/// A request with the agent's evidence, or evidence collected in process where there is no caller.
pub(crate) fn request(tpm: &Tpm, statement: &Statement) -> ReleaseRequest {
    let bytes = serde_json::to_vec(statement).unwrap();
    let caller = statement.caller.map(|_| CALLER);
    let tag = if caller.is_some() { TAG_TPM_AGENT } else { TAG_TPM };
    let quote: Tpm2Evidence = tpm.quote(tpm_extra_data(tag, &bytes, caller));
    ReleaseRequest {
        statement: Bytes(bytes),
        caller: caller.map(Bytes::from),
        job_token: None,
        evidence: vec![Evidence::Tpm2(quote)],
    }
}

/// The baseline that ships.
pub(crate) fn baseline() -> BTreeMap<String, String> {
    [
        ("release.rego", include_str!("../../../../policies/baseline/release.rego")),
        ("data.json", include_str!("../../../../policies/baseline/data.json")),
    ]
    .map(|(path, text)| (path.to_owned(), text.to_owned()))
    .into()
}
