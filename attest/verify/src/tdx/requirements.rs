//! What policy may demand of a TDX guest beyond what always holds. The default is strict.

use crate::quote::hex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};
use strongroom_protocol::claims::{TdxAttribute, TdxTcbStatus};

/// Requirements of row T1. What is not named keeps its default, which accepts the least.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TdxRequirements {
    /// States of the platform's firmware that are accepted. Default: `UpToDate`.
    pub tcb_statuses: BTreeSet<TdxTcbStatus>,
    /// The least `tcbEvaluationDataNumber` of Intel's data. Default: 0; collateral must be current in any case.
    pub min_evaluation_data_number: u32,
    /// Attribute bits that may be set beside `sept_ve_disable`. Default: none.
    pub permitted_attributes: BTreeSet<TdxAttribute>,
    /// XFAM bits that may be set. Default: x87, SSE, AVX, AVX-512, PKRU, CET and AMX state; no tracing.
    pub permitted_xfam: Mask,
    /// MRCONFIGID. Default: zero.
    pub mr_config_id: Registers,
    /// MROWNER. Default: zero.
    pub mr_owner: Registers,
    /// MROWNERCONFIG. Default: zero.
    pub mr_owner_config: Registers,
    /// MRSEAM, the module's own measurement. Default: any that Intel's collateral accepts.
    pub mr_seam: Registers,
    /// MRTD. Default: any; reference values are compared by policy.
    pub mrtd: Registers,
    /// RTMR0 to RTMR3, by number. Default: any.
    pub rtmrs: BTreeMap<u8, Registers>,
    /// An event log must be given. Default: no; one that is given must lead to the RTMRs in any case.
    pub log: bool,
}

impl Default for TdxRequirements {
    fn default() -> Self {
        Self {
            tcb_statuses: BTreeSet::from([TdxTcbStatus::UpToDate]),
            min_evaluation_data_number: 0,
            permitted_attributes: BTreeSet::new(),
            permitted_xfam: Mask(0x0006_1ae7),
            mr_config_id: Registers::Zero,
            mr_owner: Registers::Zero,
            mr_owner_config: Registers::Zero,
            mr_seam: Registers::Any,
            mrtd: Registers::Any,
            rtmrs: BTreeMap::new(),
            log: false,
        }
    }
}

/// What a register may hold: `"zero"`, `"any"`, or `{"one_of": ["…", …]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Registers {
    /// Nothing but zeros.
    Zero,
    /// Whatever it holds: it is a claim all the same.
    Any,
    /// One of these.
    OneOf(BTreeSet<Register>),
}

impl Registers {
    /// Whether a register may hold this.
    pub fn accept(&self, value: &[u8; 48]) -> bool {
        match self {
            Self::Zero => value.iter().all(|&byte| byte == 0),
            Self::Any => true,
            Self::OneOf(values) => values.iter().any(|accepted| accepted.0 == *value),
        }
    }
}

impl fmt::Display for Registers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero => f.write_str("zeros"),
            Self::Any => f.write_str("any"),
            Self::OneOf(values) if values.is_empty() => f.write_str("none"),
            Self::OneOf(values) => {
                let values: Vec<_> = values.iter().map(|value| hex(&value.0)).collect();
                f.write_str(&values.join(", "))
            }
        }
    }
}

/// A register's value, 48 bytes, written as 96 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Register(pub [u8; 48]);

impl TryFrom<String> for Register {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        unhex(&text).map(Self).ok_or("a register is 96 lower-case hexadecimal digits")
    }
}

impl From<Register> for String {
    fn from(register: Register) -> Self {
        hex(&register.0)
    }
}

/// A mask of 64 bits, written as 16 lower-case hexadecimal digits, the most significant first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Mask(pub u64);

impl TryFrom<String> for Mask {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = unhex(&text).ok_or("a mask is 16 lower-case hexadecimal digits")?;
        Ok(Self(u64::from_be_bytes(bytes)))
    }
}

impl From<Mask> for String {
    fn from(mask: Mask) -> Self {
        mask.to_string()
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Exactly `N` bytes as lower-case hexadecimal.
fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |digit: u8| char::from(digit).to_digit(16).filter(|_| !digit.is_ascii_uppercase());
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
    let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
    bytes.filter(|_| rest.is_empty())?.try_into().ok()
}
