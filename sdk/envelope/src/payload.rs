//! The plaintext of a release's envelope: lease, obligations, keys.

use crate::secret::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use strongroom_protocol::{DecisionId, LeaseId, ObjectId, WriterId, bytes::BASE64URL, objects, statement::Scope};
use zeroize::{Zeroize, Zeroizing};

use base64::Engine as _;

/// Bytes that one key takes in the JSON at the most, its field names included.
const KEY_JSON: usize = 640;
/// Bytes of the rest, without the obligations.
const FRAME_JSON: usize = 1024;

/// The lease's times, seconds counted from the start of the client's request (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaseTerms {
    /// The lease.
    pub id: LeaseId,
    /// Seconds until it ends.
    pub expires_in: u64,
    /// Seconds after which to prove possession.
    pub renew_after: u64,
    /// Seconds after which only fresh evidence will do.
    pub reattest_after: u64,
}

/// One released key. No `Debug`, no `Clone`.
pub struct ReleasedKey {
    /// Asset name.
    pub asset: String,
    /// Key version.
    pub version: u32,
    /// What the key is: an object's, a version's, a writer's.
    pub scope: Scope,
    /// The writer: of the object, or the lease itself for a writer key.
    pub writer: Option<WriterId>,
    /// The object, for scope `object`.
    pub object: Option<ObjectId>,
    /// The key.
    pub key: Secret<32>,
}

/// What the envelope of a release holds. A renewal holds no keys. No `Debug`, no `Clone`.
pub struct ReleasePayload {
    /// The decision, equal to the one outside.
    pub decision_id: DecisionId,
    /// The lease.
    pub lease: LeaseTerms,
    /// What policy obliges the holder to do, as JSON.
    pub obligations: serde_json::Value,
    /// Bytes of the node's IMA log that the vault has, as far as the quote covers it: where the log of the next renewal
    /// may start. Nothing where no IMA log was judged.
    pub ima_offset: Option<u64>,
    /// The secret that possession is proved with.
    pub lease_secret: Secret<32>,
    /// The keys.
    pub keys: Vec<ReleasedKey>,
}

/// A payload that is not what the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the envelope's plaintext is malformed at line {line}, column {column}")]
pub struct PayloadError {
    /// Line of the JSON text.
    pub line: usize,
    /// Column of the JSON text. The text itself is secret and is not shown.
    pub column: usize,
}

impl From<serde_json::Error> for PayloadError {
    fn from(error: serde_json::Error) -> Self {
        Self { line: error.line(), column: error.column() }
    }
}

impl ReleasePayload {
    /// The payload as JSON, in memory that is zeroed on drop and was never moved while it grew.
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, PayloadError> {
        let obligations = serde_json::to_vec(&self.obligations)?;
        let capacity = FRAME_JSON + obligations.len() + KEY_JSON * self.keys.len();
        let mut out = Zeroizing::new(Vec::with_capacity(capacity));
        let wire = WirePayload {
            decision_id: self.decision_id,
            lease: self.lease,
            obligations: &self.obligations,
            ima_offset: self.ima_offset,
            lease_secret: WireSecret(&self.lease_secret),
            keys: self
                .keys
                .iter()
                .map(|k| WireKey {
                    asset: &k.asset,
                    version: k.version,
                    scope: k.scope,
                    writer: k.writer,
                    object: k.object,
                    key: WireSecret(&k.key),
                })
                .collect(),
        };
        serde_json::to_writer(&mut *out, &wire)?;
        debug_assert!(out.len() <= capacity, "the buffer was moved while it held secrets");
        Ok(out)
    }

    /// Reads the JSON of an opened envelope.
    pub fn from_json(json: &[u8]) -> Result<Self, PayloadError> {
        let parsed: ParsedPayload = objects::from_slice(json)?;
        Ok(Self {
            decision_id: parsed.decision_id,
            lease: parsed.lease,
            obligations: parsed.obligations,
            ima_offset: parsed.ima_offset,
            lease_secret: parsed.lease_secret.0,
            keys: parsed
                .keys
                .into_iter()
                .map(|k| ReleasedKey {
                    asset: k.asset,
                    version: k.version,
                    scope: k.scope,
                    writer: k.writer,
                    object: k.object,
                    key: k.key.0,
                })
                .collect(),
        })
    }
}

// The wire shapes below are private: the public secret types stay without `Serialize`.

