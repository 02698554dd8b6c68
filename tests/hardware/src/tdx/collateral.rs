//! Intel's documents of a kind of platform, and revocation lists.

use super::{Date, Tdx, hex, rfc3339};
use rcgen::{CertificateRevocationListParams, KeyIdMethod, RevokedCertParams, SerialNumber, date_time_ymd};

/// TCB info of version 3.
pub struct TcbInfo {
    /// `TDX`.
    pub id: String,
    /// When it was issued.
    pub issued: Date,
    /// Until when it is current.
    pub next_update: Date,
    /// The kind of platform; `None`: that of the PCK certificate.
    pub fmspc: Option<Vec<u8>>,
    /// How new Intel's data are.
    pub evaluation_data_number: u32,
    /// MRSIGNER of the module, 48 bytes.
    pub module_signer: Vec<u8>,
    /// SEAMATTRIBUTES of the module, 8 bytes.
    pub module_attributes: Vec<u8>,
    /// Versions of the module.
    pub modules: Vec<ModuleIdentity>,
    /// Levels.
    pub levels: Vec<Level>,
    /// The key that signs it; `None`: that of the TCB signing certificate.
    pub signed_by: Option<super::Key>,
}

/// A version of the TDX module.
#[derive(Debug, Clone)]
pub struct ModuleIdentity {
    /// Such as `TDX_03`.
    pub id: String,
    /// MRSIGNER, 48 bytes.
    pub signer: Vec<u8>,
    /// Least security version, and the status from there on; the highest first.
    pub levels: Vec<(u8, String)>,
}

/// A level of the platform's firmware.
#[derive(Debug, Clone)]
pub struct Level {
    /// Least components of the processor.
    pub cpu_svn: [u8; 16],
    /// Least version of the provisioning certification enclave.
    pub pce_svn: u16,
    /// Least components of TDX.
    pub tee_tcb_svn: [u8; 16],
    /// Intel's name of the status.
    pub status: String,
    /// Since when the level is known.
    pub date: Date,
    /// Advisories that apply.
    pub advisories: Vec<String>,
}

impl Level {
    /// A level that wants this of each component of the processor.
    pub fn of(svn: u8, status: &str, advisories: &[&str]) -> Self {
        let advisories = advisories.iter().map(|&id| id.to_owned()).collect();
        let mut tee_tcb_svn = [0; 16];
        tee_tcb_svn[0] = 5;
        Self {
            cpu_svn: [svn; 16],
            pce_svn: 11,
            tee_tcb_svn,
            status: status.to_owned(),
            date: (2025, 11, 12),
            advisories,
        }
    }
}

impl Default for TcbInfo {
    fn default() -> Self {
        let levels = vec![Level::of(3, "UpToDate", &[]), Level::of(1, "OutOfDate", &["INTEL-SA-00001"])];
        let module = ModuleIdentity {
            id: "TDX_01".to_owned(),
            signer: vec![0; 48],
            levels: vec![(4, "UpToDate".to_owned()), (2, "OutOfDate".to_owned())],
        };
        Self {
            id: "TDX".to_owned(),
            issued: (2026, 5, 20),
            next_update: (2026, 6, 20),
            fmspc: None,
            evaluation_data_number: 20,
            module_signer: vec![0; 48],
            module_attributes: vec![0; 8],
            modules: vec![module],
            levels,
            signed_by: None,
        }
    }
}

/// Identity of the quoting enclave of TDX, version 2.
pub struct QeIdentity {
    /// `TD_QE`.
    pub id: String,
    /// When it was issued.
    pub issued: Date,
    /// Until when it is current.
    pub next_update: Date,
    /// How new Intel's data are.
    pub evaluation_data_number: u32,
    /// MRSIGNER of the enclave, 32 bytes.
    pub signer: Vec<u8>,
    /// Its product id.
    pub product: u16,
    /// Levels, the highest first.
    pub levels: Vec<QeLevel>,
    /// The key that signs it; `None`: that of the TCB signing certificate.
    pub signed_by: Option<super::Key>,
}

/// A level of the quoting enclave.
#[derive(Debug, Clone)]
pub struct QeLevel {
    /// Least security version.
    pub svn: u16,
    /// Intel's name of the status.
    pub status: String,
}

impl Default for QeIdentity {
    fn default() -> Self {
        let level = |svn, status: &str| QeLevel { svn, status: status.to_owned() };
        Self {
            id: "TD_QE".to_owned(),
            issued: (2026, 5, 21),
            next_update: (2026, 6, 21),
            evaluation_data_number: 20,
            signer: vec![0xdc; 32],
            product: 2,
            levels: vec![level(4, "UpToDate"), level(2, "OutOfDate")],
            signed_by: None,
        }
    }
}

/// The revocation lists of root and PCK CA.
#[derive(Debug, Clone)]
pub struct Lists {
    /// When they were issued.
    pub issued: Date,
    /// Until when the root's is current.
    pub root_next_update: Date,
    /// Until when the CA's is current.
    pub pck_next_update: Date,
    /// Serial numbers on the root's list.
    pub revoked_by_root: Vec<Vec<u8>>,
    /// Serial numbers on the CA's list.
    pub revoked_by_ca: Vec<Vec<u8>>,
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            issued: (2026, 5, 19),
            root_next_update: (2027, 5, 19),
            pck_next_update: (2026, 6, 22),
            revoked_by_root: Vec::new(),
            revoked_by_ca: vec![vec![0x55, 0x66]],
        }
    }
}

