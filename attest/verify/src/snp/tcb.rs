//! Versions of the TCB: eight bytes, laid out by product (AMD 56860, `TCB_VERSION`).

use super::SnpRefused;
use strongroom_protocol::claims::{SnpProduct, SnpTcb};

/// A TCB version as a report holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawTcb(pub [u8; 8]);

impl RawTcb {
    /// The parts, as `product` lays them out. Reserved bytes must be zero (row S6). `which` is for messages.
    pub fn read(self, product: SnpProduct, which: &'static str) -> Result<SnpTcb, SnpRefused> {
        let (tcb, reserved) = match (product, self.0) {
            (SnpProduct::Milan | SnpProduct::Genoa, [boot_loader, tee, a, b, c, d, snp, microcode]) => {
                (SnpTcb { fmc: None, boot_loader, tee, snp, microcode }, [a, b, c, d])
            }
            (SnpProduct::Turin, [fmc, boot_loader, tee, snp, a, b, c, microcode]) => {
                (SnpTcb { fmc: Some(fmc), boot_loader, tee, snp, microcode }, [a, b, c, 0])
            }
        };
        if reserved == [0; 4] {
            Ok(tcb)
        } else {
            Err(SnpRefused::S6Reserved { which, product, got: crate::quote::hex(&self.0) })
        }
    }
}

/// The first part of `low` that is above the same part of `high`: its name, the one value and the other.
pub(super) fn above(low: SnpTcb, high: SnpTcb) -> Option<(&'static str, u8, u8)> {
    let parts = |tcb: SnpTcb| {
        [
            ("FMC", tcb.fmc.unwrap_or_default()),
            ("boot loader", tcb.boot_loader),
            ("TEE", tcb.tee),
            ("SNP", tcb.snp),
            ("microcode", tcb.microcode),
        ]
    };
    let pairs = parts(low).into_iter().zip(parts(high));
    pairs.map(|((name, low), (_, high))| (name, low, high)).find(|(_, low, high)| low > high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s6_layouts_differ_by_product() {
        let raw = RawTcb([1, 2, 0, 0, 0, 0, 3, 4]);
        let milan = SnpTcb { fmc: None, boot_loader: 1, tee: 2, snp: 3, microcode: 4 };
        assert_eq!(raw.read(SnpProduct::Milan, "x").unwrap(), milan);
        assert_eq!(raw.read(SnpProduct::Genoa, "x").unwrap(), milan);
        assert!(matches!(raw.read(SnpProduct::Turin, "x"), Err(SnpRefused::S6Reserved { .. })));
        let turin = RawTcb([9, 1, 2, 3, 0, 0, 0, 4]);
        assert_eq!(turin.read(SnpProduct::Turin, "x").unwrap(), SnpTcb { fmc: Some(9), ..milan });
        assert!(matches!(turin.read(SnpProduct::Milan, "x"), Err(SnpRefused::S6Reserved { .. })));
    }

    #[test]
    fn each_part_counts_by_itself() {
        let high = SnpTcb { fmc: Some(5), boot_loader: 5, tee: 5, snp: 5, microcode: 5 };
        assert_eq!(above(high, high), None);
        let lower = [
            SnpTcb { fmc: Some(4), ..high },
            SnpTcb { boot_loader: 4, ..high },
            SnpTcb { tee: 4, ..high },
            SnpTcb { snp: 4, ..high },
            SnpTcb { microcode: 4, ..high },
        ];
        for lower in lower {
            assert!(above(high, lower).is_some(), "{lower}");
            assert_eq!(above(lower, high), None);
        }
    }
}
