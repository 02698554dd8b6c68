//! A reference integrity manifest: a SWID tag with an enveloped XML signature.
//!
//! It is written in its canonical form at once (Canonical XML 1.1 of text without comments), so that what is signed
//! here rests on no canonicalisation by a library.

use super::{Chain, Report};
use crate::text::{base64, hex, wrapped};
use ring::digest::{SHA384, digest};
use std::{fmt::Write as _, sync::Arc};

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const HASHES: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
const C14N11: &str = "http://www.w3.org/2006/12/xml-c14n11";

/// One golden value, as it is written.
#[derive(Debug, Clone)]
pub struct Resource {
    /// `True` or `False`.
    pub active: String,
    /// How many values are said to follow.
    pub alternatives: String,
    /// From 0.
    pub index: String,
    /// Bytes of a value.
    pub size: String,
    /// `Measurement`.
    pub kind: String,
    /// The values, hexadecimal.
    pub hashes: Vec<String>,
    /// What the attributes of values are called, before their number.
    pub hash_name: String,
}

/// What a signature is said to be made of.
#[derive(Debug, Clone)]
pub struct Signature {
    /// The algorithm of `CanonicalizationMethod`.
    pub canonicalization: String,
    /// The algorithm of `SignatureMethod`.
    pub method: String,
    /// The attributes of `Reference`, each behind a space.
    pub reference: String,
    /// The transforms' algorithms.
    pub transforms: Vec<String>,
    /// The algorithm of `DigestMethod`.
    pub digest_method: String,
    /// Another digest than the right one.
    pub digest: Option<Vec<u8>>,
    /// Another value than the right one.
    pub value: Option<Vec<u8>>,
    /// What follows the reference in `SignedInfo`.
    pub more_info: String,
    /// What follows `KeyInfo`.
    pub more: String,
    /// Certificates (DER), where they are not the signer's chain.
    pub certificates: Option<Vec<Vec<u8>>>,
}

impl Default for Signature {
    fn default() -> Self {
        Self {
            canonicalization: C14N11.into(),
            method: "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384".into(),
            reference: " URI=\"\"".into(),
            transforms: vec!["http://www.w3.org/2000/09/xmldsig#enveloped-signature".into(), C14N11.into()],
            digest_method: "http://www.w3.org/2001/04/xmldsig-more#sha384".into(),
            digest: None,
            value: None,
            more_info: String::new(),
            more: String::new(),
            certificates: None,
        }
    }
}

/// A manifest before it is signed.
pub struct Manifest {
    /// From the root to the signer; several manifests may have one.
    pub signer: Arc<Chain>,
    /// The id under which it is published; it does not stand in it.
    pub id: String,
    /// `colloquialVersion`.
    pub version: String,
    /// `tagId`.
    pub tag: String,
    /// The golden values.
    pub resources: Vec<Resource>,
    /// What else stands in the payload.
    pub more: String,
    /// The signature.
    pub signature: Signature,
}

impl Resource {
    /// An honest one.
    pub fn new(index: u8, active: bool, values: &[Vec<u8>]) -> Self {
        Self {
            active: if active { "True" } else { "False" }.to_owned(),
            alternatives: values.len().to_string(),
            index: index.to_string(),
            size: values.first().map_or(48, Vec::len).to_string(),
            kind: "Measurement".to_owned(),
            hashes: values.iter().map(|value| hex(value)).collect(),
            hash_name: "ns2:Hash".to_owned(),
        }
    }

    fn text(&self) -> String {
        let Self { active, alternatives, index, size, kind, .. } = self;
        let mut hashes: Vec<String> = self
            .hashes
            .iter()
            .enumerate()
            .map(|(place, hash)| format!("{}{place}=\"{hash}\"", self.hash_name))
            .collect();
        // Canonical order is that of names as text: Hash10 before Hash2, capitals first, namespaces last.
        hashes.sort_by_key(|written| written.split('=').next().map(str::to_owned));
        let hashes = hashes.join(" ");
        let (first, last) = if self.hash_name.contains(':') {
            (String::new(), format!(" {hashes}"))
        } else {
            (format!("{hashes} "), String::new())
        };
        format!(
            "        <ns0:Resource {first}active=\"{active}\" alternatives=\"{alternatives}\" index=\"{index}\" \
             name=\"Measurement_{index}\" size=\"{size}\" type=\"{kind}\"{last}></ns0:Resource>\n"
        )
    }
}

