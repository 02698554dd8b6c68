//! Quotes, offline: what a security engineer has in files, with more and less of what a vault would know.

use super::{Desk, files, vectors};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::PathBuf;
use strongroom_attest::tpm::{Public, Signature, SignatureValue};
use strongroom_collect::{Attester as _, Enroller as _, Wanted};
use strongroom_protocol::{
    binding::tpm_extra_data,
    bytes::Bytes,
    evidence::{Evidence, PcrBank, PcrSelection, Tpm2Evidence},
};
use strongroom_tests::{Machine, Node};

/// A booted node's evidence with what a person may know of it.
struct Case {
    desk: Desk,
    _node: Node,
    item: Tpm2Evidence,
    ak: PathBuf,
    ek: PathBuf,
    roots: PathBuf,
    bind: String,
}

impl Case {
    fn new() -> Self {
        Self::of(&Machine::default())
    }

    fn of(machine: &Machine) -> Self {
        Self::selecting(machine, (0..16).collect())
    }

    fn selecting(machine: &Machine, pcrs: Vec<u8>) -> Self {
        let desk = Desk::new();
        let node = Node::boot(machine).unwrap();
        node.ima().measure("/usr/bin/job", b"job").unwrap();
        let collector = node.collector().unwrap();
        let selection = PcrSelection { bank: PcrBank::Sha256, pcrs };
        let statement = b"a statement";
        let mut items = collector.collect(statement, None, Wanted::whole(&selection)).unwrap();
        let Some(Evidence::Tpm2(item)) = items.pop() else { panic!("no quote") };
        let identity = collector.identity().unwrap();
        let ak = desk.file("ak", &identity.ak_public);
        let ek = desk.file("ek.der", &identity.ek_certificate_chain[0]);
        let roots = desk.path("roots");
        std::fs::create_dir(&roots).unwrap();
        std::fs::copy(node.tpm.root_ca(), roots.join("root.pem")).unwrap();
        std::fs::copy(node.tpm.issuer_ca(), roots.join("issuer.pem")).unwrap();
        let bind = hex::encode(tpm_extra_data("strongroom/v1/tpm", statement, None));
        Self { desk, _node: node, item, ak, ek, roots, bind }
    }

    fn judge(&self, item: &Tpm2Evidence, options: &[&str]) -> super::Judged {
        let file = self.desk.json("item.json", &Evidence::Tpm2(item.clone()));
        self.desk.verify("tpm2", &[&file], options)
    }

    fn changed(&self, change: impl FnOnce(&mut Tpm2Evidence), options: &[&str]) -> super::Judged {
        let mut item = self.item.clone();
        change(&mut item);
        self.judge(&item, options)
    }
}

#[test]
fn evidence_of_a_node_is_judged_as_far_as_it_is_known() {
    let case = Case::new();
    let (ak, ek, roots) = (case.ak.to_str().unwrap(), case.ek.to_str().unwrap(), case.roots.to_str().unwrap());
    // Nothing is known: nothing is passed that would need it.
    let judged = case.judge(&case.item, &[]);
    judged.holds();
    for row in ["E1", "E2", "E3", "E4", "E5", "E6", "Q1", "Q3", "Q4", "Q5", "Q6"] {
        assert_eq!(judged.row(row), "not_checked", "{row}");
    }
    let nobody = json!({ "boot": false, "ima": false, "tpm": false, "workload": false });
    assert_eq!((judged.row("L9"), &judged.document["vouched"]), ("not_checked", &nobody));

    let judged = case.judge(&case.item, &["--ak", ak, "--cert", ek, "--roots", roots, "--bind", &case.bind]);
    judged.holds();
    for row in ["E1", "E4", "Q1", "Q2", "Q3", "Q7", "Q8", "L1", "L2", "L3", "L4", "L5", "L6", "L7", "L8"] {
        assert_eq!(judged.row(row), "passed", "{row}: {:#}", judged.document["rows"]);
    }
    assert!(judged.note("E2").contains("path and validity hold"), "{}", judged.note("E2"));
    assert_eq!(judged.document["vouched"], json!({ "boot": true, "ima": true, "tpm": true, "workload": false }));
    let claims = &judged.document["claims"];
    assert_eq!(claims["boot"]["secure_boot"]["enabled"], true);
    assert_eq!(claims["ima"]["boot_aggregate_checked"], true);
    assert_eq!(claims["tpm"]["pcrs"]["0"].as_str().map(str::len), Some(64));
    // The list that `evidence collect` prints is read too.
    let list = case.desk.json("list.json", &[Evidence::Tpm2(case.item.clone())]);
    case.desk.verify("tpm2", &[&list], &["--ak", ak]).holds();
}

