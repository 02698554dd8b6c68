//! `POST /v1/leases/{id}/renew` and `DELETE /v1/leases/{id}`, on a proof of possession.

use crate::{
    challenge,
    clock::rfc3339,
    events::{Notice, Whose},
    json::{self, Path, json_bytes, read_body},
    problem::{Answer, Refused},
    vault::{Shared, Vault, node_actor, subject},
};
use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue},
    response::Response,
};
use ring::hmac;
use serde::{Serialize, de::DeserializeOwned};
use strongroom_ledger::{Action, Record, SubjectKind};
use strongroom_protocol::{
    Code, Fixed, LeaseId, Problem,
    binding::{lease_message, possession_message},
    challenge::Purpose,
    lease::{
        ACT_END, ACT_RENEW, EVIDENCE_DUE, EndAnswer, EndRequest, EventKind, Handling, LEASE_EXPIRED, LeaseState,
        POSSESSION_HEADER, Possession, RenewAnswer, RenewRequest, SIGNATURE_HEADER,
    },
    limits,
    obligations::{Obligations, Protection},
};
use strongroom_store::{
    Change, Committed, Guard, Item,
    model::{LeaseRow, Versioned},
};

/// Names in a `Handling`, and bytes of each.
const WEAKENED: usize = 16;
const NAME: usize = 64;

/// A live lease whose holder has just proved that it holds it.
pub(super) struct Held {
    pub(super) lease: Versioned<LeaseRow>,
    pub(super) possession: Possession,
    pub(super) now: i64,
}

impl Held {
    /// Checks the possession MAC over `body`, in constant time. Every failure says the same, but that a
    /// lease is over is said to whoever knows its id.
    pub(super) async fn check(vault: &Vault, act: &str, id: &str, headers: &HeaderMap, body: &[u8]) -> Answer<Self> {
        let refused = || Refused::from(Problem::new(Code::PossessionRefused));
        let id: LeaseId = id.parse().map_err(|_| Refused::malformed("lease", "not a lease id"))?;
        let header = headers.get(POSSESSION_HEADER).and_then(|v| v.to_str().ok()).ok_or_else(refused)?;
        let possession: Possession =
            header.parse().map_err(|_| Refused::malformed(POSSESSION_HEADER, "nonce.client_random.mac, base64url"))?;
        let now = vault.clock.now().await?;
        challenge::check(vault, Purpose::Possession, &possession.nonce, now)?;
        let lease = vault.store.lease(id).await?.ok_or_else(refused)?;
        if lease.row.wrapped_secret.0.is_empty() {
            // It was closed, and its secret went with that: there is nothing left to prove.
            return Err(over(&lease.row));
        }
        let secret = vault.keys.unwrap_lease_secret(id, &lease.row.wrapped_secret.0)?;
        let message = possession_message(
            act,
            vault.keys.vault_id(),
            id,
            possession.nonce.as_bytes(),
            possession.client_random.as_array(),
            body,
        );
        // ring compares in constant time.
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, secret.expose()), &message, possession.mac.as_array())
            .map_err(|_| refused())?;
        if lease.row.state != LeaseState::Live || lease.row.expires_at <= now {
            return Err(over(&lease.row));
        }
        Ok(Self { lease, possession, now })
    }

    /// Commits `action` with `changes`, and burns the nonce.
    async fn commit(
        &self,
        vault: &Vault,
        action: Action,
        changes: Vec<Change>,
        fill: impl FnOnce(&mut Record),
    ) -> Answer<Committed> {
        let lease = &self.lease.row;
        let mut record =
            vault.record(self.now, node_actor(lease.node), action, subject(SubjectKind::Lease, lease.id))?;
        record.node = Some(lease.node);
        record.lease = Some(lease.id);
        record.job.clone_from(&lease.job);
        record.keys = lease.keys.iter().map(Into::into).collect();
        fill(&mut record);
        let guards = vec![Guard::Lease(lease.id, self.lease.version)];
        let nonce = Some(self.possession.nonce);
        let item = Item { record, guards, nonce, quotas: Vec::new(), changes, blobs: Vec::new() };
        Ok(vault.queue.submit(item).await?)
    }

    /// The answer's exact bytes, with the vault's signature over them.
    fn signed(&self, vault: &Vault, act: &str, answer: &impl Serialize) -> Answer<Response> {
        let body = serde_json::to_vec(answer).map_err(Refused::internal)?;
        let message = lease_message(
            act,
            self.lease.row.id,
            self.possession.nonce.as_bytes(),
            self.possession.client_random.as_array(),
            &body,
        );
        let signature = Fixed(vault.keys.identity().sign(&message)).to_string();
        let mut response = json_bytes(body);
        // INVARIANT: base64url is a header value.
        response.headers_mut().insert(SIGNATURE_HEADER, HeaderValue::try_from(signature).map_err(Refused::internal)?);
        Ok(response)
    }
}

