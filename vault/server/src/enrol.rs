//! Enrolment of a node: certificate, credential, quote (rows E1 to E6, and Q1 to Q8 of its quote).

use crate::{
    admission::Source,
    challenge,
    events::{Notice, Whose},
    json::{Json, Path},
    measurements,
    problem::{Answer, Refused},
    vault::{Shared, Vault, node_actor, random, subject},
};
use axum::extract::State;
use ring::rand::SystemRandom;
use std::collections::BTreeMap;
use strongroom_attest::{
    QuoteEvidence, QuoteExpectation, TpmClaims,
    enrol::{check_ak, make_credential, node_id, verify_ek_certificate},
    pins::PinKind,
    quote,
    tpm::Public,
};
use strongroom_envelope::Secret;
use strongroom_keys::KeysError;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Bytes, Code, EnrolmentId, Fixed, NodeId, Problem,
    binding::{TAG_ENROL, tpm_extra_data},
    challenge::Purpose,
    enrol::{ActivateRequest, EnrolChallenge, EnrolRequest, EnrolStatement, EnrolmentState, NodeState},
    identity::Identity,
    lease::{EventKind, LeaseState},
    limits, objects, sha256,
};
use strongroom_store::{
    Change, Guard, Item,
    model::{EnrolmentRow, NodeRow, TpmRow},
};
use subtle::ConstantTimeEq;

/// Labels of a node, and bytes of each name and value.
const LABELS: usize = 64;
const LABEL: usize = 255;

/// `POST /v1/nodes`: makes a credential that only the TPM with both keys can open. Nothing is reserved.
pub async fn begin(
    State(vault): State<Shared>,
    Source(source): Source,
    Json(request): Json<EnrolRequest>,
) -> Answer<Json<EnrolChallenge>> {
    check_caps(&request)?;
    let malformed = |field: &str, e: &dyn std::fmt::Display| Refused::malformed(field, e.to_string());
    let ek = Public::parse(&request.ek_public.0).map_err(|e| malformed("ek_public", &e))?;
    let ak = Public::parse(&request.ak_public.0).map_err(|e| malformed("ak_public", &e))?;
    let now = vault.clock.now().await?;
    let at = u64::try_from(now).map_err(Refused::internal)?;
    let chain: Vec<&[u8]> = request.ek_certificate_chain.iter().map(Bytes::as_slice).collect();
    // What lies in the vault's directories, and what was imported.
    let endorsed = vault.endorsements.current(vault.store.as_ref()).await?;
    let mut anchors = vault.trust.anchors.clone();
    anchors.extend(endorsed.tpm.clone());
    let mut crls: Vec<&[u8]> = vault.trust.crls.iter().map(|crl| crl.der.as_slice()).collect();
    crls.extend(endorsed.store.lists(PinKind::TpmVendor));
    let identity = verify_ek_certificate(&chain, &ek, &anchors, &crls, at).map_err(|e| refused(&e))?;
    let profile = check_ak(&ak).map_err(|e| refused(&e))?;

    let secret = Secret::<32>::random().map_err(|_| Refused::from(KeysError::NoRandomness))?;
    let credential =
        make_credential(&ek, profile.name(), secret.expose(), &SystemRandom::new()).map_err(|e| refused(&e))?;
    let lifetime = i64::try_from(vault.config.limits.enrolment_lifetime_s).unwrap_or(i64::MAX);
    let enrolment = EnrolmentRow {
        id: EnrolmentId::from(random()?),
        ek_public: request.ek_public,
        ak_public: request.ak_public,
        secret_sha256: Fixed(sha256(secret.expose())),
        requested_labels: request.requested_labels,
        hostname: request.hostname,
        tpm: format!("{} {} {}", identity.manufacturer(), identity.model(), identity.version()),
        expires_at: now.saturating_add(lifetime),
        node: None,
        source,
    };
    vault.store.put_enrolment(&enrolment).await?;
    Ok(Json(EnrolChallenge {
        enrolment: enrolment.id,
        credential_blob: Bytes(credential.credential_blob),
        encrypted_secret: Bytes(credential.encrypted_secret),
    }))
}