struct WireSecret<'a>(&'a Secret<32>);

impl Serialize for WireSecret<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Zeroizing::new([0_u8; 43]);
        // INVARIANT: 32 bytes are 43 characters of base64url without padding.
        let length = BASE64URL.encode_slice(self.0.expose(), text.as_mut_slice()).map_err(serde::ser::Error::custom)?;
        let text = text.get(..length).and_then(|t| std::str::from_utf8(t).ok());
        serializer.serialize_str(text.ok_or_else(|| serde::ser::Error::custom("not 43 characters"))?)
    }
}

struct ParsedSecret(Secret<32>);

impl<'de> Deserialize<'de> for ParsedSecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Borrowed, so that no copy of the text is made; 43 characters have no escapes.
        let text = <&'de str>::deserialize(deserializer)?;
        let mut bytes = Zeroizing::new([0_u8; 33]);
        let length = BASE64URL.decode_slice(text, bytes.as_mut_slice());
        let secret = match length {
            Ok(32) => bytes.get(..32).and_then(Secret::copy_from),
            _ => None,
        };
        bytes.zeroize();
        secret.map(Self).ok_or_else(|| de::Error::custom("not a key"))
    }
}

#[derive(Serialize)]
struct WireKey<'a> {
    asset: &'a str,
    version: u32,
    scope: Scope,
    writer: Option<WriterId>,
    object: Option<ObjectId>,
    key: WireSecret<'a>,
}

#[derive(Serialize)]
struct WirePayload<'a> {
    decision_id: DecisionId,
    lease: LeaseTerms,
    obligations: &'a serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    ima_offset: Option<u64>,
    lease_secret: WireSecret<'a>,
    keys: Vec<WireKey<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParsedKey {
    asset: String,
    version: u32,
    scope: Scope,
    writer: Option<WriterId>,
    object: Option<ObjectId>,
    key: ParsedSecret,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParsedPayload {
    decision_id: DecisionId,
    lease: LeaseTerms,
    obligations: serde_json::Value,
    #[serde(default)]
    ima_offset: Option<u64>,
    lease_secret: ParsedSecret,
    keys: Vec<ParsedKey>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(keys: usize) -> ReleasePayload {
        ReleasePayload {
            decision_id: "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
            lease: LeaseTerms { id: LeaseId::from([1; 16]), expires_in: 3600, renew_after: 60, reattest_after: 900 },
            obligations: serde_json::json!({ "handling": ["no_swap"] }),
            ima_offset: Some(70_000),
            lease_secret: Secret::take(&mut [2; 32]),
            keys: (0..keys)
                .map(|_| ReleasedKey {
                    asset: "a".repeat(255),
                    version: u32::MAX,
                    scope: Scope::Object,
                    writer: Some(WriterId::from([3; 16])),
                    object: Some(ObjectId::from([4; 16])),
                    key: Secret::take(&mut [5; 32]),
                })
                .collect(),
        }
    }

    #[test]
    fn a_payload_is_read_back() {
        let json = payload(4096).to_json().unwrap();
        let back = ReleasePayload::from_json(&json).unwrap();
        assert_eq!(back.lease, payload(0).lease);
        assert_eq!(back.obligations, payload(0).obligations);
        assert_eq!(back.lease_secret.expose(), &[2; 32]);
        assert_eq!(back.keys.len(), 4096);
        assert_eq!(back.keys[4095].key.expose(), &[5; 32]);
        assert_eq!(back.keys[4095].writer, Some(WriterId::from([3; 16])));
    }

    #[test]
    fn an_error_does_not_repeat_the_text() {
        let json = payload(1).to_json().unwrap();
        let text = std::str::from_utf8(&json).unwrap().replace("\"version\":4294967295", "\"version\":\"secret\"");
        let error = ReleasePayload::from_json(text.as_bytes()).err().unwrap();
        assert!(!error.to_string().contains("secret"), "{error}");
    }

    #[test]
    fn unknown_fields_and_short_keys_are_refused() {
        let json = payload(1).to_json().unwrap();
        let text = std::str::from_utf8(&json).unwrap();
        assert!(ReleasePayload::from_json(text.replacen('{', "{\"more\":1,", 1).as_bytes()).is_err());
        let key = BASE64URL.encode([5; 32]);
        assert!(ReleasePayload::from_json(text.replace(&key, &key[1..]).as_bytes()).is_err());
    }
}
