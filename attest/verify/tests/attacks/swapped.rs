//! Keys, roots and products taken for others of the same name.

use super::*;
use strongroom_attest::x509::X509Problem;
use strongroom_hardware::{
    certificate::{Key, Name},
    snp::{AT, CSP_ID, HWID, Leaf, Product, keys, leaf_extensions},
};
use strongroom_protocol::claims::{SnpProduct, SnpSigningKey};

fn leaked(key: Key) -> &'static Key {
    Box::leak(Box::new(key))
}

fn both() -> SnpRequirements {
    SnpRequirements { allow_vlek: true, ..SnpRequirements::default() }
}

#[test]
fn s3_s5_a_vcek_is_not_taken_for_a_vlek_nor_back_however_it_is_dressed() {
    for kind in [Leaf::Vcek, Leaf::Vlek] {
        judge_snp(&Snp::new(Product::Genoa, kind), [3; 64], &both()).unwrap();
    }
    // The field says the other kind.
    let mut said = Snp::new(Product::Genoa, Leaf::Vcek);
    said.report.key_info = 1 << 2;
    let refused = judge_snp(&said, [3; 64], &both()).unwrap_err();
    assert!(matches!(refused, SnpRefused::S3Kind { report: SnpSigningKey::Vlek, .. }), "{refused}");
    let mut said = Snp::new(Product::Genoa, Leaf::Vlek);
    said.report.key_info = 0;
    let refused = judge_snp(&said, [3; 64], &both()).unwrap_err();
    assert!(matches!(refused, SnpRefused::S3Kind { report: SnpSigningKey::Vcek, .. }), "{refused}");
    // The name too: of another kind is still what the certificate says in its extensions, and who issued it.
    let mut named = Snp::new(Product::Genoa, Leaf::Vcek);
    (named.report.key_info, named.leaf.subject) = (1 << 2, Name::of("SEV-VLEK"));
    let refused = judge_snp(&named, [3; 64], &both()).unwrap_err();
    assert_eq!(refused.row(), "S13", "there is no ASVK: {refused}");
    let vlek = Snp::new(Product::Genoa, Leaf::Vlek);
    let (mut middle, issuer) = (named.clone(), vlek.intermediate.clone());
    (middle.intermediate, middle.leaf.issuer) = (issuer.clone(), issuer.subject.clone());
    let refused = judge_snp(&middle, [3; 64], &both()).unwrap_err();
    assert!(matches!(refused, SnpRefused::S3Certificate { problem: X509Problem::Signature { .. }, .. }), "{refused}");
    // Only if AMD's ASVK signed it is it a VLEK, and then it names its provider and no chip.
    middle.leaf.signed_by = &keys().asvk;
    let refused = judge_snp(&middle, [3; 64], &both()).unwrap_err();
    assert!(matches!(refused, SnpRefused::S5Extension { .. }), "{refused}");
    let provider = vlek.leaf.extensions.iter().find(|extension| extension.oid == CSP_ID).unwrap().clone();
    middle.leaf.extensions.push(provider);
    let refused = judge_snp(&middle, [3; 64], &both()).unwrap_err();
    assert!(matches!(refused, SnpRefused::S5Extension { name: "HWID", .. }), "{refused}");
    middle.leaf.without(&HWID);
    judge_snp(&middle, [3; 64], &both()).unwrap();
}

#[test]
fn s3_a_forgers_chain_in_which_every_name_is_right_is_refused() {
    let honest = Snp::new(Product::Milan, Leaf::Vcek);
    let ark = honest.ark.der();
    judge_snp_under(&honest, &ark, [3; 64], &SnpRequirements::default()).unwrap();
    // All of it: a root of the same name and serial number, of a key of one's own.
    let (root, middle, leaf) = (leaked(Key::rsa_4096()), leaked(Key::rsa_4096()), leaked(Key::p384()));
    let mut forged = honest.clone();
    (forged.ark.spki, forged.ark.signed_by) = (root.spki(), root);
    (forged.intermediate.spki, forged.intermediate.signed_by) = (middle.spki(), root);
    (forged.leaf.spki, forged.leaf.signed_by, forged.report_key) = (leaf.spki(), middle, leaf);
    forged.crl.signed_by = root;
    let refused = judge_snp_under(&forged, &ark, [3; 64], &SnpRequirements::default()).unwrap_err();
    assert!(matches!(refused, SnpRefused::S3Certificate { link: "ASK", .. }), "{refused}");
    // It holds under a set that was made to trust it: what refuses is the pin, and nothing else.
    judge_snp(&forged, [3; 64], &SnpRequirements::default()).unwrap();
    // The release's own pins trust neither.
    let certificates: Vec<Bytes> = [forged.chain(), vec![forged.ark.der()]].concat().into_iter().map(Bytes).collect();
    let report = forged.report_bytes();
    let evidence = SnpEvidence { report: &report, certificates: &certificates, aux: None };
    let strict = SnpRequirements::default();
    let expect = SnpExpectation { report_data: Some([3; 64]), requirements: &strict };
    let refused = snp::verify(&evidence, &expect, SnpRoots::built_in(), &SnpStore::default(), AT).unwrap_err();
    assert!(matches!(refused, SnpRefused::S3Certificate { .. }), "{refused}");
}

