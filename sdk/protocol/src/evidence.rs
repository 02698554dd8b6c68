//! Evidence items: raw signed bytes from hardware, as they travel.

use crate::bytes::{Bytes, Fixed};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{collections::BTreeMap, fmt};

/// The reason code of a denial that only the whole IMA log will mend: the vault does not have the part that was
/// left out ([`Tpm2Evidence::ima_offset`]).
pub const IMA_LOG_INCOMPLETE: &str = "ima_log_incomplete";

/// A PCR bank that a quote may select.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PcrBank {
    /// SHA-256, 32 bytes a value.
    Sha256,
    /// SHA-384, 48 bytes a value.
    Sha384,
}

impl PcrBank {
    /// Bytes of one PCR value.
    pub fn digest_length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// The TPM's name of the bank (`TPM_ALG_ID`).
    pub fn algorithm(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
        }
    }
}

/// Which PCRs a quote covers: one bank, indices 0 to 23, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PcrSelection {
    /// The bank.
    pub bank: PcrBank,
    /// The indices, ascending, without repetition.
    pub pcrs: Vec<u8>,
}

impl PcrSelection {
    /// The firmware, boot path and kernel PCRs that a policy reads unless it says otherwise.
    pub fn default_sha256() -> Self {
        Self { bank: PcrBank::Sha256, pcrs: vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14] }
    }

    /// The three-byte bitmap of `TPMS_PCR_SELECTION`; `None` if an index is over 23, repeated or out of order.
    pub fn bitmap(&self) -> Option<[u8; 3]> {
        let ascending = self.pcrs.windows(2).all(|pair| matches!(pair, [a, b] if a < b));
        let mut map = [0_u8; 3];
        for &pcr in &self.pcrs {
            *map.get_mut(usize::from(pcr / 8))? |= 1 << (pcr % 8);
        }
        (ascending && !self.pcrs.is_empty()).then_some(map)
    }
}

/// PCR values by index. On the wire an object `{"0": value, ...}`; a repeated index is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct PcrMap(pub BTreeMap<u8, Bytes>);

impl<'de> Deserialize<'de> for PcrMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = PcrMap;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of PCR values by index")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<PcrMap, A::Error> {
                let mut values = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Bytes>()? {
                    let index = key
                        .parse::<u8>()
                        .ok()
                        .filter(|i| *i < 24 && i.to_string() == key)
                        .ok_or_else(|| de::Error::custom("a PCR index is 0 to 23"))?;
                    if values.insert(index, value).is_some() {
                        return Err(de::Error::custom(format!("PCR {index} is given twice")));
                    }
                }
                Ok(PcrMap(values))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

/// PCR values as they stand beside a quote. Only the values that the quote's selection names count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pcrs {
    /// The bank they were read from.
    pub bank: PcrBank,
    /// The values.
    pub values: PcrMap,
}

/// A TPM 2.0 quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tpm2Evidence {
    /// SHA-256 of the AK's name, so that the node is known before more is parsed.
    pub ak: Fixed<32>,
    /// `TPMS_ATTEST` as the TPM marshalled it.
    pub message: Bytes,
    /// `TPMT_SIGNATURE` as the TPM marshalled it.
    pub signature: Bytes,
    /// The PCR values that the quote's digest is of.
    pub pcrs: Pcrs,
    /// The firmware's event log, at most 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_log: Option<Bytes>,
    /// The IMA log, at most 2 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ima_log: Option<Bytes>,
    /// Where `ima_log` starts in the node's whole log, bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ima_offset: Option<u64>,
}

/// One item of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Evidence {
    /// A quote of the machine's TPM 2.0.
    Tpm2(Tpm2Evidence),
}

/// [`Evidence`] as it is read: with its kind as a field among the others. A derived reader would
/// keep the whole item in a buffer first, logs included, and would take arrays for objects there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    #[serde(rename = "type")]
    _kind: Kind,
    ak: Fixed<32>,
    message: Bytes,
    signature: Bytes,
    pcrs: Pcrs,
    #[serde(default)]
    boot_log: Option<Bytes>,
    #[serde(default)]
    ima_log: Option<Bytes>,
    #[serde(default)]
    ima_offset: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Tpm2,
}

impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Item { _kind: Kind::Tpm2, ak, message, signature, pcrs, boot_log, ima_log, ima_offset } =
            Item::deserialize(deserializer)?;
        Ok(Self::Tpm2(Tpm2Evidence { ak, message, signature, pcrs, boot_log, ima_log, ima_offset }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_a_bitmap_or_nothing() {
        let select = |pcrs: &[u8]| PcrSelection { bank: PcrBank::Sha256, pcrs: pcrs.to_vec() }.bitmap();
        assert_eq!(select(&[0, 4, 9, 23]), Some([0x11, 0x02, 0x80]));
        assert_eq!(select(&[24]), None);
        assert_eq!(select(&[4, 0]), None);
        assert_eq!(select(&[4, 4]), None);
        assert_eq!(select(&[]), None);
    }

    #[test]
    fn a_pcr_given_twice_is_refused() {
        assert!(serde_json::from_str::<PcrMap>(r#"{"0":"AA","7":"AA"}"#).is_ok());
        for wrong in [r#"{"0":"AA","0":"AQ"}"#, r#"{"24":"AA"}"#, r#"{"00":"AA"}"#, r#"{"+1":"AA"}"#] {
            assert!(serde_json::from_str::<PcrMap>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn evidence_of_an_unknown_kind_or_with_unknown_fields_is_refused() {
        assert!(serde_json::from_str::<Evidence>(r#"{"type":"tpm1","ak":"AA"}"#).is_err());
        let item = Evidence::Tpm2(Tpm2Evidence {
            ak: Fixed([0; 32]),
            message: Bytes::default(),
            signature: Bytes::default(),
            pcrs: Pcrs { bank: PcrBank::Sha256, values: PcrMap::default() },
            boot_log: None,
            ima_log: None,
            ima_offset: None,
        });
        let json = serde_json::to_string(&item).unwrap();
        assert_eq!(serde_json::from_str::<Evidence>(&json).unwrap(), item);
        assert!(serde_json::from_str::<Evidence>(&json.replacen("\"ak\"", "\"more\":1,\"ak\"", 1)).is_err());
    }
}