/// `POST /v1/enrolments/{id}/activate`: the secret shows the TPM, the quote fixes its AK's place in it.
pub async fn activate(
    State(vault): State<Shared>,
    Path(id): Path<String>,
    Json(request): Json<ActivateRequest>,
) -> Answer<Json<EnrolmentState>> {
    let enrolment = find(&vault, &id).await?;
    let now = vault.clock.now().await?;
    let statement = read_statement(&vault, &enrolment, &request, now)?;
    if enrolment.node.is_some() {
        return Err(Refused::new(Code::Conflict, "this enrolment was activated already"));
    }
    let row = |row: &str, detail: &str| Refused::from(Problem::new(Code::EnrolmentRefused).row(row).detail(detail));
    if enrolment.expires_at <= now {
        return Err(row("E5", "the enrolment expired: begin a new one"));
    }
    // Hashes of equal length, compared in constant time: an early exit would tell of the hash only.
    let given = sha256(&request.secret.0);
    if !bool::from(given.ct_eq(&enrolment.secret_sha256.0)) {
        return Err(row("E5", "the activation secret is wrong: begin a new enrolment"));
    }
    let claims = verify_quote(&vault, &enrolment, &request).await?;
    let node = put_node(&vault, &enrolment, &claims, &statement, now).await?;
    Ok(Json(EnrolmentState { node: Some(node), state: Some(NodeState::Pending), site: None }))
}

/// `GET /v1/enrolments/{id}`.
pub async fn show(State(vault): State<Shared>, Path(id): Path<String>) -> Answer<Json<EnrolmentState>> {
    let enrolment = find(&vault, &id).await?;
    let node = match enrolment.node {
        Some(node) => vault.store.node(node).await?.map(|n| n.row),
        None => None,
    };
    Ok(Json(match node {
        // Another enrolment may have replaced this one's AK since.
        Some(node) if node.tpm.as_ref().is_some_and(|tpm| tpm.ak_public == enrolment.ak_public) => {
            EnrolmentState { node: Some(node.id), state: Some(node.state), site: node.site }
        }
        _ => EnrolmentState { node: None, state: None, site: None },
    }))
}

async fn find(vault: &Vault, id: &str) -> Answer<EnrolmentRow> {
    let id = id.parse().map_err(|_| Refused::malformed("enrolment", "not an enrolment's id"))?;
    vault.store.enrolment(id).await?.ok_or_else(|| Refused::not_found("enrolment"))
}

/// The quote's statement is for this vault, this enrolment, its EK and its AK, and fresh.
fn read_statement(
    vault: &Vault,
    enrolment: &EnrolmentRow,
    request: &ActivateRequest,
    now: i64,
) -> Answer<EnrolStatement> {
    let statement: EnrolStatement =
        objects::from_slice(&request.statement.0).map_err(|e| Refused::malformed("statement", e.to_string()))?;
    if statement.v != 1 {
        return Err(Refused::malformed("statement.v", "this vault reads statements of version 1"));
    }
    if statement.vault != vault.keys.vault_id() {
        return Err(Refused::new(Code::WrongVault, format!("this vault is {}", vault.keys.vault_id())));
    }
    challenge::check(vault, Purpose::Enrol, &statement.nonce, now)?;
    let ak = Public::parse(&enrolment.ak_public.0).map_err(Refused::internal)?;
    let wrong = |field: &str| Refused::malformed(field, "it is not what was enrolled");
    if statement.enrolment != enrolment.id {
        return Err(wrong("statement.enrolment"));
    }
    if statement.ek_sha256.0 != sha256(&enrolment.ek_public.0) {
        return Err(wrong("statement.ek_sha256"));
    }
    if statement.ak_name.0 != ak.name() {
        return Err(wrong("statement.ak_name"));
    }
    Ok(statement)
}

async fn verify_quote(vault: &Vault, enrolment: &EnrolmentRow, request: &ActivateRequest) -> Answer<TpmClaims> {
    let ek = Public::parse(&enrolment.ek_public.0).map_err(Refused::internal)?;
    let ak = Public::parse(&enrolment.ak_public.0).map_err(Refused::internal)?;
    if request.quote.ak.0 != sha256(&ak.name()) {
        return Err(Refused::malformed("quote.ak", "it is not the AK that was enrolled"));
    }
    let expectation = QuoteExpectation {
        ak: &ak,
        ek_name: &ek.name(),
        extra_data: tpm_extra_data(TAG_ENROL, &request.statement.0, None),
        selection: &vault.pcr_selection().await?,
        boot: None,
    };
    quote::verify(QuoteEvidence::from(&request.quote), &expectation).map_err(|e| refused(&e))
}