/// AMD's own chains: real ones, of the crate and the pins of a release, and each of one product only.
#[test]
fn s2_s3_s5_a_chain_of_one_product_vouches_for_no_report_of_another() {
    let of = |product, kind| Snp::new(product, kind);
    for product in [Product::Milan, Product::Genoa, Product::Turin] {
        judge_snp(&of(product, Leaf::Vcek), [3; 64], &both()).unwrap();
        for other in [Product::Milan, Product::Genoa, Product::Turin] {
            if other == product {
                continue;
            }
            // The report says the one product, its certificates are of the other; the other's root is pinned, or both.
            let mut crossed = of(other, Leaf::Vcek);
            crossed.report.cpu = of(product, Leaf::Vcek).report.cpu;
            let refused = judge_snp(&crossed, [3; 64], &both()).unwrap_err();
            assert!(matches!(refused, SnpRefused::S3NoRoot { .. }), "{refused}");
            let arks = [of(product, Leaf::Vcek), of(other, Leaf::Vcek)].map(|snp| (snp.ark.der(), snp));
            let pins = arks.iter().map(|(ark, snp)| String::from_utf8(snp.pins(ark)).unwrap());
            let pins: Vec<String> =
                pins.map(|json| json.trim_start_matches(r#"{"pins":["#).trim_end_matches("]}").to_owned()).collect();
            let pins = Pins::parse(format!("{{\"pins\":[{}]}}", pins.join(",")).as_bytes()).unwrap();
            let roots = SnpRoots::new(&pins, arks.iter().map(|(ark, _)| ark.as_slice())).unwrap();
            assert_eq!(roots.products().count(), 2);
            let certificates: Vec<Bytes> = crossed.chain().into_iter().map(Bytes).collect();
            let (report, crl) = (crossed.report_bytes(), crossed.crl.der());
            let evidence = SnpEvidence { report: &report, certificates: &certificates, aux: None };
            let allowed = both();
            let expect = SnpExpectation { report_data: Some([3; 64]), requirements: &allowed };
            let store = SnpStore { certificates: &[], crls: &[&crl] };
            let refused = snp::verify(&evidence, &expect, &roots, &store, AT).unwrap_err();
            // The intermediate of the report's product is not there.
            assert_eq!(refused.row(), "S13", "{refused}");
            // An intermediate under the other's root, which takes the name of the report's.
            let mut renamed = crossed.clone();
            renamed.intermediate.subject = Name::of(&format!("SEV-{}", product.name()));
            renamed.leaf.issuer = renamed.intermediate.subject.clone();
            renamed.leaf.extensions = leaf_extensions(product, Leaf::Vcek, &of(product, Leaf::Vcek).report);
            let certificates: Vec<Bytes> = renamed.chain().into_iter().map(Bytes).collect();
            let evidence = SnpEvidence { certificates: &certificates, ..evidence };
            let refused = snp::verify(&evidence, &expect, &roots, &store, AT).unwrap_err();
            assert!(
                matches!(refused, SnpRefused::S3Certificate { problem: X509Problem::Issuer { .. }, .. }),
                "{refused}"
            );
        }
    }
    assert_eq!(SnpProduct::ALL.len(), 3);
}

#[test]
fn g2_a_chain_of_a_forger_with_nvidias_names_and_serial_numbers_is_refused() {
    let honest = Gpu::default();
    judge_gpu(&honest, [7; 32]).unwrap();
    let forged = Gpu::default();
    let names = |gpu: &Gpu| gpu.chain.certificates.iter().map(|one| one.name.clone()).collect::<Vec<_>>();
    let serials = |gpu: &Gpu| gpu.chain.certificates.iter().map(|one| one.serial.clone()).collect::<Vec<_>>();
    assert_eq!((names(&honest), serials(&honest)), (names(&forged), serials(&forged)));
    let pins = Pins::parse(gpus::pins(&[&honest.chain], &[]).as_bytes()).unwrap();
    let requirements = GpuRequirements { manifests: false, revocation_max_age: None, ..GpuRequirements::default() };
    let judge = |certificates: &[Vec<u8>], report: &[u8]| {
        let expect = GpuExpectation {
            nonce: Some(&[7; 32]),
            pins: &pins,
            at: gpus::AT,
            driver_rim: None,
            vbios_rim: None,
            record: None,
            revocation: Revocation::default(),
            guest: Some(GuestWord { confidential: true, devtools: false }),
            requirements: &requirements,
        };
        let evidence = GpuEvidence { report, certificates: certificates.iter().map(Vec::as_slice).collect() };
        nvidia::verify(&evidence, &expect)
    };
    let (ours, theirs) = (honest.certificates(), forged.certificates());
    judge(&ours, &honest.report_bytes()).unwrap();
    assert!(matches!(judge(&theirs, &forged.report_bytes()), Err(GpuRefused::G2Root { .. })));
    // From the root down, as many certificates of NVIDIA's as one likes: the first that is not its own breaks it.
    for genuine in 1..5 {
        let mixed = [&theirs[..5 - genuine], &ours[5 - genuine..]].concat();
        let refused = judge(&mixed, &forged.report_bytes()).unwrap_err();
        assert!(matches!(refused, GpuRefused::G2Path { .. }), "{genuine}: {refused}");
    }
    // The genuine chain, and a report that another key signed.
    assert_eq!(judge(&ours, &forged.report_bytes()), Err(GpuRefused::G2Signature));
}
