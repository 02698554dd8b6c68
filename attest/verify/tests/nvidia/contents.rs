//! G1: frame, nonce, measurement blocks, opaque fields.

use super::*;
use strongroom_hardware::nvidia::Block;

#[test]
fn g1_the_frame_is_that_of_the_one_request_that_is_accepted() {
    assert!(Node::default().judge().is_ok());
    for (place, value) in [(0, 0x12), (1, 0x60), (2, 0), (2, 3), (3, 1)] {
        let refused = refused(|node| node.gpu.report.request[place] = value);
        assert!(matches!(refused, GpuRefused::G1Frame { field: "the request's header", .. }), "{refused}");
    }
    for (place, value) in [(0, 0x10), (1, 0xe0), (2, 1), (3, 1)] {
        let refused = refused(|node| node.gpu.report.response[place] = value);
        assert!(matches!(refused, GpuRefused::G1Frame { field: "the response's header", .. }), "{refused}");
    }
    // The device answers from the slot that was asked for.
    node(|node| (node.gpu.report.slot, node.gpu.report.response[3]) = (3, 3)).judge().unwrap();
    let elsewhere = refused(|node| node.gpu.report.slot = 3);
    assert!(matches!(elsewhere, GpuRefused::G1Frame { .. }), "{elsewhere}");
    let no_slot = refused(|node| (node.gpu.report.slot, node.gpu.report.response[3]) = (8, 8));
    assert!(matches!(no_slot, GpuRefused::G1Frame { field: "the request's slot", .. }), "{no_slot}");
}

#[test]
fn g1_sizes_end_where_they_say() {
    let trailing = refused(|node| node.gpu.report.trailing = vec![0]);
    assert_eq!(trailing, GpuRefused::G1Trailing { extra: 1 });
    let limit = strongroom_protocol::limits::GPU_REPORT;
    let long = refused(|node| node.gpu.report.trailing = vec![0; limit]);
    assert!(matches!(long, GpuRefused::G1TooLong { .. }), "{long}");
    let record = refused(|node| node.gpu.report.record_length = Some(0xff_ffff));
    assert_eq!(record, GpuRefused::G1Truncated { field: "the measurement record" });
    let opaque = refused(|node| node.gpu.report.opaque_length = Some(0xffff));
    assert_eq!(opaque, GpuRefused::G1Truncated { field: "the opaque data" });
    let cut = refused(|node| node.gpu.report.signature = Some(vec![0; 95]));
    assert_eq!(cut, GpuRefused::G1Truncated { field: "the signature" });
    let more = refused(|node| node.gpu.report.record_tail = vec![1, 2]);
    assert_eq!(more, GpuRefused::G1Record { extra: 2 });
    assert!(more.is_signed_for_this_request());
    // Every way to cut an honest report off.
    let report = Gpu::default().report_bytes();
    assert!(GpuReport::parse(&report).is_ok());
    for length in 0..report.len() {
        assert!(GpuReport::parse(&report[..length]).is_err(), "{length}");
    }
}

#[test]
fn g1_the_nonce_of_the_request_is_ours() {
    assert_eq!(Node::default().judge().unwrap().nonce, "07".repeat(32));
    let other = refused(|node| node.gpu.report.nonce[31] ^= 1);
    assert!(matches!(other, GpuRefused::G1Nonce { .. }), "{other}");
    assert!(!other.is_signed_for_this_request());
    assert_eq!(refused(|node| node.nonce = None), GpuRefused::G1NoNonce);
    // The device's own nonce is its own affair, but signed.
    node(|node| node.gpu.report.responder_nonce = [0; 32]).judge().unwrap();
}

