//! Intel's collateral: of this platform, current, of a state that is accepted.

use super::*;

const DAY: u64 = 86_400;

#[test]
fn t1_collateral_of_another_platform_is_refused() {
    let refused = refused(|tdx| tdx.tcb_info.fmspc = Some(vec![1; 6]));
    let TdxRefused::T1CollateralOfOther { expected, got } = refused else { panic!("{refused}") };
    assert_eq!((expected.as_str(), got.as_str()), ("b0c06f000000/platform", "010101010101/platform"));
}

#[test]
fn t1_collateral_is_current_at_the_given_time() {
    let honest = Tdx::default();
    let late = |given: Given, tdx: &Tdx| match given.judge(tdx).unwrap_err() {
        TdxRefused::T1CollateralExpired { what, .. } | TdxRefused::T1CollateralEarly { what, .. } => what,
        other => panic!("{other}"),
    };
    // 20 June, at midnight, is the last second.
    Given::at(AT + 19 * DAY).judge(&honest).unwrap();
    assert_eq!(late(Given::at(AT + 19 * DAY + 1), &honest), "tcb_info");
    // 21 May, when the identity was issued, is the first.
    Given::at(AT - 11 * DAY).judge(&honest).unwrap();
    assert_eq!(late(Given::at(AT - 11 * DAY - 1), &honest), "qe_identity");
    let expired = |change: fn(&mut Tdx)| late(Given::default(), &changed(change));
    assert_eq!(expired(|tdx| tdx.qe_identity.next_update = (2026, 5, 31)), "qe_identity");
    assert_eq!(expired(|tdx| tdx.lists.pck_next_update = (2026, 5, 31)), "pck_crl");
    assert_eq!(expired(|tdx| tdx.lists.root_next_update = (2026, 5, 31)), "root_ca_crl");
    assert_eq!(expired(|tdx| tdx.certificates.tcb.not_after = (2026, 5, 31)), "tcb_info_issuer_chain");
    assert_eq!(expired(|tdx| tdx.certificates.ca.not_after = (2026, 5, 31)), "pck_crl_issuer_chain");
}

#[test]
fn t1_the_tcb_status_is_one_that_is_accepted() {
    let old = |tdx: &mut Tdx| tdx.platform.cpu_svn[3] = 2;
    let refused = refused(old);
    let TdxRefused::T1TcbStatus { got, advisories, accepted } = &refused else { panic!("{refused}") };
    assert_eq!((*got, advisories.as_str(), accepted.as_str()), (TdxTcbStatus::OutOfDate, "INTEL-SA-00001", "UpToDate"));
    assert!(refused.is_signed_for_this_request());
    let lenient = Given::requiring(|require| require.tcb_statuses.extend([TdxTcbStatus::OutOfDate]));
    let claims = lenient.judge(&changed(old)).unwrap();
    assert_eq!(
        (claims.tcb.status, claims.tcb.advisories),
        (TdxTcbStatus::OutOfDate, vec!["INTEL-SA-00001".to_owned()])
    );
    for status in TdxTcbStatus::ALL {
        let given = Given::requiring(|require| require.tcb_statuses = BTreeSet::from([status]));
        let is = |tdx: &mut Tdx| tdx.tcb_info.levels[0].status = status.to_string();
        let relaunch =
            matches!(status, TdxTcbStatus::TdRelaunchAdvised | TdxTcbStatus::TdRelaunchAdvisedConfigurationNeeded);
        // A level is never of these two: they follow from two levels.
        assert_eq!(given.judge(&changed(is)).is_ok(), !relaunch, "{status}");
    }
    // No requirement accepts a revoked platform.
    let all = Given::requiring(|require| require.tcb_statuses = TdxTcbStatus::ALL.into());
    let revoked = all.judge(&changed(|tdx| tdx.tcb_info.levels[0].status = "Revoked".to_owned())).unwrap_err();
    assert!(matches!(revoked, TdxRefused::T1Unverified { .. }) && revoked.to_string().contains("Revoked"), "{revoked}");
    assert!(!revoked.is_signed_for_this_request());
    // Below every level there is no status at all.
    let below = self::refused(|tdx| tdx.platform.cpu_svn[0] = 0);
    assert!(matches!(below, TdxRefused::T1TcbBelow { .. }) && !below.is_signed_for_this_request(), "{below}");
    assert!(below.to_string().contains("SGX component 1 is 0, needed is "), "{below}");
}

