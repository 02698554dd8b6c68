//! Evidence items: raw signed bytes from hardware, as they travel.

use crate::bytes::{Bytes, Fixed};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de};
use std::{collections::BTreeMap, fmt, str::FromStr};

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

/// An attestation report of AMD SEV-SNP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SevSnpEvidence {
    /// `ATTESTATION_REPORT` as the firmware gave it, 1,184 bytes.
    pub report: Bytes,
    /// VCEK or VLEK, and what is above it (DER), in any order. The vault has its own store beside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Bytes>,
    /// The certificate table that the host lays beside the report, as configfs-tsm's `auxblob` holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aux: Option<Bytes>,
}

/// A quote of Intel TDX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TdxEvidence {
    /// The quote, with its certification data.
    pub quote: Bytes,
    /// The confidential computing event log that the RTMRs are of, at most 1 MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ccel: Option<Bytes>,
}

/// A report of one NVIDIA GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NvidiaGpuEvidence {
    /// SPDM `GET_MEASUREMENTS` request and response, as the driver gave them.
    pub report: Bytes,
    /// The device's certificate chain (DER), in any order.
    pub certificates: Vec<Bytes>,
}

/// What a confidential machine of Azure has: a report made when it was started, and a quote by the key in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AzureSnpVtpmEvidence {
    /// The envelope of the vTPM's NV index 0x01400001: SEV-SNP report and runtime data.
    pub hcl_report: Bytes,
    /// `TPMS_ATTEST` as the vTPM marshalled it.
    pub message: Bytes,
    /// `TPMT_SIGNATURE` as the vTPM marshalled it.
    pub signature: Bytes,
    /// The PCR values that the quote's digest is of.
    pub pcrs: Pcrs,
    /// VCEK and what is above it (DER), in any order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Bytes>,
}

/// A kind of evidence, and of the devices that give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EvidenceKind {
    /// The machine's TPM 2.0.
    Tpm2,
    /// AMD's processor, below a guest whose memory it encrypts.
    SevSnp,
    /// Intel's TDX module, below a guest whose memory it encrypts.
    Tdx,
    /// NVIDIA's GPUs.
    NvidiaGpu,
    /// The vTPM of an Azure machine, with the SEV-SNP report that it keeps.
    AzureSnpVtpm,
}

impl EvidenceKind {
    /// Every kind, in the order of the protocol.
    pub const ALL: [Self; 5] = [Self::Tpm2, Self::SevSnp, Self::Tdx, Self::NvidiaGpu, Self::AzureSnpVtpm];