/// A holder whose clock is behind finds out here that its time ran out: nobody took anything back.
fn over(lease: &LeaseRow) -> Refused {
    let refused = Refused::new(Code::PossessionRefused, "the lease is not live any more");
    match lease.state {
        LeaseState::Live | LeaseState::Expired => because(refused, LEASE_EXPIRED),
        LeaseState::Ended | LeaseState::Revoked => refused,
    }
}

fn because(mut refused: Refused, reason: &str) -> Refused {
    refused.0.reasons.push(reason.to_owned());
    refused
}

/// Proves possession and prolongs the lease; the first proof is the delivery.
pub async fn renew(State(vault): State<Shared>, Path(id): Path<String>, request: Request) -> Answer<Response> {
    let (held, body): (_, RenewRequest) = read(&vault, ACT_RENEW, &id, request).await?;
    if let Some(handling) = &body.handling {
        check_size(handling)?;
    }
    let lease = &held.lease.row;
    let obligations: Obligations = serde_json::from_str(&lease.obligations).map_err(Refused::internal)?;
    if let Some(reasons) = broken(&obligations, body.handling.as_ref(), lease.delivered) {
        return Err(take_back(&vault, &held, body.handling.as_ref(), reasons).await?);
    }
    if lease.reattest_at <= held.now {
        // The lease lives on: a renewal that was on its way when evidence became due is no reason to give it up.
        let detail = "fresh evidence is due: renew by a statement";
        return Err(because(Refused::new(Code::PossessionRefused, detail), EVIDENCE_DUE));
    }
    let until = |seconds: u64| held.now.saturating_add(i64::try_from(seconds).unwrap_or(i64::MAX));
    let expires_at = until(obligations.lease_seconds);
    let mut changes = vec![Change::RenewLease(lease.id, expires_at, lease.reattest_at)];
    let action = if lease.delivered {
        Action::LeaseRenewed
    } else {
        changes.push(Change::DeliverLease(lease.id));
        Action::ReleaseDelivered
    };
    held.commit(&vault, action, changes, |record| {
        fill_handling(record, body.handling.as_ref());
        record.details.insert("expires_at".to_owned(), rfc3339(expires_at).into());
    })
    .await?;
    let answer = RenewAnswer {
        lease: lease.id,
        expires_in: obligations.lease_seconds,
        renew_after: obligations.renew_after,
        reattest_after: u64::try_from(lease.reattest_at.saturating_sub(held.now)).unwrap_or(0),
    };
    held.signed(&vault, ACT_RENEW, &answer)
}

/// Ends the lease.
pub async fn end(State(vault): State<Shared>, Path(id): Path<String>, request: Request) -> Answer<Response> {
    let (held, EndRequest {}) = read(&vault, ACT_END, &id, request).await?;
    let lease = held.lease.row.id;
    let changes = vec![Change::CloseLease(lease, LeaseState::Ended)];
    held.commit(&vault, Action::LeaseEnded, changes, |_| {}).await?;
    vault.events.tell(Notice { whose: Whose::Lease(lease), event: EventKind::Ended, reason: None });
    held.signed(&vault, ACT_END, &EndAnswer { lease, ended: true })
}

/// The MAC covers the body's exact bytes, so it is read before anything of it is parsed.
async fn read<T: DeserializeOwned + Default>(
    vault: &Vault,
    act: &str,
    id: &str,
    request: Request,
) -> Answer<(Held, T)> {
    let headers = request.headers().clone();
    let bytes = read_body(request, limits::POSSESSION_BODY).await?;
    let held = Held::check(vault, act, id, &headers, &bytes).await?;
    if bytes.is_empty() {
        return Ok((held, T::default()));
    }
    json::require_json(&headers)?;
    Ok((held, json::parse(&bytes)?))
}

