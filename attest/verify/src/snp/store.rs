//! What an offline store gives for a report, and how it names its files (row S13). Nothing here fetches: AMD's service
//! allows about one request in ten seconds, which a job of a thousand nodes would wait hours for.

use super::{AttestationReport, SnpRefused};
use crate::quote::hex;
use strongroom_protocol::claims::{SnpProduct, SnpSigningKey};

/// What the store had for a report: its answer is not trusted, only read.
#[derive(Debug, Clone, Copy, Default)]
pub struct SnpStore<'a> {
    /// VCEKs, VLEKs, ASVKs (DER or PEM), in any order.
    pub certificates: &'a [&'a [u8]],
    /// Revocation lists (DER) of AMD's roots. Those of other products are passed over.
    pub crls: &'a [&'a [u8]],
}

/// The file of the certificate of the key that signed a report: `vcek/{hwid}/{tcb}.der`, `vlek/{product}/{tcb}.der`,
/// with the chip id and the reported TCB as the report has them, lower-case hexadecimal. Turin's chip ids have 8 bytes.
pub fn leaf_file(report: &AttestationReport, product: Option<SnpProduct>, key: SnpSigningKey) -> String {
    let tcb = hex(&report.reported_tcb.0);
    match key {
        SnpSigningKey::Vcek => {
            let chip_id = match (product, report.chip_id.first_chunk::<8>()) {
                (Some(SnpProduct::Turin), Some(short)) => hex(short),
                _ => hex(&report.chip_id),
            };
            format!("vcek/{chip_id}/{tcb}.der")
        }
        SnpSigningKey::Vlek => format!("vlek/{}/{tcb}.der", product.map_or("*", SnpProduct::name)),
    }
}

/// The file of the intermediate: `ask/{product}.der`, `asvk/{product}.der`.
pub fn intermediate_file(product: SnpProduct, key: SnpSigningKey) -> String {
    match key {
        SnpSigningKey::Vcek => format!("ask/{product}.der"),
        SnpSigningKey::Vlek => format!("asvk/{product}.der"),
    }
}

/// The file of the revocation list: `vcek/crl/{product}.crl`, `vlek/crl/{product}.crl`, as AMD's service has one for
/// each kind of key.
pub fn crl_file(product: SnpProduct, key: SnpSigningKey) -> String {
    match key {
        SnpSigningKey::Vcek => format!("vcek/crl/{product}.crl"),
        SnpSigningKey::Vlek => format!("vlek/crl/{product}.crl"),
    }
}

/// Every file that a store should be asked for before a report is verified. Beside them the evidence may bring its
/// own certificates; only what neither has is missing.
pub fn files(report: &AttestationReport) -> Result<Vec<String>, SnpRefused> {
    let product = report.product()?;
    let Some(key) = report.key_info.signing_key else { return Ok(Vec::new()) };
    let mut files = vec![leaf_file(report, product, key)];
    let products = product.map_or(SnpProduct::ALL.to_vec(), |product| vec![product]);
    for product in products {
        files.push(intermediate_file(product, key));
        files.push(crl_file(product, key));
    }
    Ok(files)
}
