//! Reports of SEV-SNP: with a chain that was verified before, with the whole chain, and the worst beside them.

use super::{Line, line};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, VerificationAlgorithm as _};
use std::hint::black_box;
use strongroom_attest::{
    Pins,
    snp::{
        AttestationReport, SIGNED, SnpEvidence, SnpExpectation, SnpRequirements, SnpRoots, SnpStore, verify,
        verify_chain, verify_with,
    },
    x509::Certificate,
};
use strongroom_hardware::{
    certificate::Extension,
    snp::{AT, Leaf, Product, Snp},
};
use strongroom_protocol::Bytes;

/// A machine with everything that a verifier has of it.
struct Machine {
    report: Vec<u8>,
    certificates: Vec<Bytes>,
    crl: Vec<u8>,
    roots: SnpRoots,
    key: Vec<u8>,
}

fn machine() -> Machine {
    let mut snp = Snp::new(Product::Genoa, Leaf::Vcek);
    snp.report.version = 5;
    let ark = snp.ark.der();
    let roots = SnpRoots::new(&Pins::parse(&snp.pins(&ark)).unwrap(), [ark.as_slice()]).unwrap();
    let certificates: Vec<Bytes> = snp.chain().into_iter().map(Bytes).collect();
    let key = Certificate::parse(&certificates[0].0).unwrap().p384_key().unwrap().to_vec();
    Machine { report: snp.report_bytes(), certificates, crl: snp.crl.der(), roots, key }
}

impl Machine {
    /// The one signature over the report, and nothing else.
    fn bare(&self) -> impl FnMut() + use<> {
        let big = |number: &[u8]| -> Vec<u8> { number[..48].iter().rev().copied().collect() };
        let signature = [big(&self.report[SIGNED..][..72]), big(&self.report[SIGNED + 72..][..72])].concat();
        let (key, signed) = (self.key.clone(), self.report[..SIGNED].to_vec());
        move || black_box(ECDSA_P384_SHA384_FIXED.verify_sig(&key, &signed, &signature)).unwrap()
    }
}

/// Lines with bare work, and the worst.
pub(super) fn lines() -> Vec<Line> {
    vec![cached(), whole(), worst()]
}

fn cached() -> Line {
    let machine = machine();
    let bare = machine.bare();
    let parsed = AttestationReport::parse(&machine.report).unwrap();
    let evidence = SnpEvidence { report: &machine.report, certificates: &machine.certificates, aux: None };
    let store = SnpStore { certificates: &[], crls: &[&machine.crl] };
    let chain = verify_chain(&parsed, &evidence, &machine.roots, &store, AT).unwrap();
    let report = machine.report.clone();
    let verify = move || {
        let requirements = SnpRequirements::default();
        let expect = SnpExpectation { report_data: Some([3; 64]), requirements: &requirements };
        black_box(verify_with(&report, &chain, &expect, AT).unwrap());
    };
    Line { bare: Some(Box::new(bare)), ..line("SEV-SNP report, chain cached", machine.report.len(), verify) }
}

/// The bare work is the same one signature: what is above it is the chain and its list.
fn whole() -> Line {
    let machine = machine();
    let bare = machine.bare();
    let size = machine.report.len() + machine.certificates.iter().map(|der| der.0.len()).sum::<usize>();
    let verify = move || {
        let requirements = SnpRequirements::default();
        let expect = SnpExpectation { report_data: Some([3; 64]), requirements: &requirements };
        let evidence = SnpEvidence { report: &machine.report, certificates: &machine.certificates, aux: None };
        let store = SnpStore { certificates: &[], crls: &[&machine.crl] };
        black_box(verify(&evidence, &expect, &machine.roots, &store, AT).unwrap());
    };
    Line { bare: Some(Box::new(bare)), ..line("SEV-SNP report, chain and CRL", size, verify) }
}

/// As many certificates as may be sent, each as large as it may be, none of them of use.
fn worst() -> Line {
    let machine = machine();
    let mut snp = Snp::new(Product::Genoa, Leaf::Vcek);
    snp.leaf.extensions.extend((0..18).map(|last| Extension::plain(&[1, 2, 3, last], vec![0; 800])));
    let certificates = vec![Bytes(snp.leaf.der()); 8];
    let aux = [&b"\x01"[..], &[0; 15], &24_u32.to_le_bytes(), &16_000_u32.to_le_bytes()].concat();
    let aux = [aux, vec![0x30; 64 << 10]].concat();
    let aux = aux[..64 << 10].to_vec();
    let size = aux.len() + certificates.iter().map(|der| der.0.len()).sum::<usize>();
    line("worst: SEV-SNP report, certificates to the caps", size, move || {
        let requirements = SnpRequirements::default();
        let expect = SnpExpectation { report_data: Some([3; 64]), requirements: &requirements };
        let evidence = SnpEvidence { report: &machine.report, certificates: &certificates, aux: Some(&aux) };
        drop(black_box(verify(&evidence, &expect, &machine.roots, &SnpStore::default(), AT)));
    })
}