fn check_size(handling: &Handling) -> Answer<()> {
    let long = |text: &str| text.is_empty() || text.len() > NAME || text.chars().any(char::is_control);
    if handling.weakened.len() > WEAKENED
        || handling.weakened.iter().any(|w| long(w))
        || long(&handling.key_pages)
        || long(&handling.client)
    {
        return Err(Refused::malformed("handling", "at most 16 names of 1 to 64 plain characters"));
    }
    Ok(())
}

/// What of the obligations the holder itself says that it does not keep. The first proof of
/// possession must say how keys are held, if anything depends on it.
fn broken(obligations: &Obligations, handling: Option<&Handling>, delivered: bool) -> Option<Vec<String>> {
    let mut reasons = Vec::new();
    match handling {
        Some(handling) => {
            if handling.plaintext_to_disk && !obligations.plaintext_to_disk {
                reasons.push("plaintext_to_disk_forbidden".to_owned());
            }
            let wants = |p| obligations.handling.contains(&p);
            if wants(Protection::SecretKeyPages) && handling.key_pages != "memfd_secret" {
                reasons.push("secret_key_pages_missing".to_owned());
            }
            if wants(Protection::NoSwap) && handling.weakened.iter().any(|w| w == "unlocked_memory") {
                reasons.push("memory_not_locked".to_owned());
            }
        }
        None if !delivered && (!obligations.handling.is_empty() || !obligations.plaintext_to_disk) => {
            reasons.push("handling_not_stated".to_owned());
        }
        None => {}
    }
    (!reasons.is_empty()).then_some(reasons)
}

/// A holder that breaks its obligations loses the lease, and what it held whole is burnt for new objects.
async fn take_back(vault: &Vault, held: &Held, handling: Option<&Handling>, reasons: Vec<String>) -> Answer<Refused> {
    let lease = held.lease.row.id;
    let changes = vec![Change::CloseLease(lease, LeaseState::Revoked)];
    let told = reasons.clone();
    held.commit(vault, Action::LeaseRevoked, changes, |record| {
        record.reasons = reasons;
        fill_handling(record, handling);
    })
    .await?;
    vault.events.tell(Notice {
        whose: Whose::Lease(lease),
        event: EventKind::Revoked,
        reason: Some("obligations are not kept".to_owned()),
    });
    Ok(Refused::decided(Code::Denied, held.lease.row.decision, told))
}

fn fill_handling(record: &mut Record, handling: Option<&Handling>) {
    // INVARIANT: `Handling` is plain data, which always serialises.
    if let Some(value) = handling.and_then(|h| serde_json::to_value(h).ok()) {
        record.details.insert("handling".to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn obligations(handling: &[Protection], plaintext_to_disk: bool) -> Obligations {
        Obligations {
            lease_seconds: 3600,
            renew_after: 60,
            reattest_after: 900,
            handling: handling.iter().copied().collect(),
            plaintext_to_disk,
        }
    }

    fn handling(key_pages: &str, weakened: &[&str], plaintext_to_disk: bool) -> Handling {
        Handling {
            key_pages: key_pages.to_owned(),
            weakened: weakened.iter().map(|w| (*w).to_owned()).collect(),
            plaintext_to_disk,
            client: "test/1".to_owned(),
        }
    }

    #[test]
    fn each_obligation_is_held_against_what_the_holder_says() {
        let all = obligations(&[Protection::SecretKeyPages, Protection::NoSwap], false);
        let says = |h: Handling| broken(&all, Some(&h), false);
        assert_eq!(says(handling("memfd_secret", &[], false)), None);
        assert_eq!(says(handling("memfd_secret", &[], true)), Some(vec!["plaintext_to_disk_forbidden".to_owned()]));
        assert_eq!(says(handling("locked_anonymous", &[], false)), Some(vec!["secret_key_pages_missing".to_owned()]));
        assert_eq!(
            says(handling("memfd_secret", &["unlocked_memory"], false)),
            Some(vec!["memory_not_locked".to_owned()])
        );
        let none = obligations(&[], true);
        assert_eq!(broken(&none, Some(&handling("locked_anonymous", &["unlocked_memory"], true)), false), None);
    }

    #[test]
    fn the_first_proof_says_how_keys_are_held() {
        let strict = obligations(&[], false);
        assert_eq!(broken(&strict, None, false), Some(vec!["handling_not_stated".to_owned()]));
        assert_eq!(broken(&strict, None, true), None);
        assert_eq!(broken(&obligations(&[], true), None, false), None);
    }
}
