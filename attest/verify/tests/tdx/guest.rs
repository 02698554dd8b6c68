//! What the guest is: attributes, features, registers, log.

use super::*;

#[test]
fn t1_a_guest_under_debug_or_profiling_is_refused() {
    for bit in [0, 4, 5, 6] {
        let refused = refused(|tdx| tdx.quote.body.attributes |= 1 << bit);
        let TdxRefused::T1Debug { what, .. } = &refused else { panic!("{refused}") };
        assert_eq!(*what, if bit == 0 { "debug" } else { "profiling" });
        assert!(refused.is_signed_for_this_request(), "the platform vouches for what it says of itself");
    }
    accepted(|tdx| tdx.quote.body.attributes = 1 << 28);
}

#[test]
fn t1_sept_ve_disable_is_set() {
    let refused = refused(|tdx| tdx.quote.body.attributes = 0);
    assert!(matches!(refused, TdxRefused::T1SeptVe { .. }), "{refused}");
    assert!(refused.is_signed_for_this_request());
}

#[test]
fn t1_no_other_attribute_bits_than_permitted_are_set() {
    for bit in (8..64).filter(|bit| *bit != 28) {
        let set = |tdx: &mut Tdx| tdx.quote.body.attributes |= 1 << bit;
        let refused = refused(set);
        let TdxRefused::T1Attributes { bits, .. } = &refused else { panic!("bit {bit}: {refused}") };
        assert_eq!(*bits, format!("{:016x}", 1_u64 << bit));
        assert!(refused.is_signed_for_this_request());
        let known = TdxAttribute::ALL.iter().find(|(_, known)| *known == bit).map(|(attribute, _)| *attribute);
        let permitting = Given::requiring(|require| require.permitted_attributes = known.into_iter().collect());
        match permitting.judge(&changed(set)) {
            Ok(claims) => assert!(claims.guest.attributes.contains(&known.unwrap())),
            Err(refused) => assert!(known.is_none(), "bit {bit}: {refused}"),
        }
    }
}

#[test]
fn t1_a_guest_bound_to_a_service_domain_is_refused() {
    let of = |change: fn(&mut Tdx)| {
        let refused = refused(|tdx| {
            (tdx.quote.version, tdx.quote.body.kind) = (5, BodyKind::Td15Ex);
            change(tdx);
        });
        let TdxRefused::T1ServiceTd { field, .. } = &refused else { panic!("{refused}") };
        assert!(refused.is_signed_for_this_request());
        *field
    };
    assert_eq!(of(|tdx| tdx.quote.body.mr_service_td[47] = 1), "MRSERVICETD");
    assert_eq!(of(|tdx| tdx.quote.body.vmid = 1), "VMID");
    assert_eq!(of(|tdx| tdx.quote.body.current_service_td_hash[0] = 1), "CUR_SERVTD_HASH");
    let td15 = refused(|tdx| {
        (tdx.quote.version, tdx.quote.body.kind) = (5, BodyKind::Td15);
        tdx.quote.body.mr_service_td[0] = 1;
    });
    assert!(matches!(td15, TdxRefused::T1ServiceTd { field: "MRSERVICETD", .. }), "{td15}");
}

#[test]
fn t1_xfam_is_within_what_is_permitted() {
    for bits in [3, 0x0006_1ae7] {
        accepted(|tdx| tdx.quote.body.xfam = bits);
    }
    // Tracing; an unknown bit; SSE missing.
    for bits in [0x0100 | 3, 1 << 63 | 3, 1] {
        let refused = refused(|tdx| tdx.quote.body.xfam = bits);
        assert!(matches!(refused, TdxRefused::T1Xfam { .. }), "{refused}");
    }
    let tracing = Given::requiring(|require| require.permitted_xfam = Mask(0x0103));
    tracing.judge(&changed(|tdx| tdx.quote.body.xfam = 0x0103)).unwrap();
}

#[test]
fn t1_registers_hold_what_is_accepted() {
    type Set = fn(&mut Tdx) -> &mut [u8; 48];
    type Require = fn(&mut TdxRequirements) -> &mut Registers;
    let registers: [(&str, Set, Require); 6] = [
        ("MRCONFIGID", |tdx| &mut tdx.quote.body.mr_config_id, |require| &mut require.mr_config_id),
        ("MROWNER", |tdx| &mut tdx.quote.body.mr_owner, |require| &mut require.mr_owner),
        ("MROWNERCONFIG", |tdx| &mut tdx.quote.body.mr_owner_config, |require| &mut require.mr_owner_config),
        ("MRTD", |tdx| &mut tdx.quote.body.mrtd, |require| &mut require.mrtd),
        ("RTMR2", |tdx| &mut tdx.quote.body.rtmrs[2], |require| require.rtmrs.entry(2).or_insert(Registers::Any)),
        ("MRSEAM", |tdx| &mut tdx.quote.body.mr_seam, |require| &mut require.mr_seam),
    ];
    for (name, set, require) in registers {
        let other = changed(|tdx| *set(tdx) = [0xab; 48]);
        let accepting = |values: Registers| Given::requiring(|requirements| *require(requirements) = values);
        accepting(Registers::OneOf([Register([1; 48]), Register([0xab; 48])].into())).judge(&other).unwrap();
        accepting(Registers::Any).judge(&other).unwrap();
        for none in [Registers::Zero, Registers::OneOf([Register([1; 48])].into()), Registers::OneOf([].into())] {
            match accepting(none).judge(&other).unwrap_err() {
                TdxRefused::T1Register { register, .. } | TdxRefused::T1Module { register, .. } => {
                    assert_eq!(register, name);
                }
                refused => panic!("{refused}"),
            }
        }
        // Without a requirement, what an owner or a host may set freely must be zero.
        let strict = Given::default().judge(&other).is_err();
        assert_eq!(strict, name.starts_with("MRO") || name == "MRCONFIGID", "{name}");
    }
    let above = Given::requiring(|require| drop(require.rtmrs.insert(4, Registers::Any)));
    assert!(matches!(above.judge(&Tdx::default()), Err(TdxRefused::T1Register { .. })));
}

