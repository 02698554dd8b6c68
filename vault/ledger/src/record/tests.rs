use super::*;
use crate::{ActorKind, SubjectKind, sample};
use proptest::prelude::*;
use serde_json::json;
use strongroom_protocol::{ObjectId, WriterId, statement::ObjectRef};

/// A denial with every field.
fn full() -> Record {
    let objects = vec![
        ObjectRef { writer: WriterId::from([1; 16]), object: ObjectId::from([2; 16]) },
        ObjectRef { writer: WriterId::from([1; 16]), object: ObjectId::from([3; 16]) },
    ];
    let key = KeyRequest { asset: "llama-70b".into(), version: 3, access: Access::Read, scope: Scope::Object, objects };
    let mut record = sample::decision(5);
    record.node = Some(NodeId::from([4; 32]));
    record.site = Some("fra-1".into());
    record.jurisdiction = Some("DE".into());
    record.job = Some("4711".into());
    record.lease = Some(LeaseId::from([5; 16]));
    record.keys = vec![KeyGrant::from(&key)];
    record.policy = Some(PolicyRef { digest: Fixed([6; 32]), mode: PolicyMode::Enforced });
    record.evidence_sha256 = Some(Fixed([7; 32]));
    record.claims_sha256 = Some(Fixed([8; 32]));
    record.verdict = Some(Verdict::Denied);
    record.reasons = vec!["policy.site".into(), "tpm.pcrs".into()];
    record.details = json!({ "b": [1, -2, null, true], "a": { "\u{20ac}": "\n" } }).as_object().unwrap().clone();
    record.previous = Some(sample::id(1));
    record
}

#[test]
fn a_record_has_the_bytes_that_were_agreed() {
    let expected = concat!(
        r#"{"action":"site.created","actor":{"id":"alice","kind":"person"},"#,
        r#""details":{"\u0007":"\u20ac","z":9007199254740991},"id":"01HF7YAT0000000000000000G0","#,
        r#""replica":"replica-1","subject":{"id":"site-512","kind":"site"},"time":"2023-11-14T22:13:20.512Z","v":1}"#
    );
    let expected = expected.replace("\\u20ac", "\u{20ac}");
    let mut record = sample::act(512);
    record.id = "01HF7YAT0000000000000000G0".parse().unwrap();
    record.details = json!({ "z": 9_007_199_254_740_991_u64, "\u{7}": "\u{20ac}" }).as_object().unwrap().clone();
    assert_eq!(String::from_utf8(record.to_canonical().unwrap()).unwrap(), expected);
    assert_eq!(Record::parse(expected.as_bytes()), Ok(record));
}

#[test]
fn every_field_is_read_back() {
    let record = full();
    assert_eq!(Record::parse(&record.to_canonical().unwrap()), Ok(record));
}

#[test]
fn objects_are_digested_in_their_order() {
    let mut ids = vec![1; 16];
    ids.extend_from_slice(&[2; 16]);
    ids.extend_from_slice(&[1; 16]);
    ids.extend_from_slice(&[3; 16]);
    let grant = full().keys[0].clone();
    assert_eq!((grant.objects, grant.objects_sha256), (2, Some(Fixed(sha256(&ids)))));
}

