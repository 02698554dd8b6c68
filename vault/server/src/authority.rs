//! Who may call an endpoint, and who calls it.

use crate::{
    admission::Peer,
    api::tokens,
    bodies::{Terms, needed},
    json::discard,
    problem::{Answer, Refused},
    vault::{Shared, Vault},
};
use axum::{
    extract::{ConnectInfo, FromRequestParts, Request},
    http::{HeaderMap, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::net::SocketAddr;
use strongroom_ledger::{Actor, ActorKind};
use strongroom_protocol::{
    Code, Fixed, Problem,
    admin::{Role, TokenState},
    sha256,
};
use strongroom_store::{Guard, model::TokenRow};
use zeroize::Zeroizing;

/// How every token begins, so that scanners of logs and repositories find one.
pub const TOKEN_PREFIX: &str = "srt_";
/// Characters of a token: the prefix and 32 bytes of base64url.
const TOKEN_LENGTH: usize = 47;

/// Who may call an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody, also while the vault is locked.
    Always,
    /// Anybody.
    Public,
    /// Whoever brings evidence of an enrolled node, or of a TPM that wants to be one.
    Evidence,
    /// Whoever proves possession of the lease.
    Possession,
    /// A token with one of these roles. Auditors may read whatever a role may read.
    Roles(&'static [Role]),
}

impl Access {
    /// True if a token with `role` may call an endpoint of this kind with this method.
    pub fn allows(self, method: &Method, role: Role) -> bool {
        match self {
            Self::Roles(roles) => roles.contains(&role) || (method == Method::GET && role == Role::Auditor),
            _ => true,
        }
    }
}

/// The person (or machine) whose token came with the request.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The token.
    pub token: TokenRow,
    version: i64,
}

impl Holder {
    /// The actor of the records of what it does.
    pub fn actor(&self) -> Actor {
        Actor { kind: ActorKind::Person, id: self.token.person.clone() }
    }

    /// The token must still be what it is now when the act is committed.
    pub fn guard(&self) -> Guard {
        Guard::Token(self.token.id.clone(), self.version)
    }
}

impl<S: Sync> FromRequestParts<S> for Holder {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        // There for every endpoint whose access names roles: `enter` puts it there.
        parts.extensions.get::<Self>().cloned().ok_or_else(|| Problem::new(Code::Unauthenticated).into())
    }
}

/// What every request passes before its handler: the lock, admission, the endpoint's access, and room for its body.
pub async fn enter(vault: Shared, access: Access, terms: Terms, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| Peer::address(info.0.ip()));
    let head = Head {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        peer,
        authorization: match access {
            Access::Roles(_) => authorization(request.headers()),
            _ => None,
        },
    };
    let bytes = needed(request.body(), terms.limit);
    let entered = match check(&vault, access, head).await {
        Ok(holder) => vault.bodies.hold(peer, bytes).await.map(|room| (holder, room)),
        Err(refused) => Err(refused),
    };
    match entered {
        Ok((holder, room)) => {
            if let Some(holder) = holder {
                request.extensions_mut().insert(holder);
            }
            request.extensions_mut().insert(terms);
            let response = next.run(request).await;
            // Until here the handler may hold what it made of the body.
            drop(room);
            response
        }
        Err(refused) => {
            discard(request).await;
            refused.into_response()
        }
    }
}

/// What of a request decides whether it gets to its handler.
struct Head {
    method: Method,
    path: String,
    peer: Option<Peer>,
    authorization: Option<Zeroizing<String>>,
}

async fn check(vault: &Vault, access: Access, head: Head) -> Answer<Option<Holder>> {
    if access == Access::Always {
        return Ok(None);
    }
    if let Some(reason) = vault.lock.reason() {
        return Err(Refused::new(Code::Locked, reason));
    }
    if let Some(peer) = head.peer {
        vault.admission.admit(peer)?;
    }
    if !matches!(access, Access::Roles(_)) {
        return Ok(None);
    }
    let holder = authenticate(vault, head.authorization).await?;
    if holder.token.roles.iter().any(|role| access.allows(&head.method, *role)) {
        Ok(Some(holder))
    } else {
        let roles: Vec<_> = holder.token.roles.iter().map(|r| r.as_str()).collect();
        tracing::warn!(
            person = %holder.token.person, token = %holder.token.id, method = %head.method,
            path = head.path, "refused: the token's roles do not allow this"
        );
        Err(Refused::new(Code::Forbidden, format!("this token holds {}", roles.join(", "))))
    }
}

/// The one `Authorization` header; none if there are two.
fn authorization(headers: &HeaderMap) -> Option<Zeroizing<String>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(|text| Zeroizing::new(text.to_owned())),
        _ => None,
    }
}

/// The token of bearer credentials. The scheme's name is one in any case (RFC 9110, 11.1).
fn bearer(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim_start_matches(' '))
}

async fn authenticate(vault: &Vault, authorization: Option<Zeroizing<String>>) -> Answer<Holder> {
    let refused = || Refused::from(Problem::new(Code::Unauthenticated));
    let value = authorization.ok_or_else(refused)?;
    let token = bearer(&value).ok_or_else(refused)?;
    if token.len() != TOKEN_LENGTH || !token.starts_with(TOKEN_PREFIX) {
        return Err(refused());
    }
    // Looked up by hash: the time that a look-up takes says nothing about tokens near to this one.
    let Some(found) = vault.store.token(Fixed(sha256(token.as_bytes()))).await? else {
        vault.refusals.count_token();
        return Err(refused());
    };
    let now = vault.clock.about().await?;
    match tokens::state(&found.row, now) {
        TokenState::Active | TokenState::Replaced => vault.token_use.used(&found.row, now),
        over @ (TokenState::Expired | TokenState::Revoked) => {
            tracing::warn!(person = %found.row.person, token = %found.row.id, state = ?over, "refused: the token is over");
            vault.token_use.refused(&found.row, over);
            return Err(refused());
        }
    }
    Ok(Holder { token: found.row, version: found.version })
}

#[cfg(test)]
mod tests {
    use super::bearer;

    #[test]
    fn the_scheme_is_one_in_any_case() {
        for credentials in ["Bearer srt_x", "bearer srt_x", "BEARER  srt_x"] {
            assert_eq!(bearer(credentials), Some("srt_x"), "{credentials}");
        }
        for credentials in ["Basic srt_x", "Bearersrt_x", "srt_x", "Bearer\tsrt_x", ""] {
            assert_eq!(bearer(credentials), None, "{credentials}");
        }
        assert_eq!(bearer("Bearer SRT_x"), Some("SRT_x"), "the token is as it is");
    }
}