    /// The kind on the wire and in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tpm2 => "tpm2",
            Self::SevSnp => "sev-snp",
            Self::Tdx => "tdx",
            Self::NvidiaGpu => "nvidia-gpu",
            Self::AzureSnpVtpm => "azure-snp-vtpm",
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Text that is no kind of evidence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{}` is no kind of evidence: write tpm2, sev-snp, tdx, nvidia-gpu or azure-snp-vtpm", .0.escape_debug()
)]
pub struct UnknownEvidenceKind(String);

impl FromStr for EvidenceKind {
    type Err = UnknownEvidenceKind;

    fn from_str(text: &str) -> Result<Self, UnknownEvidenceKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownEvidenceKind(text.to_owned()))
    }
}

/// One item of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Evidence {
    /// A quote of the machine's TPM 2.0.
    Tpm2(Tpm2Evidence),
    /// A report of the processor that the guest's memory is encrypted by.
    SevSnp(SevSnpEvidence),
    /// A quote of the module that the guest's memory is encrypted by.
    Tdx(TdxEvidence),
    /// A report of one GPU; one item a device.
    NvidiaGpu(NvidiaGpuEvidence),
    /// Report and vTPM of an Azure machine. Never taken for `tpm2`.
    AzureSnpVtpm(AzureSnpVtpmEvidence),
}

impl Evidence {
    /// The kind, which `type` names.
    pub fn kind(&self) -> EvidenceKind {
        match self {
            Self::Tpm2(_) => EvidenceKind::Tpm2,
            Self::SevSnp(_) => EvidenceKind::SevSnp,
            Self::Tdx(_) => EvidenceKind::Tdx,
            Self::NvidiaGpu(_) => EvidenceKind::NvidiaGpu,
            Self::AzureSnpVtpm(_) => EvidenceKind::AzureSnpVtpm,
        }
    }

    /// The quote, if it is one of the machine's own TPM.
    pub fn as_tpm2(&self) -> Option<&Tpm2Evidence> {
        if let Self::Tpm2(item) = self { Some(item) } else { None }
    }

    /// The quote, if it is one of the machine's own TPM.
    pub fn as_tpm2_mut(&mut self) -> Option<&mut Tpm2Evidence> {
        if let Self::Tpm2(item) = self { Some(item) } else { None }
    }

    /// The quote, if it is one of the machine's own TPM.
    pub fn into_tpm2(self) -> Option<Tpm2Evidence> {
        if let Self::Tpm2(item) = self { Some(item) } else { None }
    }
}

/// [`Evidence`] as it is read: with its kind as a field among the others. A derived reader would
/// keep the whole item in a buffer first, logs included, and would take arrays for objects there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    #[serde(rename = "type")]
    kind: EvidenceKind,
    #[serde(default)]
    ak: Option<Fixed<32>>,
    #[serde(default)]
    message: Option<Bytes>,
    #[serde(default)]
    signature: Option<Bytes>,
    #[serde(default)]
    pcrs: Option<Pcrs>,
    #[serde(default)]
    boot_log: Option<Bytes>,
    #[serde(default)]
    ima_log: Option<Bytes>,
    #[serde(default)]
    ima_offset: Option<u64>,
    #[serde(default)]
    report: Option<Bytes>,
    #[serde(default)]
    certificates: Option<Vec<Bytes>>,
    #[serde(default)]
    aux: Option<Bytes>,
    #[serde(default)]
    quote: Option<Bytes>,
    #[serde(default)]
    ccel: Option<Bytes>,
    #[serde(default)]
    hcl_report: Option<Bytes>,
}

impl Item {
    /// Takes what the kind has; what is left belongs to another kind, and is refused as unknown.
    fn read<E: de::Error>(mut self) -> Result<Evidence, E> {
        fn needed<T, E: de::Error>(field: &'static str, value: Option<T>) -> Result<T, E> {
            value.ok_or_else(|| E::missing_field(field))
        }
        let evidence = match self.kind {
            EvidenceKind::Tpm2 => Evidence::Tpm2(Tpm2Evidence {
                ak: needed("ak", self.ak.take())?,
                message: needed("message", self.message.take())?,
                signature: needed("signature", self.signature.take())?,
                pcrs: needed("pcrs", self.pcrs.take())?,
                boot_log: self.boot_log.take(),
                ima_log: self.ima_log.take(),
                ima_offset: self.ima_offset.take(),
            }),
            EvidenceKind::SevSnp => Evidence::SevSnp(SevSnpEvidence {
                report: needed("report", self.report.take())?,
                certificates: self.certificates.take().unwrap_or_default(),
                aux: self.aux.take(),
            }),
            EvidenceKind::Tdx => {
                Evidence::Tdx(TdxEvidence { quote: needed("quote", self.quote.take())?, ccel: self.ccel.take() })
            }
            EvidenceKind::NvidiaGpu => Evidence::NvidiaGpu(NvidiaGpuEvidence {
                report: needed("report", self.report.take())?,
                certificates: needed("certificates", self.certificates.take())?,
            }),
            EvidenceKind::AzureSnpVtpm => Evidence::AzureSnpVtpm(AzureSnpVtpmEvidence {
                hcl_report: needed("hcl_report", self.hcl_report.take())?,
                message: needed("message", self.message.take())?,
                signature: needed("signature", self.signature.take())?,
                pcrs: needed("pcrs", self.pcrs.take())?,
                certificates: self.certificates.take().unwrap_or_default(),
            }),
        };
        match self.left() {
            None => Ok(evidence),
            Some(field) => Err(E::custom(format!("evidence of type {} has no field {field}", evidence.kind()))),
        }
    }

    /// A field that was given and not taken.
    fn left(&self) -> Option<&'static str> {
        let Self { kind: _, ak, message, signature, pcrs, boot_log, ima_log, ima_offset, .. } = self;
        let Self { report, certificates, aux, quote, ccel, hcl_report, .. } = self;
        let given = [
            ("ak", ak.is_some()),
            ("message", message.is_some()),
            ("signature", signature.is_some()),
            ("pcrs", pcrs.is_some()),
            ("boot_log", boot_log.is_some()),
            ("ima_log", ima_log.is_some()),
            ("ima_offset", ima_offset.is_some()),
            ("report", report.is_some()),
            ("certificates", certificates.is_some()),
            ("aux", aux.is_some()),
            ("quote", quote.is_some()),
            ("ccel", ccel.is_some()),
            ("hcl_report", hcl_report.is_some()),
        ];
        given.into_iter().find_map(|(field, given)| given.then_some(field))
    }
}

impl<'de> Deserialize<'de> for Evidence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Item::deserialize(deserializer)?.read()
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

    #[test]
    fn a_kind_has_one_name() {
        for kind in EvidenceKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
            assert_eq!(kind.as_str().parse(), Ok(kind));
        }
        for wrong in ["", "tpm", "SEV-SNP", "auto"] {
            assert!(wrong.parse::<EvidenceKind>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_item_has_the_fields_of_its_kind_and_no_others() {
        let read = |json: &str| serde_json::from_str::<Evidence>(json);
        for (kind, json) in [
            ("sev-snp", r#"{"report":"AA","type":"sev-snp","aux":"AQ"}"#),
            ("tdx", r#"{"type":"tdx","quote":"AA","ccel":"AQ"}"#),
            ("nvidia-gpu", r#"{"type":"nvidia-gpu","report":"AA","certificates":["AQ"]}"#),
            (
                "azure-snp-vtpm",
                r#"{"type":"azure-snp-vtpm","hcl_report":"AA","message":"AA","signature":"AA","pcrs":{"bank":"sha256","values":{}}}"#,
            ),
        ] {
            let item = read(json).unwrap();
            assert_eq!((item.kind().as_str(), item.as_tpm2()), (kind, None));
            assert_eq!(read(&serde_json::to_string(&item).unwrap()).unwrap(), item);
            let more = json.replacen('{', r#"{"ima_offset":1,"#, 1);
            assert!(read(&more).unwrap_err().to_string().contains("has no field ima_offset"));
        }
        assert!(read(r#"{"type":"sev-snp","certificates":[]}"#).unwrap_err().to_string().contains("report"));
        assert!(read(r#"{"type":"nvidia-gpu","report":"AA"}"#).unwrap_err().to_string().contains("certificates"));
        assert!(read(r#"{"type":"sev-snp","report":"AA","quote":"AA"}"#).is_err());
    }
}
