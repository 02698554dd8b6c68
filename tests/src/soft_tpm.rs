//! A TPM in software, for load: it enrols and quotes as a TPM does, in microseconds.
//!
//! A real TPM takes milliseconds for a quote and swtpm some sixteen, so a load test with them would
//! measure them and not the vault. This one has just what enrolment and release look at: an EK of
//! template L-2 with a certificate, an AK under it, `TPM2_ActivateCredential`, `TPM2_Quote`, PCRs.
//! It protects nothing: its keys lie in this process.

use crate::Machine;
use anyhow::{Context as _, Result, anyhow, ensure};
use aws_lc_rs::{
    agreement as ecdh,
    cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey},
    iv::FixedLength,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm,
};
use ring::{
    digest::{SHA256, digest},
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use std::{collections::BTreeMap, sync::LazyLock};
use strongroom_protocol::{
    Bytes, Fixed,
    enrol::EnrolChallenge,
    evidence::{PcrMap, PcrSelection, Pcrs, Tpm2Evidence},
};

/// `TPM_ALG_SHA256`, `TPM_ALG_ECDSA`, `TPM_ALG_NULL`, `TPM_ALG_ECC`, `TPM_ECC_NIST_P256`.
const SHA_256: u16 = 0x000b;
const ECDSA: u16 = 0x0018;
const NULL: u16 = 0x0010;
const ECC: u16 = 0x0023;
const NIST_P256: u16 = 0x0003;
/// `TPM_RH_ENDORSEMENT`.
const ENDORSEMENT: [u8; 4] = [0x40, 0x00, 0x00, 0x0b];
/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt (template L-2).
const EK_ATTRIBUTES: u32 = 0x0003_00b2;
/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign.
const AK_ATTRIBUTES: u32 = 0x0005_0072;
/// Bytes of a P-256 coordinate.
const COORDINATE: usize = 32;

/// The boot of all these machines: its log, and what the PCRs hold after it.
static BOOTED: LazyLock<Booted> = LazyLock::new(|| {
    let log = Machine::default().boot_log();
    Booted { pcrs: log.replay(), log: Bytes(log.encode()) }
});

struct Booted {
    pcrs: BTreeMap<u32, [u8; 32]>,
    log: Bytes,
}

/// The CA of a vendor that makes these TPMs.
pub struct Manufacturer {
    root: CertifiedIssuer<'static, KeyPair>,
}

impl Manufacturer {
    /// A new CA.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name = named("Software TPMs for load tests");
        Ok(Self { root: CertifiedIssuer::self_signed(params, KeyPair::generate()?)? })
    }

    /// Its certificate, PEM, for the vault's directory of vendor roots.
    pub fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// The certificate of an EK (EK Credential Profile 2.6, §3.2), DER.
    fn certify(&self, point: &[u8]) -> Result<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::KeyAgreement];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(vec![2, 23, 133, 8, 1])];
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = DistinguishedName::new();
        let mut names = CustomExtension::from_oid_content(&[2, 5, 29, 17], alternative_name());
        names.set_criticality(true);
        params.custom_extensions = vec![names];
        Ok(params.signed_by(&EndorsementPoint(point.to_vec()), &self.root)?.der().to_vec())
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut out = DistinguishedName::new();
    out.push(DnType::CommonName, name);
    out
}

/// subjectAltName of one directoryName: manufacturer, model, version.
fn alternative_name() -> Vec<u8> {
    let attributes = [(1, "id:54455354"), (2, "soft-tpm"), (3, "id:00010000")];
    let name: Vec<u8> = attributes
        .into_iter()
        .flat_map(|(attribute, value)| {
            let oid = der(0x06, &[0x67, 0x81, 0x05, 0x02, attribute]);
            let value = der(0x0c, value.as_bytes());
            der(0x31, &der(0x30, &[oid, value].concat()))
        })
        .collect();
    der(0x30, &der(0xa4, &der(0x30, &name)))
}

/// One DER element. Nothing here reaches the 128 bytes from which a length takes two.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).ok().filter(|length| *length < 0x80).unwrap_or_default();
    [&[tag, length], content].concat()
}

/// A P-256 key to be certified that does not sign.
struct EndorsementPoint(Vec<u8>);

