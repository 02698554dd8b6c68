//! A TPM for tests: an AK that signs quotes, and an EK that only has a public half.

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair},
};
use strongroom_attest::tpm::{Public, qualified_name};
use strongroom_protocol::{
    Bytes, Fixed,
    evidence::{PcrBank, PcrMap, PcrSelection, Pcrs, Tpm2Evidence},
    sha256,
};

pub(crate) struct Tpm {
    pub(crate) ak: EcdsaKeyPair,
    pub(crate) ek_public: Vec<u8>,
    pub(crate) ak_public: Vec<u8>,
    pub(crate) pcrs: PcrMap,
    pub(crate) reset_count: u32,
}

impl Tpm {
    pub(crate) fn new() -> Self {
        let key = || {
            let rng = SystemRandom::new();
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &rng).unwrap()
        };
        let (ek, ak) = (key(), key());
        let pcrs = PcrSelection::default_sha256().pcrs.into_iter().map(|i| (i, Bytes(vec![i + 1; 32]))).collect();
        Self {
            ek_public: public(0x0003_00b2, &[0x0006, 128, 0x0043, 0x0010], ek.public_key().as_ref()),
            ak_public: public(0x0005_0072, &[0x0010, 0x0018, 0x000b], ak.public_key().as_ref()),
            ak,
            pcrs: PcrMap(pcrs),
            reset_count: 1,
        }
    }

    /// The same machine with another AK.
    pub(crate) fn with_another_ak(&self) -> Self {
        Self { ek_public: self.ek_public.clone(), ..Self::new() }
    }

    pub(crate) fn ak_name(&self) -> Vec<u8> {
        Public::parse(&self.ak_public).unwrap().name()
    }

    pub(crate) fn ak_sha256(&self) -> Fixed<32> {
        Fixed(sha256(&self.ak_name()))
    }

    pub(crate) fn quote(&self, extra_data: [u8; 32]) -> Tpm2Evidence {
        let selection = PcrSelection::default_sha256();
        let values: Vec<u8> = self.pcrs.0.values().flat_map(|v| v.0.clone()).collect();
        let ek_name = Public::parse(&self.ek_public).unwrap().name();
        let mut message = 0xff54_4347_u32.to_be_bytes().to_vec();
        push(&mut message, &[0x8018]);
        sized(&mut message, &qualified_name(&ek_name, &self.ak_name()).unwrap());
        sized(&mut message, &extra_data);
        message.extend_from_slice(&1_000_u64.to_be_bytes());
        message.extend_from_slice(&self.reset_count.to_be_bytes());
        message.extend_from_slice(&0_u32.to_be_bytes());
        message.push(1);
        message.extend_from_slice(&0x0007_0055_u64.to_be_bytes());
        message.extend_from_slice(&1_u32.to_be_bytes());
        push(&mut message, &[0x000b]);
        message.push(3);
        message.extend_from_slice(&selection.bitmap().unwrap());
        sized(&mut message, &sha256(&values));

        let signed = self.ak.sign(&SystemRandom::new(), &message).unwrap();
        let (r, s) = signed.as_ref().split_at(32);
        let mut signature = Vec::new();
        push(&mut signature, &[0x0018, 0x000b]);
        sized(&mut signature, r);
        sized(&mut signature, s);
        Tpm2Evidence {
            ak: self.ak_sha256(),
            message: Bytes(message),
            signature: Bytes(signature),
            pcrs: Pcrs { bank: PcrBank::Sha256, values: self.pcrs.clone() },
            boot_log: None,
            ima_log: None,
            ima_offset: None,
        }
    }
}

/// `TPMT_PUBLIC` of a P-256 key: symmetric and scheme as they are marshalled.
fn public(attributes: u32, symmetric_and_scheme: &[u16], point: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    push(&mut out, &[0x0023, 0x000b]);
    out.extend_from_slice(&attributes.to_be_bytes());
    sized(&mut out, &[]);
    push(&mut out, symmetric_and_scheme);
    push(&mut out, &[0x0003, 0x0010]);
    sized(&mut out, &point[1..33]);
    sized(&mut out, &point[33..]);
    out
}

fn push(out: &mut Vec<u8>, numbers: &[u16]) {
    for number in numbers {
        out.extend_from_slice(&number.to_be_bytes());
    }
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    push(out, &[u16::try_from(bytes.len()).unwrap()]);
    out.extend_from_slice(bytes);
}
