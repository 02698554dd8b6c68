//! E3, second half: the EK follows one of the templates of the EK Credential Profile 2.6, annex B.

use crate::{
    Refused,
    quote::hex,
    tpm::{Attributes, Curve, HashAlg, Key, Public, Scheme, Symmetric},
};

/// fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt.
const LOW_RANGE: Attributes = Attributes::FIXED_TPM
    .with(Attributes::FIXED_PARENT)
    .with(Attributes::SENSITIVE_DATA_ORIGIN)
    .with(Attributes::ADMIN_WITH_POLICY)
    .with(Attributes::RESTRICTED)
    .with(Attributes::DECRYPT);
/// The same with userWithAuth.
const HIGH_RANGE: Attributes = LOW_RANGE.with(Attributes::USER_WITH_AUTH);

/// `PolicyA`: `PolicySecret` of the endorsement hierarchy.
const POLICY_A_SHA256: &[u8] = b"\x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\
      \xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa";
/// `PolicyB`: `PolicyA`, or `PolicyC` (`PolicyAuthorizeNV` of the platform's index).
const POLICY_B_SHA256: &[u8] = b"\xca\x3d\x0a\x99\xa2\xb9\x39\x06\xf7\xa3\x34\x24\x14\xef\xcf\xb3\
      \xa3\x85\xd4\x4c\xd1\xfd\x45\x90\x89\xd1\x9b\x50\x71\xc0\xb7\xa0";
const POLICY_B_SHA384: &[u8] = b"\xb2\x6e\x7d\x28\xd1\x1a\x50\xbc\x53\xd8\x82\xbc\xf5\xfd\x3a\x1a\
      \x07\x41\x48\xbb\x35\xd3\xb4\xe4\xcb\x1c\x0a\xd9\xbd\xe4\x19\xca\
      \xcb\x47\xba\x09\x69\x96\x46\x15\x0f\x9f\xc0\x00\xf3\xf8\x0e\x12";

/// The kinds of keys that templates are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa(usize),
    Ecc(Curve),
}

struct Template {
    name: &'static str,
    kind: Kind,
    name_alg: HashAlg,
    attributes: Attributes,
    policy: &'static [u8],
    symmetric: Symmetric,
}

const TEMPLATES: [Template; 7] = [
    low("L-1", Kind::Rsa(2048)),
    low("L-2", Kind::Ecc(Curve::P256)),
    high_sha256("H-1", Kind::Rsa(2048)),
    high_sha256("H-2", Kind::Ecc(Curve::P256)),
    high_sha384("H-3", Kind::Ecc(Curve::P384)),
    high_sha384("H-6", Kind::Rsa(3072)),
    high_sha384("H-7", Kind::Rsa(4096)),
];

const fn low(name: &'static str, kind: Kind) -> Template {
    Template {
        name,
        kind,
        name_alg: HashAlg::Sha256,
        attributes: LOW_RANGE,
        policy: POLICY_A_SHA256,
        symmetric: Symmetric::AES_128_CFB,
    }
}

const fn high_sha256(name: &'static str, kind: Kind) -> Template {
    Template {
        name,
        kind,
        name_alg: HashAlg::Sha256,
        attributes: HIGH_RANGE,
        policy: POLICY_B_SHA256,
        symmetric: Symmetric::AES_128_CFB,
    }
}

const fn high_sha384(name: &'static str, kind: Kind) -> Template {
    Template {
        name,
        kind,
        name_alg: HashAlg::Sha384,
        attributes: HIGH_RANGE,
        policy: POLICY_B_SHA384,
        symmetric: Symmetric::AES_256_CFB,
    }
}

/// Checks every field that a template fixes, and gives the template's name.
pub(super) fn check(ek: &Public) -> Result<&'static str, Refused> {
    let kind = match ek.key() {
        Key::Rsa { exponent: 0, .. } => Kind::Rsa(ek.key_bits()),
        Key::Rsa { exponent, .. } => return Err(refused("exponent", "0 (for 65537)", &exponent.to_string())),
        Key::Ecc { curve, .. } => Kind::Ecc(*curve),
    };
    if ek.scheme() != Scheme::Null {
        return Err(refused("scheme", "null", &format!("{:?}", ek.scheme())));
    }
    let of_kind = || TEMPLATES.iter().filter(|template| template.kind == kind);
    if of_kind().next().is_none() {
        let known = "RSA 2048, 3072, 4096, ECC P-256, P-384";
        return Err(refused("key", known, &format!("{kind:?}")));
    }
    // Kind and policy name one template; what else is wrong is said against that one.
    let Some(template) = of_kind().find(|template| template.policy == ek.auth_policy()) else {
        let expected: Vec<_> = of_kind().map(|template| hex(template.policy)).collect();
        return Err(refused("authPolicy", &expected.join(" or "), &hex(ek.auth_policy())));
    };
    template.check(ek)?;
    Ok(template.name)
}

impl Template {
    fn check(&self, ek: &Public) -> Result<(), Refused> {
        if ek.name_alg() != self.name_alg {
            return Err(refused("nameAlg", self.name_alg.as_str(), ek.name_alg().as_str()));
        }
        if ek.symmetric() != Some(self.symmetric) {
            let expected = format!("AES-{} CFB", self.symmetric.key_bits);
            return Err(refused("symmetric cipher", &expected, &format!("{:?}", ek.symmetric())));
        }
        if ek.attributes() != self.attributes {
            let expected = format!("[{}]", self.attributes);
            return Err(refused("attributes", &expected, &format!("[{}]", ek.attributes())));
        }
        Ok(())
    }
}

fn refused(field: &'static str, expected: &str, got: &str) -> Refused {
    Refused::E3Template { field, expected: expected.to_owned(), got: got.to_owned() }
}

#[cfg(test)]
mod tests;