#[test]
fn t1_a_guest_that_was_started_by_an_older_module_is_told_apart() {
    let relaunch = |tdx: &mut Tdx| {
        (tdx.quote.version, tdx.quote.body.kind) = (5, BodyKind::Td15);
        tdx.quote.body.tee_tcb_svn[0] = 3;
    };
    let refused = refused(relaunch);
    assert!(matches!(refused, TdxRefused::T1TcbStatus { got: TdxTcbStatus::TdRelaunchAdvised, .. }), "{refused}");
    let accepting = Given::requiring(|require| require.tcb_statuses.extend([TdxTcbStatus::TdRelaunchAdvised]));
    accepting.judge(&changed(relaunch)).unwrap();
}

#[test]
fn t1_intels_data_are_as_new_as_required() {
    let least = |minimum| Given::requiring(|require| require.min_evaluation_data_number = minimum);
    least(20).judge(&Tdx::default()).unwrap();
    let refused = least(21).judge(&Tdx::default()).unwrap_err();
    assert_eq!(refused, TdxRefused::T1EvaluationData { got: 20, minimum: 21 });
    // The lower of both documents counts.
    let mixed = changed(|tdx| tdx.tcb_info.evaluation_data_number = 25);
    assert_eq!(least(21).judge(&mixed).unwrap_err(), TdxRefused::T1EvaluationData { got: 20, minimum: 21 });
}

