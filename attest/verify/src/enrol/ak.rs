//! E4: is this a key that signs only what its TPM has formed?

use crate::{
    Refused,
    tpm::{Attributes, HashAlg, Key, Public, Scheme, SigningScheme},
};

/// What an attestation key must have.
const REQUIRED: Attributes = Attributes::FIXED_TPM
    .with(Attributes::FIXED_PARENT)
    .with(Attributes::SENSITIVE_DATA_ORIGIN)
    .with(Attributes::RESTRICTED)
    .with(Attributes::SIGN);
/// What it may have: how it is authorised and how long it lives does not change what it signs.
const ALLOWED: Attributes = REQUIRED
    .with(Attributes::USER_WITH_AUTH)
    .with(Attributes::ADMIN_WITH_POLICY)
    .with(Attributes::NO_DA)
    .with(Attributes::ST_CLEAR);
/// Bits of the smallest RSA modulus.
const MIN_RSA_BITS: usize = 2048;

/// An attestation key that passed row E4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AkProfile {
    name: Vec<u8>,
    scheme: SigningScheme,
}

impl AkProfile {
    /// The AK's name, recomputed from its public area: what the credential is made over.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The scheme that its signatures must have.
    pub fn scheme(&self) -> SigningScheme {
        self.scheme
    }
}

/// Checks that the key is restricted to signing what its TPM has formed, in a scheme that holds: row E4.
pub fn check_ak(ak: &Public) -> Result<AkProfile, Refused> {
    let missing = REQUIRED.without(ak.attributes());
    let forbidden = ak.attributes().without(ALLOWED);
    if missing != Attributes(0) || forbidden != Attributes(0) {
        return Err(Refused::E4Attributes { missing: missing.to_string(), forbidden: forbidden.to_string() });
    }
    if ak.name_alg() == HashAlg::Sha1 {
        return Err(Refused::E4Sha1 { field: "nameAlg" });
    }
    let scheme = match ak.scheme() {
        Scheme::Signing(scheme) if scheme.hash == HashAlg::Sha1 => return Err(Refused::E4Sha1 { field: "scheme" }),
        Scheme::Signing(scheme) => scheme,
        Scheme::Null => return Err(refused("scheme", "is not fixed")),
        Scheme::Other(id) => return Err(refused("scheme", &format!("{id:#06x} is not RSASSA, RSAPSS or ECDSA"))),
    };
    if ak.symmetric().is_some() {
        return Err(refused("symmetric cipher", "is set, which is for parents of other keys"));
    }
    match ak.key() {
        Key::Rsa { .. } if ak.key_bits() < MIN_RSA_BITS => {
            Err(refused("key", &format!("is RSA of {} bits", ak.key_bits())))
        }
        // Curves other than P-256 and P-384 do not get through the parser.
        Key::Rsa { .. } | Key::Ecc { .. } => Ok(AkProfile { name: ak.name(), scheme }),
    }
}

fn refused(field: &'static str, problem: &str) -> Refused {
    Refused::E4Key { field, problem: problem.to_owned() }
}

#[cfg(test)]
mod tests;
