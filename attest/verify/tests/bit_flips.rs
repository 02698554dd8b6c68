//! One bit flipped in every byte that hardware signed, in every piece of real evidence that is at hand (`../shared/vectors`
//! beside the project), and in stand-ins of the layouts of which there is none: all refused, none a denial of a machine.
//!
//! Skips what is absent, with a printed reason.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed test is how a test speaks; helpers of tests are tests too"
)]

mod vectors;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use std::{collections::BTreeMap, fs, ops::Range};
use strongroom_attest::{
    Pins,
    azure::{Envelope, RuntimeData},
    nvidia::{self, GpuEvidence, GpuExpectation, GpuRequirements, GuestWord, Revocation},
    quote::{Found, Known, examine_found},
    snp::{
        AttestationReport, SIGNED, SnpEvidence, SnpExpectation, SnpRequirements, SnpRoots, SnpStore, VerifiedChain,
        verify_chain, verify_with,
    },
    tdx::{self, Collateral, Evidence, Expectation, Quote, TdxRequirements},
    tpm::HashAlg,
};
use strongroom_hardware::snp::{Leaf, Product, Snp};
use strongroom_protocol::{Bytes, claims::TdxTcbStatus};
use vectors::vectors;

/// 2025-06-01: inside the validity of AMD's real certificates.
const JUNE_2025: u64 = 1_748_736_000;
/// 2026-11-22.
const NOW: u64 = 1_795_305_600;

/// A line of the table: what it is, how many bytes are signed, how many were refused by which row.
struct Line {
    name: String,
    signed: usize,
    refused: BTreeMap<String, usize>,
}

/// Flips one bit in each byte of a range, a different one from byte to byte; each must be refused.
fn flip(name: &str, bytes: &[u8], signed: Range<usize>, mut judge: impl FnMut(&[u8]) -> Option<String>) -> Line {
    assert_eq!(judge(bytes), None, "{name}: what is not flipped is accepted, or all would be refused for nothing");
    let mut flipped = bytes.to_vec();
    let mut refused = BTreeMap::new();
    for at in signed.clone() {
        flipped[at] ^= 1 << (at % 8);
        let row = judge(&flipped).unwrap_or_else(|| panic!("{name}: byte {at:#x} may be flipped"));
        *refused.entry(row).or_default() += 1;
        flipped[at] ^= 1 << (at % 8);
    }
    assert_eq!(refused.values().sum::<usize>(), signed.len());
    Line { name: name.to_owned(), signed: signed.len(), refused }
}

/// A report with its chain, which was verified before.
fn report(name: &str, report: &[u8], chain: &VerifiedChain, requirements: &SnpRequirements, at: u64) -> Line {
    let report_data = Some(report[0x50..0x90].try_into().unwrap());
    let expect = SnpExpectation { report_data, requirements };
    flip(name, report, 0..SIGNED, |bytes| {
        let refused = verify_with(bytes, chain, &expect, at).err()?;
        assert!(!refused.is_signed_for_this_request(), "{name}: {refused}");
        Some(refused.row().to_owned())
    })
}

fn real_report() -> Option<Line> {
    let path = vectors("snp/milan-v3-vlek-aws")?;
    let (bytes, leaf) = (fs::read(path.join("report.bin")).unwrap(), fs::read(path.join("vlek.der")).unwrap());
    let asvk = fs::read(vectors("snp/roots/asvk_ark_milan.pem")?).unwrap();
    let certificates = [Bytes(leaf)];
    let evidence = SnpEvidence { report: &bytes, certificates: &certificates, aux: None };
    let store = SnpStore { certificates: &[&asvk], crls: &[] };
    let parsed = AttestationReport::parse(&bytes).unwrap();
    let chain = verify_chain(&parsed, &evidence, SnpRoots::built_in(), &store, JUNE_2025).unwrap();
    let requirements =
        SnpRequirements { vmpl: 1, allow_vlek: true, allow_missing_crl: true, ..SnpRequirements::default() };
    Some(report("SEV-SNP, Milan, version 3, VLEK", &bytes, &chain, &requirements, JUNE_2025))
}