#[test]
fn t1_requirements_are_read_strictly() {
    let read = |json: &str| serde_json::from_str::<TdxRequirements>(json);
    assert_eq!(read("{}").unwrap(), TdxRequirements::default());
    let register = "ab".repeat(48);
    let written =
        read(&format!(r#"{{"mrtd":{{"one_of":["{register}"]}},"permitted_xfam":"00000000000000e7"}}"#)).unwrap();
    assert!(written.mrtd.accept(&[0xab; 48]) && !written.mrtd.accept(&[0; 48]));
    assert_eq!(read(&serde_json::to_string(&written).unwrap()).unwrap(), written);
    for wrong in [
        r#"{"mrtd":{"one_of":["ab"]}}"#.to_owned(),
        format!(r#"{{"mrtd":{{"one_of":["{}"]}}}}"#, register.to_uppercase()),
        r#"{"permitted_xfam":"e7"}"#.to_owned(),
        r#"{"permitted_attributes":["debug"]}"#.to_owned(),
        r#"{"tcb_statuses":["Revoked"]}"#.to_owned(),
        r#"{"more":1}"#.to_owned(),
    ] {
        assert!(read(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn t1_the_event_log_leads_to_the_quoted_registers() {
    let log = Log::default();
    keep_seed("ccel", "log", &log.bytes());
    let tdx = changed(|tdx| tdx.quote.body.rtmrs = log.rtmrs());
    let with = |log: &Log| Given { ccel: Some(log.bytes()), ..Given::default() };
    let claims = with(&log).judge(&tdx).unwrap().log.unwrap();
    assert_eq!((claims.events, claims.unread), (5, 1));
    assert_eq!(claims.texts, ["root=/dev/mapper/root ro"]);
    // Firmware that names the first register in the header.
    with(&Log { header_index: 0, ..log.clone() }).judge(&tdx).unwrap();

    for (at, rtmr) in [(0, 0), (2, 1), (3, 2)] {
        let mut other = log.clone();
        other.events[at].data.push(b'!');
        other.events[at].digest = None;
        let refused = with(&other).judge(&tdx).unwrap_err();
        assert!(matches!(refused, TdxRefused::T1LogDiffers { rtmr: found, .. } if found == rtmr), "{refused}");
        assert!(refused.is_signed_for_this_request());
    }
    // A text that was changed, under the digest of the right one, is no text.
    let mut disguised = log.clone();
    disguised.events[3].data.push(b'!');
    let claims = with(&disguised).judge(&tdx).unwrap().log.unwrap();
    assert_eq!((claims.texts.len(), claims.unread), (0, 2));
    let mut more = log.clone();
    more.events.push(CcelEvent::of(4, 5, b"runtime"));
    assert!(matches!(with(&more).judge(&tdx), Err(TdxRefused::T1LogDiffers { rtmr: 3, .. })));
    for index in [0, 5, 23] {
        let mut misplaced = log.clone();
        misplaced.events.push(CcelEvent::of(index, 5, b"no register of a log"));
        let refused = with(&misplaced).judge(&tdx).unwrap_err();
        assert_eq!(refused, TdxRefused::T1LogIndex { event: 7, index });
    }
    let sha3 = Log { algorithm: 0x0028, ..log.clone() };
    assert_eq!(with(&sha3).judge(&tdx).unwrap_err(), TdxRefused::T1LogBank);
    let torn = Given { ccel: Some(log.bytes()[..200].to_vec()), ..Given::default() };
    assert!(matches!(torn.judge(&tdx), Err(TdxRefused::T1Log(_))));
    let oversized = Given { ccel: Some(vec![0; (1 << 20) + 1]), ..Given::default() };
    assert!(matches!(oversized.judge(&tdx), Err(TdxRefused::T1Log(log::LogRefused::L1TooLong { .. }))));
    // A log that is required.
    let required = Given::requiring(|require| require.log = true);
    assert!(matches!(required.judge(&tdx), Err(TdxRefused::T1NotGiven { .. })));
    Given { ccel: Some(log.bytes()), ..required }.judge(&tdx).unwrap();
}

#[test]
fn t1_a_log_of_a_guest_is_no_boot_log_of_a_tpm() {
    let log = Log::default().bytes();
    Ccel::parse(&log).unwrap();
    let refused = log::BootLog::parse(&log).unwrap_err();
    assert_eq!(refused, log::LogRefused::L1NotOfPcrs { index: 1 });
}
