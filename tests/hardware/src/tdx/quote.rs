//! The quote: header, body, signature, what vouches for the key that signed it.

use super::Key;

/// A quote before it is signed.
#[derive(Debug, Clone)]
pub struct Quote {
    /// 4, or 5.
    pub version: u16,
    /// 2: ECDSA with P-256.
    pub key_type: u16,
    /// 0x81: a TDX guest.
    pub tee_type: u32,
    /// The quoting enclave's vendor.
    pub vendor: [u8; 16],
    /// What the report says.
    pub body: Body,
    /// The quoting enclave's report.
    pub enclave: QeReport,
    /// What the enclave binds beside the attestation key.
    pub auth: Vec<u8>,
    /// 6: the enclave's report.
    pub certification: u16,
    /// 5: a chain of certificates.
    pub enclave_certification: u16,
    /// Certificates (PEM); `None`: the honest ones.
    pub certificates: Option<String>,
    /// Bytes behind the quote.
    pub trailing: Vec<u8>,
}

impl Default for Quote {
    fn default() -> Self {
        Self {
            version: 4,
            key_type: 2,
            tee_type: 0x81,
            vendor: *b"\x93\x9a\x72\x33\xf7\x9c\x4c\xa9\x94\x0a\x0d\xb3\x95\x7f\x06\x07",
            body: Body::default(),
            enclave: QeReport::default(),
            auth: (0..32).collect(),
            certification: 6,
            enclave_certification: 5,
            certificates: None,
            trailing: Vec::new(),
        }
    }
}

/// Which report a quote of version 5 has. Version 4 has the first, without saying so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// TDX 1.0.
    Td10,
    /// TDX 1.5.
    Td15,
    /// TDX 1.5 with more.
    Td15Ex,
}

/// What the report of a guest says, in the order in which it is laid out.
#[derive(Debug, Clone)]
pub struct Body {
    /// Which report.
    pub kind: BodyKind,
    /// Security versions at launch.
    pub tee_tcb_svn: [u8; 16],
    /// The module.
    pub mr_seam: [u8; 48],
    /// Its signer; zero for Intel.
    pub mr_signer_seam: [u8; 48],
    /// Its attributes.
    pub seam_attributes: u64,
    /// The guest's attributes.
    pub attributes: u64,
    /// Its extended features.
    pub xfam: u64,
    /// What it was built from.
    pub mrtd: [u8; 48],
    /// MRCONFIGID.
    pub mr_config_id: [u8; 48],
    /// MROWNER.
    pub mr_owner: [u8; 48],
    /// MROWNERCONFIG.
    pub mr_owner_config: [u8; 48],
    /// RTMR0 to RTMR3.
    pub rtmrs: [[u8; 48]; 4],
    /// What the guest binds.
    pub report_data: [u8; 64],
    /// Security versions now (1.5).
    pub current_tee_tcb_svn: [u8; 16],
    /// Service domains (1.5).
    pub mr_service_td: [u8; 48],
    /// The partition that asked (1.5 with more).
    pub vmid: u8,
    /// The instance (1.5 with more).
    pub td_id: [u8; 32],
    /// Hash of the service domains at present (1.5 with more).
    pub current_service_td_hash: [u8; 48],
}

impl Default for Body {
    fn default() -> Self {
        let mut tee_tcb_svn = [0; 16];
        (tee_tcb_svn[0], tee_tcb_svn[1], tee_tcb_svn[2]) = (5, 1, 2);
        Self {
            kind: BodyKind::Td10,
            tee_tcb_svn,
            mr_seam: [0x5e; 48],
            mr_signer_seam: [0; 48],
            seam_attributes: 0,
            attributes: 1 << 28,
            xfam: 0x0006_02e7,
            mrtd: [0x41; 48],
            mr_config_id: [0; 48],
            mr_owner: [0; 48],
            mr_owner_config: [0; 48],
            rtmrs: [[0x10; 48], [0x11; 48], [0x12; 48], [0; 48]],
            report_data: [0x77; 64],
            current_tee_tcb_svn: tee_tcb_svn,
            mr_service_td: [0; 48],
            vmid: 0,
            td_id: [0x1d; 32],
            current_service_td_hash: [0; 48],
        }
    }
}