/// Reports that are refused for what they say, after their signature held: no flipped one may come so far.
fn real_refused_report(folder: &str, name: &str, expected: &[&str]) -> Option<Line> {
    let path = vectors(folder)?;
    let (bytes, leaf) = (fs::read(path.join("report.bin")).unwrap(), fs::read(path.join("vcek.der")).unwrap());
    let certificates = [Bytes(leaf)];
    let requirements = SnpRequirements { allow_missing_crl: true, ..SnpRequirements::default() };
    Some(flip(name, &bytes, 0..SIGNED, |bytes| {
        let evidence = SnpEvidence { report: bytes, certificates: &certificates, aux: None };
        let report_data = bytes.get(0x50..0x90).and_then(|bytes| bytes.try_into().ok());
        let expect = SnpExpectation { report_data, requirements: &requirements };
        let judged =
            strongroom_attest::snp::examine(&evidence, &expect, SnpRoots::built_in(), &SnpStore::default(), JUNE_2025);
        let passed = |row| judged.report.verdict(row) == Some(strongroom_attest::Verdict::Passed);
        if ["S3", "S5", "S11"].into_iter().all(passed) {
            assert_eq!(judged.refused.keys().copied().collect::<Vec<_>>(), expected, "{name}");
            return None;
        }
        assert!(judged.claims.is_none());
        let refused = ["S11", "S5", "S3", "S13", "S2", "S1"].into_iter().find(|row| judged.refused.contains_key(row));
        // Else nothing shows whose it is: its key is none that was sent.
        Some(refused.unwrap_or("S13").to_owned())
    }))
}

/// Layouts of which no real report is at hand.
fn stand_in(product: Product, version: u32) -> Line {
    let mut snp = Snp::new(product, Leaf::Vcek);
    snp.report.version = version;
    let ark = snp.ark.der();
    let roots = SnpRoots::new(&Pins::parse(&snp.pins(&ark)).unwrap(), [ark.as_slice()]).unwrap();
    let (bytes, certificates) = (snp.report_bytes(), snp.chain().into_iter().map(Bytes).collect::<Vec<_>>());
    let evidence = SnpEvidence { report: &bytes, certificates: &certificates, aux: None };
    let parsed = AttestationReport::parse(&bytes).unwrap();
    let at = strongroom_hardware::snp::AT;
    let chain = verify_chain(&parsed, &evidence, &roots, &SnpStore::default(), at).unwrap();
    let requirements = SnpRequirements { allow_missing_crl: true, ..SnpRequirements::default() };
    report(&format!("SEV-SNP, {} (stand-in), version {version}", product.name()), &bytes, &chain, &requirements, at)
}

/// The runtime data, which the report vouches for, and the quote by the key in them.
fn azure() -> Option<[Line; 2]> {
    let path = vectors("azure-vtpm/snp")?;
    let hcl = fs::read(path.join("hcl-report.bin")).unwrap();
    let envelope = Envelope::parse(&hcl).unwrap();
    let parsed = AttestationReport::parse(envelope.report).unwrap();
    let begin = hcl.len()
        - hcl.windows(envelope.runtime_data.len()).rev().position(|all| all == envelope.runtime_data).unwrap();
    let range = begin - envelope.runtime_data.len()..begin;
    let runtime = flip("Azure, runtime data", &hcl, range, |bytes| {
        let refused = Envelope::parse(bytes).and_then(|envelope| envelope.check_binding(&parsed)).err()?;
        Some(refused.row().to_owned())
    });
    let ak = RuntimeData::parse(envelope.runtime_data).unwrap().ak;
    let file = fs::read(path.join("quote.bin")).unwrap();
    let (signature, rest) = (&file[8..264], &file[264..]);
    let length = usize::try_from(u64::from_le_bytes(rest[..8].try_into().unwrap())).unwrap();
    let signature = [&b"\x00\x14\x00\x0b\x01\x00"[..], signature].concat();
    let message = &rest[8..8 + length];
    let quote = flip("Azure, quote of the vTPM", message, 0..length, |message| {
        let found = Found { message, signature: &signature, values: None, exact: true };
        let judged = examine_found(&found, &Known { ak: Some(&ak), ..Known::default() });
        // Q2 says that nothing can be read; then nothing is verified of it.
        let refused = |row: &&&str| judged.report.verdict(row) == Some(strongroom_attest::Verdict::Refused);
        ["Q1", "Q2"].iter().find(refused).map(|row| (*row).to_owned())
    });
    assert_eq!(HashAlg::Sha256.digest_length(), 32);
    Some([runtime, quote])
}

