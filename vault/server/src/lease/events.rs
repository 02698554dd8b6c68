//! `GET /v1/leases/{id}/events`: server-sent events, each signed; revocation at once.

use super::{possession::Held, reason};
use crate::{
    events::{Notice, Whose},
    json::Path,
    problem::{Answer, Refused},
    vault::{Shared, Vault, stopped},
};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response, Sse, sse},
};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use strongroom_protocol::{
    Bytes, Code, Fixed, LeaseId, NodeId, Problem,
    binding::lease_message,
    challenge::Nonce,
    lease::{ACT_LISTEN, EventKind, LeaseEvent, LeaseState, SignedEvent},
};
use strongroom_store::model::LeaseRow;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;

/// How often the store is asked what other replicas did.
const LOOK: Duration = Duration::from_secs(1);
/// Listeners at one time.
const LISTENERS: usize = 16_384;

/// Listens to a lease, on a proof of possession. It is no delivery: that is a renewal, which says how
/// keys are held.
///
/// A listener's nonce is burnt in this process's memory: nothing is decided by listening, each event
/// is signed, and the same request to another replica would only hear the same.
pub async fn listen(State(vault): State<Shared>, Path(id): Path<String>, request: Request) -> Answer<Response> {
    let held = Held::check(&vault, ACT_LISTEN, &id, request.headers(), b"").await?;
    let lease = &held.lease.row;
    vault.listeners.burn(&held.possession.nonce, held.now)?;
    let notices = vault.events.listen();
    let (sender, receiver) = mpsc::channel(4);
    let stream = Stream {
        lease: lease.id,
        node: lease.node,
        client_random: held.possession.client_random.0,
        counter: 0,
        sender,
    };
    tokio::spawn(stream.run(vault, notices));
    let events =
        Sse::new(ReceiverStream::new(receiver)).keep_alive(sse::KeepAlive::new().interval(Duration::from_secs(15)));
    Ok(events.into_response())
}

/// Nonces of listeners, kept until they expire.
#[derive(Default)]
pub struct Listeners(Mutex<HashMap<Nonce, i64>>);

impl Listeners {
    fn burn(&self, nonce: &Nonce, now: i64) -> Answer<()> {
        let mut burnt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if burnt.len() >= LISTENERS {
            burnt.retain(|_, expiry| *expiry > now);
            if burnt.len() >= LISTENERS {
                return Err(Problem::new(Code::TooMany).retry_after(5).into());
            }
        }
        let expiry = i64::try_from(nonce.expiry()).unwrap_or(i64::MAX);
        match burnt.insert(*nonce, expiry) {
            None => Ok(()),
            Some(_) => Err(Problem::new(Code::NonceReused).into()),
        }
    }
}

struct Stream {
    lease: LeaseId,
    node: NodeId,
    client_random: [u8; 16],
    counter: u64,
    sender: mpsc::Sender<Result<sse::Event, Infallible>>,
}

/// How a lease is over, with its row where there still is one.
struct Over {
    event: EventKind,
    lease: Option<LeaseRow>,
}

impl Stream {
    async fn run(mut self, vault: Shared, mut notices: broadcast::Receiver<Notice>) {
        if !self.send(&vault, EventKind::Listening, None).await {
            return;
        }
        let mut look = tokio::time::interval(LOOK);
        let mut stopping = vault.stopping.subscribe();
        loop {
            let reason = tokio::select! {
                () = self.sender.closed() => return,
                () = stopped(&mut stopping) => return,
                notice = notices.recv() => match notice {
                    Ok(notice) if self.concerns(&notice.whose) => notice.reason,
                    Ok(_) => continue,
                    // Too slow: the store knows what was missed.
                    Err(broadcast::error::RecvError::Lagged(_)) => None,
                    Err(broadcast::error::RecvError::Closed) => return,
                },
                _ = look.tick() => None,
            };
            // A notice only says when to look: what is told is what the store says.
            match self.ended(&vault).await {
                Ok(None) => {}
                Ok(Some(Over { event, lease })) => {
                    let reason = match lease {
                        Some(lease) if event == EventKind::Revoked => self.why(&vault, &lease, reason).await,
                        _ => None,
                    };
                    self.send(&vault, event, reason).await;
                    return;
                }
                Err(refused) => {
                    tracing::warn!(lease = %self.lease, code = refused.code().as_str(), "cannot look a lease up");
                }
            }
        }
    }

    fn concerns(&self, whose: &Whose) -> bool {
        match whose {
            Whose::Lease(lease) => *lease == self.lease,
            Whose::Node(node) => *node == self.node,
            Whose::Any => true,
        }
    }

    async fn ended(&self, vault: &Vault) -> Answer<Option<Over>> {
        let Some(lease) = vault.store.lease(self.lease).await? else {
            return Ok(Some(Over { event: EventKind::Ended, lease: None }));
        };
        let event = match lease.row.state {
            LeaseState::Revoked => EventKind::Revoked,
            LeaseState::Ended | LeaseState::Expired => EventKind::Ended,
            LeaseState::Live if lease.row.expires_at <= vault.clock.about().await? => EventKind::Ended,
            LeaseState::Live => return Ok(None),
        };
        Ok(Some(Over { event, lease: Some(lease.row) }))
    }

    /// The ledger's reason, for a look may find the lease over before its notice comes, or without
    /// one; the notice's where the ledger cannot be asked. The event itself waits for neither.
    async fn why(&self, vault: &Vault, lease: &LeaseRow, noticed: Option<String>) -> Option<String> {
        match reason::of_revocation(vault, lease).await {
            Ok(reason) => reason.or(noticed),
            Err(refused) => {
                tracing::warn!(lease = %self.lease, code = refused.code().as_str(), "cannot look a reason up");
                noticed
            }
        }
    }

    async fn send(&mut self, vault: &Vault, event: EventKind, reason: Option<String>) -> bool {
        match self.event(vault, event, reason) {
            Ok(event) => self.sender.send(Ok(event)).await.is_ok(),
            Err(_) => false,
        }
    }

    fn event(&mut self, vault: &Vault, event: EventKind, reason: Option<String>) -> Answer<sse::Event> {
        let event = LeaseEvent { lease: self.lease, counter: self.counter, event, reason };
        let bytes = serde_json::to_vec(&event).map_err(Refused::internal)?;
        let counter = self.counter.to_be_bytes();
        let message = lease_message(ACT_LISTEN, self.lease, &counter, &self.client_random, &bytes);
        self.counter += 1;
        let signed = SignedEvent { event: Bytes(bytes), signature: Fixed(vault.keys.identity().sign(&message)) };
        sse::Event::default().json_data(signed).map_err(Refused::internal)
    }
}
