//! G2: chain, pin, signature, firmware.

use super::*;
use strongroom_hardware::nvidia::{Certificate, Form, Key, KeyUsagePurpose};

fn certificate(node: &mut Node, place: usize) -> &mut Certificate {
    &mut node.gpu.chain.certificates[place]
}

#[test]
fn g2_five_certificates_in_any_order_end_at_a_pinned_root() {
    let node = Node::default();
    let (report, mut ders) = (node.gpu.report_bytes(), node.gpu.certificates());
    let chain = |ders: &[Vec<u8>]| {
        let evidence = GpuEvidence { report: &report, certificates: ders.iter().map(Vec::as_slice).collect() };
        node.with(|_, expect| verify(&evidence, expect)).unwrap()
    };
    let claims = chain(&ders).unwrap();
    ders.swap(0, 4);
    ders.swap(1, 3);
    assert_eq!(chain(&ders).unwrap(), claims);

    let extra = another_chain();
    let shape = |ders: &[Vec<u8>]| match chain(ders) {
        Err(GpuRefused::G2Chain { problem }) => problem,
        other => panic!("{other:?}"),
    };
    assert!(shape(&ders[..4]).contains("4 certificates, not 5"));
    assert!(shape(&[&ders[..], &extra[..1]].concat()).contains("6 certificates, not 5"));
    assert!(shape(&[]).contains("0 certificates"));
    // One is another's, one twice, one with bytes behind it, one that is none, one too large.
    let with = |place: usize, der: Vec<u8>| {
        let mut ders = ders.clone();
        ders[place] = der;
        ders
    };
    assert!(shape(&with(2, extra[0].clone())).contains("issued none of the others"));
    assert!(chain(&with(2, ders[3].clone())).is_err());
    assert!(shape(&with(2, [&ders[2][..], &[0]].concat())).contains("something follows it"));
    assert!(shape(&with(2, vec![0x30, 0])).contains("malformed"));
    assert!(shape(&with(2, vec![0; 17 << 10])).contains("larger than"));
}

fn another_chain() -> Vec<Vec<u8>> {
    Gpu::default().certificates()
}

#[test]
fn g2_a_root_that_is_not_pinned_for_devices_is_refused() {
    assert!(Node::default().judge().is_ok());
    let other = Node::default();
    let unpinned = node(|node| node.given = false);
    let unpinned = Node { pins: Some(other.pins()), ..unpinned }.judge().unwrap_err();
    assert!(matches!(unpinned, GpuRefused::G2Root { .. }), "{unpinned}");
    assert!(!unpinned.is_signed_for_this_request());
    // Pinned for manifests is not pinned for devices.
    let purpose = node(|node| {
        node.given = false;
        let pins = strongroom_hardware::nvidia::pins(&[], &[&node.gpu.chain]);
        node.pins = Some(Pins::parse(pins.as_bytes()).unwrap());
    });
    assert!(matches!(purpose.judge().unwrap_err(), GpuRefused::G2Root { .. }));
}

#[test]
fn g2_the_chain_is_verified_along_its_path() {
    type Change = fn(&mut Node);

    assert!(Node::default().judge().is_ok());
    let changes: [(&str, Change); 9] = [
        ("allows 1 authorities below it, and has 2", |node| certificate(node, 1).path_length = Some(1)),
        ("of an authority", |node| certificate(node, 4).ca = true),
        ("basicConstraints does not let it sign certificates", |node| certificate(node, 3).ca = false),
        ("keyUsage does not let it sign certificates", |node| {
            certificate(node, 2).usages = vec![KeyUsagePurpose::CrlSign];
        }),
        ("keyUsage does not let it sign certificates", |node| certificate(node, 3).usages = vec![]),
        ("of an authority", |node| certificate(node, 4).usages.push(KeyUsagePurpose::KeyCertSign)),
        ("does not let it sign documents", |node| certificate(node, 4).usages = vec![KeyUsagePurpose::KeyAgreement]),
        ("critical extension 1.3.6.1.4.1.99", |node| {
            certificate(node, 3).extensions = vec![(vec![1, 3, 6, 1, 4, 1, 99], true, vec![5, 0])];
        }),
        ("keyUsage does not let it sign certificates", |node| {
            certificate(node, 0).usages = vec![KeyUsagePurpose::DigitalSignature];
        }),
    ];
    for (expected, change) in changes {
        match refused(|node| {
            node.given = false;
            node.status = None;
            change(node);
        }) {
            GpuRefused::G2Path { problem } | GpuRefused::G2Chain { problem } => {
                assert!(problem.contains(expected), "{expected}: {problem}");
            }
            other => panic!("{expected}: {other}"),
        }
    }
    // A name is not a signature: a chain whose second certificate another root of the same name signed.
    let node = Node::default();
    let (report, mut ders, others) = (node.gpu.report_bytes(), node.gpu.certificates(), Gpu::default().certificates());
    ders[3].clone_from(&others[3]);
    let evidence = GpuEvidence { report: &report, certificates: ders.iter().map(Vec::as_slice).collect() };
    let forged = node.with(|_, expect| verify(&evidence, expect)).unwrap().unwrap_err();
    assert!(matches!(forged, GpuRefused::G2Path { .. }), "{forged}");
}