impl PublicKeyData for EndorsementPoint {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// A TPM with an EK, a certificate for it, an AK under it, and PCRs of a measured boot.
pub struct SoftTpm {
    ek: ecdh::PrivateKey,
    ek_public: Vec<u8>,
    certificate: Vec<u8>,
    ak: EcdsaKeyPair,
    ak_public: Vec<u8>,
    ak_name: Vec<u8>,
    qualified_signer: Vec<u8>,
    rng: SystemRandom,
}

impl SoftTpm {
    /// A new TPM of this vendor.
    pub fn new(manufacturer: &Manufacturer) -> Result<Self> {
        let rng = SystemRandom::new();
        let ek = ecdh::PrivateKey::generate(&ecdh::ECDH_P256)?;
        let ek_point = ek.compute_public_key()?.as_ref().to_vec();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng)?;
        let ak = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &rng)
            .map_err(|e| anyhow!("the AK just made is refused: {e}"))?;
        let ek_public = ek_template(&ek_point)?;
        let ak_public = ak_template(ak.public_key().as_ref())?;
        let (ek_name, ak_name) = (name(&[&ek_public]), name(&[&ak_public]));
        let parent = name(&[&ENDORSEMENT, &ek_name]);
        Ok(Self {
            certificate: manufacturer.certify(&ek_point)?,
            qualified_signer: name(&[&parent, &ak_name]),
            ek,
            ek_public,
            ak,
            ak_public,
            ak_name,
            rng,
        })
    }

    /// The EK's certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// The EK's `TPMT_PUBLIC`.
    pub fn ek_public(&self) -> &[u8] {
        &self.ek_public
    }

    /// The AK's `TPMT_PUBLIC`.
    pub fn ak_public(&self) -> &[u8] {
        &self.ak_public
    }

    /// The AK's name.
    pub fn ak_name(&self) -> &[u8] {
        &self.ak_name
    }

    /// What every TPM here has in its PCRs: one boot of one machine.
    pub fn pcrs(selection: &PcrSelection) -> Pcrs {
        let value = |pcr: u8| Bytes(BOOTED.pcrs.get(&pcr.into()).copied().unwrap_or_default().to_vec());
        let values = selection.pcrs.iter().map(|pcr| (*pcr, value(*pcr))).collect();
        Pcrs { bank: selection.bank, values: PcrMap(values) }
    }

    /// `TPM2_ActivateCredential` (Part 1, §24; annex C.6.1): the secret, if the credential is for this EK and AK.
    pub fn activate(&self, challenge: &EnrolChallenge) -> Result<Vec<u8>> {
        let (x, rest) = sized(&challenge.encrypted_secret.0).context("encrypted_secret")?;
        let (y, rest) = sized(rest).context("encrypted_secret")?;
        ensure!(rest.is_empty() && x.len() == COORDINATE && y.len() == COORDINATE, "not a point of P-256");
        let ephemeral = ecdh::UnparsedPublicKey::new(&ecdh::ECDH_P256, [&[0x04], x, y].concat());
        let own_x = unique_x(&self.ek_public)?;
        let seed = ecdh::agree(&self.ek, ephemeral, anyhow!("the ephemeral point is not on the curve"), |z| {
            Ok(kdfe(z, b"IDENTITY", x, own_x))
        })?;

        let (integrity, identity) = sized(&challenge.credential_blob.0).context("credential_blob")?;
        let key = hmac::Key::new(hmac::HMAC_SHA256, &kdfa(&seed, b"INTEGRITY", &[], 256));
        hmac::verify(&key, &[identity, &self.ak_name].concat(), integrity)
            .map_err(|_| anyhow!("the credential is for another EK or AK"))?;
        let mut identity = identity.to_vec();
        let key = kdfa(&seed, b"STORAGE", &self.ak_name, 128);
        let key = DecryptingKey::cfb128(UnboundCipherKey::new(&AES_128, key.get(..16).unwrap_or_default())?)?;
        let plain = key.decrypt(&mut identity, DecryptionContext::Iv128(FixedLength::from([0; 16])))?;
        Ok(sized(plain).context("credential")?.0.to_vec())
    }

    /// `TPM2_Quote` (Part 2, §10.12; Part 3, §18.4) of the selection over `extra_data`.
    pub fn quote(&self, extra_data: &[u8; 32], selection: &PcrSelection) -> Result<Tpm2Evidence> {
        let pcrs = Self::pcrs(selection);
        let values: Vec<&[u8]> = pcrs.values.0.values().map(Bytes::as_slice).collect();
        let mut message = Vec::with_capacity(160);
        message.extend_from_slice(&0xff54_4347_u32.to_be_bytes());
        push(&mut message, 0x8018);
        push_sized(&mut message, &self.qualified_signer)?;
        push_sized(&mut message, extra_data)?;
        // Clock, resetCount, restartCount, safe, firmwareVersion.
        message.extend_from_slice(&1_000_000_u64.to_be_bytes());
        message.extend_from_slice(&7_u32.to_be_bytes());
        message.extend_from_slice(&0_u32.to_be_bytes());
        message.push(1);
        message.extend_from_slice(&0x0001_0000_0000_0000_u64.to_be_bytes());
        message.extend_from_slice(&1_u32.to_be_bytes());
        push(&mut message, selection.bank.algorithm());
        message.push(3);
        message.extend_from_slice(&selection.bitmap().context("not a PCR selection")?);
        push_sized(&mut message, digest(&SHA256, &values.concat()).as_ref())?;

        let value = self.ak.sign(&self.rng, &message)?;
        let (r, s) = value.as_ref().split_at(COORDINATE);
        let mut signature = Vec::with_capacity(72);
        push(&mut signature, ECDSA);
        push(&mut signature, SHA_256);
        push_sized(&mut signature, r)?;
        push_sized(&mut signature, s)?;
        Ok(Tpm2Evidence {
            ak: Fixed(strongroom_protocol::sha256(&self.ak_name)),
            message: Bytes(message),
            signature: Bytes(signature),
            pcrs,
            boot_log: Some(BOOTED.log.clone()),
            ima_log: None,
            ima_offset: None,
        })
    }
}

