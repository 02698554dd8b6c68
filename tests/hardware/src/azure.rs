//! A confidential machine of Azure: the envelope of its vTPM, and a quote by the key in it.
#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a stand-in that cannot be made ends the test that wants it"
)]

use crate::{
    certificate::Key,
    snp::{Leaf, Product, Snp},
    text::base64,
};
use std::{collections::BTreeMap, sync::OnceLock};

/// The AK of the vTPM, made at the first call.
pub fn ak() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(Key::rsa_2048)
}

/// Another vTPM's AK.
pub fn other_ak() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(Key::rsa_2048)
}

/// A machine with its report, its runtime data and its quote.
#[derive(Clone)]
pub struct Azure {
    /// The processor. Its `report_data` is set when the envelope is laid out, unless [`Self::report_data`] is given.
    pub snp: Snp,
    /// What the report holds instead of the hash of the runtime data.
    pub report_data: Option<[u8; 64]>,
    /// The eight words of the header: signature, version, size, kind of request, status, and three that are reserved.
    pub header: [u32; 8],
    /// Version, kind of report and kind of hash in the runtime data's header.
    pub kinds: [u32; 3],
    /// What is added to the two lengths in the runtime data's header.
    pub longer: [i32; 2],
    /// The runtime data's JSON.
    pub runtime_data: String,
    /// Bytes after the runtime data.
    pub after: Vec<u8>,
    /// The quote.
    pub quote: Quote,
}

/// A quote of the vTPM.
#[derive(Clone)]
pub struct Quote {
    /// `extraData`.
    pub extra_data: Vec<u8>,
    /// The values of the bank SHA-256, all of them selected.
    pub pcrs: BTreeMap<u8, Vec<u8>>,
    /// `pcrDigest`; `None` where it is that of the values.
    pub digest: Option<Vec<u8>>,
    /// `magic`.
    pub magic: u32,
    /// The key that signs.
    pub signed_by: &'static Key,
}

impl Default for Azure {
    fn default() -> Self {
        let mut snp = Snp::new(Product::Milan, Leaf::Vcek);
        snp.report.version = 2;
        let values = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14].map(|pcr| (pcr, vec![pcr | 0x40; 32]));
        Self {
            snp,
            report_data: None,
            header: [u32::from_le_bytes(*b"HCLA"), 1, 0, 2, 0, 0, 0, 0],
            kinds: [1, 2, 1],
            longer: [0, 0],
            runtime_data: runtime_data(ak()),
            after: vec![0; 100],
            quote: Quote {
                extra_data: vec![9; 32],
                pcrs: values.into(),
                digest: None,
                magic: 0xff54_4347,
                signed_by: ak(),
            },
        }
    }
}

/// Runtime data with this key as `HCLAkPub`.
pub fn runtime_data(ak: &Key) -> String {
    let key = jwk("HCLAkPub", "sign", ak);
    let other = jwk("HCLEkPub", "encrypt", other_ak());
    format!(
        r#"{{"keys":[{key},{other}],"vm-configuration":{{"console-enabled":true,"secure-boot":true,"tpm-enabled":true,"vmUniqueId":"0A1B2C3D-1111-2222-3333-444455556666"}},"user-data":"00"}}"#
    )
}

/// A JSON web key.
pub fn jwk(id: &str, operation: &str, key: &Key) -> String {
    jwk_of(id, operation, &key.modulus())
}

/// A JSON web key of RSA with this modulus, big-endian: a key that a real TPM made.
pub fn jwk_of(id: &str, operation: &str, modulus: &[u8]) -> String {
    let modulus = base64url(modulus);
    format!(r#"{{"kid":"{id}","key_ops":["{operation}"],"kty":"RSA","e":"AQAB","n":"{modulus}"}}"#)
}

fn base64url(bytes: &[u8]) -> String {
    base64(bytes).trim_end_matches('=').replace('+', "-").replace('/', "_")
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().to_vec()
}

impl Azure {
    /// The envelope.
    pub fn hcl_report(&self) -> Vec<u8> {
        let json = self.runtime_data.as_bytes();
        let mut snp = self.snp.clone();
        let mut bound = [0; 64];
        bound.iter_mut().zip(sha256(json)).for_each(|(to, from)| *to = from);
        snp.report.report_data = self.report_data.unwrap_or(bound);
        let mut out: Vec<u8> = self.header.iter().flat_map(|word| word.to_le_bytes()).collect();
        out.extend(snp.report_bytes());
        let length = i32::try_from(json.len()).unwrap();
        let [all, own] = self.longer;
        let [version, report, hash] = self.kinds;
        let lengths = [length + 20 + all, length + own].map(i32::to_le_bytes);
        let [all, own] = lengths;
        for word in [all, version.to_le_bytes(), report.to_le_bytes(), hash.to_le_bytes(), own] {
            out.extend(word);
        }
        out.extend(json);
        out.extend(&self.after);
        out
    }

    /// `TPMS_ATTEST`.
    pub fn message(&self) -> Vec<u8> {
        let quote = &self.quote;
        let mut bitmap = [0_u8; 3];
        for pcr in quote.pcrs.keys() {
            if let Some(byte) = bitmap.get_mut(usize::from(pcr / 8)) {
                *byte |= 1 << (pcr % 8);
            }
        }
        let values: Vec<u8> = quote.pcrs.values().flatten().copied().collect();
        let digest = quote.digest.clone().unwrap_or_else(|| sha256(&values));
        let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        [
            quote.magic.to_be_bytes().to_vec(),
            vec![0x80, 0x18],
            sized(&[&[0, 0x0b][..], &[0x11; 32]].concat()),
            sized(&quote.extra_data),
            vec![0; 16],
            vec![1],
            vec![0; 8],
            vec![0, 0, 0, 1, 0, 0x0b, 3],
            bitmap.to_vec(),
            sized(&digest),
        ]
        .concat()
    }

    /// `TPMT_SIGNATURE`: RSASSA with SHA-256.
    pub fn signature(&self) -> Vec<u8> {
        let value = self.quote.signed_by.sign_rsassa_sha256(&self.message());
        let length = u16::try_from(value.len()).unwrap().to_be_bytes();
        [&[0, 0x14, 0, 0x0b][..], &length, &value].concat()
    }
}
