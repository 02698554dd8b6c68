//! The one table of endpoints. Router, authorisation and OpenAPI document are built from it, so
//! that none of them can know an endpoint that the others do not.
//!
//! To add one: a handler in the module of its subject, a row here, a row in the expected table of
//! `tests/it/matrix.rs`, and `strongroomd openapi > docs/openapi.json`.

use crate::{
    api::{
        assets, audit, decisions, endorsements, keys, leases, ledger,
        nodes::{self, identities},
        pins, policies, references, sites, status, tokens,
    },
    authority::{self, Access},
    bodies::{FORM, LOAD, SLIP, Terms},
    challenge, enrol,
    json::discard,
    lease::{events, possession},
    observe,
    problem::Refused,
    release,
    vault::Shared,
};
use axum::{
    Router,
    extract::Request,
    http::{Method, Uri},
    middleware::{Next, from_fn},
    routing::{MethodFilter, MethodRouter, on},
};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use strongroom_protocol::{
    Code,
    admin::{
        ApproveNode, AssetCurrent, AssetView, ChangeIdentities, CreateAsset, CreateToken, CreatedToken, ImportNode,
        NodeView, PolicyFiles, PolicyView, RecordReference, Recorded, ReferenceValues, ReferenceView, RevokeNode,
        Role::{self, Admin, Auditor, Custodian, Endorser, Operator, PolicyApprover, PolicyAuthor},
        RotateToken, RotatedToken, Site, TokenView, UpdateAsset, VaultInfo,
    },
    audit::{AuditPage, AuditQuery, DecisionView, EntryView, ProofView},
    challenge::{Challenge, ChallengeRequest},
    endorsement::{EndorsementView, ImportEndorsement, ImportedEndorsements, PinView, ProposePin},
    enrol::{ActivateRequest, EnrolChallenge, EnrolRequest, EnrolmentState},
    lease::{
        EndAnswer, EndRequest, LeaseQuery, LeaseView, RenewAnswer, RenewRequest, RevokeLease, RevokeLeases,
        RevokedLeases,
    },
    release::{ReleaseRequest, ReleaseResponse},
};