#[test]
fn each_row_refuses_what_only_it_can() {
    let case = Case::new();
    let ak = case.ak.to_str().unwrap();
    let known = ["--ak", ak, "--bind", &case.bind];
    case.judge(&case.item, &known).holds();
    case.changed(|item| item.message.0[20] ^= 1, &known).refused_by(&["Q1"]);
    case.changed(|item| item.message.0.push(0), &known).refused_by(&["Q1", "Q2"]);
    case.judge(&case.item, &["--ak", ak, "--bind", &"00".repeat(32)]).refused_by(&["Q3"]);
    case.changed(|item| item.ak.0[0] ^= 1, &known).refused_by(&["E6"]);
    // Values that were not quoted, or of other PCRs than they are said to be of.
    let extra = |item: &mut Tpm2Evidence| {
        item.pcrs.values.0.insert(16, Bytes(vec![1; 32]));
    };
    case.changed(extra, &known).refused_by(&["Q6"]);
    let other = |item: &mut Tpm2Evidence| item.pcrs.values.0.insert(4, Bytes(vec![1; 32])).map_or((), drop);
    case.changed(other, &known).refused_by(&["Q7", "L7", "L8"]);
    // The log of another boot; no log.
    let log = Machine { kernel_cmdline: "/vmlinuz root=/dev/vda single".into(), ..Machine::default() }.boot_log();
    let judged = case.changed(|item| item.boot_log = Some(Bytes(log.encode())), &known);
    judged.refused_by(&["L7"]);
    assert!(judged.note("L7").contains("PCR 8"), "{}", judged.note("L7"));
    assert_eq!(judged.document["vouched"]["boot"], false);
    // A log from which the boot loader's events were taken out.
    let mut log = Machine::default().boot_log();
    log.events.retain(|event| event.pcr < 8);
    let judged = case.changed(|item| item.boot_log = Some(Bytes(log.encode())), &known);
    judged.refused_by(&["L7"]);
    assert_eq!(judged.document["vouched"]["boot"], false);
    // PCR 10 is IMA's log's to explain.
    assert_eq!(case.judge(&case.item, &known).document["unexplained"], json!([]));
    assert_eq!(case.changed(|item| item.ima_log = None, &known).document["unexplained"], json!([10]));
    let judged = case.changed(|item| item.boot_log = None, &known);
    judged.holds();
    assert_eq!(judged.row("L1"), "");
    // Bytes in a log's place refuse; the quote is one still.
    case.changed(|item| item.boot_log = Some(Bytes(vec![7; 40])), &known).refused_by(&["L1"]);
    // A part of the IMA log, of which the vault has the rest.
    let judged = case.changed(|item| item.ima_offset = Some(1), &known);
    judged.holds();
    assert_eq!((judged.row("L8"), &judged.document["vouched"]["ima"]), ("not_checked", &Value::Null));
    // A certificate that does not lead to the roots, and one that has expired.
    let (ek, roots) = (case.ek.to_str().unwrap(), case.roots.to_str().unwrap());
    let judged = case.judge(&case.item, &["--cert", ek, "--roots", roots, "--at", "1999-01-01T00:00:00Z"]);
    judged.refused_by(&["E2"]);
    std::fs::remove_file(case.roots.join("root.pem")).unwrap();
    case.judge(&case.item, &["--cert", ek, "--roots", roots]).refused_by(&["E2"]);
    let judged = case.judge(&case.item, &["--cert", ek]);
    judged.holds();
    assert_eq!((judged.row("E1"), judged.row("E2")), ("passed", "not_checked"));
    // A certificate of a CA is none of an EK.
    let ca = case.roots.join("issuer.pem");
    case.judge(&case.item, &["--cert", ca.to_str().unwrap()]).refused_by(&["E1"]);
    // A reference set that the quote does not match.
    let set = |value: &str| {
        let set = json!({ "bank": "sha256", "pcrs": { "4": value } });
        case.desk.json("set.json", &set).to_str().unwrap().to_owned()
    };
    let good = hex::encode(&case.item.pcrs.values.0[&4].0);
    let judged = case.judge(&case.item, &["--ak", ak, "--reference", &set(&good)]);
    judged.holds();
    assert_eq!(judged.row("Q6"), "passed");
    let judged = case.judge(&case.item, &["--ak", ak, "--reference", &set(&"11".repeat(32))]);
    judged.refused_by(&[]);
    assert_eq!(judged.document["reference"]["differing"], json!([4]));
}

