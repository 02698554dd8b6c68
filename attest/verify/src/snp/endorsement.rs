//! What AMD's certificates say in extensions of their own (AMD 57230, "VCEK Certificate and KDS Interface"): row S5.

use super::{AttestationReport, SnpRefused};
use crate::{quote::hex, x509::Certificate};
use strongroom_protocol::claims::{SnpProduct, SnpSigningKey, SnpTcb};

/// 1.3.6.1.4.1.3704.1: the arc of the extensions.
const PRODUCT_NAME: &str = "1.3.6.1.4.1.3704.1.2";
const BOOT_LOADER: &str = "1.3.6.1.4.1.3704.1.3.1";
const TEE: &str = "1.3.6.1.4.1.3704.1.3.2";
const SNP: &str = "1.3.6.1.4.1.3704.1.3.3";
/// Parts that are reserved: bytes of the TCB that no product uses.
const RESERVED: [&str; 4] =
    ["1.3.6.1.4.1.3704.1.3.4", "1.3.6.1.4.1.3704.1.3.5", "1.3.6.1.4.1.3704.1.3.6", "1.3.6.1.4.1.3704.1.3.7"];
const MICROCODE: &str = "1.3.6.1.4.1.3704.1.3.8";
const FMC: &str = "1.3.6.1.4.1.3704.1.3.9";
const HWID: &str = "1.3.6.1.4.1.3704.1.4";
const CSP_ID: &str = "1.3.6.1.4.1.3704.1.5";
/// DER tags.
const INTEGER: u8 = 0x02;
const IA5_STRING: u8 = 0x16;
/// Characters of a provider's name, at the most: one byte holds the length.
const MAX_NAME: usize = 127;

/// What a VCEK's or VLEK's certificate says of its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endorsement {
    /// The TCB that the key was derived for.
    tcb: SnpTcb,
    /// The chip, as the report writes it; `None` with a VLEK.
    chip_id: Option<[u8; 64]>,
    /// The cloud provider; `None` with a VCEK.
    pub(super) csp_id: Option<String>,
}

impl Endorsement {
    pub(super) fn read(
        certificate: &Certificate<'_>,
        key: SnpSigningKey,
        product: SnpProduct,
    ) -> Result<Self, SnpRefused> {
        let wrong = |name, problem| SnpRefused::S5Extension { key, name, problem };
        let find = |oid, name| certificate.extension(oid).ok_or_else(|| wrong(name, "is missing"));
        let number = |oid, name| {
            let value = find(oid, name)?;
            integer(value).ok_or_else(|| wrong(name, "is not an INTEGER of one byte in its shortest DER"))
        };
        for oid in RESERVED {
            let reserved = certificate.extension(oid);
            if reserved.is_some_and(|value| integer(value) != Some(0)) {
                return Err(wrong("spl_4 to spl_7", "is not zero, where no product has a part"));
            }
        }
        let fmc = match product {
            SnpProduct::Turin => Some(number(FMC, "fmcSPL")?),
            SnpProduct::Milan | SnpProduct::Genoa if certificate.extension(FMC).is_some() => {
                return Err(wrong("fmcSPL", "stands there, and this product has no FMC"));
            }
            SnpProduct::Milan | SnpProduct::Genoa => None,
        };
        let tcb = SnpTcb {
            fmc,
            boot_loader: number(BOOT_LOADER, "blSPL")?,
            tee: number(TEE, "teeSPL")?,
            snp: number(SNP, "snpSPL")?,
            microcode: number(MICROCODE, "ucodeSPL")?,
        };
        let (hwid, csp_id) = (certificate.extension(HWID), certificate.extension(CSP_ID));
        match key {
            SnpSigningKey::Vcek if csp_id.is_some() => Err(wrong("CSP_ID", "stands there, as a VLEK's alone does")),
            SnpSigningKey::Vlek if hwid.is_some() => Err(wrong("HWID", "stands there, as a VCEK's alone does")),
            SnpSigningKey::Vcek => {
                let chip_id = chip_id(find(HWID, "HWID")?, product);
                let chip_id =
                    chip_id.ok_or_else(|| wrong("HWID", "is not of the length of this product's chip ids"))?;
                Ok(Self { tcb, chip_id: Some(chip_id), csp_id: None })
            }
            SnpSigningKey::Vlek => {
                let csp_id = ia5_string(find(CSP_ID, "CSP_ID")?);
                let csp_id = csp_id.ok_or_else(|| wrong("CSP_ID", "is not an IA5String of 1 to 127 characters"))?;
                Ok(Self { tcb, chip_id: None, csp_id: Some(csp_id) })
            }
        }
    }

