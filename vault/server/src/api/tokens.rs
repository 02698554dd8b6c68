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
    admin::{CreateToken, CreatedToken, Recorded, Role, RotateToken, RotatedToken, TokenState, TokenView},
    sha256,
};
use strongroom_store::{
    Change, Guard,
    model::{TokenRow, Versioned},
};
use zeroize::Zeroizing;

/// The longest life of a token: a year.
const LONGEST: u64 = 366 * 24 * 3600;
/// The longest time for which a replaced token stays good: an hour.
const LONGEST_GRACE: u64 = 3600;
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
    // Before the tokens are read: what another replica creates meanwhile is seen by the commit, so two
    // requests at one time cannot add up.
    let generation = vault.store.token_generation().await?;
    let tokens = vault.store.tokens().await?;
    let now = vault.clock.now().await?;
    check_apart(&request, &tokens, now)?;
    let (secret, row) = make(request, now)?;
    let act = Act::by(&vault, &holder, Action::TokenCreated, subject(SubjectKind::Token, &row.id)).await?;
    let id = row.id.clone();
    act.guarded(Guard::TokenGeneration(generation))
        .saying("person", row.person.clone())
        .saying("roles", roles(&row.roles))
        .saying("expires_at", rfc3339(row.expires_at))
        .changing(Change::CreateToken(row))
        .commit(&vault)
        .await?;
    Ok(Json(CreatedToken { id, token: secret.as_str().to_owned() }))
}

/// `GET /v1/tokens`.
pub async fn list(State(vault): State<Shared>) -> Answer<Json<Vec<TokenView>>> {
    let tokens = vault.store.tokens().await?;
    let now = vault.clock.now().await?;
    Ok(Json(tokens.into_iter().map(|token| view(token.row, now)).collect()))
}

/// `GET /v1/tokens/self`: who asks, as the vault knows it.
pub async fn whoami(State(vault): State<Shared>, holder: Holder) -> Answer<Json<TokenView>> {
    let now = vault.clock.now().await?;
    Ok(Json(view(holder.token, now)))
}

/// `POST /v1/tokens/self/rotate`: another secret for the same person, roles and time.
///
/// It never lives longer than the old one would have: who steals a token must not be able to keep it
/// alive. And a token is replaced once: who still has the old one within its grace gets no third.
pub async fn rotate(
    State(vault): State<Shared>,
    holder: Holder,
    Json(request): Json<RotateToken>,
) -> Answer<Json<RotatedToken>> {
    if request.grace > LONGEST_GRACE {
        return Err(Refused::malformed("grace", "at most 3,600 seconds; 0 ends the old token at once"));
    }
    let old = &holder.token;
    if old.replaced_by.is_some() {
        return Err(Refused::new(Code::Conflict, "this token was replaced already: use the one that took its place"));
    }
    let now = vault.clock.now().await?;
    let left = u64::try_from(old.expires_at.saturating_sub(now)).unwrap_or(0);
    let again = CreateToken { person: old.person.clone(), roles: old.roles.clone(), expires_in: left };
    let (secret, row) = make(again, now)?;
    let old_ends_at = now.saturating_add_unsigned(request.grace).min(old.expires_at);
    let answer = RotatedToken {
        id: row.id.clone(),
        token: secret.as_str().to_owned(),
        expires_at: rfc3339(row.expires_at),
        old_ends_at: rfc3339(old_ends_at),
    };
    let replaced = Change::ReplaceToken(old.id.clone(), row.id.clone(), old_ends_at);
    Act::by(&vault, &holder, Action::TokenRotated, subject(SubjectKind::Token, &row.id))
        .await?
        .saying("person", row.person.clone())
        .saying("roles", roles(&row.roles))
        .saying("expires_at", rfc3339(row.expires_at))
        .saying("replaces", old.id.clone())
        .saying("old_ends_at", answer.old_ends_at.clone())
        .changing(Change::CreateToken(row))
        .changing(replaced)
        .commit(&vault)
        .await?;
    Ok(Json(answer))
}

/// `DELETE /v1/tokens/{id}`. The last token of role admin is not revoked: a vault without one is out of
/// its people's hands.
pub async fn revoke(State(vault): State<Shared>, Path(id): Path<String>, holder: Holder) -> Answer<Json<Recorded>> {
    let _alone = vault.grants.lock().await;
    let now = vault.clock.now().await?;
    let (tokens, others): (Vec<_>, Vec<_>) = vault.store.tokens().await?.into_iter().partition(|t| t.row.id == id);
    let token = tokens.into_iter().next().ok_or_else(|| Refused::not_found("token"))?;
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
        created_at: now,
        replaced_by: None,
        last_used_at: None,
    };
    Ok((text, row))
}

/// What a token is good for at `now`.
pub fn state(token: &TokenRow, now: i64) -> TokenState {
    if token.revoked {
        TokenState::Revoked
    } else if token.expires_at <= now {
        TokenState::Expired
    } else if token.replaced_by.is_some() {
        TokenState::Replaced
    } else {
        TokenState::Active
    }
}

fn view(row: TokenRow, now: i64) -> TokenView {
    TokenView {
        state: state(&row, now),
        id: row.id,
        person: row.person,
        roles: row.roles,
        expires_at: rfc3339(row.expires_at),
        revoked: row.revoked,
        created_at: (row.created_at > 0).then(|| rfc3339(row.created_at)),
        last_used_at: row.last_used_at.map(rfc3339),
        replaced_by: row.replaced_by,
    }
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

/// Refuses a name that is no person's.
pub(crate) fn check_person(name: &str) -> Answer<()> {
    if is_person(name) {
        return Ok(());
    }
    Err(Refused::malformed("person", "1 to 128 of a-z 0-9 . _ @ -, beginning with a letter or a digit"))
}

/// Refuses a token that could not be meant.
pub(crate) fn check(request: &CreateToken) -> Answer<()> {
    check_person(&request.person)?;
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
