//! What one release costs in cryptography alone, on the vault's side, measured on one thread of this
//! process by the same crates. The rest of the server's time is parsing, policy, database, system calls.

use super::{deployment::Deployment, releases::key_request};
use anyhow::{Context as _, Result, ensure};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
    signature::{Ed25519KeyPair, KeyPair},
};
use rustls::{ClientConnection, NamedGroup, ServerConfig, ServerConnection, crypto::aws_lc_rs};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};
use strongroom_attest::{QuoteEvidence, QuoteExpectation, quote, tpm::Public};
use strongroom_envelope::{RecipientKey, Secret, VersionKey, seal};
use strongroom_protocol::{sha256, statement::ObjectRef};

/// Runs of an operation whose mean is one sample, and samples whose median counts.
const RUNS: u32 = 50;
const SAMPLES: usize = 15;
/// Bytes that a release hashes: statement and quote several times, evidence and claims as they are
/// kept, the record, its leaf and its path in the tree.
const HASHED: usize = 32 << 10;

/// One operation of a release.
pub struct Cost {
    /// What it is.
    pub name: &'static str,
    /// How long it takes.
    pub time: Duration,
}

/// Every operation, in the order of a release.
pub fn costs(deployment: &Deployment) -> Result<Vec<Cost>> {
    let tpm = deployment.nodes().first().context("no node is enrolled")?;
    let (ak, ek) = (Public::parse(tpm.ak_public())?, Public::parse(tpm.ek_public())?);
    let evidence = tpm.quote(&[7; 32], deployment.selection())?;
    let ek_name = ek.name();
    let expectation = QuoteExpectation {
        ak: &ak,
        ek_name: &ek_name,
        extra_data: [7; 32],
        selection: deployment.selection(),
        boot: None,
    };
    let recipient = RecipientKey::generate()?;
    let seed: Secret<32> = Secret::random()?;
    let identity = Ed25519KeyPair::from_seed_unchecked(seed.expose())?;
    ensure!(!identity.public_key().as_ref().is_empty(), "no key");
    let wrapping = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, seed.expose())?);
    let mac = hmac::Key::new(hmac::HMAC_SHA256, seed.expose());
    let version = VersionKey::new(Secret::random()?);
    let ObjectRef { writer, object } = *key_request().objects.first().context("no object is asked for")?;
    let hashed = vec![7; HASHED];

    let handshake = Handshake::new(deployment)?;
    let mut costs =
        vec![Cost { name: "TLS 1.3 handshake, X25519MLKEM768, the server's half", time: handshake.median()? }];
    let mut cost = |name, operation: &mut dyn FnMut() -> Result<()>| -> Result<()> {
        costs.push(Cost { name, time: median(operation)? });
        Ok(())
    };
    cost("nonce: HMAC-SHA-256, made and checked", &mut || {
        black_box((hmac::sign(&mac, &[1; 64]), hmac::sign(&mac, &[2; 64])));
        Ok(())
    })?;
    cost("quote: P-256 and rows Q1 to Q8", &mut || {
        black_box(quote::verify(QuoteEvidence::from(&evidence), &expectation)?);
        Ok(())
    })?;
    cost("SHA-256 of 32 KiB in all", &mut || {
        black_box(sha256(&hashed));
        Ok(())
    })?;
    cost("Ed25519, checkpoint and response", &mut || {
        black_box((identity.sign(&[1; 200]), identity.sign(&[2; 120])));
        Ok(())
    })?;
    cost("keys: AES-256-GCM unwrap and wrap, HKDF to the object", &mut || {
        let nonce = || Nonce::assume_unique_for_key([0; 12]);
        let mut wrapped = seed.expose().to_vec();
        wrapping.seal_in_place_append_tag(nonce(), Aad::empty(), &mut wrapped)?;
        black_box(wrapping.open_in_place(nonce(), Aad::empty(), &mut wrapped)?);
        black_box(version.writer_key("bench", 1, writer).object_key(object).expose());
        Ok(())
    })?;
    cost("HPKE X-Wing seal", &mut || {
        black_box(seal(recipient.public_key(), b"info", b"aad", &[7; 700])?);
        Ok(())
    })?;
    Ok(costs)
}

fn median(operation: &mut dyn FnMut() -> Result<()>) -> Result<Duration> {
    let mut samples = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let start = Instant::now();
        for _ in 0..RUNS {
            operation()?;
        }
        samples.push(start.elapsed() / RUNS);
    }
    middle(samples)
}

fn middle(mut samples: Vec<Duration>) -> Result<Duration> {
    samples.sort_unstable();
    samples.get(samples.len() / 2).copied().context("no sample")
}

/// Both halves in memory, with the vault's own certificate; only the server's is timed.
struct Handshake<'a> {
    deployment: &'a Deployment,
    server: Arc<ServerConfig>,
}

impl<'a> Handshake<'a> {
    fn new(deployment: &'a Deployment) -> Result<Self> {
        let directory = deployment.directories().into_iter().next().unwrap_or_default();
        let tls = directory.join("tls");
        let chain = CertificateDer::pem_file_iter(tls.join("server.pem"))?.collect::<Result<_, _>>()?;
        let key = PrivateKeyDer::from_pem_file(tls.join("server.key"))?;
        let server = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self { deployment, server: Arc::new(server) })
    }

    fn median(&self) -> Result<Duration> {
        let samples: Vec<_> = (0..300).map(|_| self.once()).collect::<Result<_>>()?;
        middle(samples)
    }

    fn once(&self) -> Result<Duration> {
        let mut client = ClientConnection::new(Arc::clone(self.deployment.endpoint(0).tls()), "127.0.0.1".try_into()?)?;
        let mut timed = Duration::ZERO;
        let mut start = Instant::now();
        let mut server = ServerConnection::new(Arc::clone(&self.server))?;
        timed += start.elapsed();
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire)?;
            start = Instant::now();
            let mut unread = wire.as_slice();
            while !unread.is_empty() {
                server.read_tls(&mut unread)?;
                server.process_new_packets()?;
            }
            let mut wire = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut wire)?;
            }
            timed += start.elapsed();
            let mut unread = wire.as_slice();
            while !unread.is_empty() {
                client.read_tls(&mut unread)?;
                client.process_new_packets()?;
            }
        }
        let group = server.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name);
        ensure!(group == Some(NamedGroup::X25519MLKEM768), "the handshake used {group:?}");
        Ok(timed)
    }
}
