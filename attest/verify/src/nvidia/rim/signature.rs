//! The XML signature of a manifest: one shape, no other.
//!
//! NVIDIA signs with Canonical XML 1.1, ECDSA on P-384 with SHA-384 (RFC 4051), and one reference to the whole
//! document (`URI=""`), enveloped-signature first, then Canonical XML 1.1. Any other algorithm, order, reference,
//! object or identifier is refused: the freedom of XML signatures is what attacks on them live from.

use super::markup::{self, DSIG};
use bergshamra_c14n::{C14nMode, canonicalize_doc};
use bergshamra_xml::NodeSet;
use strongroom_protocol::{Bytes, limits};
use uppsala::{Document, NodeId};

const C14N11: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
const SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";

/// The signature as it stands in the document. Nothing of it is believed yet.
pub(super) struct Signature {
    element: NodeId,
    signed_info: NodeId,
    /// r and s.
    pub(super) value: Vec<u8>,
    /// Certificates (DER), in the document's order.
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Finds the one signature of a document: a child of its root, with exactly the children that it must have.
pub(super) fn find(document: &Document<'_>) -> Result<Signature, String> {
    let all = document.get_elements_by_tag_name("Signature");
    let &[element] = all.as_slice() else {
        return Err(format!("is one of {}, not the only one", all.len()));
    };
    if !markup::is(document, element, DSIG, "Signature") || document.parent(element) != document.document_element() {
        return Err("is not a child of the document's element".to_owned());
    }
    markup::attributes(document, element, &[])?;
    let [signed_info, value, key_info] = children(document, element, ["SignedInfo", "SignatureValue", "KeyInfo"])?;
    let value = base64(&markup::text(document, value)?, "SignatureValue")?;
    markup::attributes(document, key_info, &[])?;
    let [data] = children(document, key_info, ["X509Data"])?;
    markup::attributes(document, data, &[])?;
    let listed = markup::elements(document, data)?;
    if listed.len() > limits::CERTIFICATES {
        return Err(format!("has {} certificates, more than {}", listed.len(), limits::CERTIFICATES));
    }
    let mut certificates = Vec::with_capacity(listed.len());
    for certificate in listed {
        if !markup::is(document, certificate, DSIG, "X509Certificate") {
            return Err("has something other than certificates in X509Data".to_owned());
        }
        certificates.push(base64(&markup::text(document, certificate)?, "X509Certificate")?);
    }
    Ok(Signature { element, signed_info, value, certificates })
}

impl Signature {
    /// What the signer signed.
    pub(super) fn canonical_signed_info(&self, document: &Document<'_>) -> Result<Vec<u8>, String> {
        canonical(document, &NodeSet::tree_without_comments(self.signed_info, document))
    }

    /// What the reference refers to: the document without the signature.
    pub(super) fn canonical_document(&self, document: &Document<'_>) -> Result<String, String> {
        let signature = NodeSet::tree_with_comments(self.element, document);
        let bytes = canonical(document, &NodeSet::all_without_comments(document).subtract(&signature))?;
        String::from_utf8(bytes).map_err(|_| "its canonical form is not UTF-8".to_owned())
    }
}

/// The digest in a canonical `SignedInfo`, if the rest of it is what it must be.
pub(super) fn signed_digest(signed_info: &[u8]) -> Result<[u8; 48], String> {
    let text = std::str::from_utf8(signed_info).map_err(|_| "is not UTF-8".to_owned())?;
    let document = &uppsala::parse(text).map_err(|error| format!("cannot be read: {error}"))?;
    let root = document.document_element().ok_or("is empty")?;
    if !markup::is(document, root, DSIG, "SignedInfo") {
        return Err("has no SignedInfo".to_owned());
    }
    markup::attributes(document, root, &[])?;
    let [canonicalization, method, reference] =
        children(document, root, ["CanonicalizationMethod", "SignatureMethod", "Reference"])?;
    empty(document, canonicalization, C14N11)?;
    empty(document, method, ECDSA_SHA384)?;
    markup::attributes(document, reference, &[("URI", "")])?;
    let [transforms, digest_method, value] =
        children(document, reference, ["Transforms", "DigestMethod", "DigestValue"])?;
    markup::attributes(document, transforms, &[])?;
    let [enveloped, canonical] = children(document, transforms, ["Transform", "Transform"])?;
    empty(document, enveloped, ENVELOPED)?;
    empty(document, canonical, C14N11)?;
    empty(document, digest_method, SHA384)?;
    let value = base64(&markup::text(document, value)?, "DigestValue")?;
    value.try_into().map_err(|_| "has a DigestValue that is not SHA-384's".to_owned())
}

fn canonical(document: &Document<'_>, nodes: &NodeSet) -> Result<Vec<u8>, String> {
    canonicalize_doc::<&str>(document, C14nMode::Inclusive11, Some(nodes), &[])
        .map_err(|error| format!("it cannot be put into canonical form: {error}"))
}

/// Exactly these elements of XML signatures, in this order.
fn children<const N: usize>(document: &Document<'_>, node: NodeId, names: [&str; N]) -> Result<[NodeId; N], String> {
    let found: [NodeId; N] = markup::elements(document, node)?
        .try_into()
        .map_err(|found: Vec<_>| format!("has {} elements where {} must stand", found.len(), names.join(", ")))?;
    if found.iter().zip(names).all(|(&node, name)| markup::is(document, node, DSIG, name)) {
        Ok(found)
    } else {
        Err(format!("has other elements than {}", names.join(", ")))
    }
}

/// An element that names an algorithm and has nothing in it.
fn empty(document: &Document<'_>, node: NodeId, algorithm: &str) -> Result<(), String> {
    markup::attributes(document, node, &[("Algorithm", algorithm)])?;
    if document.children(node).is_empty() { Ok(()) } else { Err("has an algorithm with parameters".to_owned()) }
}

/// Base64 of RFC 4648 §4, with white space anywhere.
fn base64(text: &str, what: &str) -> Result<Vec<u8>, String> {
    let plain: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let digits = plain.trim_end_matches('=');
    let padded = plain.len().is_multiple_of(4) && plain.len() - digits.len() <= 2;
    let url_safe: String = digits
        .chars()
        .map(|c| match c {
            '+' => '-',
            '/' => '_',
            // Not digits of this alphabet; the decoder would take them.
            '-' | '_' => '!',
            c => c,
        })
        .collect();
    match url_safe.parse::<Bytes>() {
        Ok(bytes) if padded => Ok(bytes.0),
        _ => Err(format!("has a {what} that is no base64")),
    }
}
