//! Clients in a closed loop, and what becomes of what they are given.

use super::{
    connection::{Connection, Endpoint},
    deployment::{ASSET, Deployment, challenge},
};
use anyhow::{Context as _, Result, anyhow, ensure};
use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, UnparsedPublicKey},
};
use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use strongroom_envelope::{RecipientKey, ReleasePayload};
use strongroom_ledger::{Verdict, check_release_record};
use strongroom_protocol::{
    Bytes, Fixed, ObjectId, Statement, WriterId,
    binding::{TAG_TPM, possession_message, release_info, response_message, tpm_extra_data},
    challenge::Purpose,
    evidence::Evidence,
    lease::{ACT_END, EndAnswer, POSSESSION_HEADER, Possession},
    release::{ReleaseRequest, ReleaseResponse},
    sha256,
    statement::{Access, Act, Kem, KeyRequest, ObjectRef, Recipient, Scope},
};

/// Connections that end leases at one time.
const ENDING: usize = 8;

/// A release as it was answered.
pub struct Granted {
    statement: Vec<u8>,
    recipient: RecipientKey,
    /// The answer.
    pub response: ReleaseResponse,
}

/// What one round measured.
pub struct Round {
    /// How long each `POST /v1/releases` took, in its connection.
    pub calls: Vec<Duration>,
    /// How long each release took in all: connection, handshake, challenge, quote, release.
    pub whole: Vec<Duration>,
    /// From the first client's start to the last one's end.
    pub elapsed: Duration,
    /// Processor time of the server meanwhile, seconds.
    pub server_cpu: f64,
    /// What was released.
    pub granted: Vec<Granted>,
}

/// `clients` clients make `count` releases together, each as soon as its last one is answered.
pub fn round(deployment: &Deployment, clients: usize, count: usize) -> Result<Round> {
    let keys: Vec<_> = (0..count).map(|_| RecipientKey::generate()).collect::<Result<_, _>>()?;
    let keys: Vec<_> = keys.into_iter().map(|key| std::sync::Mutex::new(Some(key))).collect();
    let (next, ready) = (AtomicUsize::new(0), Barrier::new(clients + 1));
    let take = || {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let key = keys.get(index).and_then(|key| key.lock().ok()?.take());
        key.map(|key| (index, key))
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..clients)
            .map(|_| {
                scope.spawn(|| {
                    let mut done = Vec::new();
                    ready.wait();
                    while let Some((index, key)) = take() {
                        done.push(release(deployment, deployment.endpoint(index), index, key)?);
                    }
                    Ok::<_, anyhow::Error>(done)
                })
            })
            .collect();
        let cpu = deployment.cpu_seconds()?;
        ready.wait();
        let start = Instant::now();
        let done = workers
            .into_iter()
            .map(|worker| worker.join().map_err(|_| anyhow!("a client panicked"))?)
            .collect::<Result<Vec<_>>>()?;
        let elapsed = start.elapsed();
        let server_cpu = deployment.cpu_seconds()? - cpu;
        let mut round = Round { calls: Vec::new(), whole: Vec::new(), elapsed, server_cpu, granted: Vec::new() };
        for (call, whole, granted) in done.into_iter().flatten() {
            round.calls.push(call);
            round.whole.push(whole);
            round.granted.push(granted);
        }
        ensure!(round.granted.len() == count, "{} of {count} releases", round.granted.len());
        Ok(round)
    })
}