/// A log may say of a PCR what it likes, if nobody quoted it.
#[test]
fn what_no_quoted_value_vouches_for_is_no_claim() {
    let off = Machine { secure_boot: false, ..Machine::default() };
    let case = Case::selecting(&off, vec![0, 4]);
    let log = Machine::default().boot_log();
    let ak = ["--ak", case.ak.to_str().unwrap()];
    let judged = case.changed(|item| item.boot_log = Some(Bytes(log.encode())), &ak);
    judged.holds();
    assert_eq!(judged.document["vouched"]["boot"], true);
    let boot = &judged.document["claims"]["boot"];
    assert_eq!(boot["explained"], json!([0, 4]));
    for claim in ["secure_boot", "boot_path", "loader", "phases"] {
        assert_eq!(boot[claim], Value::Null, "{claim}");
    }
    assert_eq!(boot["startup_locality"], json!(0));
    let workload = &judged.document["claims"]["workload"];
    assert_eq!((&workload["verity_root"], &workload["containers"]), (&Value::Null, &Value::Null));
    let item = case.desk.path("item.json");
    let words = ["evidence", "verify", "--kind", "tpm2", item.to_str().unwrap()];
    let told = case.desk.cli.run(words.into_iter().chain(ak)).unwrap().done().unwrap().stdout;
    assert!(!told.contains("Secure Boot: on") && told.contains("do not vouch for PCR 7"), "{told}");
}

/// A PCR that is given twice is not read, in go-attestation's document either.
#[test]
fn a_documents_values_are_given_once() {
    let case = Case::new();
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let values = &case.item.pcrs.values.0;
    let pcr = |pcr: u8| json!({ "Index": pcr, "Digest": base64(&values[&pcr].0), "DigestAlg": 5 });
    let judge = |pcrs: Vec<Value>| {
        let quote = json!({ "Quote": base64(&case.item.message.0), "Signature": base64(&case.item.signature.0) });
        let file = case.desk.json("quote.json", &json!({ "Quote": quote, "Log": { "PCRs": pcrs } }));
        case.desk.verify("tpm2", &[&file], &["--ak", case.ak.to_str().unwrap()])
    };
    let all: Vec<Value> = values.keys().map(|&index| pcr(index)).collect();
    judge(all.clone()).holds();
    judge([vec![json!({ "Index": 4, "Digest": base64(&[0xee; 32]) })], all.clone()].concat()).malformed("PCR 4 twice");
    judge([all, vec![json!({ "Index": 20, "Digest": base64(&[0xee; 20]) })]].concat()).malformed("several banks");
}

/// Values as `tpm2_pcrread` prints them.
fn listing_of<'a>(values: impl Iterator<Item = (u8, &'a Bytes)>) -> String {
    values.fold("  sha256:\n".to_owned(), |text, (pcr, value)| {
        text + &format!("    {pcr} : 0x{}\n", hex::encode(&value.0))
    })
}