fn list(authority: &super::Certificate, serials: &[Vec<u8>], issued: Date, until: Date) -> String {
    let date = |(year, month, day): Date| date_time_ymd(year, month, day);
    let revoked = |serial: &Vec<u8>| RevokedCertParams {
        serial_number: SerialNumber::from_slice(serial),
        revocation_time: date(issued),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: date(issued),
        next_update: date(until),
        crl_number: SerialNumber::from_slice(&[1]),
        issuing_distribution_point: None,
        revoked_certs: serials.iter().map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    hex(params.signed_by(&authority.issuer()).unwrap().der())
}

fn quoted(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
    texts.join(",")
}

fn components(svns: &[u8]) -> String {
    let svns: Vec<_> = svns.iter().map(|svn| format!("{{\"svn\":{svn}}}")).collect();
    svns.join(",")
}

impl TcbInfo {
    /// The document, as it is signed.
    pub fn document(&self, platform: &super::Platform) -> String {
        let fmspc = hex(self.fmspc.as_ref().unwrap_or(&platform.fmspc)).to_uppercase();
        let module = |module: &ModuleIdentity| {
            let level = |(svn, status): &(u8, String)| {
                format!(r#"{{"tcb":{{"isvsvn":{svn}}},"tcbDate":"2025-11-12T00:00:00Z","tcbStatus":"{status}"}}"#)
            };
            let levels: Vec<_> = module.levels.iter().map(level).collect();
            format!(
                r#"{{"id":"{}","mrsigner":"{}","attributes":"{}","attributesMask":"FFFFFFFFFFFFFFFF","tcbLevels":[{}]}}"#,
                module.id,
                hex(&module.signer),
                hex(&self.module_attributes),
                levels.join(",")
            )
        };
        let level = |level: &Level| {
            format!(
                r#"{{"tcb":{{"sgxtcbcomponents":[{}],"pcesvn":{},"tdxtcbcomponents":[{}]}},"tcbDate":"{}","tcbStatus":"{}","advisoryIDs":[{}]}}"#,
                components(&level.cpu_svn),
                level.pce_svn,
                components(&level.tee_tcb_svn),
                rfc3339(level.date),
                level.status,
                quoted(&level.advisories)
            )
        };
        let modules: Vec<_> = self.modules.iter().map(module).collect();
        let levels: Vec<_> = self.levels.iter().map(level).collect();
        format!(
            r#"{{"id":"{}","version":3,"issueDate":"{}","nextUpdate":"{}","fmspc":"{fmspc}","pceId":"{}","tcbType":0,"tcbEvaluationDataNumber":{},"tdxModule":{{"mrsigner":"{}","attributes":"{}","attributesMask":"FFFFFFFFFFFFFFFF"}},"tdxModuleIdentities":[{}],"tcbLevels":[{}]}}"#,
            self.id,
            rfc3339(self.issued),
            rfc3339(self.next_update),
            hex(&platform.pce_id),
            self.evaluation_data_number,
            hex(&self.module_signer),
            hex(&self.module_attributes),
            modules.join(","),
            levels.join(",")
        )
    }
}

impl QeIdentity {
    /// The document, as it is signed.
    pub fn document(&self) -> String {
        let level = |level: &QeLevel| {
            format!(
                r#"{{"tcb":{{"isvsvn":{}}},"tcbDate":"2025-11-12T00:00:00Z","tcbStatus":"{}"}}"#,
                level.svn, level.status
            )
        };
        let levels: Vec<_> = self.levels.iter().map(level).collect();
        format!(
            r#"{{"id":"{}","version":2,"issueDate":"{}","nextUpdate":"{}","tcbEvaluationDataNumber":{},"miscselect":"00000000","miscselectMask":"FFFFFFFF","attributes":"11000000000000000000000000000000","attributesMask":"FBFFFFFFFFFFFFFF0000000000000000","mrsigner":"{}","isvprodid":{},"tcbLevels":[{}]}}"#,
            self.id,
            rfc3339(self.issued),
            rfc3339(self.next_update),
            self.evaluation_data_number,
            hex(&self.signer),
            self.product,
            levels.join(",")
        )
    }
}

/// A text as JSON writes it: there are no other characters in it that would have to be escaped.
fn text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

pub(super) fn json(tdx: &Tdx) -> Vec<u8> {
    let certificates = &tdx.certificates;
    let (info, identity) = (tdx.tcb_info.document(&tdx.platform), tdx.qe_identity.document());
    let signer =
        |key: Option<&super::Key>, document: &str| hex(&key.unwrap_or(&certificates.tcb.key).sign(document.as_bytes()));
    let lists = &tdx.lists;
    let fields = [
        ("pck_crl_issuer_chain", certificates.ca_chain()),
        ("root_ca_crl", list(&certificates.root, &lists.revoked_by_root, lists.issued, lists.root_next_update)),
        ("pck_crl", list(&certificates.ca, &lists.revoked_by_ca, lists.issued, lists.pck_next_update)),
        ("tcb_info_issuer_chain", certificates.tcb_chain()),
        ("tcb_info_signature", signer(tdx.tcb_info.signed_by.as_ref(), &info)),
        ("tcb_info", info),
        ("qe_identity_issuer_chain", certificates.tcb_chain()),
        ("qe_identity_signature", signer(tdx.qe_identity.signed_by.as_ref(), &identity)),
        ("qe_identity", identity),
    ];
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{}", text(value))).collect();
    format!("{{{}}}", fields.join(",")).into_bytes()
}
