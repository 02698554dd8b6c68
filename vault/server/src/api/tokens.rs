//! Tokens: who may do what. Nobody holds two of admin, policy-author and policy-approver.

use super::Act;
use crate::{
    authority::{Holder, TOKEN_PREFIX},
    clock::rfc3339,
    json::{Json, Path},
    problem::{Answer, Refused},
    vault::{Shared, random, subject},
};
use axum::extract::State;
use std::collections::BTreeSet;
use strongroom_envelope::Secret;
use strongroom_keys::KeysError;
use strongroom_ledger::{Action, SubjectKind};
use strongroom_protocol::{
    Code, Fixed,
    admin::{CreateToken, CreatedToken, Recorded, Role, TokenView},
    sha256,
};
use strongroom_store::{
    Change, Guard,
    model::{TokenRow, Versioned},
};
use zeroize::Zeroizing;

/// The longest life of a token: a year.
const LONGEST: u64 = 366 * 24 * 3600;
/// Of these a person holds one at the most.
const APART: [Role; 3] = [Role::Admin, Role::PolicyAuthor, Role::PolicyApprover];

/// `POST /v1/tokens`. The secret is in the answer, once.
pub async fn create(
    State(vault): State<Shared>,
    holder: Holder,
    Json(request): Json<CreateToken>,
) -> Answer<Json<CreatedToken>> {
    check(&request)?;
    let _alone = vault.grants.lock().await;
    let tokens = vault.store.tokens().await?;
    let now = vault.clock.now().await?;
    check_apart(&request, &tokens, now)?;
    let (secret, row) = make(request, now)?;
    let mut act = Act::by(&vault, &holder, Action::TokenCreated, subject(SubjectKind::Token, &row.id)).await?;
    // The person's other tokens are what they were: two requests at one time cannot add up.
    for token in tokens.into_iter().filter(|t| t.row.person == row.person) {
        act = act.guarded(Guard::Token(token.row.id, token.version));
    }
    let id = row.id.clone();
    act.saying("person", row.person.clone())
        .saying("roles", roles(&row.roles))
        .saying("expires_at", rfc3339(row.expires_at))
        .changing(Change::CreateToken(row))
        .commit(&vault)
        .await?;
    Ok(Json(CreatedToken { id, token: secret.as_str().to_owned() }))
}

/// `GET /v1/tokens`.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<TokenView>>> {
    let view = |t: Versioned<TokenRow>| TokenView {
        id: t.row.id,
        person: t.row.person,
        roles: t.row.roles,
        expires_at: rfc3339(t.row.expires_at),
        revoked: t.row.revoked,
    };
    Ok(Json(vault.store.tokens().await?.into_iter().map(view).collect()))
}

/// `DELETE /v1/tokens/{id}`.
pub async fn revoke(State(vault): State<Shared>, Path(id): Path<String>, holder: Holder) -> Answer<Json<Recorded>> {
    let tokens = vault.store.tokens().await?;
    let token = tokens.into_iter().find(|t| t.row.id == id).ok_or_else(|| Refused::not_found("token"))?;
    if token.row.revoked {
        return Err(Refused::new(Code::Conflict, "the token was revoked already"));
    }
    let mut act = Act::by(&vault, &holder, Action::TokenRevoked, subject(SubjectKind::Token, &id)).await?;
    let mut warnings = Vec::new();
    if is_live_admin(&token.row, now) {
        let mut left: Vec<_> = others.iter().filter(|t| is_live_admin(&t.row, now)).collect();
        left.sort_by_key(|t| t.row.expires_at);
        // The one that lives longest: it has to be live still when this is committed.
        let Some(last) = left.pop() else { return Err(last_admin()) };
        if last.row.id != holder.token.id {
            act = act.guarded(Guard::Token(last.row.id.clone(), last.version));
        }
        if left.is_empty() {
            let (person, until) = (&last.row.person, rfc3339(last.row.expires_at));
            warnings.push(format!("one token of role admin is left: {person}'s, until {until}"));
        }
    }
    if token.row.id != holder.token.id {
        act = act.guarded(Guard::Token(id.clone(), token.version));
    }
    let recorded = act.saying("person", token.row.person).changing(Change::RevokeToken(id)).commit(&vault).await?;
    Ok(Json(Recorded { warnings, ..recorded }))
}

fn is_live_admin(token: &TokenRow, now: i64) -> bool {
    token.roles.contains(&Role::Admin) && !token.revoked && token.expires_at > now
}

fn last_admin() -> Refused {
    let detail = "this is the last live token of role admin, and without one nobody could make another: make that \
                  first (`strongroom token create --role admin`)";
    Refused::new(Code::Conflict, detail)
}

/// Makes a token and its row. The secret exists here and in the answer only.
pub fn make(request: CreateToken, now: i64) -> Result<(Zeroizing<String>, TokenRow), KeysError> {
    let secret = Secret::<32>::random().map_err(|_| KeysError::NoRandomness)?;
    let text =
        Zeroizing::new(format!("{TOKEN_PREFIX}{}", Zeroizing::new(Fixed(*secret.expose()).to_string()).as_str()));
    let id = ulid::Ulid::from_parts(u64::try_from(now).unwrap_or_default() * 1000, u128::from_be_bytes(random()?));
    let mut roles = request.roles;
    roles.sort_unstable();
    roles.dedup();
    let row = TokenRow {
        id: id.to_string(),
        token_sha256: Fixed(sha256(text.as_bytes())),
        person: request.person,
        roles,
        expires_at: now.saturating_add_unsigned(request.expires_in),
        revoked: false,
    };
    Ok((text, row))
}

/// Role names, for records.
pub fn roles(roles: &[Role]) -> Vec<&'static str> {
    roles.iter().map(|r| r.as_str()).collect()
}

/// A person's name, in letters that are told apart: four eyes count names, and `оlga` in Cyrillic would
/// be somebody else than `olga`.
fn is_person(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=128).contains(&name.len())
        && name.bytes().next().is_some_and(plain)
        && name.bytes().all(|b| plain(b) || b"._@-".contains(&b))
}

/// Refuses a token that could not be meant.
pub(crate) fn check(request: &CreateToken) -> Answer<()> {
    if !is_person(&request.person) {
        let detail = "1 to 128 of a-z 0-9 . _ @ -, beginning with a letter or a digit";
        return Err(Refused::malformed("person", detail));
    }
    if request.roles.is_empty() || request.roles.len() > Role::ALL.len() {
        return Err(Refused::malformed("roles", "at least one role, each once"));
    }
    if !(1..=LONGEST).contains(&request.expires_in) {
        return Err(Refused::malformed("expires_in", "1 second to a year"));
    }
    Ok(())
}

/// Nobody holds two of the roles that are kept apart, over all live tokens of the person. This is
/// not waived with four eyes: a development vault can make another name.
pub(crate) fn check_apart(request: &CreateToken, tokens: &[Versioned<TokenRow>], now: i64) -> Answer<()> {
    let live = tokens.iter().filter(|t| t.row.person == request.person && !t.row.revoked && t.row.expires_at > now);
    let held = live.flat_map(|t| t.row.roles.iter().copied()).chain(request.roles.iter().copied());
    let apart: BTreeSet<Role> = held.filter(|role| APART.contains(role)).collect();
    if apart.len() > 1 {
        let names: Vec<_> = apart.iter().map(|r| r.as_str()).collect();
        let detail = format!("{} would hold {}: give them to different persons", request.person, names.join(" and "));
        return Err(Refused::new(Code::FourEyes, detail));
    }
    Ok(())
}
