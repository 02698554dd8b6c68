//! G3: manifests, their signatures, golden values.

use super::*;
use std::{sync::Arc, time::Instant};
use strongroom_hardware::nvidia::{Chain, Key, Resource, Signature};

/// Verifies the driver's manifest of a node with one thing changed in it, and then in its text.
fn rim_with(
    change: impl FnOnce(&mut Manifest),
    edit: impl FnOnce(String) -> String,
) -> Result<VerifiedRim, GpuRefused> {
    let node = node(|node| change(&mut node.driver));
    let text = edit(node.driver.text());
    rim::verify(&node.driver.id, text.as_bytes(), &node.pins(), AT)
}

fn rim_of(change: impl FnOnce(&mut Manifest)) -> Result<VerifiedRim, GpuRefused> {
    rim_with(change, |text| text)
}

fn edited(edit: impl FnOnce(String) -> String) -> Result<VerifiedRim, GpuRefused> {
    rim_with(|_| {}, edit)
}

#[test]
fn g3_a_signed_manifest_is_read() {
    let rim = rim_of(|_| {}).unwrap();
    assert_eq!((rim.kind(), rim.version(), rim.golden().len()), (RimKind::Driver, "550.90.07", 64));
    assert_eq!(rim.golden().values().filter(|golden| golden.active).count(), 19);
    // What canonical form does not see, no signature covers: the short form of an empty element, white space in tags,
    // the order of attributes, the other quotes, an XML declaration.
    for (from, to) in [
        ("\"></ns0:Resource>", "\"/>"),
        (
            "<ns0:Meta colloquialVersion=\"550.90.07\" product=\"GH100\">",
            "<ns0:Meta  product='GH100'\n colloquialVersion='550.90.07' >",
        ),
        ("<SoftwareIdentity ", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<SoftwareIdentity "),
        ("<SoftwareIdentity ", "\u{feff}<SoftwareIdentity "),
        ("\n", "\r\n"),
    ] {
        let same = edited(|text| {
            assert!(text.contains(from));
            text.replace(from, to)
        });
        assert_eq!(same.unwrap().golden(), rim.golden(), "{to}");
    }
}

#[test]
fn g3_a_changed_manifest_is_refused() {
    assert!(edited(|text| text).is_ok());
    let changes = [
        ("False", "True"),
        ("550.90.07", "550.90.08"),
        ("index=\"7\"", "index=\"77\""),
        ("    <ns0:Payload>", "   <ns0:Payload>"),
        ("GH100", "GH200"),
    ];
    for (from, to) in changes {
        let refused = edited(|text| text.replacen(from, to, 1)).unwrap_err();
        assert!(matches!(refused, GpuRefused::G3Digest { .. }), "{to}: {refused}");
    }
    let digest = rim_of(|manifest| manifest.signature.digest = Some(vec![1; 48])).unwrap_err();
    assert!(matches!(digest, GpuRefused::G3Digest { .. }), "{digest}");
    // A digest put in after signing is no longer the signed one.
    let forged = edited(|text| {
        let (head, rest) = text.split_once("<ds:DigestValue>").unwrap();
        format!("{head}<ds:DigestValue>{}{}", if rest.starts_with('A') { "B" } else { "A" }, &rest[1..])
    });
    assert_eq!(forged.unwrap_err(), GpuRefused::G3Signature { rim: RimKind::Driver });
    let value = rim_of(|manifest| manifest.signature.value = Some(Key::default().sign(b"another")));
    assert_eq!(value.unwrap_err(), GpuRefused::G3Signature { rim: RimKind::Driver });
}

#[test]
fn g3_every_byte_of_a_manifest_matters_or_is_outside_of_it() {
    let node = Node::default();
    let (text, pins) = (node.driver.text(), node.pins());
    let honest = rim::verify(&node.driver.id, text.as_bytes(), &pins, AT).unwrap();
    for at in (0..text.len()).step_by(61) {
        let mut bytes = text.clone().into_bytes();
        bytes[at] ^= 1;
        // White space in tags and in base64 is not covered; whatever is accepted says the same.
        if let Ok(rim) = rim::verify(&node.driver.id, &bytes, &pins, AT) {
            assert_eq!(rim, honest, "byte {at}");
        }
    }
}

#[test]
fn g3_a_signature_of_any_other_shape_is_refused() {
    type Change = fn(&mut Signature);

    assert!(rim_of(|_| {}).is_ok());
    let changes: [Change; 14] = [
        |signature| signature.canonicalization = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315".into(),
        |signature| signature.method = "http://www.w3.org/2000/09/xmldsig#hmac-sha1".into(),
        |signature| signature.digest_method = "http://www.w3.org/2001/04/xmlenc#sha256".into(),
        |signature| signature.reference = " URI=\"#payload\"".into(),
        |signature| signature.reference = " Id=\"r\" URI=\"\"".into(),
        |signature| signature.reference = String::new(),
        |signature| signature.transforms.truncate(1),
        |signature| signature.transforms.reverse(),
        |signature| signature.transforms.push("http://www.w3.org/TR/1999/REC-xslt-19991116".into()),
        |signature| signature.transforms.clear(),
        |signature| signature.more_info = "<ds:Reference URI=\"\"></ds:Reference>".into(),
        |signature| signature.more = "<ds:Object></ds:Object>".into(),
        |signature| signature.digest = Some(vec![0; 47]),
        |signature| signature.more = "text".into(),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let refused = rim_of(|manifest| change(&mut manifest.signature)).map(|_| place).unwrap_err();
        assert!(matches!(refused, GpuRefused::G3Shape { .. }), "{place}: {refused}");
    }
    let shapes: [fn(String) -> String; 7] = [
        |text| text.replace("<ds:KeyInfo>", "<ds:KeyInfo Id=\"k\">"),
        |text| text.replace("<ds:SignatureValue>", "<ds:SignatureValue>!"),
        |text| text.replace("<ds:SignatureValue>", "<ds:SignatureValue>-"),
        |text| text.replace("<ds:X509Data>", "<ds:X509Data><ds:X509CRL></ds:X509CRL>"),
        |text| text.replace("ds:Signature ", "ds:Signature Id=\"s\" "),
        |text| text.replace("xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"", "xmlns:ds=\"urn:x\""),
        |text| text.replace("ds:X509Certificate>", "ds:PGPData>"),
    ];
    for (place, edit) in shapes.into_iter().enumerate() {
        let refused = edited(edit).map(|_| place).unwrap_err();
        assert!(matches!(refused, GpuRefused::G3Shape { .. }), "{place}: {refused}");
    }
}

#[test]
fn g3_signatures_that_were_wrapped_moved_or_doubled_are_refused() {
    let node = Node::default();
    let (text, pins) = (node.driver.text(), node.pins());
    let (begin, end) = (text.find("<ds:Signature ").unwrap(), text.find("</SoftwareIdentity>").unwrap());
    let signature = text[begin..end].to_owned();
    let judge = |text: &str| rim::verify(&node.driver.id, text.as_bytes(), &pins, AT);
    assert!(judge(&text).is_ok());
    let bare = text.replace(&signature, "");
    let evil = bare.replace("True", "False").replace("index=\"1\"", "index=\"1\" ");
    let inside =
        |document: &str, what: &str| document.replace("</SoftwareIdentity>", &format!("{what}</SoftwareIdentity>"));
    let wrappings = [
        ("none", bare.clone()),
        ("twice", inside(&text, &signature)),
        ("in the payload", bare.replace("    </ns0:Payload>", &format!("{signature}    </ns0:Payload>"))),
        ("the signed document inside another", inside(&evil, &text)),
        (
            "the signed document in the signature of another",
            inside(&evil, &signature.replace("</ds:KeyInfo>", &format!("</ds:KeyInfo><ds:Object>{bare}</ds:Object>"))),
        ),
        ("the signature of another document", inside(&evil, &signature)),
        ("another root", format!("<x>{text}</x>")),
        ("another namespace", text.replace("http://standards.iso.org/iso/19770/-2/2015/schema.xsd", "urn:x")),
        ("two payloads", text.replace("    <ns0:Payload>", "    <ns0:Payload></ns0:Payload><ns0:Payload>")),
    ];
    for (name, text) in wrappings {
        let refused = judge(&text).map(|_| name).unwrap_err();
        assert!(!matches!(refused, GpuRefused::G3Version { .. }), "{name}: {refused}");
    }
}

#[test]
fn g3_the_signers_chain_ends_at_the_pinned_root_of_manifests() {
    assert!(rim_of(|_| {}).is_ok());
    let other = Node::default();
    let unpinned = rim::verify(&other.driver.id, other.driver.text().as_bytes(), &Node::default().pins(), AT);
    assert!(matches!(unpinned.unwrap_err(), GpuRefused::G3Root { .. }));
    // A device's root is none of manifests.
    let pins = strongroom_hardware::nvidia::pins(&[&other.driver.signer], &[]);
    let pins = Pins::parse(pins.as_bytes()).unwrap();
    let purpose = rim::verify(&other.driver.id, other.driver.text().as_bytes(), &pins, AT);
    assert!(matches!(purpose.unwrap_err(), GpuRefused::G3Root { .. }));
    let expired = rim_of(|manifest| {
        let mut chain = Chain::of_signer();
        chain.certificates[3].not_after = (2026, 11, 1);
        manifest.signer = Arc::new(chain);
    });
    assert!(matches!(expired.unwrap_err(), GpuRefused::G3Validity { .. }));
    let ca = rim_of(|manifest| {
        let mut chain = Chain::of_signer();
        chain.certificates[3].ca = true;
        manifest.signer = Arc::new(chain);
    });
    assert!(matches!(ca.unwrap_err(), GpuRefused::G3Chain { .. }));
    let missing = rim_of(|manifest| {
        let mut ders = manifest.signer.ders();
        ders.remove(1);
        manifest.signature.certificates = Some(ders);
    });
    assert!(matches!(missing.unwrap_err(), GpuRefused::G3Chain { .. }));
    let bomb = rim_of(|manifest| manifest.signature.certificates = Some(vec![vec![0; 8]; 9]));
    assert!(matches!(bomb.unwrap_err(), GpuRefused::G3Shape { .. }));
}

#[test]
fn g3_a_kept_manifest_ends_with_its_signers_chain() {
    let node = node(|node| {
        // The device's chain holds for longer.
        node.gpu.chain.certificates.iter_mut().for_each(|certificate| certificate.not_after = (2060, 1, 1));
    });
    let pins = node.pins();
    let rim = |manifest: &Manifest| rim::verify(&manifest.id, manifest.text().as_bytes(), &pins, AT).unwrap();
    let (driver, vbios) = (rim(&node.driver), rim(&node.vbios));
    let end = u64::try_from(driver.validity().1).unwrap();
    node.with(|evidence, expect| {
        let requirements = GpuRequirements { revocation_max_age: None, ..GpuRequirements::default() };
        let kept = GpuExpectation {
            driver_rim: Some(&driver),
            vbios_rim: Some(&vbios),
            requirements: &requirements,
            ..*expect
        };
        verify(evidence, &kept).unwrap();
        verify(evidence, &GpuExpectation { at: end, revocation: Revocation::default(), ..kept }).unwrap();
        let later = GpuExpectation { at: end + 1, revocation: Revocation::default(), ..kept };
        assert!(matches!(verify(evidence, &later).unwrap_err(), GpuRefused::G3Validity { .. }));
    })
    .unwrap();
}

#[test]
fn g3_golden_values_are_read_strictly() {
    type Change = fn(&mut Resource);

    assert!(rim_of(|_| {}).is_ok());
    let changes: [Change; 13] = [
        |resource| resource.index = "8".into(),
        |resource| resource.index = "007".into(),
        |resource| resource.index = "255".into(),
        |resource| resource.index = "x".into(),
        |resource| resource.active = "true".into(),
        |resource| resource.kind = "File".into(),
        |resource| resource.size = "32".into(),
        |resource| resource.size = "0".into(),
        |resource| resource.alternatives = "1".into(),
        |resource| resource.alternatives = "65".into(),
        |resource| resource.hashes[1] = "0g".repeat(48),
        |resource| resource.hashes[1].truncate(95),
        |resource| resource.hash_name = "ns2:Hash1".into(),
    ];
    for (place, change) in changes.into_iter().enumerate() {
        let refused = rim_of(|manifest| change(manifest.resource(7))).map(|_| place).unwrap_err();
        assert!(matches!(refused, GpuRefused::G3Golden { .. }), "{place}: {refused}");
    }
    // Values in no namespace, or in another, are not values.
    for name in ["Hash", "ns0:Hash"] {
        let refused = rim_of(|manifest| manifest.resource(7).hash_name = name.into()).unwrap_err();
        assert!(matches!(refused, GpuRefused::G3Golden { .. }), "{name}: {refused}");
    }
    let other = rim_of(|manifest| manifest.more = "<ns0:File></ns0:File>".into()).unwrap_err();
    assert!(matches!(other, GpuRefused::G3Golden { .. }), "{other}");
    let text = rim_of(|manifest| manifest.more = "text".into()).unwrap_err();
    assert!(matches!(text, GpuRefused::G3Malformed { .. }), "{text}");
    let empty = rim_of(|manifest| manifest.resources.iter_mut().for_each(|resource| resource.active = "False".into()));
    assert_eq!(empty.unwrap_err(), GpuRefused::G3Empty { rim: RimKind::Driver });
    let tag = rim_of(|manifest| manifest.tag.clear()).unwrap_err();
    assert!(matches!(tag, GpuRefused::G3Malformed { .. }), "{tag}");
}

#[test]
fn g3_the_version_of_a_manifest_is_its_ids() {
    assert!(rim_of(|_| {}).is_ok());
    let version = rim_of(|manifest| manifest.version = "550.90.08".into()).unwrap_err();
    assert!(matches!(version, GpuRefused::G3Version { .. }), "{version}");
    let id = rim_of(|manifest| manifest.id = "NV_GPU_OTHER_550.90.07".into()).unwrap_err();
    assert!(matches!(id, GpuRefused::G3Malformed { .. }), "{id}");
    let vbios = node(|node| node.vbios.version = "96.00.9F.00.02".into()).judge().unwrap_err();
    assert!(matches!(vbios, GpuRefused::G3Version { rim: RimKind::Vbios, .. }), "{vbios}");
}

#[test]
fn g3_the_manifests_are_those_of_the_installed_versions() {
    assert!(Node::default().judge().unwrap().manifests.is_some());
    let driver = refused(|node| node.gpu.report.set(3, Some(b"560.10\0")));
    assert!(matches!(driver, GpuRefused::G3Id { rim: RimKind::Driver, .. }), "{driver}");
    assert!(driver.is_signed_for_this_request());
    for (kind, data) in [(6, &[0, 0x9f, 0, 0x96, 2, 0, 0, 0][..]), (15, b"883\0"), (17, b"1011\0"), (18, b"0201\0")] {
        let vbios = refused(|node| node.gpu.report.set(kind, Some(data)));
        assert!(matches!(vbios, GpuRefused::G3Id { rim: RimKind::Vbios, .. }), "{vbios}");
    }
    let chip = refused(|node| node.gpu.report.set(35, Some(b"GB100")));
    assert!(matches!(chip, GpuRefused::G3Id { rim: RimKind::Driver, .. }), "{chip}");
    let missing = refused(|node| node.given = false);
    assert!(matches!(missing, GpuRefused::G3Missing { .. }), "{missing}");
    let free = node(|node| (node.given, node.requirements.manifests) = (false, false)).judge().unwrap();
    assert!(free.manifests.is_none());
}

#[test]
fn g3_every_golden_value_is_compared() {
    assert!(Node::default().judge().is_ok());
    for index in (0..=12).chain(22..=34).chain(36..=40) {
        let changed = refused(|node| node.gpu.report.measurements[usize::from(index)].value[0] ^= 1);
        assert!(matches!(&changed, GpuRefused::G3Measurement { index: named, .. } if *named == index), "{changed}");
        assert!(changed.is_signed_for_this_request());
    }
    // What no manifest has a value for is a claim, and nothing more.
    node(|node| node.gpu.report.measurements[50].value[0] ^= 1).judge().unwrap();
    // Another alternative, an index that is missing, a value of another size, one that is no longer active.
    node(|node| node.gpu.report.measurements[30].value = vec![0; 48]).judge().unwrap();
    let gone = refused(|node| drop(node.gpu.report.measurements.remove(40)));
    assert!(matches!(&gone, GpuRefused::G3Measurement { index: 40, got, .. } if got.is_empty()), "{gone}");
    let shorter = refused(|node| node.gpu.report.measurements[40].value.truncate(32));
    assert!(matches!(shorter, GpuRefused::G3Measurement { index: 40, .. }), "{shorter}");
    node(|node| {
        node.driver.resource(40).active = "False".into();
        node.gpu.report.measurements[40].value[0] ^= 1;
    })
    .judge()
    .unwrap();
    let conflict = refused(|node| node.vbios.resource(30).active = "True".into());
    assert_eq!(conflict, GpuRefused::G3Conflict { index: 30 });
}

#[test]
fn g3_the_decoders_measurement_counts_while_it_is_on() {
    let off = |node: &mut Node| node.gpu.report.measurements[35].value[0] ^= 1;
    node(off).judge().unwrap();
    for on in [Some(&[0xaa_u8][..]), None] {
        let counted = refused(|node| {
            node.gpu.report.set(11, on);
            off(node);
        });
        assert!(matches!(counted, GpuRefused::G3Measurement { index: 35, .. }), "{counted}");
    }
}

#[test]
fn g3_bombs_are_refused_before_they_are_parsed() {
    let id = "NV_GPU_DRIVER_GH100_1";
    let laughs = format!(
        "<!DOCTYPE x [<!ENTITY a0 \"ha\">{}]><x>&a9;</x>",
        (1..10).fold(String::new(), |text, at| format!(
            "{text}<!ENTITY a{at} \"{}\">",
            format!("&a{};", at - 1).repeat(10)
        ))
    );
    let swid = "<SoftwareIdentity xmlns=\"http://standards.iso.org/iso/19770/-2/2015/schema.xsd\"";
    let attributes: String = (0..20_000).fold(String::new(), |text, at| text + &format!(" a{at}=\"\""));
    let namespaces: String = (0..10_000).fold(String::new(), |text, at| text + &format!(" xmlns:a{at}=\"u\""));
    let bombs = [
        ("laughs", laughs),
        ("external", "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><x/>".to_owned()),
        ("comment", format!("{swid}><!-- --></SoftwareIdentity>")),
        ("cdata", format!("{swid}><![CDATA[x]]></SoftwareIdentity>")),
        ("instruction", format!("{swid}><?x y?></SoftwareIdentity>")),
        ("character", format!("{swid}>&#65;</SoftwareIdentity>")),
        ("deep", "<a>".repeat(100_000)),
        ("unbalanced", "</a>".repeat(3)),
        ("wide", format!("{swid}>{}</SoftwareIdentity>", "<a/>".repeat(100_000))),
        ("attributes", format!("{swid}{attributes}/>")),
        ("namespaces", format!("{swid}{namespaces}/>")),
        ("namespaces over elements", format!("{swid}>{}</SoftwareIdentity>", "<a xmlns:b=\"u\"/>".repeat(40))),
        ("long tag", format!("{swid} a=\"{}\"/>", "x".repeat(400_000))),
        ("no end", format!("{swid} a=\"")),
        ("control", format!("{swid}>\u{1}</SoftwareIdentity>")),
        ("large", " ".repeat((512 << 10) + 1)),
    ];
    assert!(rim_of(|_| {}).is_ok());
    for (name, bomb) in bombs {
        let begin = Instant::now();
        let refused = rim::verify(id, bomb.as_bytes(), Pins::built_in(), AT).unwrap_err();
        assert!(matches!(refused, GpuRefused::G3Bounds { .. }), "{name}: {refused}");
        // Generous: tests are not optimised, and the machine may be busy.
        assert!(begin.elapsed().as_millis() < 1000, "{name}");
    }
    for other in [&b"\xff\xfe"[..], b"", b"<a", b"text", b"<a></b>", b"<a/><b/>"] {
        assert!(rim::verify(id, other, Pins::built_in(), AT).is_err(), "{other:?}");
    }
}
