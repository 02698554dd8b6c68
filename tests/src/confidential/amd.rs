//! AMD: the authorities of one line of processors, and the processors that they certify.

use super::{
    below::Parts,
    makers::{Published, pem, today},
};
use strongroom_collect::GpuState;
use strongroom_hardware::snp::{Leaf, Product, Snp, leaf_extensions};
use time::{Duration, OffsetDateTime};

/// AMD, as far as it speaks for one line. Each certificate is signed once: a root is pinned by all of its bytes.
pub(super) struct Amd {
    product: Product,
    /// ARK, ASK, ASVK (DER).
    authorities: [Vec<u8>; 3],
    /// A processor whose own key signs, and one whose provider's does.
    chips: Snp,
    providers: Snp,
}

impl Amd {
    pub(super) fn of(product: Product) -> Self {
        let (chips, providers) = (Snp::new(product, Leaf::Vcek), Snp::new(product, Leaf::Vlek));
        let authorities = [chips.ark.der(), chips.intermediate.der(), providers.intermediate.der()];
        Self { product, authorities, chips, providers }
    }

    /// The line, as pins have it.
    pub(super) fn product(&self) -> &'static str {
        self.product.name()
    }

    /// The root (DER).
    pub(super) fn root(&self) -> &[u8] {
        let [ark, ..] = &self.authorities;
        ark
    }

    /// The authorities of chips and of providers, and the root's list.
    pub(super) fn published(&self) -> Vec<Published> {
        let line = self.product().to_lowercase();
        vec![
            Published::of(&format!("{line}.pem"), pem(&self.authorities)),
            Published::of(&format!("{line}.crl"), self.list()),
        ]
    }

    /// AMD's list of revoked certificates, of today.
    fn list(&self) -> Vec<u8> {
        let mut list = self.chips.crl.clone();
        let utc = |at: OffsetDateTime| {
            let (year, month, day) = (at.year().rem_euclid(100), u8::from(at.month()), at.day());
            format!("{year:02}{month:02}{day:02}000000Z")
        };
        list.this_update = utc(today() - Duration::days(2));
        list.next_update = Some(utc(today() + Duration::days(60)));
        list.der()
    }

    /// The processor with this number, whose reports this kind of key signs, without GPUs.
    pub(super) fn processor(&self, leaf: Leaf, number: u8) -> Parts {
        let [_, of_chips, of_providers] = &self.authorities;
        let (mut snp, issuer) = match leaf {
            Leaf::Vcek => (self.chips.clone(), of_chips),
            Leaf::Vlek => (self.providers.clone(), of_providers),
        };
        let report = &mut snp.report;
        report.report_id = [number; 32];
        // Turin fills the first eight bytes, and its firmware makes reports of version 5.
        let length = if self.product == Product::Turin { 8 } else { 64 };
        report.chip_id = [0; 64];
        report.chip_id.iter_mut().take(length).for_each(|byte| *byte = number);
        if self.product == Product::Turin {
            report.version = 5;
        }
        if self.product == Product::Genoa {
            // As new as the tiers that are shipped ask for: SNP firmware 28, microcode 88h.
            set_tcb(&mut snp, [10, 0, 0, 0, 0, 0, 28, 0x88]);
        }
        let state = GpuState { gpus: 0, confidential: Some(true), dev_tools: Some(false), ready: Some(true) };
        let mut parts = Parts { snp, leaf, certificate: Vec::new(), issuer: issuer.clone(), gpus: Vec::new(), state };
        parts.certify();
        parts
    }
}

impl Parts {
    /// Has AMD certify the processor's key anew, for the chip and the TCB that it reports now.
    pub fn certify(&mut self) {
        self.snp.leaf.extensions = leaf_extensions(self.snp.product, self.leaf, &self.snp.report);
        self.certificate = self.snp.leaf.der();
    }
}

/// The firmware that runs, is committed, is reported, and launched the guest.
pub fn set_tcb(snp: &mut Snp, tcb: [u8; 8]) {
    let report = &mut snp.report;
    (report.current_tcb, report.committed_tcb) = (tcb, tcb);
    (report.reported_tcb, report.launch_tcb) = (tcb, tcb);
}
