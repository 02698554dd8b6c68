//! `POST /v1/challenges`: stateless nonces.

use crate::{
    bytes::{BytesError, Fixed},
    ids::VaultId,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bytes of a nonce: 16 random, 8 expiry, 16 MAC.
pub const NONCE_LENGTH: usize = 40;

/// What a nonce may be used for. One issued for a purpose is refused for every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// A release, an attested renewal, an attested identification.
    Release,
    /// Proof that the holder of a lease still holds it.
    Possession,
    /// The quote that ends an enrolment.
    Enrol,
    /// A manifest's registration or look-up.
    Manifest,
}

impl Purpose {
    /// The word on the wire, as the MAC covers it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Possession => "possession",
            Self::Enrol => "enrol",
            Self::Manifest => "manifest",
        }
    }
}

/// Asks for a nonce.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChallengeRequest {
    /// What the nonce is for.
    pub purpose: Purpose,
}

/// A nonce: `16 random || 8 expiry (u64 big-endian seconds) || 16 MAC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Nonce(pub Fixed<NONCE_LENGTH>);

impl Nonce {
    /// Puts a nonce together from its parts.
    pub fn new(random: [u8; 16], expiry: u64, mac: [u8; 16]) -> Self {
        let mut bytes = [0; NONCE_LENGTH];
        let (r, rest) = bytes.split_at_mut(16);
        let (e, m) = rest.split_at_mut(8);
        r.copy_from_slice(&random);
        e.copy_from_slice(&expiry.to_be_bytes());
        m.copy_from_slice(&mac);
        Self(Fixed(bytes))
    }

    /// The random part.
    pub fn random(&self) -> [u8; 16] {
        self.part(0)
    }

    /// Seconds since the epoch after which the nonce is refused.
    pub fn expiry(&self) -> u64 {
        u64::from_be_bytes(self.part(16))
    }

    /// The truncated MAC.
    pub fn mac(&self) -> [u8; 16] {
        self.part(24)
    }

    /// All forty bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_array()
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        // INVARIANT: the three callers stay within the forty bytes.
        if let Some(part) = self.0.as_array().get(at..at + N) {
            out.copy_from_slice(part);
        }
        out
    }
}

impl TryFrom<&[u8]> for Nonce {
    type Error = BytesError;
    fn try_from(bytes: &[u8]) -> Result<Self, BytesError> {
        Fixed::try_from(bytes).map(Self)
    }
}

/// The answer to [`ChallengeRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// The nonce to put into the statement.
    pub nonce: Nonce,
    /// When it expires (RFC 3339, UTC), by the vault's clock.
    pub expires_at: String,
    /// The vault that issued it.
    pub vault_id: VaultId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_nonce_are_where_they_belong() {
        let nonce = Nonce::new([1; 16], 0x0102_0304, [3; 16]);
        assert_eq!(nonce.as_bytes()[..16], [1; 16]);
        assert_eq!(nonce.as_bytes()[16..24], [0, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(nonce.as_bytes()[24..], [3; 16]);
        assert_eq!((nonce.random(), nonce.expiry(), nonce.mac()), ([1; 16], 0x0102_0304, [3; 16]));
    }
}