/// `TPMS_ATTEST` and signature in files of their own, in either order, with values in any form.
#[test]
fn a_quote_may_be_in_files_of_its_own() {
    let case = Case::new();
    let desk = &case.desk;
    let message = desk.file("message", &case.item.message.0);
    let signature = desk.file("signature", &case.item.signature.0);
    let ak = ["--ak", case.ak.to_str().unwrap()];
    for files in [[&*message, &*signature], [&*signature, &*message]] {
        let judged = desk.verify("tpm2", &files, &ak);
        judged.holds();
        assert_eq!((judged.row("Q1"), judged.row("Q7")), ("passed", "not_checked"));
    }
    let values = &case.item.pcrs.values.0;
    let bare = desk.file("bare", values.values().flat_map(|value| value.0.clone()).collect::<Vec<_>>());
    let beyond = Bytes(vec![0; 32]);
    let all = values.iter().map(|(&pcr, value)| (pcr, value)).chain([(23, &beyond)]);
    let listing = desk.file("listing", listing_of(all));
    for (third, options) in [(Some(&bare), vec![]), (None, vec!["--pcrs", listing.to_str().unwrap()])] {
        let files: Vec<&std::path::Path> =
            [Some(&message), Some(&signature), third].into_iter().flatten().map(PathBuf::as_path).collect();
        let judged = desk.verify("tpm2", &files, &[&ak[..], &options].concat());
        judged.holds();
        assert_eq!((judged.row("Q7"), judged.row("Q8")), ("passed", "passed"));
    }
    // Two values change places.
    let moved =
        listing_of(values.iter().map(|(&pcr, value)| (if matches!(pcr, 8 | 9) { 17 - pcr } else { pcr }, value)));
    let moved = desk.file("moved", moved);
    let options = [&ak[..], &["--pcrs", moved.to_str().unwrap()]].concat();
    desk.verify("tpm2", &[&message, &signature], &options).refused_by(&["Q7"]);
    // Somebody else's AK; a signature that is cut; one file of the two.
    let other = Case::new();
    let judged = desk.verify("tpm2", &[&message, &signature], &["--ak", other.ak.to_str().unwrap()]);
    judged.refused_by(&["Q1"]);
    let cut = desk.file("cut", &case.item.signature.0[..20]);
    desk.verify("tpm2", &[&message, &cut], &ak).malformed("Q1");
    desk.verify("tpm2", &[&message], &ak).malformed("signature too");
    desk.verify("tpm2", &[&signature, &cut], &ak).malformed("neither");
    let cut = desk.file("cut", &case.item.message.0[..60]);
    desk.verify("tpm2", &[&cut, &signature], &ak).malformed("Q2");
    let no_key = desk.file("key", "no key");
    desk.verify("tpm2", &[&message, &signature], &["--ak", no_key.to_str().unwrap()]).malformed("no AK");
}

/// The AK's key alone, and a signature that does not say its scheme.
#[test]
fn a_bare_key_and_a_bare_signature_will_do() {
    let case = Case::new();
    let desk = &case.desk;
    let message = desk.file("message", &case.item.message.0);
    let area = Public::parse(&std::fs::read(&case.ak).unwrap()).unwrap();
    let spki = area.spki_der();
    let pem = base64::engine::general_purpose::STANDARD.encode(&spki);
    let pem = desk.file("ak.pem", format!("-----BEGIN PUBLIC KEY-----\n{pem}\n-----END PUBLIC KEY-----\n"));
    let spki = desk.file("ak.der", spki);
    let size = u16::try_from(area.as_bytes().len()).unwrap().to_be_bytes();
    let sized = desk.file("ak.tpm2b", [&size[..], area.as_bytes()].concat());
    let signature = Signature::parse(&case.item.signature.0).unwrap();
    let SignatureValue::Ecdsa { r, s } = signature.value() else { panic!("{signature:?}") };
    let number = |number: &[u8]| {
        let sign = if number[0] < 0x80 { &[][..] } else { &[0] };
        [&[2, u8::try_from(sign.len() + number.len()).unwrap()], sign, number].concat()
    };
    let numbers = [number(r), number(s)].concat();
    let der = desk.file("der", [&[0x30, u8::try_from(numbers.len()).unwrap()][..], &numbers].concat());
    let padded = |number: &[u8]| [vec![0; 32 - number.len()], number.to_vec()].concat();
    let plain = desk.file("plain", [padded(r), padded(s)].concat());
    let tpm = desk.file("tpm", &case.item.signature.0);
    for ak in [&pem, &spki, &sized, &case.ak] {
        for signature in [&der, &plain, &tpm] {
            let judged = desk.verify("tpm2", &[&message, signature], &["--ak", ak.to_str().unwrap()]);
            judged.holds();
            let whole = [&sized, &case.ak].contains(&ak);
            assert_eq!((judged.row("Q1"), judged.row("E4") == "passed"), ("passed", whole), "{}", ak.display());
        }
    }
    let mut other = case.item.message.0.clone();
    *other.last_mut().unwrap() ^= 1;
    let other = desk.file("other", other);
    for signature in [&der, &plain, &tpm] {
        desk.verify("tpm2", &[&other, signature], &["--ak", spki.to_str().unwrap()]).refused_by(&["Q1"]);
    }
}

