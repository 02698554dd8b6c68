//! Every endpoint × role, spelled out by hand: an endpoint without a row here fails.

use crate::bench::Bench;
use axum::http::Method;
use std::collections::BTreeSet;
use strongroom_protocol::admin::Role;
use strongroom_server::routes::endpoints;

/// Method, path, and who gets past the door. A letter for each role that does:
/// A admin, a auditor, c custodian, e endorser, o operator, P policy-approver, p policy-author;
/// `*` is everybody, with or without a token.
const EXPECTED: &[(&str, &str, &str)] = &[
    ("GET", "/healthz", "*"),
    ("GET", "/readyz", "*"),
    ("GET", "/v1/vault", "*"),
    ("GET", "/v1/openapi.json", "*"),
    ("POST", "/v1/challenges", "*"),
    ("POST", "/v1/releases", "*"),
    ("POST", "/v1/leases/{id}/renew", "*"),
    ("DELETE", "/v1/leases/{id}", "*"),
    ("GET", "/v1/leases/{id}/events", "*"),
    ("POST", "/v1/nodes", "*"),
    ("POST", "/v1/enrolments/{id}/activate", "*"),
    ("GET", "/v1/enrolments/{id}", "*"),
    ("GET", "/v1/ledger/checkpoint", "*"),
    ("GET", "/v1/ledger/tile/{*path}", "*"),
    ("GET", "/v1/assets/{name}/current", "*"),
    ("POST", "/v1/sites", "o"),
    ("GET", "/v1/sites", "ao"),
    ("POST", "/v1/nodes/import", "o"),
    ("GET", "/v1/nodes", "ao"),
    ("GET", "/v1/nodes/{id}", "ao"),
    ("GET", "/v1/nodes/{id}/measurements", "aeo"),
    ("POST", "/v1/nodes/{id}/approve", "o"),
    ("POST", "/v1/nodes/{id}/revoke", "o"),
    ("POST", "/v1/nodes/{id}/identities", "o"),
    ("POST", "/v1/references", "e"),
    ("GET", "/v1/references", "aeop"),
    ("POST", "/v1/references/{name}/{version}/approve", "e"),
    ("POST", "/v1/endorsements", "e"),
    ("GET", "/v1/endorsements", "aeo"),
    ("DELETE", "/v1/endorsements/{*name}", "e"),
    ("POST", "/v1/pins", "e"),
    ("GET", "/v1/pins", "aeo"),
    ("POST", "/v1/pins/{kind}/{sha256}/approve", "e"),
    ("DELETE", "/v1/pins/{kind}/{sha256}", "e"),
    ("POST", "/v1/assets", "c"),
    ("GET", "/v1/assets", "ac"),
    ("GET", "/v1/assets/{name}", "ac"),
    ("POST", "/v1/assets/{name}", "c"),
    ("POST", "/v1/assets/{name}/keys", "c"),
    ("DELETE", "/v1/assets/{name}/keys/{version}", "c"),
    ("GET", "/v1/leases", "ac"),
    ("POST", "/v1/leases/revoke", "co"),
    ("POST", "/v1/leases/{id}/revoke", "c"),
    ("POST", "/v1/policies", "p"),
    ("GET", "/v1/policies", "aPp"),
    ("GET", "/v1/policies/{digest}", "aPp"),
    ("POST", "/v1/policies/{digest}/enforce", "P"),
    ("POST", "/v1/tokens", "A"),
    ("GET", "/v1/tokens", "Aa"),
    ("GET", "/v1/tokens/self", "AaceoPp"),
    ("POST", "/v1/tokens/self/rotate", "AaceoPp"),
    ("DELETE", "/v1/tokens/{id}", "A"),
    ("GET", "/v1/decisions", "acop"),
    ("GET", "/v1/decisions/{id}", "acop"),
    ("GET", "/v1/audit/records", "a"),
    ("GET", "/v1/audit/records/{id}", "a"),
    ("GET", "/v1/audit/records/{id}/proof", "a"),
    ("GET", "/v1/audit/export", "a"),
];

fn letter(role: Role) -> char {
    match role {
        Role::Admin => 'A',
        Role::Auditor => 'a',
        Role::Custodian => 'c',
        Role::Endorser => 'e',
        Role::Operator => 'o',
        Role::PolicyApprover => 'P',
        Role::PolicyAuthor => 'p',
    }
}

#[test]
fn every_endpoint_has_a_row_and_every_row_an_endpoint() {
    let expected: BTreeSet<_> = EXPECTED.iter().map(|(method, path, _)| ((*method).to_owned(), *path)).collect();
    let actual: BTreeSet<_> = endpoints().iter().map(|e| (e.method.to_string(), e.path)).collect();
    assert_eq!(expected, actual);
    assert_eq!(EXPECTED.len(), endpoints().len());
}

#[tokio::test]
async fn each_role_gets_past_its_own_doors_only() {
    let bench = Bench::new().await;
    for (method, path, who) in EXPECTED {
        let method: Method = method.parse().unwrap();
        let path = path.replace("{*path}", "0/000").replace("{version}", "1").replace("{id}", "x");
        let path = path.replace("{name}", "x").replace("{digest}", "x");
        let path = path.replace("{*name}", "x/y").replace("{kind}", "x").replace("{sha256}", "x");
        let door = async |role: Option<Role>| {
            let reply = bench.call(role, method.clone(), &path, None).await;
            match reply.json()["code"].as_str() {
                Some(code @ ("unauthenticated" | "forbidden")) => Some((reply.status.as_u16(), code.to_owned())),
                _ => None,
            }
        };
        let nobody = door(None).await;
        if *who == "*" {
            assert_eq!(nobody, None, "{method} {path}");
        } else {
            assert_eq!(nobody, Some((401, "unauthenticated".to_owned())), "{method} {path}");
        }
        for role in Role::ALL {
            let expected =
                if *who == "*" || who.contains(letter(role)) { None } else { Some((403, "forbidden".to_owned())) };
            assert_eq!(door(Some(role)).await, expected, "{method} {path} as {}", role.as_str());
        }
    }
}