fn tdx_quote(name: &str, below: bool) -> Option<Line> {
    let quote = fs::read(vectors(&format!("tdx/{name}"))?).unwrap();
    let collateral = fs::read(vectors(&format!("tdx/{name}_collateral.json"))?).unwrap();
    let collateral = Collateral::parse(&collateral).unwrap();
    let at = collateral.valid_from() + 3600;
    let parsed = Quote::parse(&quote).unwrap();
    let (signed, report_data) = (parsed.signed().len(), *parsed.report_data());
    let every = TdxRequirements { tcb_statuses: TdxTcbStatus::ALL.into(), ..TdxRequirements::default() };
    Some(flip(&format!("TDX, {name}"), &quote, 0..signed, |quote| {
        let expect = Expectation {
            report_data: Some(&report_data),
            collateral: Some(&collateral),
            pins: Pins::built_in(),
            at,
            requirements: &every,
        };
        match tdx::verify(&Evidence { quote, ccel: None }, &expect) {
            Ok(_) => None,
            // Judged after the signatures held: no flipped one may come so far.
            Err(tdx::TdxRefused::T1TcbBelow { .. }) if below => None,
            Err(refused) => {
                assert!(!refused.is_signed_for_this_request(), "{refused}");
                Some(refused.row().to_owned())
            }
        }
    }))
}

fn hopper() -> Option<Line> {
    let report = hex::decode(fs::read_to_string(vectors("nvidia/hopper-report.hex")?).unwrap().trim()).unwrap();
    let pem = fs::read(vectors("nvidia/hopper-cert-chain.pem")?).unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
    let nonce: [u8; 32] = report[4..36].try_into().unwrap();
    let requirements = GpuRequirements { manifests: false, revocation_max_age: None, ..GpuRequirements::default() };
    let expect = GpuExpectation {
        nonce: Some(&nonce),
        pins: Pins::built_in(),
        at: NOW,
        driver_rim: None,
        vbios_rim: None,
        record: None,
        revocation: Revocation::default(),
        guest: Some(GuestWord { confidential: true, devtools: false }),
        requirements: &requirements,
    };
    // Also where nobody says what it must bind: the nonce is signed.
    let free = GpuExpectation { nonce: None, ..expect };
    // Request and response, to the end of the signature.
    Some(flip("GPU, Hopper", &report, 0..report.len(), |report| {
        let evidence = GpuEvidence { report, certificates: chain.iter().map(AsRef::as_ref).collect() };
        let refused = nvidia::verify(&evidence, &expect).err()?;
        assert!(!refused.is_signed_for_this_request(), "{refused}");
        let judged = nvidia::examine(&evidence, &free);
        assert!(!judged.report.holds() && judged.claims.is_none(), "{}", judged.report);
        Some(refused.row().to_owned())
    }))
}

#[test]
fn s1_s11_s12_t1_g1_g2_one_bit_flipped_in_each_signed_byte_is_refused() {
    let mut lines = vec![
        real_refused_report("snp/milan-v2", "SEV-SNP, Milan, version 2, VCEK", &["S1"]),
        real_refused_report("snp/milan-v2-debug-on", "SEV-SNP, Milan, a guest that can be debugged", &["S1", "S7"]),
        real_report(),
    ];
    for (product, version) in
        [(Product::Genoa, 3), (Product::Genoa, 5), (Product::Turin, 3), (Product::Turin, 5), (Product::Milan, 5)]
    {
        lines.push(Some(stand_in(product, version)));
    }
    lines.extend(azure().into_iter().flatten().map(Some));
    lines.extend([tdx_quote("tdx_quote", false), tdx_quote("tdx_quote_outdated", true), hopper()]);
    println!("| evidence | signed bytes | refused, by row |\n|---|--:|---|");
    for Line { name, signed, refused } in lines.into_iter().flatten() {
        let refused: Vec<String> = refused.iter().map(|(row, count)| format!("{row} {count}")).collect();
        println!("| {name} | {signed} | {} |", refused.join(", "));
    }
}
