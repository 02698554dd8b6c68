//! A TPM for tests: an AK that signs quotes, and an EK that only has a public half.

use crate::boot::{Boot, Ima};
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
    /// What its machine booted.
    pub(crate) boot: Boot,
    /// What its kernel measured, where PCR 10 is quoted.
    pub(crate) ima: Option<Ima>,
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
        Self {
            ek_public: public(0x0003_00b2, &[0x0006, 128, 0x0043, 0x0010], ek.public_key().as_ref()),
            ak_public: public(0x0005_0072, &[0x0010, 0x0018, 0x000b], ak.public_key().as_ref()),
            ak,
            boot: Boot::default(),
            ima: None,
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

    /// The PCRs that it quotes.
    pub(crate) fn selection(&self) -> PcrSelection {
        let mut selection = PcrSelection::default_sha256();
        if self.ima.is_some() {
            selection.pcrs.push(10);
            selection.pcrs.sort_unstable();
        }
        selection
    }

    /// What they hold.
    pub(crate) fn pcrs(&self) -> PcrMap {
        let booted = self.boot.pcrs();
        let held = |pcr: u8| match (&self.ima, pcr) {
            (Some(ima), 10) => ima.pcr(),
            _ => booted.get(&pcr).copied().unwrap_or_default(),
        };
        PcrMap(self.selection().pcrs.into_iter().map(|pcr| (pcr, Bytes(held(pcr).to_vec()))).collect())
    }

    /// A quote with the logs that explain it.
    pub(crate) fn quote(&self, extra_data: [u8; 32]) -> Tpm2Evidence {
        let (selection, pcrs) = (self.selection(), self.pcrs());
        let values: Vec<u8> = pcrs.0.values().flat_map(|v| v.0.clone()).collect();
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
            pcrs: Pcrs { bank: PcrBank::Sha256, values: pcrs },
            boot_log: Some(Bytes(self.boot.log())),
            ima_log: self.ima.as_ref().map(|ima| Bytes(ima.log())),
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
