//! TLS 1.3 with X25519MLKEM768 first, and the private CA that `init` makes.

use anyhow::{Context as _, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};
use rustls::{
    RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::{CryptoProvider, aws_lc_rs},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject};
use std::{fs::File, io::Read, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// Bytes of a private key's file.
const LARGEST_KEY: u64 = 64 << 10;

/// aws-lc-rs with the hybrid key exchange first: what is recorded today must not be readable when
/// X25519 is broken. A client that cannot do it still gets TLS 1.3.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// The server's configuration from PEM files: chain (leaf first) and key. A key that others than its
/// owner may use is refused: whoever reads it can be the vault to anybody who asks for its name.
pub fn server_config(certificate: &Path, key: &Path) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| format!("read the TLS certificate {}", certificate.display()))?;
    if chain.is_empty() {
        bail!("{} holds no certificate", certificate.display());
    }
    let pem = read_key(key).with_context(|| format!("read the TLS key {}", key.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).with_context(|| format!("read the TLS key {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("put TLS certificate and key together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Nobody resumes: each release is of a new process, and a ticket is a key to be kept.
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let mut file = File::open(path)?;
    let found = file.metadata()?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        bail!("it has mode {mode:o}: others may use it; run `chmod 600` on it, and replace it if they did");
    }
    if found.len() > LARGEST_KEY {
        bail!("it has over {LARGEST_KEY} bytes: that is no key");
    }
    // Room for all of it, so that nothing of it is left behind where a vector was before it grew.
    let mut pem = Zeroizing::new(Vec::with_capacity(usize::try_from(found.len())?.saturating_add(1)));
    file.read_to_end(&mut pem)?;
    Ok(pem)
}

/// A private CA and the server certificate that it issued.
pub struct MadeCertificates {
    /// The CA's certificate, PEM. Its key is not kept: a new server certificate means a new CA.
    pub ca: String,
    /// The server's certificate, PEM.
    pub certificate: String,
    /// The server's key, PEM.
    pub key: Zeroizing<String>,
}

/// Makes a private CA and a server certificate for `hosts` (names or addresses), valid from the day
/// before `now` for about two years.
pub fn make_certificates(hosts: Vec<String>, now: OffsetDateTime) -> Result<MadeCertificates> {
    let from = now.saturating_sub(time::Duration::days(1));
    let to = now.saturating_add(time::Duration::days(730));
    let bounds = |params: &mut CertificateParams| {
        params.not_before = from;
        params.not_after = to;
    };
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    ca.distinguished_name = named("Strongroom private CA");
    bounds(&mut ca);
    let issuer = CertifiedIssuer::self_signed(ca, KeyPair::generate()?)?;

    let key = KeyPair::generate()?;
    let mut server = CertificateParams::new(hosts)?;
    server.distinguished_name = named("strongroomd");
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    bounds(&mut server);
    let certificate = server.signed_by(&key, &issuer)?;
    Ok(MadeCertificates { ca: issuer.pem(), certificate: certificate.pem(), key: Zeroizing::new(key.serialize_pem()) })
}

/// Whether a client that believes `roots` and calls `host` believes the certificate chain at `now`.
pub fn believed(certificate: &Path, roots: RootCertStore, host: &str, now: OffsetDateTime) -> Result<()> {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>)?;
    let (leaf, intermediates) = chain.split_first().context("there is no certificate")?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(provider())).build()?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.unix_timestamp().try_into().unwrap_or_default()));
    verifier.verify_server_cert(leaf, intermediates, &ServerName::try_from(host)?, &[], now)?;
    Ok(())
}

/// When a certificate ends; `None` if it cannot be read.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<OffsetDateTime> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(parsed.validity().not_after.to_datetime())
}

fn named(name: &str) -> DistinguishedName {
    let mut out = DistinguishedName::new();
    out.push(DnType::CommonName, name);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{NamedGroup, ProtocolVersion};

    fn now() -> OffsetDateTime {
        #[expect(clippy::disallowed_methods, reason = "rustls judges the certificate by the real clock")]
        OffsetDateTime::now_utc()
    }

    #[test]
    fn the_hybrid_key_exchange_comes_first() {
        assert_eq!(provider().kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }

    #[test]
    fn a_client_of_the_private_ca_gets_tls_1_3_with_the_hybrid_exchange_and_1_2_gets_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let made = make_certificates(vec!["127.0.0.1".into(), "localhost".into()], now()).unwrap();
        let (cert, key) = (directory.path().join("c"), directory.path().join("k"));
        std::fs::write(&cert, &made.certificate).unwrap();
        std::fs::write(&key, made.key.as_bytes()).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        let open = format!("{:#}", server_config(&cert, &key).unwrap_err());
        assert!(open.contains("chmod 600"), "{open}");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = Arc::new(server_config(&cert, &key).unwrap());

        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(made.ca.as_bytes()).unwrap()).unwrap();
        let client = |versions: &[&'static rustls::SupportedProtocolVersion]| {
            let config = rustls::ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(roots.clone())
                .with_no_client_auth();
            rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
        };
        let handshake = |mut client: rustls::ClientConnection| {
            let mut server = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            for _ in 0..8 {
                let mut wire = Vec::new();
                while client.wants_write() {
                    client.write_tls(&mut wire).unwrap();
                }
                server.read_tls(&mut wire.as_slice()).unwrap();
                server.process_new_packets()?;
                let mut wire = Vec::new();
                while server.wants_write() {
                    server.write_tls(&mut wire).unwrap();
                }
                client.read_tls(&mut wire.as_slice()).unwrap();
                client.process_new_packets()?;
            }
            Ok::<_, rustls::Error>((client, server))
        };
        let (done, _) = handshake(client(&[&TLS13])).unwrap();
        assert_eq!(done.protocol_version(), Some(ProtocolVersion::TLSv1_3));
        assert_eq!(
            done.negotiated_key_exchange_group().map(rustls::crypto::SupportedKxGroup::name),
            Some(NamedGroup::X25519MLKEM768)
        );
        // TLS 1.2 is built for the way to the database; the listener does not offer it.
        let mut server = rustls::ServerConnection::new(config).unwrap();
        server.read_tls(&mut b"\x16\x03\x01\x00\x04\x01\x00\x00\x00".as_slice()).unwrap();
        assert!(server.process_new_packets().is_err());
    }
}