#[test]
fn any_other_spelling_is_refused() {
    let bytes = full().to_canonical().unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    let not_canonical = [
        format!("{text}\n"),
        format!(" {text}"),
        text.replacen(r#""v":1"#, r#""v": 1"#, 1),
        text.replacen("policy.site", r"policy\u002esite", 1),
        text.replacen("[1,-2,null,true]", r#"[1,-2,null,true],"b":[1,-2,null,true]"#, 1),
        text.replacen(r#"{"action":"release.decided","#, "{", 1).replacen(
            r#""denied"}"#,
            r#""denied","action":"release.decided"}"#,
            1,
        ),
        String::from_utf8(sample::act(1).to_canonical().unwrap()).unwrap().replacen('{', r#"{"node":null,"#, 1),
    ];
    for wrong in not_canonical {
        assert_eq!(Record::parse(wrong.as_bytes()), Err(LedgerError::RecordNotCanonical), "{wrong}");
    }
    let malformed = [
        text.replacen('{', r#"{"aaa":1,"#, 1),
        text.replacen('{', r#"{"v":1,"#, 1),
        text.replacen("release.decided", "release.invented", 1),
        text.replacen(r#""kind":"node""#, r#""kind":"robot""#, 1),
        text.replacen("denied", "perhaps", 1),
        text.replacen(r#""v":1"#, r#""v":256"#, 1),
        text.replacen(r#""replica":"replica-1","#, "", 1),
        text.replacen(".005Z", ".005+00:00", 1),
        text[..text.len() - 1].to_owned(),
        "[]".into(),
        String::new(),
    ];
    for wrong in malformed {
        assert!(matches!(Record::parse(wrong.as_bytes()), Err(LedgerError::RecordMalformed { .. })), "{wrong}");
    }
    let mut not_utf8 = bytes;
    not_utf8.insert(2, 0xff);
    assert!(Record::parse(&not_utf8).is_err());
}

/// The field that a changed record is refused for, when it is written; reading refuses it too.
fn refused(change: impl FnOnce(&mut Record)) -> String {
    let mut record = full();
    assert!(record.to_canonical().is_ok());
    change(&mut record);
    let bytes = serde_json_canonicalizer::to_vec(&record).unwrap();
    assert_eq!(Record::parse(&bytes).unwrap_err(), record.to_canonical().unwrap_err());
    match record.to_canonical() {
        Err(LedgerError::RecordField { field, .. }) => field,
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_rule_refuses_what_it_alone_forbids() {
    assert_eq!(refused(|r| r.v = 2), "v");
    assert_eq!(refused(|r| r.replica.clear()), "replica");
    assert_eq!(refused(|r| r.actor.id = "a".repeat(256)), "actor.id");
    assert_eq!(refused(|r| r.subject.id = "a\nb".into()), "subject.id");
    assert_eq!(refused(|r| r.site = Some(String::new())), "site");
    assert_eq!(refused(|r| r.jurisdiction = Some(String::new())), "jurisdiction");
    assert_eq!(refused(|r| r.job = Some("\u{85}".into())), "job");
    assert_eq!(refused(|r| r.keys = vec![r.keys[0].clone(); 257]), "keys");
    assert_eq!(refused(|r| r.keys[0].asset = "a/b".into()), "keys[0].asset");
    assert_eq!(refused(|r| r.keys[0].version = 0), "keys[0].version");
    assert_eq!(refused(|r| r.keys[0].objects = 0), "keys[0].objects");
    assert_eq!(refused(|r| r.keys[0].objects = 4097), "keys[0].objects");
    assert_eq!(refused(|r| r.keys[0].objects_sha256 = None), "keys[0].objects");
    let whole =
        |r: &mut Record| (r.keys[0].scope, r.keys[0].objects, r.keys[0].objects_sha256) = (Scope::Version, 0, None);
    let mut record = full();
    whole(&mut record);
    assert!(record.to_canonical().is_ok());
    assert_eq!(refused(|r| (whole(r), r.keys[0].objects = 1).1), "keys[0].objects");
    assert_eq!(refused(|r| (whole(r), r.keys[0].objects_sha256 = Some(Fixed([0; 32]))).1), "keys[0].objects");
    assert_eq!(refused(|r| r.keys[0].scope = Scope::Version), "keys[0].objects");
    assert_eq!(refused(|r| r.keys[0].scope = Scope::Writer), "keys[0].scope");
    assert_eq!(refused(|r| r.keys[0].access = Access::Write), "keys[0].scope");
    assert_eq!(refused(|r| r.reasons = vec!["a".into(); 257]), "reasons");
    assert_eq!(refused(|r| r.reasons[1] = "two words".into()), "reasons[1]");
    assert_eq!(refused(|r| r.reasons[1] = "a".repeat(129)), "reasons[1]");
    assert_eq!(refused(|r| r.reasons[1].clear()), "reasons[1]");
    assert_eq!(refused(|r| r.reasons.clear()), "reasons");
    assert_eq!(refused(|r| r.verdict = None), "verdict");
    assert_eq!(refused(|r| r.action = Action::SiteCreated), "verdict");
    assert_eq!(refused(|r| r.statement_sha256 = None), "statement_sha256");
    assert_eq!(refused(|r| r.recipient_sha256 = None), "recipient_sha256");
    assert_eq!(refused(|r| r.previous = Some(r.id)), "previous");
}

#[test]
fn details_have_only_numbers_that_every_reader_reads_alike() {
    let mut record = sample::act(1);
    for good in [json!(9_007_199_254_740_991_i64), json!(-9_007_199_254_740_991_i64), json!([0])] {
        record.details.insert("a".into(), good);
        assert!(record.to_canonical().is_ok());
    }
    for wrong in [json!(9_007_199_254_740_992_i64), json!(-9_007_199_254_740_992_i64), json!(u64::MAX), json!(1.5)] {
        assert_eq!(refused(|r| drop(r.details.insert("a".into(), json!([{ "b": wrong }])))), "details");
    }
    let nested = |depth| (0..depth).fold(json!(1), |value, _| json!([value]));
    record.details.insert("a".into(), nested(DETAILS_DEPTH - 1));
    assert!(record.to_canonical().is_ok());
    assert_eq!(refused(|r| drop(r.details.insert("a".into(), nested(DETAILS_DEPTH)))), "details");
}

#[test]
fn the_largest_record_of_the_protocol_fits_and_no_larger_one_is_read() {
    let mut record = full();
    record.keys[0].asset = "a".repeat(255);
    record.keys = vec![record.keys[0].clone(); 256];
    record.reasons = vec!["r".repeat(128); 256];
    let bytes = record.to_canonical().unwrap();
    record.details.insert("text".into(), json!("x".repeat(RECORD_BYTES - bytes.len())));
    let too_large = record.to_canonical().unwrap_err();
    assert!(matches!(too_large, LedgerError::RecordTooLarge { bytes } if bytes > RECORD_BYTES));
    let raw = serde_json_canonicalizer::to_vec(&record).unwrap();
    assert_eq!(Record::parse(&raw), Err(too_large));
}

#[test]
fn actors_and_subjects_are_shown_as_queries_name_them() {
    assert_eq!(Actor::new(ActorKind::Person, "alice").to_string(), "person:alice");
    assert_eq!(Subject::new(SubjectKind::Key, "llama@3").to_string(), "key:llama@3");
}

#[test]
fn the_schema_names_every_field() {
    let schema = schemars::schema_for!(Record);
    let named = schema.get("properties").and_then(Value::as_object).unwrap().keys();
    let written = serde_json::to_value(full()).unwrap();
    assert!(named.eq(written.as_object().unwrap().keys()));
}

proptest! {
    #[test]
    fn whatever_can_be_written_is_read_back(
        id in "\\PC{1,40}", number in -9_007_199_254_740_991_i64..=9_007_199_254_740_991, text: String, key: String,
    ) {
        let mut record = sample::act(1);
        record.actor.id = id;
        record.details = json!({ key: [number, text] }).as_object().unwrap().clone();
        let bytes = record.to_canonical().unwrap();
        prop_assert_eq!(Record::parse(&bytes), Ok(record));
    }

    #[test]
    fn one_changed_bit_is_another_record_or_none(at: prop::sample::Index, bit in 0..8_u8) {
        let mut bytes = full().to_canonical().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(Record::parse(&bytes), Ok(full()));
    }
}