impl Body {
    fn bytes(&self) -> Vec<u8> {
        let words = [self.seam_attributes, self.attributes, self.xfam].map(u64::to_le_bytes).concat();
        let first = [&self.tee_tcb_svn[..], &self.mr_seam, &self.mr_signer_seam, &words, &self.mrtd].concat();
        let owner = [self.mr_config_id, self.mr_owner, self.mr_owner_config].concat();
        let mut out = [first, owner, self.rtmrs.concat(), self.report_data.to_vec()].concat();
        if self.kind != BodyKind::Td10 {
            out.extend([&self.current_tee_tcb_svn[..], &self.mr_service_td].concat());
        }
        if self.kind == BodyKind::Td15Ex {
            // Between them: device information, initial service domains, initial versions, initial FMSPC.
            let unset = [0; 48 + 48 + 8 + 16 + 16 + 12];
            out.extend([&[self.vmid][..], &self.td_id, &unset, &self.current_service_td_hash, &[0; 8]].concat());
        }
        out
    }
}

/// The report of the quoting enclave.
#[derive(Debug, Clone)]
pub struct QeReport {
    /// Its attributes: 64 bits, initialised, may provision.
    pub attributes: [u8; 16],
    /// Its signer.
    pub signer: [u8; 32],
    /// Its product id.
    pub product: u16,
    /// Its security version.
    pub svn: u16,
    /// What it binds; `None`: the hash of attestation key and `auth`.
    pub report_data: Option<[u8; 64]>,
}

impl Default for QeReport {
    fn default() -> Self {
        let mut attributes = [0; 16];
        attributes[0] = 0x15;
        Self { attributes, signer: [0xdc; 32], product: 2, svn: 4, report_data: None }
    }
}

impl QeReport {
    fn bytes(&self, key: &[u8], auth: &[u8]) -> Vec<u8> {
        let mut bound = [0; 64];
        let hash = ring::digest::digest(&ring::digest::SHA256, &[key, auth].concat());
        bound[..32].copy_from_slice(hash.as_ref());
        let bound = self.report_data.unwrap_or(bound);
        let first = [&[3; 16][..], &[0; 4 + 28], &self.attributes, &[0xee; 32], &[0; 32], &self.signer].concat();
        let versions = [self.product, self.svn].map(u16::to_le_bytes).concat();
        [&first[..], &[0; 96], &versions, &[0; 60], &bound].concat()
    }
}

impl Quote {
    /// Lays it out, and signs body and enclave report.
    pub(super) fn sign(&self, attestation: &Key, pck: &Key, chain: &str) -> Vec<u8> {
        let header = [
            &self.version.to_le_bytes()[..],
            &self.key_type.to_le_bytes(),
            &self.tee_type.to_le_bytes(),
            &[0; 4],
            &self.vendor,
            &[0; 20],
        ]
        .concat();
        let body = self.body.bytes();
        let mut signed = header;
        if self.version == 5 {
            let kind: u16 = match self.body.kind {
                BodyKind::Td10 => 2,
                BodyKind::Td15 => 3,
                BodyKind::Td15Ex => 4,
            };
            signed.extend(kind.to_le_bytes());
            signed.extend(size(body.len()));
        }
        signed.extend(body);
        let point = attestation.point();
        let report = self.enclave.bytes(&point, &self.auth);
        let certificates = self.certificates.as_deref().unwrap_or(chain);
        let auth_size = u16::try_from(self.auth.len()).unwrap();
        let vouched = [
            &report[..],
            &pck.sign(&report),
            &auth_size.to_le_bytes(),
            &self.auth,
            &self.enclave_certification.to_le_bytes(),
            &size(certificates.len()),
            certificates.as_bytes(),
        ]
        .concat();
        let signature =
            [&attestation.sign(&signed)[..], &point, &self.certification.to_le_bytes(), &size(vouched.len()), &vouched]
                .concat();
        [&signed[..], &size(signature.len()), &signature, &self.trailing].concat()
    }
}

fn size(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_le_bytes()
}