#[test]
fn g2_every_certificate_is_valid_at_the_time() {
    assert!(Node::default().judge().is_ok());
    for place in 0..5 {
        let expired = refused(|node| (node.given, certificate(node, place).not_after) = (false, (2026, 11, 21)));
        assert!(matches!(expired, GpuRefused::G2Validity { .. }), "{place}: {expired}");
        let early = refused(|node| (node.given, certificate(node, place).not_before) = (false, (2026, 11, 23)));
        assert!(matches!(early, GpuRefused::G2Validity { .. }), "{place}: {early}");
    }
}

#[test]
fn g2_the_signature_is_by_the_reporting_key_over_all_before_it() {
    assert!(Node::default().judge().is_ok());
    let other = refused(|node| node.gpu.report.signature = Some(Key::default().sign(&node.gpu.report.signed())));
    assert_eq!(other, GpuRefused::G2Signature);
    assert!(!other.is_signed_for_this_request());
    let zero = refused(|node| node.gpu.report.signature = Some(vec![0; 96]));
    assert_eq!(zero, GpuRefused::G2Signature);
    // By the device's identity key, which may not sign reports.
    let above = refused(|node| {
        let signed = node.gpu.report.signed();
        node.gpu.report.signature = Some(certificate(node, 3).key.sign(&signed));
    });
    assert_eq!(above, GpuRefused::G2Signature);
    // One bit of every byte that is signed.
    let node = Node::default();
    let (report, ders) = (node.gpu.report_bytes(), node.gpu.certificates());
    node.with(|_, expect| {
        let free = GpuExpectation { nonce: None, ..*expect };
        for at in (0..report.len()).step_by(7) {
            let mut report = report.clone();
            report[at] ^= 0x10;
            let evidence = GpuEvidence { report: &report, certificates: ders.iter().map(Vec::as_slice).collect() };
            assert!(verify(&evidence, expect).is_err(), "byte {at}");
            assert!(!examine(&evidence, &free).report.holds(), "byte {at}");
        }
    })
    .unwrap();
}

#[test]
fn g2_the_certificates_firmware_is_the_reports() {
    for form in [Form::Composite, Form::TcbInfo, Form::Multi] {
        let claims = node(|node| node.gpu.dice.form = form).judge().unwrap();
        assert_eq!(claims.fwid, "f5".repeat(48));
        let other = refused(|node| (node.gpu.dice.form, node.gpu.dice.fwid) = (form, vec![0xf6; 48]));
        assert!(matches!(other, GpuRefused::G2Fwid { .. }), "{other}");
        assert!(other.is_signed_for_this_request());
        let short = refused(|node| (node.gpu.dice.form, node.gpu.dice.fwid) = (form, vec![0xf5; 47]));
        assert_eq!(short, GpuRefused::G2NoFwid);
        let sha256 = vec![2, 16, 840, 1, 101, 3, 4, 2, 1];
        let algorithm = refused(|node| (node.gpu.dice.form, node.gpu.dice.algorithm) = (form, sha256));
        assert_eq!(algorithm, GpuRefused::G2NoFwid);
    }
    assert_eq!(refused(|node| node.gpu.dice.form = Form::Absent), GpuRefused::G2NoFwid);
    assert_eq!(refused(|node| (node.gpu.dice.form, node.gpu.dice.copies) = (Form::TcbInfo, 2)), GpuRefused::G2NoFwid);
    // The extension names the device whose key certified the reporting key.
    let device = refused(|node| node.gpu.dice.device = Some(Key::default().spki()));
    assert_eq!(device, GpuRefused::G2Device);
}