/// `TPMT_PUBLIC` of template L-2.
fn ek_template(point: &[u8]) -> Result<Vec<u8>> {
    // PolicySecret of the endorsement hierarchy, as a TPM computes it (Part 3, §23.4).
    let policy = digest(&SHA256, &[[0; 32].as_slice(), &[0, 0, 1, 0x51], &ENDORSEMENT].concat());
    let policy = digest(&SHA256, policy.as_ref());
    // AES, 128 bits, CFB; no scheme.
    public(EK_ATTRIBUTES, policy.as_ref(), &[0x0006, 128, 0x0043, NULL], point)
}

/// `TPMT_PUBLIC` of a restricted signing key: ECDSA with SHA-256.
fn ak_template(point: &[u8]) -> Result<Vec<u8>> {
    public(AK_ATTRIBUTES, &[], &[NULL, ECDSA, SHA_256], point)
}

fn public(attributes: u32, policy: &[u8], parameters: &[u16], point: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(128);
    push(&mut out, ECC);
    push(&mut out, SHA_256);
    out.extend_from_slice(&attributes.to_be_bytes());
    push_sized(&mut out, policy)?;
    for parameter in parameters.iter().chain(&[NIST_P256, NULL]) {
        push(&mut out, *parameter);
    }
    let (x, y) = point.get(1..).and_then(|p| p.split_at_checked(COORDINATE)).context("not a point of P-256")?;
    push_sized(&mut out, x)?;
    push_sized(&mut out, y)?;
    Ok(out)
}

/// x of a public area: the first of the two coordinates at its end, each with its size.
fn unique_x(public: &[u8]) -> Result<&[u8]> {
    let end = public.len().checked_sub(COORDINATE + 2).context("a public area without a point")?;
    public.get(end - COORDINATE..end).context("a public area without a point")
}

/// nameAlg with the digest of the parts (Part 1, §16).
fn name(parts: &[&[u8]]) -> Vec<u8> {
    [&SHA_256.to_be_bytes(), digest(&SHA256, &parts.concat()).as_ref()].concat()
}

/// `KDFe` with SHA-256 (Part 1, §11.4.10.3): one block of 256 bits.
fn kdfe(z: &[u8], label: &[u8], party_u: &[u8], party_v: &[u8]) -> Vec<u8> {
    digest(&SHA256, &[&1_u32.to_be_bytes(), z, label, &[0], party_u, party_v].concat()).as_ref().to_vec()
}

/// `KDFa` with SHA-256 (Part 1, §11.4.10.2): one block, of which the first `bits` count.
fn kdfa(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let message = [&1_u32.to_be_bytes(), label, &[0], context, &bits.to_be_bytes()].concat();
    hmac::sign(&key, &message).as_ref().to_vec()
}