    /// Row S5: the certificate is for what the report says: this TCB, and (with a VCEK) this chip.
    pub(super) fn check(&self, report: &AttestationReport, product: SnpProduct) -> Result<(), SnpRefused> {
        let refused = |report| SnpRefused::S5Tcb { certificate: self.tcb.to_string(), report };
        let reported = report.reported_tcb;
        let tcb = reported.read(product, "reported").map_err(|_| refused(hex(&reported.0)))?;
        if tcb != self.tcb {
            return Err(refused(tcb.to_string()));
        }
        match (&self.chip_id, report.chip_id()) {
            (None, _) => Ok(()),
            (Some(_), None) => Err(SnpRefused::S5Masked),
            (Some(certified), Some(chip_id)) if certified == chip_id => Ok(()),
            (Some(certified), Some(chip_id)) => {
                Err(SnpRefused::S5ChipId { certificate: hex(certified), report: hex(chip_id) })
            }
        }
    }

    /// Whether [`Self::check`] holds, for choosing among several certificates.
    pub(super) fn is_for(&self, report: &AttestationReport, product: SnpProduct) -> bool {
        self.check(report, product).is_ok()
    }
}

/// Row S3: the product that a certificate says it is for: `Milan`, or with a stepping `Milan-B0`.
pub(super) fn check_product(
    certificate: &Certificate<'_>,
    key: SnpSigningKey,
    product: SnpProduct,
) -> Result<(), SnpRefused> {
    let value = certificate.extension(PRODUCT_NAME);
    let name = value.and_then(ia5_string).unwrap_or_default();
    let without_stepping = name.split_once('-').map_or(name.as_str(), |(product, _)| product);
    if without_stepping == product.name() {
        return Ok(());
    }
    let link = super::chain::link(key);
    Err(SnpRefused::S3Name { link, field: "productName", expected: product.to_string(), got: name })
}

/// One byte, as DER writes a non-negative INTEGER: two bytes from 0x80 on.
fn integer(der: &[u8]) -> Option<u8> {
    match *der {
        [INTEGER, 1, value @ 0..=0x7f] | [INTEGER, 2, 0, value @ 0x80..=0xff] => Some(value),
        _ => None,
    }
}

fn ia5_string(der: &[u8]) -> Option<String> {
    let (head, text) = der.split_first_chunk::<2>()?;
    let plain = (1..=MAX_NAME).contains(&text.len()) && text.iter().all(|byte| (0x20..0x7f).contains(byte));
    let whole = *head == [IA5_STRING, u8::try_from(text.len()).ok()?];
    (plain && whole).then(|| text.iter().copied().map(char::from).collect())
}

/// The octets as they stand in the extension, without DER around them; Turin's are eight.
fn chip_id(octets: &[u8], product: SnpProduct) -> Option<[u8; 64]> {
    if product == SnpProduct::Turin {
        let short: [u8; 8] = octets.try_into().ok()?;
        let mut chip_id = [0; 64];
        chip_id.iter_mut().zip(short).for_each(|(to, from)| *to = from);
        Some(chip_id)
    } else {
        octets.try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_integers_take_two_bytes_from_0x80_on() {
        assert_eq!(integer(b"\x02\x01\x73"), Some(0x73));
        assert_eq!(integer(b"\x02\x02\x00\xd9"), Some(0xd9));
        for wrong in [&b"\x02\x01\xd9"[..], b"\x02\x02\x00\x73", b"\x02\x02\x01\x00", b"\x02\x00", b"\x04\x01\x01", b""]
        {
            assert_eq!(integer(wrong), None, "{wrong:02x?}");
        }
    }

    #[test]
    fn s5_a_providers_name_is_a_short_ia5_string() {
        assert_eq!(ia5_string(b"\x16\x05CN=cc").as_deref(), Some("CN=cc"));
        for wrong in [&b"\x16\x05CN=c"[..], b"\x0c\x05CN=cc", b"\x16\x00", b"\x16\x01\x07", b"\x16"] {
            assert_eq!(ia5_string(wrong), None, "{wrong:02x?}");
        }
    }
}