#[test]
fn g1_each_measurement_stands_once_in_its_size() {
    type Change = fn(&mut Vec<Block>);
    let changes: [(Change, &str); 9] = [
        (|blocks| blocks[3].index = 3, "stands twice"),
        (|blocks| blocks[3].index = 0, "has no such index"),
        (|blocks| blocks[3].index = 0xff, "has no such index"),
        (|blocks| blocks[3].specification = 2, "is not by DMTF's specification"),
        (|blocks| blocks[3].tail = vec![0], "is longer than its value"),
        (|blocks| blocks[3].value = vec![], "has a value of a size that none has"),
        (|blocks| (blocks[3].kind, blocks[3].value) = (0x81, vec![0; 1025]), "has a value of a size that none has"),
        (|blocks| blocks[3].value = vec![1; 47], "has a digest of a size that none has"),
        (|blocks| blocks[3].value_size = Some(47), "is longer than its value"),
    ];
    for (change, expected) in changes {
        let refused = refused(|node| change(&mut node.gpu.report.measurements));
        assert!(matches!(refused, GpuRefused::G1Measurement { problem, .. } if problem == expected), "{refused}");
        assert!(refused.is_signed_for_this_request());
    }
    let long = refused(|node| node.gpu.report.measurements[3].value_size = Some(49));
    assert_eq!(long, GpuRefused::G1Truncated { field: "a measurement" });
    let few = refused(|node| node.gpu.report.blocks = Some(63));
    assert_eq!(few, GpuRefused::G1Record { extra: 55 });
    let many = refused(|node| node.gpu.report.blocks = Some(65));
    assert_eq!(many, GpuRefused::G1Truncated { field: "a measurement block" });
    let none = refused(|node| node.gpu.report.measurements.clear());
    assert_eq!(none, GpuRefused::G1NoMeasurements);
    // A value that is no digest, of any size, where no manifest wants one.
    let raw = node(|node| {
        (node.gpu.report.measurements[60].kind, node.gpu.report.measurements[60].value) = (0x83, vec![5; 7]);
    });
    assert_eq!(raw.judge().unwrap().measurements[&60], "05".repeat(7));
}

#[test]
fn g1_opaque_fields_stand_once_and_say_what_they_must() {
    for kind in [3, 6, 15, 17, 18, 20] {
        let missing = refused(|node| node.gpu.report.set(kind, None));
        assert_eq!(missing, GpuRefused::G1Opaque { kind, problem: "is missing" });
        assert!(missing.is_signed_for_this_request());
    }
    let wrong: [(u16, &[u8]); 16] = [
        (3, b""),
        (3, b"550.90.07\0x"),
        (3, b"550/90"),
        (3, &[b'1'; 65]),
        (6, &[0; 7]),
        (11, &[0]),
        (11, &[0xaa, 0]),
        (12, &[0; 5]),
        (15, b"\0"),
        (17, b"10_10"),
        (18, b"02 00"),
        (20, &[0; 47]),
        (21, &[0x54]),
        (35, b"G\n"),
        (36, &[3]),
        (36, &[]),
    ];
    for (kind, data) in wrong {
        let refused = refused(|node| node.gpu.report.set(kind, Some(data)));
        assert!(
            matches!(refused, GpuRefused::G1Opaque { kind: named, .. } if named == kind),
            "{kind} {data:?}: {refused}"
        );
    }
    let twice = refused(|node| node.gpu.report.opaque.push((14, vec![])));
    assert_eq!(twice, GpuRefused::G1Opaque { kind: 14, problem: "stands twice" });
    let cut = refused(|node| node.gpu.report.opaque_tail = vec![99, 0, 1]);
    assert_eq!(cut, GpuRefused::G1Truncated { field: "an opaque field" });
    let many = refused(|node| node.gpu.report.opaque.extend((1000..1064).map(|kind| (kind, vec![]))));
    assert!(matches!(many, GpuRefused::G1Opaque { problem: "is one too many", .. }), "{many}");
    // A field that is not known here is of a newer driver.
    node(|node| node.gpu.report.set(99, Some(b"new"))).judge().unwrap();
}

#[test]
fn g1_versions_and_ids_follow_from_the_fields() {
    let facts = |change: &dyn Fn(&mut strongroom_hardware::nvidia::Report)| {
        let mut gpu = Gpu::default();
        change(&mut gpu.report);
        let bytes = gpu.report_bytes();
        Facts::of(&GpuReport::parse(&bytes).unwrap().fields().unwrap()).unwrap()
    };
    let hopper = facts(&|_| {});
    assert_eq!(hopper.vbios_version, "96.00.9F.00.01");
    assert_eq!(hopper.driver_rim("GH100 A01 GSP BROM"), "NV_GPU_DRIVER_GH100_550.90.07");
    assert_eq!(hopper.vbios_rim(), "NV_GPU_VBIOS_1010_0200_882_96009F0001");
    assert_eq!((hopper.nvdec0_enabled, hopper.protected_pcie), (Some(false), Some(false)));
    let blackwell = facts(&|report| {
        report.set(35, Some(b"GB100\0"));
        report.set(17, Some(b"g520\0"));
        report.set(36, Some(&[1, 0]));
    });
    assert_eq!(blackwell.driver_rim("GB100 A01 GSP BROM"), "NV_GPU_CC_DRIVER_GB100_550.90.07");
    assert_eq!(blackwell.vbios_rim(), "NV_GPU_VBIOS_G520_0200_882_96009F0001");
    assert_eq!(blackwell.mode, Some(GpuMode::Multi));
}