/// Writes the node, pending. A known EK with another AK waits for approval again, and its leases end.
async fn put_node(
    vault: &Vault,
    enrolment: &EnrolmentRow,
    claims: &TpmClaims,
    statement: &EnrolStatement,
    now: i64,
) -> Answer<NodeId> {
    let ek = Public::parse(&enrolment.ek_public.0).map_err(Refused::internal)?;
    let ak = Public::parse(&enrolment.ak_public.0).map_err(Refused::internal)?;
    let id = node_id(&ek);
    let known = vault.store.node(id).await?;
    if known.as_ref().is_some_and(|n| n.row.state == NodeState::Revoked) {
        return Err(Refused::new(Code::Conflict, "this node was revoked; a revoked EK is not enrolled again"));
    }
    let known_tpm = known.as_ref().and_then(|n| n.row.tpm.as_ref());
    let another_ak = known_tpm.is_some_and(|tpm| tpm.ak_public != enrolment.ak_public);
    // What an operator added to the record was approved for this machine, and stays taken; approval is asked for
    // again with it.
    let mut identities = known.as_ref().map(|n| n.row.identities.clone()).unwrap_or_default();
    identities.insert(Identity::of_tpm(&id));
    let row = NodeRow {
        id,
        tpm: Some(TpmRow {
            ek_public: enrolment.ek_public.clone(),
            ak_public: enrolment.ak_public.clone(),
            ak_sha256: Fixed(sha256(&ak.name())),
            model: enrolment.tpm.clone(),
        }),
        identities,
        state: NodeState::Pending,
        site: None,
        labels: BTreeMap::new(),
        requested_labels: enrolment.requested_labels.clone(),
        single_job: false,
        hostname: enrolment.hostname.clone(),
        last_pcrs: Some(measurements::of_quote(claims)),
        last_boot_log: None,
        last_boot: Some((claims.boot().reset_count, claims.boot().restart_count)),
        cloud: None,
        enrolled_at: now,
        activated_at: Some(now),
    };
    let mut record = vault.record(now, node_actor(id), Action::NodeEnrolled, subject(SubjectKind::Node, id))?;
    record.node = Some(id);
    record.details.insert("ak_name".to_owned(), claims.ak_name().into());
    record.details.insert("qualified_signer".to_owned(), claims.qualified_signer().into());
    record.details.insert("tpm".to_owned(), enrolment.tpm.clone().into());
    record.details.insert("another_ak".to_owned(), another_ak.into());
    let mut changes = vec![Change::ActivateEnrolment(enrolment.id, id), Change::PutNode(row)];
    // A node that was not there is still not there when this is committed: an approval or a revocation
    // in between must not be written over.
    let guards = vec![Guard::Node(id, known.as_ref().map_or(0, |n| n.version))];
    if known.is_some() {
        // Approval was for what was enrolled before: whatever it held then, it asks for again.
        changes.push(Change::CloseLeasesOfNode(id, LeaseState::Revoked));
    }
    let item = Item { record, guards, nonce: Some(statement.nonce), quotas: Vec::new(), changes, blobs: Vec::new() };
    vault.queue.submit(item).await?;
    let reason = Some("the node was enrolled again".to_owned());
    vault.events.tell(Notice { whose: Whose::Node(id), event: EventKind::Revoked, reason });
    Ok(id)
}

fn check_caps(request: &EnrolRequest) -> Answer<()> {
    let cap = |field: &str, ok: bool, limit: &str| {
        if ok { Ok(()) } else { Err(Refused::from(Problem::new(Code::TooLarge).field(field).detail(limit))) }
    };
    let chain = &request.ek_certificate_chain;
    cap("ek_certificate_chain", chain.len() <= limits::CERTIFICATES, "at most 8 certificates")?;
    cap("ek_certificate_chain", chain.iter().all(|c| c.0.len() <= limits::CERTIFICATE), "at most 16 KiB each")?;
    cap("ek_public", request.ek_public.0.len() <= limits::TPM_STRUCTURE, "at most 8 KiB")?;
    cap("ak_public", request.ak_public.0.len() <= limits::TPM_STRUCTURE, "at most 8 KiB")?;
    check_labels("requested_labels", &request.requested_labels)?;
    check_hostname(request.hostname.as_deref())
}

/// A name for people.
pub(crate) fn check_hostname(hostname: Option<&str>) -> Answer<()> {
    let plain = hostname.is_none_or(|h| (1..=LABEL).contains(&h.len()) && !h.contains(char::is_control));
    if plain { Ok(()) } else { Err(Refused::malformed("hostname", "1 to 255 bytes without control characters")) }
}

/// Labels of nodes and assets: few, short, without control characters.
pub(crate) fn check_labels(field: &str, labels: &BTreeMap<String, String>) -> Answer<()> {
    let plain = |text: &str| text.len() <= LABEL && !text.contains(char::is_control);
    if labels.len() <= LABELS && labels.iter().all(|(k, v)| !k.is_empty() && plain(k) && plain(v)) {
        Ok(())
    } else {
        Err(Refused::malformed(field, "at most 64 labels of at most 255 bytes without control characters"))
    }
}

fn refused(refused: &strongroom_attest::Refused) -> Refused {
    // The requester brought these bytes: what was wrong with them is not a secret to it.
    Problem::new(Code::EnrolmentRefused).row(refused.row()).detail(refused.to_string()).into()
}
