//! G4 and G5: devices, mode, DEVTOOLS, pinned manifests, revocation.

use super::*;
use strongroom_hardware::nvidia::{Certificate, Key, Responder};

fn claims(device: &str, nonce: &str) -> GpuClaims {
    GpuClaims { device: device.to_owned(), nonce: nonce.to_owned(), ..Node::default().judge().unwrap() }
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

#[test]
fn g4_exactly_the_devices_of_the_record_each_once_for_one_request() {
    let [a, b, c] = ["a1", "b2", "c3"].map(|device| claims(device, "07"));
    let counted = devices(&[b.clone(), a.clone()], &ids(&["a1", "b2"])).unwrap();
    assert_eq!((counted.ids, counted.nonce.as_str()), (ids(&["a1", "b2"]), "07"));
    let fewer = devices(std::slice::from_ref(&a), &ids(&["a1", "b2"])).unwrap_err();
    assert_eq!(fewer, GpuRefused::G4Missing { missing: vec!["b2".to_owned()], expected: 2 });
    let more = devices(&[a.clone(), b.clone(), c], &ids(&["a1", "b2"])).unwrap_err();
    assert_eq!(more, GpuRefused::G4Unknown { device: "c3".to_owned() });
    // One GPU that answers twice is not two.
    let twice = devices(&[a.clone(), a.clone()], &ids(&["a1", "b2"])).unwrap_err();
    assert_eq!(twice, GpuRefused::G4Twice { device: "a1".to_owned() });
    let other = devices(&[a, claims("b2", "08")], &ids(&["a1", "b2"])).unwrap_err();
    assert_eq!(other, GpuRefused::G4Nonce { device: "b2".to_owned() });
    assert_eq!(devices(&[], &BTreeSet::new()).unwrap_err(), GpuRefused::G4None);
    assert!(devices(&[], &ids(&["a1"])).is_err());
    assert!(other.is_signed_for_this_request());
}

#[test]
fn g4_a_device_that_is_not_in_the_record_is_refused() {
    assert!(Node::default().judge().is_ok());
    node(|node| node.record = None).judge().unwrap();
    let unknown = refused(|node| node.record = Some(ids(&["414305"])));
    assert_eq!(unknown, GpuRefused::G4Unknown { device: DEVICE.to_owned() });
}

#[test]
fn g5_confidential_mode_is_on_and_accepted() {
    let mode = |data: &[u8]| {
        let data = data.to_vec();
        move |node: &mut Node| node.gpu.report.set(36, Some(&data))
    };
    assert_eq!(node(mode(&[0])).judge().unwrap().mode, Some(GpuMode::Single));
    assert_eq!(node(mode(&[1])).judge().unwrap().mode, Some(GpuMode::Multi));
    let clear = refused(mode(&[2]));
    assert!(matches!(clear, GpuRefused::G5Mode { got: GpuMode::ProtectedPcie, .. }), "{clear}");
    assert!(clear.is_signed_for_this_request());
    // The older field says it too.
    let clear = refused(|node| node.gpu.report.set(21, Some(&[0xaa])));
    assert!(matches!(clear, GpuRefused::G5Mode { got: GpuMode::ProtectedPcie, .. }), "{clear}");
    let accepted = |node: &mut Node| {
        node.requirements.modes = [GpuMode::ProtectedPcie].into();
        node.gpu.report.set(36, Some(&[2]));
    };
    node(accepted).judge().unwrap();
    let single = refused(|node| node.requirements.modes = [GpuMode::Multi].into());
    assert!(matches!(single, GpuRefused::G5Mode { got: GpuMode::Single, .. }), "{single}");
    // An old driver does not say: then the measured guest must.
    let old = |node: &mut Node| node.gpu.report.set(36, None);
    assert_eq!(node(old).judge().unwrap().mode, None);
    let silent = refused(|node| {
        old(node);
        node.guest = None;
        node.requirements.not_devtools = DevtoolsWord::Measurements;
    });
    assert!(matches!(silent, GpuRefused::G5Unknown { .. }), "{silent}");
    let off = refused(|node| node.guest = Some(GuestWord { confidential: false, devtools: false }));
    assert_eq!(off, GpuRefused::G5Off);
}

#[test]
fn g5_devtools_is_never_off_by_assumption() {
    assert_eq!(Node::default().judge().unwrap().devtools_off, Some(DevtoolsWord::Guest));
    let on = refused(|node| node.guest = Some(GuestWord { confidential: true, devtools: true }));
    assert_eq!(on, GpuRefused::G5Devtools);
    let silent = refused(|node| node.guest = None);
    assert!(matches!(&silent, GpuRefused::G5Unknown { what, .. } if what.contains("DEVTOOLS")), "{silent}");
    // Whoever rests on measurements must have compared them.
    let by_measurements = |node: &mut Node| {
        node.guest = None;
        node.requirements.not_devtools = DevtoolsWord::Measurements;
    };
    assert_eq!(node(by_measurements).judge().unwrap().devtools_off, Some(DevtoolsWord::Measurements));
    let unmeasured = refused(|node| {
        by_measurements(node);
        (node.given, node.requirements.manifests) = (false, false);
    });
    assert!(matches!(unmeasured, GpuRefused::G5Unknown { .. }), "{unmeasured}");
}

#[test]
fn g5_manifests_are_pinned_by_id() {
    let both = ["NV_GPU_DRIVER_GH100_550.90.07", "NV_GPU_VBIOS_1010_0200_882_96009F0001"];
    node(|node| node.requirements.manifest_ids = Some(ids(&both))).judge().unwrap();
    for (kept, missing) in [(0, RimKind::Vbios), (1, RimKind::Driver)] {
        let refused = refused(|node| node.requirements.manifest_ids = Some(ids(&both[kept..=kept])));
        assert!(matches!(refused, GpuRefused::G5ManifestId { rim, .. } if rim == missing), "{refused}");
    }
}

#[test]
fn g5_revoked_certificates_are_refused() {
    assert!(Node::default().judge().unwrap().revocation_checked);
    let revoked = |serial: &[u8]| {
        let status = Status { revoked: vec![serial.to_vec()], ..Status::default() };
        refused(|node| node.status = Some(status))
    };
    for (serial, whose) in [
        (2, "the device"),
        (3, "the device"),
        (4, "the device"),
        (0x12, "the driver manifest's signer"),
        (0x13, "the driver manifest's signer"),
        (0x14, "the driver manifest's signer"),
    ] {
        let refused = revoked(&[0x41, 0x43, serial]);
        assert_eq!(refused, GpuRefused::G5Revoked { of: whose, serial: hex::encode([0x41, 0x43, serial]) });
    }
    // The device replaces its reporting key by itself; nobody revokes that.
    node(|node| node.status = Some(Status { revoked: vec![vec![0x41, 0x43, 5]], ..Status::default() }))
        .judge()
        .unwrap();
}

#[test]
fn g5_lists_cover_are_fresh_and_are_signed_by_the_issuer() {
    let none = refused(|node| node.status = None);
    assert!(matches!(&none, GpuRefused::G5Unknown { what, .. } if what.contains("revoked")), "{none}");
    let free = |node: &mut Node| (node.status, node.requirements.revocation_max_age) = (None, None);
    assert!(!node(free).judge().unwrap().revocation_checked);
    // One list of several is not enough.
    let one = refused(|node| {
        node.crls = vec![Status::default().crl(&node.gpu.chain.certificates[0])];
        node.status = None;
    });
    assert!(matches!(one, GpuRefused::G5Unknown { .. }), "{one}");
    let status =
        |this_update, next_update| Some(Status { this_update, next_update: Some(next_update), ..Status::default() });
    for (what, status) in [
        ("seconds old", status((2026, 11, 14), (2026, 12, 20))),
        ("expired", status((2026, 11, 20), (2026, 11, 21))),
        ("not valid before", status((2026, 11, 23), (2026, 12, 20))),
    ] {
        let refused = refused(|node| node.status = status);
        assert!(matches!(&refused, GpuRefused::G5Revocation { problem, .. } if problem.contains(what)), "{refused}");
    }
    node(|node| {
        node.status = status((2026, 11, 14), (2026, 12, 20));
        node.requirements.revocation_max_age = None;
    })
    .judge()
    .unwrap();
    let namesakes = |node: &Node| {
        let namesake = Certificate { name: node.gpu.chain.certificates[0].name.clone(), ..Certificate::ca("", 9) };
        Status::default().crl(&namesake)
    };
    // The list of a namesake, which names its own key, is passed over, and covers nothing.
    node(|node| node.crls = vec![namesakes(node)]).judge().unwrap();
    let covers = refused(|node| {
        node.crls = node.lists();
        node.crls[0] = namesakes(node);
        node.status = None;
    });
    assert!(matches!(covers, GpuRefused::G5Unknown { .. }), "{covers}");
    let forged = refused(|node| {
        let mut list = Status::default().crl(&node.gpu.chain.certificates[0]);
        *list.last_mut().unwrap() ^= 1;
        node.crls = vec![list];
    });
    assert!(
        matches!(&forged, GpuRefused::G5Revocation { problem, .. } if problem.contains("signature is not by")),
        "{forged}"
    );
    for (bytes, what) in [(vec![0x30, 0], "malformed"), (vec![0; (256 << 10) + 1], "more than the 262144")] {
        let refused = refused(|node| node.crls = vec![bytes]);
        assert!(matches!(&refused, GpuRefused::G5Revocation { problem, .. } if problem.contains(what)), "{refused}");
    }
    // Lists of other families of devices lie in one store with those that are asked for.
    node(|node| {
        let asked_for = node.lists();
        let others = (0..40).map(|at| Status::default().crl(&Certificate::ca(&format!("another family's {at}"), 9)));
        node.crls = others.chain(asked_for).collect();
        node.status = None;
    })
    .judge()
    .unwrap();
    let many = refused(|node| node.crls = vec![vec![]; 17]);
    assert!(matches!(&many, GpuRefused::G5Revocation { problem, .. } if problem.contains("more than")), "{many}");
}

/// Lists of all issuers but the provisioning CA, whose answer on the device is given instead.
fn answered(node: &mut Node, status: &Status, responder: &Responder<'_>) {
    let device = &node.gpu.chain.certificates;
    let signer = &node.driver.signer.certificates;
    let listed = device.iter().take(2).chain(signer.iter().take(3));
    node.crls = listed.map(|issuer| Status::default().crl(issuer)).collect();
    node.ocsp = vec![status.ocsp(&device[3], &device[2], responder)];
    node.status = None;
}

/// A store has an answer of each device of a site.
#[test]
fn answers_of_other_devices_count_towards_no_bound() {
    let honest = Status::default();
    let with = |of: &[u8]| {
        node(|node| {
            answered(node, &honest, &Responder::Issuer);
            for other in 0..40 {
                let chain = node.gpu.chain.another_device(&[of, &[other]].concat());
                let (device, issuer) = (&chain.certificates[3], &chain.certificates[2]);
                node.ocsp.push(honest.ocsp(device, issuer, &Responder::Issuer));
            }
        })
        .judge()
    };
    assert!(with(&[0x42, 0x50]).unwrap().revocation_checked);
    // Of this device there are few.
    let mine = node(|_| {}).gpu.chain.certificates[3].serial.clone();
    let many = with(&mine).unwrap_err().to_string();
    assert!(many.contains("more than 16 were given"), "{many}");
}

#[test]
fn g5_stored_answers_count_like_lists() {
    let honest = Status::default();
    let stranger = Key::default();
    let responder = Certificate::leaf("Stand-in OCSP", 0x21);
    let late = Certificate { not_after: (2026, 11, 1), ..Certificate::leaf("Stand-in OCSP", 0x22) };
    node(|node| answered(node, &honest, &Responder::Issuer)).judge().unwrap();
    let named = Responder::Named { certificate: &responder, purpose: true };
    assert!(node(|node| answered(node, &honest, &named)).judge().unwrap().revocation_checked);
    let open = Status { next_update: None, ..honest.clone() };
    node(|node| answered(node, &open, &named)).judge().unwrap();
    let kept = node(|node| answered(node, &honest, &named));
    keep("endorsement", "ocsp", &kept.ocsp[0]);
    keep("endorsement", "crl", &kept.crls[0]);
    // Neither is read in part, nor with something behind it; flipped bits are for the signature, and nothing panics.
    let form = |crls: &[&[u8]], ocsp: &[&[u8]]| Revocation { crls, ocsp }.check_form();
    for (of, bytes) in [("list", &kept.crls[0]), ("answer", &kept.ocsp[0])] {
        let read = |bytes: &[u8]| if of == "list" { form(&[bytes], &[]) } else { form(&[], &[bytes]) };
        read(bytes).unwrap();
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{of}, {end} bytes");
            let mut flipped = bytes.clone();
            flipped[end] ^= 1 << (end % 8);
            let _ = read(&flipped);
        }
        assert!(read(&[bytes, &[0][..]].concat()).is_err(), "{of}");
    }

    let serial = vec![0x41, 0x43, 4];
    let revoked = Status { revoked: vec![serial.clone()], ..honest.clone() };
    let refusal = refused(|node| answered(node, &revoked, &named));
    assert_eq!(refusal, GpuRefused::G5Revoked { of: "the device", serial: hex::encode(&serial) });
    let unknown = Status { unknown: true, ..honest.clone() };
    let old = Status { this_update: (2026, 11, 14), ..honest.clone() };
    let purpose = Responder::Named { certificate: &responder, purpose: false };
    let expired = Responder::Named { certificate: &late, purpose: true };
    for (what, status, responder) in [
        ("not known", &unknown, &named),
        ("seconds old", &old, &named),
        ("not signed", &honest, &purpose),
        ("not signed", &honest, &expired),
        ("not signed", &honest, &Responder::Stranger(&stranger)),
    ] {
        let refused = refused(|node| answered(node, status, responder));
        assert!(
            matches!(&refused, GpuRefused::G5Revocation { problem, .. } if problem.contains(what)),
            "{what}: {refused}"
        );
    }
    // An answer on another certificate covers nothing; one that cannot be read is refused.
    let other = refused(|node| {
        answered(node, &honest, &Responder::Issuer);
        let device = &node.gpu.chain.certificates;
        node.ocsp = vec![honest.ocsp(&device[4], &device[2], &Responder::Issuer)];
    });
    assert!(matches!(other, GpuRefused::G5Unknown { .. }), "{other}");
    let cut = refused(|node| {
        answered(node, &honest, &Responder::Issuer);
        node.ocsp[0].pop();
    });
    assert!(matches!(&cut, GpuRefused::G5Revocation { problem, .. } if problem.contains("no successful")), "{cut}");
}

#[test]
fn g5_requirements_are_strict_by_default() {
    let read: GpuRequirements = serde_json::from_str("{}").unwrap();
    assert_eq!(read, GpuRequirements::default());
    assert!(read.manifests && read.revocation_max_age == Some(604_800) && read.not_devtools == DevtoolsWord::Guest);
    assert_eq!(read.modes, [GpuMode::Single, GpuMode::Multi].into());
    assert!(serde_json::from_str::<GpuRequirements>(r#"{"more":1}"#).is_err());
    let changed: GpuRequirements =
        serde_json::from_str(r#"{"modes":["protected-pcie"],"revocation_max_age":null,"not_devtools":"measurements"}"#)
            .unwrap();
    assert_eq!(changed.revocation_max_age, None);
}