#[test]
fn a_clouds_quote_verifies_under_its_ak_and_no_other() {
    let Some(folder) = vectors("azure-vtpm") else { return };
    let desk = Desk::new();
    let ak = folder.join("akpub.pem");
    let ak = ["--ak", ak.to_str().unwrap()];
    let judged = desk.verify("tpm2", &[&folder.join("quote.bin")], &ak);
    judged.holds();
    for (row, verdict) in
        [("Q1", "passed"), ("Q2", "passed"), ("Q7", "passed"), ("Q8", "passed"), ("Q4", "not_checked")]
    {
        assert_eq!(judged.row(row), verdict, "{row}");
    }
    assert_eq!(judged.document["claims"]["tpm"]["scheme"], "rsassa-sha256");
    // It binds the text `challenge`, and nothing else.
    let with = |bind: &str| desk.verify("tpm2", &[&folder.join("quote.bin")], &[&ak[..], &["--bind", bind]].concat());
    with("6368616c6c656e6765").holds();
    with("6368616c6c656e6766").refused_by(&["Q3"]);
    desk.verify("tpm2", &[&folder.join("snp/quote.bin")], &ak).refused_by(&["Q1"]);
    // A value that is not the quoted one.
    let mut bytes = std::fs::read(folder.join("quote.bin")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let changed = desk.file("changed", bytes);
    desk.verify("tpm2", &[&changed], &ak).refused_by(&["Q7"]);
    desk.verify("tpm2", &[&changed], &[&ak[..], &["--allow", "Q7"]].concat()).holds();
}

#[test]
fn evidence_in_sha_1_is_refused_by_name() {
    let Some(folder) = vectors("tpm") else { return };
    let desk = Desk::new();
    let judged = desk.verify("tpm2", &[&folder.join("windows-gcp-shielded-vm-sha1.json")], &[]);
    judged.refused_by(&["E4", "Q1", "Q6", "L1"]);
    for row in ["E4", "Q1", "L1"] {
        assert!(judged.note(row).contains("SHA-1"), "{}", judged.note(row));
    }
    // The vendors' roots are a store that can be given as it is.
    let roots = folder.join("ek-roots");
    assert!(files(&roots).len() > 40);
    let case = Case::new();
    let options = ["--cert", case.ek.to_str().unwrap(), "--roots", roots.to_str().unwrap()];
    case.judge(&case.item, &options).refused_by(&["E2"]);
}

/// A root hash on a measured command line is a claim, as long as the log leads to the quoted values.
#[test]
fn a_verity_root_is_told_from_a_measured_command_line() {
    let root = "ab".repeat(32);
    let kernel_cmdline = format!("/vmlinuz root=/dev/mapper/root ro roothash={root}");
    let case = Case::of(&Machine { kernel_cmdline, ..Machine::default() });
    let ak = ["--ak", case.ak.to_str().unwrap()];
    let judged = case.judge(&case.item, &ak);
    judged.holds();
    assert_eq!(judged.row("L9"), "passed");
    assert_eq!(judged.document["claims"]["workload"]["verity_root"], json!(root));
    assert_eq!(judged.document["vouched"]["workload"], true);
    let log = Machine::default().boot_log();
    let judged = case.changed(|item| item.boot_log = Some(Bytes(log.encode())), &ak);
    judged.refused_by(&["L7"]);
    assert_eq!(
        (judged.row("L9"), &judged.document["claims"]["workload"]["verity_root"]),
        ("not_checked", &Value::Null)
    );
}
