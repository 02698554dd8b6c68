//! Identifiers: each kind a type of its own, so that one cannot be passed for another.

use crate::bytes::{BytesError, Fixed};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $length:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Fixed<$length>);

        impl $name {
            /// The identifier's bytes, as they go into hashes and MACs.
            pub fn as_array(&self) -> &[u8; $length] {
                self.0.as_array()
            }
        }
        impl From<[u8; $length]> for $name {
            fn from(bytes: [u8; $length]) -> Self {
                Self(Fixed(bytes))
            }
        }
        impl TryFrom<&[u8]> for $name {
            type Error = BytesError;
            fn try_from(bytes: &[u8]) -> Result<Self, BytesError> {
                Fixed::try_from(bytes).map(Self)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl FromStr for $name {
            type Err = BytesError;
            fn from_str(text: &str) -> Result<Self, BytesError> {
                text.parse().map(Self)
            }
        }
    };
}

byte_id!(
    /// SHA-256 of the vault's Ed25519 identity key (32 raw bytes).
    VaultId, 32);
byte_id!(
    /// A lease: 16 random bytes. Not a secret.
    LeaseId, 16);
byte_id!(
    /// A writer of sealed objects: the id of the lease that wrote them.
    WriterId, 16);
byte_id!(
    /// One sealed file: 16 random bytes.
    ObjectId, 16);
byte_id!(
    /// An enrolment that has not been activated yet: 16 random bytes.
    EnrolmentId, 16);
byte_id!(
    /// A node: SHA-256 of its EK's public area (`TPMT_PUBLIC`), so the EK can never change (row E6). One without a
    /// TPM is named by its machine ([`crate::identity::Identity::node_id`]).
    NodeId, 32);

impl From<LeaseId> for WriterId {
    fn from(lease: LeaseId) -> Self {
        Self(lease.0)
    }
}

/// A decision: a ULID in its canonical 26 characters. The same id names the decision's record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DecisionId(pub ulid::Ulid);

impl fmt::Display for DecisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for DecisionId {
    type Err = ulid::DecodeError;
    fn from_str(text: &str) -> Result<Self, ulid::DecodeError> {
        // `ulid` reads lower case and look-alike letters too; one id has one spelling here.
        let id = ulid::Ulid::from_string(text)?;
        if id.to_string() == text { Ok(Self(id)) } else { Err(ulid::DecodeError::InvalidChar) }
    }
}

impl Serialize for DecisionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DecisionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("not a ULID in its canonical form"))
    }
}

impl JsonSchema for DecisionId {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DecisionId".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-7][0-9A-HJKMNP-TV-Z]{25}$", "description": "ULID" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_id_has_one_spelling() {
        let text = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
        assert_eq!(text.parse::<DecisionId>().unwrap().to_string(), text);
        assert!(text.to_lowercase().parse::<DecisionId>().is_err());
    }
}