#[test]
fn t1_collateral_is_read_as_intels_services_write_it() {
    let tdx = Tdx::default();
    let json = String::from_utf8(tdx.collateral()).unwrap();
    let parsed = Collateral::parse(json.as_bytes()).unwrap();
    assert_eq!(parsed.key().to_string(), "b0c06f000000/platform");
    assert_eq!((parsed.valid_from(), parsed.next_update()), (AT - 11 * DAY, AT + 19 * DAY));
    assert_eq!(parsed.root(), tdx.root());
    // Camel case, chains with percent signs, whole answers in place of a document and its signature.
    let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let fields = value.as_object_mut().unwrap();
    let take = |fields: &mut serde_json::Map<String, serde_json::Value>, name: &str| {
        fields.remove(name).unwrap().as_str().unwrap().to_owned()
    };
    let (info, signature) = (take(fields, "tcb_info"), take(fields, "tcb_info_signature"));
    let chain = take(fields, "tcb_info_issuer_chain").replace(' ', "%20").replace('\n', "%0A").replace('+', "%2b");
    fields.insert("tcbInfo".to_owned(), format!(r#"{{"tcbInfo":{info},"signature":"{signature}"}}"#).into());
    fields.insert("tcbInfoIssuerChain".to_owned(), chain.into());
    fields.insert("version".to_owned(), 3.into());
    let (identity, signature) = (take(fields, "qe_identity"), take(fields, "qe_identity_signature"));
    let whole = format!(r#""qe_identity": {{ "enclaveIdentity": {identity}, "signature": "{signature}" }}"#);
    let written = format!("{}, {whole}}}", value.to_string().trim_end_matches('}'));
    let other = Collateral::parse(written.as_bytes()).unwrap();
    let (quote, pins, requirements) = (tdx.quote(), pins(&tdx), TdxRequirements::default());
    let judge = |collateral: &Collateral| {
        let report_data = Some(&[0x77; 64]);
        let expect =
            Expectation { report_data, collateral: Some(collateral), pins: &pins, at: AT, requirements: &requirements };
        verify(&Evidence { quote: &quote, ccel: None }, &expect)
    };
    // The signatures are over the documents byte by byte: were one not kept as it stood, this would refuse.
    assert_eq!(judge(&other).unwrap(), judge(&parsed).unwrap());

    for (wrong, with, says) in [
        ("\"pck_crl\"", "\"more\":1,\"pck_crl\"", "unknown field"),
        ("\\\"id\\\":\\\"TDX\\\"", "\\\"id\\\":\\\"SGX\\\"", "expected is TDX"),
        ("\\\"id\\\":\\\"TD_QE\\\"", "\\\"id\\\":\\\"QE\\\"", "expected is TD_QE"),
        ("\\\"nextUpdate\\\":\\\"2026", "\\\"nextUpdate\\\":\\\"26", "tcb_info cannot be read"),
        ("\"tcb_info_signature\":\"", "\"tcb_info_signature\":\"0", "128 hexadecimal digits"),
        ("\"root_ca_crl\":\"30", "\"root_ca_crl\":\"zz", "neither PEM nor hexadecimal"),
        ("\"root_ca_crl\":\"30", "\"root_ca_crl\":\"31", "root_ca_crl cannot be read"),
    ] {
        let changed = json.replacen(wrong, with, 1);
        assert_ne!(changed, json, "{wrong}");
        let refused = Collateral::parse(changed.as_bytes()).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused} does not say {says}");
    }
    let long = vec![b' '; COLLATERAL_BYTES + 1];
    assert!(matches!(Collateral::parse(&long), Err(CollateralError::TooLong { .. })));
    let name = changed(|tdx| tdx.certificates.ca.name = "Somebody's CA".to_owned());
    assert!(Collateral::parse(&name.collateral()).unwrap_err().to_string().contains("Somebody's CA"));
}

#[test]
fn t1_examination_says_what_was_not_given() {
    let tdx = Tdx::default();
    let (quote, pins, collateral) = (tdx.quote(), pins(&tdx), collateral_of(&tdx));
    let requirements = TdxRequirements::default();
    let bare = Expectation { report_data: None, collateral: None, pins: &pins, at: AT, requirements: &requirements };
    let evidence = Evidence { quote: &quote, ccel: None };
    let examined = examine(&evidence, &bare);
    assert_eq!(examined.report.verdict("T1"), Some(Verdict::NotChecked));
    assert!(examined.report.holds() && examined.claims.is_none());
    assert!(verify(&evidence, &bare).unwrap_err().to_string().contains("was not given"));
    let bound = Expectation { report_data: Some(&[0x77; 64]), ..bare };
    assert_eq!(
        verify(&evidence, &bound).unwrap_err(),
        TdxRefused::T1NotGiven { input: "Intel's collateral for the platform" }
    );

    let mut whole = TdxRequirements { mrtd: Registers::OneOf([Register([0x41; 48])].into()), ..requirements.clone() };
    whole.rtmrs = BTreeMap::from([(3, Registers::Zero)]);
    whole.min_evaluation_data_number = 20;
    let log = Log::default();
    let with_log = changed(|tdx| tdx.quote.body.rtmrs = log.rtmrs());
    let (quote, log) = (with_log.quote(), log.bytes());
    let pins = self::pins(&with_log);
    let collateral_with_log = collateral_of(&with_log);
    let expect = Expectation {
        report_data: Some(&[0x77; 64]),
        collateral: Some(&collateral_with_log),
        pins: &pins,
        at: AT,
        requirements: &whole,
    };
    let evidence = Evidence { quote: &quote, ccel: Some(&log) };
    let examined = examine(&evidence, &expect);
    assert_eq!(examined.report.verdict("T1"), Some(Verdict::Passed), "{}", examined.report);
    assert_eq!(examined.claims, Some(verify(&evidence, &expect).unwrap()));
    assert!(examined.parts.iter().all(|part| part.outcome == Ok(None)));
    let any = TdxRequirements { min_evaluation_data_number: 0, ..whole.clone() };
    let examined = examine(&evidence, &Expectation { requirements: &any, ..expect });
    assert_eq!(examined.report.verdict("T1"), Some(Verdict::NotChecked), "{}", examined.report);

    // Every part that does not hold is told.
    let stale = Expectation { report_data: Some(&[1; 64]), collateral: Some(&collateral), at: 0, ..expect };
    let examined = examine(&evidence, &stale);
    let refused = examined.parts.iter().filter(|part| part.outcome.is_err()).count();
    assert!(refused >= 3, "{}", examined.report);
    assert_eq!(examined.report.verdict("T1"), Some(Verdict::Refused));
    assert!(examine(&Evidence { quote: b"no", ccel: None }, &expect).malformed.is_some());
}