/// One release as a node makes it, of one replica: how long `POST /v1/releases` took, how long all of it
/// took, and what came of it.
pub fn release(
    deployment: &Deployment,
    endpoint: &Endpoint,
    node: usize,
    recipient: RecipientKey,
) -> Result<(Duration, Duration, Granted)> {
    let nodes = deployment.nodes();
    let tpm = nodes.get(node % nodes.len().max(1)).context("no node is enrolled")?;
    let start = Instant::now();
    let mut connection = endpoint.connect()?;
    let nonce = challenge(&mut connection, Purpose::Release)?.nonce;
    let mut client_random = Fixed([0; 16]);
    SystemRandom::new().fill(&mut client_random.0)?;
    let statement = Statement {
        v: 1,
        act: Act::Release,
        lease: None,
        vault: deployment.vault(),
        nonce,
        client_random,
        recipient: Recipient { kem: Kem::XWing, public_key: recipient.public_key().into() },
        keys: vec![key_request()],
        job: None,
        caller: None,
    };
    let statement = serde_json::to_vec(&statement)?;
    let quote = tpm.quote(&tpm_extra_data(TAG_TPM, &statement, None), deployment.selection())?;
    let request = ReleaseRequest {
        statement: Bytes(statement.clone()),
        caller: None,
        job_token: None,
        evidence: vec![Evidence::Tpm2(quote)],
    };
    let asked = Instant::now();
    let response = connection.post("/v1/releases", &[], &request)?;
    Ok((asked.elapsed(), start.elapsed(), Granted { statement, recipient, response }))
}

/// The key of one object, as a rank asks for.
pub fn key_request() -> KeyRequest {
    KeyRequest {
        asset: ASSET.into(),
        version: 1,
        access: Access::Read,
        scope: Scope::Object,
        objects: vec![ObjectRef { writer: WriterId::from([2; 16]), object: ObjectId::from([3; 16]) }],
    }
}

/// Verifies every answer as the SDK does, and ends every lease by possession. Gives the time that it took.
pub fn settle(deployment: &Deployment, granted: &[Granted]) -> Result<Duration> {
    let start = Instant::now();
    let share = granted.len().div_ceil(ENDING).max(1);
    thread::scope(|scope| {
        let workers: Vec<_> = granted
            .chunks(share)
            .enumerate()
            .map(|(turn, granted)| {
                scope.spawn(move || {
                    let mut connection = deployment.endpoint(turn).connect()?;
                    granted
                        .iter()
                        .try_for_each(|granted| end(deployment, &mut connection, &verify(deployment, granted)?))
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow!("a client panicked"))?)
    })?;
    Ok(start.elapsed())
}

/// Signature, receipt, record, envelope, key.
pub fn verify(deployment: &Deployment, granted: &Granted) -> Result<ReleasePayload> {
    let Granted { statement, recipient, response } = granted;
    let keys = std::slice::from_ref(deployment.verifier());
    let checked = check_release_record(&response.record.0, response.salt.as_array(), &response.receipt, keys)?;
    ensure!(checked.record.verdict == Some(Verdict::Released), "the record says otherwise");
    ensure!(checked.record.statement_sha256 == Some(Fixed(sha256(statement))), "the record is of another statement");
    let Bytes(enc) = &response.envelope.enc;
    let message = response_message(statement, &checked.receipt.leaf, enc, &response.envelope.ciphertext.0);
    UnparsedPublicKey::new(&ED25519, deployment.verifier().public_key())
        .verify(&message, response.signature.as_array())
        .map_err(|_| anyhow!("the answer is not signed by the vault"))?;
    let info = release_info(response.decision_id);
    let plaintext = strongroom_envelope::open(recipient, &info, &sha256(statement), &response.envelope)?;
    let payload = ReleasePayload::from_json(&plaintext)?;
    ensure!(payload.keys.len() == 1, "{} keys instead of one", payload.keys.len());
    Ok(payload)
}

fn end(deployment: &Deployment, connection: &mut Connection, payload: &ReleasePayload) -> Result<()> {
    let lease = payload.lease.id;
    let nonce = challenge(connection, Purpose::Possession)?.nonce;
    let (body, client_random) = (b"{}", [4; 16]);
    let message = possession_message(ACT_END, deployment.vault(), lease, nonce.as_bytes(), &client_random, body);
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, payload.lease_secret.expose()), &message);
    let possession = Possession { nonce, client_random: Fixed(client_random), mac: Fixed::try_from(mac.as_ref())? };
    let header = possession.to_string();
    let path = format!("/v1/leases/{lease}");
    let answer: EndAnswer = connection.send("DELETE", &path, &[(POSSESSION_HEADER, &header)], body)?;
    ensure!(answer.lease == lease && answer.ended, "the lease {lease} was not ended");
    Ok(())
}