/// Gives a type's JSON schema.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// What an endpoint answers when all is well.
#[derive(Clone, Copy)]
pub enum Says {
    /// JSON of this schema.
    Json(SchemaOf),
    /// Something else, by its media type.
    Media(&'static str),
}

/// One endpoint.
#[derive(Clone)]
pub struct Endpoint {
    /// Method.
    pub method: Method,
    /// Path, with its parameters in braces.
    pub path: &'static str,
    /// Who may call it.
    pub access: Access,
    /// One sentence.
    pub summary: &'static str,
    /// What its query takes.
    pub query: Option<SchemaOf>,
    /// What its body is.
    pub body: Option<SchemaOf>,
    /// How many bytes of a body it reads.
    pub limit: usize,
    /// What it answers.
    pub says: Says,
    handler: fn(MethodFilter) -> MethodRouter<Shared>,
}

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

macro_rules! endpoints {
    ($($method:ident $path:literal, $access:expr, $summary:literal, ($($part:ident $type:tt),*) => $says:expr, $handler:expr;)+) => {
        vec![$(Endpoint {
            method: Method::$method,
            path: $path,
            access: $access,
            summary: $summary,
            query: endpoints!(@query $($part $type),*),
            body: endpoints!(@body $($part $type),*),
            limit: endpoints!(@limit $($part)*),
            says: $says,
            handler: |method| on(method, $handler),
        }),+]
    };
    (@query query [$type:ty]) => { Some(of::<$type> as SchemaOf) };
    (@query $body:ident [$type:ty]) => { None };
    (@query) => { None };
    (@body query [$type:ty]) => { None };
    (@body $body:ident [$type:ty]) => { Some(of::<$type> as SchemaOf) };
    (@body) => { None };
    (@limit slip) => { SLIP };
    (@limit form) => { FORM };
    (@limit load) => { LOAD };
    (@limit $($query:ident)?) => { 0 };
}

/// Every endpoint.
pub fn endpoints() -> Vec<Endpoint> {
    use Access::{Always, Evidence, Possession, Public, Roles};
    use Says::{Json, Media};
    const RECORDED: Says = Json(of::<Recorded>);
    endpoints! {
        GET "/healthz", Always, "Says that the process answers.", () => Json(of::<status::Health>), status::health;
        GET "/readyz", Always, "Says whether requests are served.", () => Json(of::<status::Readiness>), status::ready;
        GET "/v1/vault", Public, "What a client may know before it trusts anything.", () => Json(of::<VaultInfo>), status::vault;
        GET "/v1/openapi.json", Public, "This document.", () => Media("application/json"), status::openapi;
        POST "/v1/challenges", Public, "Issues a nonce.", (slip [ChallengeRequest]) => Json(of::<Challenge>), challenge::create;

        POST "/v1/releases", Evidence, "Releases keys, renews a lease, or takes a node's devices into its record, on fresh evidence.", (load [ReleaseRequest]) => Json(of::<ReleaseResponse>), release::create;
        POST "/v1/leases/{id}/renew", Possession, "Proves possession of a lease and prolongs it; the answer is signed in `Strongroom-Signature`.", (slip [RenewRequest]) => Json(of::<RenewAnswer>), possession::renew;
        DELETE "/v1/leases/{id}", Possession, "Ends a lease; the answer is signed in `Strongroom-Signature`.", (slip [EndRequest]) => Json(of::<EndAnswer>), possession::end;
        GET "/v1/leases/{id}/events", Possession, "Signed events of a lease, as server-sent events of `SignedEvent`.", () => Media("text/event-stream"), events::listen;

        POST "/v1/nodes", Evidence, "Begins an enrolment.", (load [EnrolRequest]) => Json(of::<EnrolChallenge>), enrol::begin;
        POST "/v1/enrolments/{id}/activate", Evidence, "Ends an enrolment with the credential's secret and a quote.", (load [ActivateRequest]) => Json(of::<EnrolmentState>), enrol::activate;
        GET "/v1/enrolments/{id}", Evidence, "How far an enrolment is.", () => Json(of::<EnrolmentState>), enrol::show;

        GET "/v1/ledger/checkpoint", Public, "The newest checkpoint (C2SP tlog-checkpoint).", () => Media("text/plain"), ledger::checkpoint;
        GET "/v1/ledger/tile/{*path}", Public, "A tile of the log (C2SP tlog-tiles).", () => Media("application/octet-stream"), ledger::tile;
        GET "/v1/assets/{name}/current", Public, "The newest key version that was not destroyed, and its state.", () => Json(of::<AssetCurrent>), assets::current;

        POST "/v1/sites", Roles(&[Operator]), "Creates a site.", (form [Site]) => RECORDED, sites::create;
        GET "/v1/sites", Roles(&[Operator, Auditor]), "All sites.", () => Json(of::<Vec<Site>>), sites::list;
        POST "/v1/nodes/import", Roles(&[Operator]), "Registers a machine without a TPM by what its evidence will show.", (form [ImportNode]) => RECORDED, identities::import;
        GET "/v1/nodes", Roles(&[Operator, Auditor]), "All nodes.", () => Json(of::<Vec<NodeView>>), nodes::list;
        GET "/v1/nodes/{id}", Roles(&[Operator, Auditor]), "A node, by its id or by an identity that its record lists (`KIND:VALUE`).", () => Json(of::<NodeView>), nodes::show;
        GET "/v1/nodes/{id}/measurements", Roles(&[Endorser, Operator, Auditor]), "What a node showed when it attested last: PCR values, the events of its boot log, measured files.", () => Json(of::<ReferenceValues>), nodes::measured;
        POST "/v1/nodes/{id}/approve", Roles(&[Operator]), "Puts a node into a site.", (form [ApproveNode]) => RECORDED, nodes::approve;
        POST "/v1/nodes/{id}/revoke", Roles(&[Operator]), "Takes a node out for good, and ends its leases.", (form [RevokeNode]) => RECORDED, nodes::revoke;
        POST "/v1/nodes/{id}/identities", Roles(&[Operator]), "Adds identities to a node's record, or takes some out, which ends its leases.", (form [ChangeIdentities]) => RECORDED, identities::change;
        POST "/v1/references", Roles(&[Endorser]), "Proposes a version of a reference set.", (load [RecordReference]) => RECORDED, references::propose;
        POST "/v1/references/{name}/{version}/approve", Roles(&[Endorser]), "Puts a version of a reference set in force that somebody else proposed.", () => RECORDED, references::approve;
        GET "/v1/references", Roles(&[Endorser, Auditor, Operator, PolicyAuthor]), "Every version of every reference set.", () => Json(of::<Vec<ReferenceView>>), references::list;

        POST "/v1/endorsements", Roles(&[Endorser]), "Takes in what vendors publish about their hardware: all of it, or nothing.", (load [ImportEndorsement]) => Json(of::<ImportedEndorsements>), endorsements::import;
        GET "/v1/endorsements", Roles(&[Endorser, Auditor, Operator]), "All endorsements, without their bytes.", () => Json(of::<Vec<EndorsementView>>), endorsements::list;
        DELETE "/v1/endorsements/{*name}", Roles(&[Endorser]), "Removes an endorsement, whose name is a path; a revocation list, collateral or an answer only where a second person asks for it too.", () => RECORDED, endorsements::remove;
        POST "/v1/pins", Roles(&[Endorser]), "Proposes that a TPM vendor's root be trusted.", (form [ProposePin]) => RECORDED, pins::propose;
        GET "/v1/pins", Roles(&[Endorser, Auditor, Operator]), "Every pinned root, those of the release among them.", () => Json(of::<Vec<PinView>>), pins::list;
        POST "/v1/pins/{kind}/{sha256}/approve", Roles(&[Endorser]), "Puts a pin in force that somebody else proposed.", () => RECORDED, pins::approve;
        DELETE "/v1/pins/{kind}/{sha256}", Roles(&[Endorser]), "Takes a pin back that nothing rests on, or the proposal of one.", () => RECORDED, pins::withdraw;

        POST "/v1/assets", Roles(&[Custodian]), "Creates an asset with its first key version.", (form [CreateAsset]) => RECORDED, assets::create;
        GET "/v1/assets", Roles(&[Custodian, Auditor]), "All assets.", () => Json(of::<Vec<AssetView>>), assets::list;
        GET "/v1/assets/{name}", Roles(&[Custodian, Auditor]), "An asset.", () => Json(of::<AssetView>), assets::show;
        POST "/v1/assets/{name}", Roles(&[Custodian]), "Changes an asset's labels, jurisdictions, reference sets or lease quota.", (form [UpdateAsset]) => RECORDED, assets::update;
        POST "/v1/assets/{name}/keys", Roles(&[Custodian]), "Makes a new active key version.", () => RECORDED, keys::rotate;
        DELETE "/v1/assets/{name}/keys/{version}", Roles(&[Custodian]), "Destroys a key version, and ends the leases that hold it.", () => RECORDED, keys::destroy;
        GET "/v1/leases", Roles(&[Custodian, Auditor]), "Leases, newest first.", (query [LeaseQuery]) => Json(of::<Vec<LeaseView>>), leases::list;
        POST "/v1/leases/revoke", Roles(&[Custodian, Operator]), "Takes all leases of a node, an asset (custodians only), a site, or all there are back, at once.", (form [RevokeLeases]) => Json(of::<RevokedLeases>), leases::revoke_many;
        POST "/v1/leases/{id}/revoke", Roles(&[Custodian]), "Takes a lease back.", (form [RevokeLease]) => RECORDED, leases::revoke;

        POST "/v1/policies", Roles(&[PolicyAuthor]), "Proposes a policy.", (load [PolicyFiles]) => RECORDED, policies::propose;
        GET "/v1/policies", Roles(&[PolicyAuthor, PolicyApprover, Auditor]), "All policies, newest first.", () => Json(of::<Vec<PolicyView>>), policies::list;
        GET "/v1/policies/{digest}", Roles(&[PolicyAuthor, PolicyApprover, Auditor]), "A policy with its files.", () => Json(of::<policies::PolicyDetail>), policies::show;
        POST "/v1/policies/{digest}/enforce", Roles(&[PolicyApprover]), "Enforces a policy that somebody else proposed.", () => RECORDED, policies::enforce;

        POST "/v1/tokens", Roles(&[Admin]), "Creates a token; its secret is shown once.", (form [CreateToken]) => Json(of::<CreatedToken>), tokens::create;
        GET "/v1/tokens", Roles(&[Admin, Auditor]), "All tokens, without secrets.", () => Json(of::<Vec<TokenView>>), tokens::list;
        GET "/v1/tokens/self", Roles(&Role::ALL), "The token that asks, without its secret.", () => Json(of::<TokenView>), tokens::whoami;
        POST "/v1/tokens/self/rotate", Roles(&Role::ALL), "Puts another token, shown once, in the place of the one that asks; it lives no longer.", (form [RotateToken]) => Json(of::<RotatedToken>), tokens::rotate;
        DELETE "/v1/tokens/{id}", Roles(&[Admin]), "Revokes a token.", () => RECORDED, tokens::revoke;

        GET "/v1/decisions", Roles(&[Auditor, Custodian, Operator, PolicyAuthor]), "Records of decisions.", (query [AuditQuery]) => Json(of::<AuditPage>), decisions::list;
        GET "/v1/decisions/{id}", Roles(&[Auditor, Custodian, Operator, PolicyAuthor]), "A decision with everything that it was made from.", () => Json(of::<DecisionView>), decisions::show;
        GET "/v1/audit/records", Roles(&[Auditor]), "Records of the ledger.", (query [AuditQuery]) => Json(of::<AuditPage>), audit::records;
        GET "/v1/audit/records/{id}", Roles(&[Auditor]), "A record of the ledger.", () => Json(of::<EntryView>), audit::record;
        GET "/v1/audit/records/{id}/proof", Roles(&[Auditor]), "A record with its receipt under the newest checkpoint.", () => Json(of::<ProofView>), audit::proof;
        GET "/v1/audit/export", Roles(&[Auditor]), "The whole log as lines of `ExportLine`.", () => Media("application/x-ndjson"), audit::export;
    }
}

/// The API of an open vault.
pub fn router(vault: Shared) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        // INVARIANT: the table has no methods that axum does not know; the matrix test calls each.
        let Ok(filter) = MethodFilter::try_from(endpoint.method.clone()) else { continue };
        let (entered, access) = (Shared::clone(&vault), endpoint.access);
        let terms = Terms::new(&vault.config.limits, endpoint.limit);
        let enter =
            move |request: Request, next: Next| authority::enter(Shared::clone(&entered), access, terms, request, next);
        router = router.route(endpoint.path, (endpoint.handler)(filter).route_layer(from_fn(enter)));
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(vault)
        .layer(from_fn(observe::observe))
}

/// The API of a vault that is locked from its start: it says so, and nothing else.
pub fn locked_router(reason: String) -> Router {
    let locked = move |request: Request| {
        let reason = reason.clone();
        async move {
            if request.uri().path() == "/healthz" {
                return Ok(status::health().await);
            }
            discard(request).await;
            Err(Refused::new(Code::Locked, reason))
        }
    };
    Router::new().fallback(locked).layer(from_fn(observe::observe))
}

async fn not_found(uri: Uri) -> Refused {
    // The path is the requester's own, cut so that it cannot fill a log.
    let path: String = uri.path().chars().take(128).collect();
    Refused::new(Code::NotFound, format!("there is no endpoint {path}"))
}

async fn method_not_allowed(method: Method) -> Refused {
    let mut refused = Refused::malformed("method", format!("this endpoint has no {method}"));
    refused.0.status = 405;
    refused
}