fn push(out: &mut Vec<u8>, number: u16) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn push_sized(out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
    push(out, u16::try_from(bytes.len())?);
    out.extend_from_slice(bytes);
    Ok(())
}

/// A `TPM2B`'s content and what follows it.
fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_attest::{
        QuoteEvidence, QuoteExpectation, TrustAnchors,
        enrol::{check_ak, make_credential, verify_ek_certificate},
        log, quote,
        tpm::{HashAlg, Public},
    };
    use strongroom_protocol::EnrolmentId;

    /// 2026-01-01.
    const NOW: u64 = 1_767_225_600;

    fn challenge(ek: &SoftTpm, ak: &SoftTpm, secret: &[u8]) -> EnrolChallenge {
        let public = Public::parse(ek.ek_public()).unwrap();
        let made = make_credential(&public, ak.ak_name(), secret, &SystemRandom::new()).unwrap();
        EnrolChallenge {
            enrolment: EnrolmentId::from([0; 16]),
            credential_blob: Bytes(made.credential_blob),
            encrypted_secret: Bytes(made.encrypted_secret),
        }
    }

    #[test]
    fn the_verifier_takes_its_certificate_under_its_own_root_only() {
        let (vendor, other) = (Manufacturer::new().unwrap(), Manufacturer::new().unwrap());
        let tpm = SoftTpm::new(&vendor).unwrap();
        let ek = Public::parse(tpm.ek_public()).unwrap();
        let verify = |vendor: &Manufacturer| {
            let anchors = TrustAnchors::from_pem(&vendor.root_pem()).unwrap();
            verify_ek_certificate(&[tpm.certificate()], &ek, &anchors, &[], NOW)
        };
        let identity = verify(&vendor).unwrap();
        assert_eq!((identity.manufacturer(), identity.model()), ("TEST", "soft-tpm"));
        assert!(verify(&other).is_err());
        check_ak(&Public::parse(tpm.ak_public()).unwrap()).unwrap();
    }

    #[test]
    fn it_activates_what_is_for_its_ek_and_its_ak() {
        let vendor = Manufacturer::new().unwrap();
        let (tpm, other) = (SoftTpm::new(&vendor).unwrap(), SoftTpm::new(&vendor).unwrap());
        assert_eq!(tpm.activate(&challenge(&tpm, &tpm, b"secret")).unwrap(), b"secret");
        assert!(tpm.activate(&challenge(&tpm, &other, b"secret")).is_err());
        assert!(tpm.activate(&challenge(&other, &tpm, b"secret")).is_err());
    }

    #[test]
    fn the_verifier_takes_its_quotes() {
        let vendor = Manufacturer::new().unwrap();
        let (tpm, other) = (SoftTpm::new(&vendor).unwrap(), SoftTpm::new(&vendor).unwrap());
        let selection = PcrSelection::default_sha256();
        let evidence = tpm.quote(&[7; 32], &selection).unwrap();
        let verify = |signer: &SoftTpm| {
            let (ak, ek) = (Public::parse(signer.ak_public()).unwrap(), Public::parse(signer.ek_public()).unwrap());
            let expectation = QuoteExpectation {
                ak: &ak,
                ek_name: &ek.name(),
                extra_data: [7; 32],
                selection: &selection,
                boot: None,
            };
            quote::verify(QuoteEvidence::from(&evidence), &expectation)
        };
        assert!(verify(&tpm).is_ok());
        assert!(verify(&other).is_err());
    }

    #[test]
    fn its_boot_log_explains_its_pcrs() {
        let selection = PcrSelection::default_sha256();
        let Pcrs { values, .. } = SoftTpm::pcrs(&selection);
        let explain = |log: &[u8]| {
            let values = values.0.iter().map(|(&pcr, value)| (pcr, value.as_slice())).collect();
            let quoted = log::Quoted { bank: HashAlg::Sha256, values, explained: &selection.pcrs };
            log::verify(log, Some(&quoted)).map(|(_, claims)| claims.explained)
        };
        assert_eq!(explain(BOOTED.log.as_slice()).unwrap(), selection.pcrs);
        let other = Machine { kernel_cmdline: "other".into(), ..Machine::default() };
        assert!(explain(&other.boot_log().encode()).is_err());
    }
}