impl Manifest {
    /// The driver's, for the measurements of a report: indices 22 to 40 active, each with an alternative of zeros.
    pub fn of_driver(report: &Report) -> Self {
        let resource =
            |index: u8| Resource::new(index, (22..=40).contains(&index), &[report.value(index), vec![0; 48]]);
        Self {
            signer: Arc::new(Chain::of_signer()),
            id: "NV_GPU_DRIVER_GH100_550.90.07".to_owned(),
            version: "550.90.07".to_owned(),
            tag: "d5".repeat(48),
            resources: (0..64).map(resource).collect(),
            more: String::new(),
            signature: Signature::default(),
        }
    }

    /// The VBIOS's, for the measurements of a report: indices 0 to 12 active.
    pub fn of_vbios(report: &Report) -> Self {
        let resource = |index: u8| Resource::new(index, index <= 12, &[report.value(index)]);
        Self {
            id: "NV_GPU_VBIOS_1010_0200_882_96009F0001".to_owned(),
            version: "96.00.9F.00.01".to_owned(),
            tag: "b1".repeat(48),
            resources: (0..64).map(resource).collect(),
            ..Self::of_driver(report)
        }
    }

    /// Golden value of an index.
    pub fn resource(&mut self, index: u8) -> &mut Resource {
        let index = index.to_string();
        self.resources.iter_mut().find(|resource| resource.index == index).unwrap()
    }

    /// The document without its signature, in two parts between which the signature stands.
    fn document(&self) -> (String, &'static str) {
        let resources: String = self.resources.iter().map(Resource::text).collect();
        let head = format!(
            "<SoftwareIdentity xmlns=\"{SWID}\" xmlns:ns0=\"{SWID}\" xmlns:ns2=\"{HASHES}\" corpus=\"false\" \
             name=\"GH100\" tagId=\"{}\" version=\"1.0\">\n    <ns0:Entity name=\"Stand-in\" \
             role=\"softwareCreator tagCreator\"></ns0:Entity>\n    <ns0:Meta colloquialVersion=\"{}\" \
             product=\"GH100\"></ns0:Meta>\n    <ns0:Payload>\n{resources}{}    </ns0:Payload>\n",
            self.tag, self.version, self.more
        );
        (head, "</SoftwareIdentity>")
    }

    /// `SignedInfo` behind its start tag.
    fn signed_info(&self) -> String {
        let (head, tail) = self.document();
        let signature = &self.signature;
        let right = || digest(&SHA384, format!("{head}{tail}").as_bytes()).as_ref().to_vec();
        let value = base64(&signature.digest.clone().unwrap_or_else(right));
        let mut transforms = String::new();
        for algorithm in &signature.transforms {
            let _ = write!(transforms, "<ds:Transform Algorithm=\"{algorithm}\"></ds:Transform>");
        }
        format!(
            "<ds:CanonicalizationMethod Algorithm=\"{}\"></ds:CanonicalizationMethod><ds:SignatureMethod \
             Algorithm=\"{}\"></ds:SignatureMethod><ds:Reference{}><ds:Transforms>{transforms}</ds:Transforms>\
             <ds:DigestMethod Algorithm=\"{}\"></ds:DigestMethod><ds:DigestValue>{value}</ds:DigestValue>\
             </ds:Reference>{}</ds:SignedInfo>",
            signature.canonicalization,
            signature.method,
            signature.reference,
            signature.digest_method,
            signature.more_info
        )
    }

    /// `Signature` as it stands in the document.
    pub fn signature_text(&self) -> String {
        let info = self.signed_info();
        // Inclusive canonicalisation writes every namespace that is in scope onto the subtree's element.
        let namespaces = format!("xmlns=\"{SWID}\" xmlns:ds=\"{DSIG}\" xmlns:ns0=\"{SWID}\" xmlns:ns2=\"{HASHES}\"");
        let canonical = format!("<ds:SignedInfo {namespaces}>{info}");
        let right = || self.signer.leaf().key.sign(canonical.as_bytes());
        let value = base64(&self.signature.value.clone().unwrap_or_else(right));
        let certificates = self.signature.certificates.clone().unwrap_or_else(|| self.signer.ders());
        let certificates: Vec<String> = certificates
            .iter()
            .map(|der| format!("<ds:X509Certificate>{}\n</ds:X509Certificate>", wrapped(&base64(der))))
            .collect();
        format!(
            "<ds:Signature xmlns:ds=\"{DSIG}\"><ds:SignedInfo>{info}<ds:SignatureValue>{value}</ds:SignatureValue>\
             <ds:KeyInfo><ds:X509Data>{}</ds:X509Data></ds:KeyInfo>{}</ds:Signature>",
            certificates.concat(),
            self.signature.more
        )
    }

    /// The signed manifest.
    pub fn text(&self) -> String {
        let (head, tail) = self.document();
        format!("{head}{}{tail}", self.signature_text())
    }
}
