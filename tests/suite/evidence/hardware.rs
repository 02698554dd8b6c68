//! Evidence of confidential hardware, offline: what real processors, GPUs and clouds signed, and what stand-ins make
//! whose roots nobody has pinned.

use super::{Desk, Judged, vectors};
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use strongroom_attest::tdx::Collateral;
use strongroom_hardware::{azure::Azure, nvidia::Gpu, snp::Snp, tdx::Tdx};
use strongroom_protocol::{
    binding,
    bytes::Bytes,
    evidence::{AzureSnpVtpmEvidence, Evidence, NvidiaGpuEvidence, PcrBank, PcrMap, Pcrs, SevSnpEvidence, TdxEvidence},
};

/// Inside of the validity of every AMD certificate of the vectors, and after that of the VLEK.
const JUNE_2025: &str = "2025-06-01T00:00:00Z";
/// Inside of the validity of the signers of NVIDIA's manifests, and after it.
const JANUARY_2025: &str = "2025-01-01T00:00:00Z";
const NOVEMBER_2026: &str = "2026-11-22T00:00:00Z";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The table of what was judged: file, what the vectors' README expects, what came of it.
#[derive(Default)]
struct Table(Vec<[String; 3]>);

impl Table {
    fn add(&mut self, file: &str, expected: &str, judged: &Judged) {
        let rows = judged.document["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
        let of = |verdict: &str| {
            let rows = rows.iter().filter(|row| row["verdict"] == verdict).filter_map(|row| row["row"].as_str());
            rows.collect::<Vec<_>>().join(" ")
        };
        // Row T1 says what became of it by its parts.
        let parts = judged.document["parts"].as_array().map(Vec::as_slice).unwrap_or_default();
        let part = |verdict: &str| parts.iter().filter(|part| part["verdict"] == verdict).count();
        let parts = (!parts.is_empty()).then(|| {
            let refused = parts.iter().filter(|part| part["verdict"] == "refused");
            let refused: Vec<&str> = refused.filter_map(|part| part["title"].as_str()).collect();
            let (passed, open) = (part("passed"), part("not_checked"));
            format!("; parts: {passed} passed, {open} not checked, refused: {}", refused.join(" | "))
        });
        let verdict = match judged.code {
            Some(0) => format!("holds: {}; not checked: {}", of("passed"), of("not_checked")),
            Some(1) => format!("refused by {}; passed: {}", of("refused"), of("passed")),
            _ => judged.stderr.trim().to_owned(),
        };
        self.0.push([file.to_owned(), expected.to_owned(), verdict + &parts.unwrap_or_default()]);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        for [file, expected, verdict] in &self.0 {
            println!("| {file} | {expected} | {verdict} |");
        }
    }
}

fn passed(judged: &Judged, rows: &[&str]) {
    for row in rows {
        assert_eq!(judged.row(row), "passed", "{row}: {:#}", judged.document["rows"]);
    }
}

#[test]
fn real_reports_of_sev_snp_are_judged_as_their_readme_says() {
    let Some(snp) = vectors("snp") else { return };
    let desk = Desk::new();
    let mut table = Table::default();
    let judge = |report: &str, options: &[&str]| desk.verify("sev-snp", &[&snp.join(report)], options);
    let at = ["--at", JUNE_2025];

    let vcek = snp.join("milan-v2/vcek.der");
    let with = |collateral: &Path, more: &[&str]| {
        judge("milan-v2/report.bin", &[&["--collateral", text(collateral)], more].concat())
    };
    let judged = with(&vcek, &at);
    table.add("snp/milan-v2/report.bin, vcek.der", "signature and chain verify; refused as version 2", &judged);
    judged.refused_by(&["S1"]);
    passed(&judged, &["S2", "S3", "S5", "S7", "S8", "S11", "S13"]);
    for row in ["S4", "S6", "S9"] {
        assert_eq!(judged.row(row), "not_checked", "{row}");
    }
    assert_eq!(judged.document["vouched"]["snp"], true);
    assert_eq!(judged.document["claims"]["snp"], Value::Null);
    assert_eq!(judged.document["report"]["product"], "Milan");
    with(&vcek, &["--at", JUNE_2025, "--allow", "S1"]).holds();

    for name in ["vcek-wrong-oid-values-1.der", "vcek-wrong-oid-values-2.der"] {
        let judged = with(&snp.join("milan-v2").join(name), &at);
        table.add(&format!("snp/milan-v2/{name}"), "the report is refused: TCB or chip id differ", &judged);
        assert_eq!(judged.row("S5"), "refused");
        assert_eq!((judged.code, &judged.document["vouched"]["snp"]), (Some(1), &json!(false)));
    }

    let debug = snp.join("milan-v2-debug-on/vcek.der");
    let judged = judge("milan-v2-debug-on/report.bin", &["--collateral", text(&debug), "--at", JUNE_2025]);
    table.add("snp/milan-v2-debug-on/", "signature verifies; refused: debug", &judged);
    judged.refused_by(&["S1", "S7"]);
    passed(&judged, &["S3", "S5", "S11"]);
    assert!(judged.note("S7").contains("debug"), "{}", judged.note("S7"));

    // The roots: each is one that is pinned, or what it signed. A store takes in nothing else.
    for entry in super::files(&snp.join("roots")) {
        let name = entry.file_name().unwrap().to_str().unwrap().to_owned();
        let store = desk.path(&format!("store-{name}"));
        std::fs::create_dir(&store).unwrap();
        std::fs::copy(&entry, store.join("pair.pem")).unwrap();
        let judged = with(&vcek, &["--at", JUNE_2025, "--store", text(&store), "--collateral", text(&entry)]);
        table.add(&format!("snp/roots/{name}"), "pinned roots", &judged);
        judged.refused_by(&["S1"]);
        passed(&judged, &["S3", "S11", "S13"]);
        assert!(!judged.stderr.contains("left out"), "{}", judged.stderr);
    }
    let stranger = desk.path("stranger");
    std::fs::create_dir(&stranger).unwrap();
    std::fs::write(stranger.join("ark.der"), Snp::default().ark.der()).unwrap();
    with(&vcek, &["--store", text(&stranger)]).malformed("no endorsement that a pinned root vouches for");
}

#[test]
fn a_real_report_that_a_vlek_signed_is_judged_by_time_and_policy() {
    let Some(snp) = vectors("snp") else { return };
    let desk = Desk::new();
    let mut table = Table::default();
    let report = snp.join("milan-v3-vlek-aws/report.bin");
    let bytes = std::fs::read(&report).unwrap();
    let (vlek, asvk) = (snp.join("milan-v3-vlek-aws/vlek.der"), snp.join("roots/asvk_ark_milan.pem"));
    let chain = ["--collateral", text(&vlek), "--collateral", text(&asvk)];
    let settings = |snp: Value| desk.json("data.json", &json!({ "settings": { "snp": snp, "lease_seconds": 60 } }));
    let judge = |files: &[&Path], more: &[&str]| desk.verify("sev-snp", files, &[&chain[..], more].concat());

    let minimum = json!({ "milan": { "reported": { "microcode": 1 } } });
    let of_cloud = settings(json!({ "vmpl": 1, "allow_vlek": true, "minimum_tcb": minimum }));
    let bound = hex::encode(&bytes[0x50..0x90]);
    let asked = ["--at", JUNE_2025, "--settings", text(&of_cloud)];
    let judged = judge(&[&report], &[&asked[..], &["--report-data", &bound]].concat());
    table.add("snp/milan-v3-vlek-aws/", "verifies at a clock of 2025-06-01", &judged);
    judged.holds();
    passed(&judged, &["S1", "S2", "S3", "S5", "S6", "S7", "S8", "S9", "S11", "S13"]);
    let claims = &judged.document["claims"]["snp"];
    assert_eq!((&claims["signing_key"], &claims["vmpl"]), (&json!("vlek"), &json!(1)));

    let judged = judge(&[&report], &["--at", NOVEMBER_2026, "--settings", text(&of_cloud)]);
    table.add("snp/milan-v3-vlek-aws/, now", "refused: expired", &judged);
    judged.refused_by(&["S3"]);
    let strict = settings(json!({ "allow_vlek": true }));
    let judged = judge(&[&report], &["--at", JUNE_2025, "--settings", text(&strict)]);
    table.add("snp/milan-v3-vlek-aws/, VMPL 0 wanted", "refused", &judged);
    judged.refused_by(&["S8"]);
    // What a policy without settings asks: VCEKs, and the highest privilege.
    judge(&[&report], &["--at", JUNE_2025]).refused_by(&["S3", "S8"]);

    // What it binds.
    settings(json!({ "vmpl": 1, "allow_vlek": true, "minimum_tcb": minimum }));
    judge(&[&report], &[&asked[..], &["--report-data", &"00".repeat(64)]].concat()).refused_by(&["S9"]);
    let statement = desk.file("statement", "a statement");
    let judged = judge(&[&report], &[&asked[..], &["--statement", text(&statement)]].concat());
    judged.refused_by(&["S9"]);
    let expected = hex::encode(binding::report_data("strongroom/v1/snp", b"a statement", None));
    assert!(judged.note("S9").contains(&expected), "{}", judged.note("S9"));

    // A reference set of launch measurements.
    let set = |measurement: &[u8]| {
        let snp = json!({ "measurements": [hex::encode(measurement)] });
        desk.json("set.json", &json!({ "bank": "sha256", "pcrs": {}, "snp": snp }))
    };
    let reference = set(&bytes[0x90..0xc0]);
    let judged = judge(&[&report], &[&asked[..], &["--reference", text(&reference)]].concat());
    judged.holds();
    assert_eq!(judged.document["reference"]["matches"], true);
    set(&[7; 48]);
    let judged = judge(&[&report], &[&asked[..], &["--reference", text(&reference)]].concat());
    judged.refused_by(&[]);
    assert_eq!(judged.document["reference"]["unlisted"], json!(["the launch measurement"]));
    let other = desk.json("other.json", &json!({ "bank": "sha256", "pcrs": { "0": "11".repeat(32) } }));
    judge(&[&report], &[&asked[..], &["--reference", text(&other)]].concat()).malformed("holds no the launch");

    // The same in every form in which people have it.
    let digits = desk.file("report.hex", format!("0x{}\n", hex::encode(&bytes)));
    let lines: Vec<String> = bytes.chunks(16).map(|line| format!("{line:02x?}\n").replace(['[', ']'], "")).collect();
    let dump = desk.file("report.txt", lines.concat());
    let certificate = |path: &Path| std::fs::read(path).unwrap();
    let item =
        SevSnpEvidence { report: Bytes(bytes.clone()), certificates: vec![Bytes(certificate(&vlek))], aux: None };
    let item = desk.json("item.json", &[Evidence::SevSnp(item)]);
    let pem = String::from_utf8(certificate(&asvk)).unwrap();
    let at = pem.rfind("-----BEGIN").unwrap();
    let leaf = strongroom_hardware::certificate::pem(&certificate(&vlek));
    let reversed = desk.file("chain.pem", format!("{}{}{leaf}", &pem[at..], &pem[..at]));
    let all = [&["--at", JUNE_2025, "--settings", text(&of_cloud)][..]].concat();
    for files in [[&*digits, &*reversed], [&*reversed, &*dump], [&*item, &*asvk]] {
        desk.verify("sev-snp", &files, &all).holds();
    }
    let auxblob = desk.file("auxblob", table_of(&[&certificate(&vlek)]));
    desk.verify("sev-snp", &[&report, &auxblob, &asvk], &all).holds();
    // Without a kind.
    let arguments = ["--json", "evidence", "verify", text(&report), text(&vlek), text(&asvk)];
    let ran = desk.cli.run(arguments.into_iter().chain(all.iter().copied())).unwrap().done().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap()["kind"], "sev-snp");
    // Without certificates nothing is passed that needs them.
    let judged = desk.verify("sev-snp", &[&report], &all);
    judged.holds();
    for row in ["S3", "S4", "S5", "S11", "S13"] {
        assert_eq!(judged.row(row), "not_checked", "{row}");
    }
    assert_eq!(judged.document["vouched"]["snp"], false);
}

#[test]
fn real_evidence_of_azure_is_judged_as_its_readme_says() {
    let Some(azure) = vectors("azure-vtpm") else { return };
    let desk = Desk::new();
    let mut table = Table::default();
    let ak = azure.join("akpub.pem");
    let judged = desk.verify("tpm2", &[&azure.join("quote.bin")], &["--ak", text(&ak)]);
    table.add("azure-vtpm/quote.bin, akpub.pem", "quote signature verifies", &judged);
    judged.holds();
    passed(&judged, &["Q1", "Q2", "Q7"]);

    let (hcl, quote) = (azure.join("snp/hcl-report.bin"), azure.join("snp/quote.bin"));
    let chain = azure.join("snp/vcek-chain.pem");
    let with = ["--collateral", text(&chain), "--at", JUNE_2025];
    let judge = |more: &[&str]| desk.verify("azure-snp-vtpm", &[&hcl], &[&with[..], more].concat());
    let bound = binds(&judge(&["--quote", text(&quote)]));
    let judged = judge(&["--quote", text(&quote), "--bind", &bound]);
    table.add("azure-vtpm/snp/", "AK bound to the report, report to AMD", &judged);
    judged.holds();
    passed(&judged, &["S1", "S3", "S5", "S9", "S11", "Q1", "Q2", "Q3", "Q7", "Q8"]);
    // Whose runtime data they are only the launch measurement says: anybody's guest can have AMD vouch for its own.
    assert_eq!((judged.row("S12"), &judged.document["vouched"]["azure"]), ("not_checked", &json!(false)));
    let paravisors = |measured: &str| {
        let settings = desk.json("data.json", &json!({ "snp": { "paravisors": [measured] } }));
        judge(&["--quote", text(&quote), "--bind", &bound, "--settings", text(&settings)])
    };
    let strange = paravisors(&"66".repeat(48));
    strange.refused_by(&["S12"]);
    assert_eq!(strange.document["vouched"]["azure"], false);
    let judged = paravisors(judged.document["report"]["measurement"].as_str().unwrap());
    table.add("azure-vtpm/snp/, its paravisor accepted", "the same", &judged);
    judged.holds();
    passed(&judged, &["S12", "S9"]);
    assert_eq!(judged.document["vouched"]["azure"], true);
    let claims = &judged.document["claims"]["azure"];
    assert_eq!(claims["vm_id"], "911B0EF8-9DBA-48B0-B275-4E4DF2D39252");
    assert_eq!(claims["pcrs"].as_object().map(serde_json::Map::len), Some(24));

    // The report alone may be of any time; another machine's quote, another's binding, a report that was changed.
    let judged = judge(&[]);
    judged.holds();
    for row in ["Q1", "Q3", "S9"] {
        assert_eq!(judged.row(row), "not_checked", "{row}");
    }
    assert_eq!(judged.document["vouched"]["azure"], false);
    let other = azure.join("quote.bin");
    judge(&["--quote", text(&other)]).refused_by(&["Q1"]);
    judge(&["--quote", text(&quote), "--bind", "00"]).refused_by(&["Q3"]);
    let mut bytes = std::fs::read(&hcl).unwrap();
    let at = bytes.windows(9).position(|window| window == b"911B0EF8-").unwrap();
    bytes[at] ^= 1;
    let changed = desk.file("changed", &bytes);
    let judged = desk.verify("azure-snp-vtpm", &[&changed], &with);
    assert_eq!((judged.code, judged.row("S12")), (Some(1), "refused"));
    // As the NV index gives it, with zeros behind; and told by its content.
    bytes[at] ^= 1;
    let padded = desk.file("padded", [bytes, vec![0; 1000]].concat());
    let ran = desk.cli.run(["evidence", "verify", text(&padded)].into_iter().chain(with)).unwrap();
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    // Signature and quote in files of their own, the values as a listing.
    let container = std::fs::read(&quote).unwrap();
    let message = container[8 + 256 + 8..container.len() - 8 - 24 * 32].to_vec();
    let (signature, message) = (desk.file("signature", &container[8..8 + 256]), desk.file("message", message));
    let values = container[container.len() - 24 * 32..].chunks(32).enumerate();
    let listing =
        values.fold("sha256:\n".to_owned(), |all, (pcr, value)| all + &format!("{pcr} : 0x{}\n", hex::encode(value)));
    let listing = desk.file("pcrs.txt", listing);
    let parts = ["--quote", text(&message), "--signature", text(&signature), "--pcrs", text(&listing)];
    let judged = judge(&[&parts[..], &["--bind", &bound]].concat());
    judged.holds();
    passed(&judged, &["Q1", "Q3", "Q7"]);
}

/// The table that a host lays beside a report: of each certificate an identifier, place and length, then zeros.
fn table_of(certificates: &[&[u8]]) -> Vec<u8> {
    let mut at = 24 * (certificates.len() + 1);
    let mut head = Vec::new();
    for certificate in certificates {
        head.extend([0x63; 16]);
        head.extend(u32::try_from(at).unwrap().to_le_bytes());
        head.extend(u32::try_from(certificate.len()).unwrap().to_le_bytes());
        at += certificate.len();
    }
    [head, vec![0; 24], certificates.concat()].concat()
}

/// What a quote binds, as row Q3 says it.
fn binds(judged: &Judged) -> String {
    let note = judged.note("Q3");
    note.split(|c: char| !c.is_ascii_hexdigit()).max_by_key(|word| word.len()).unwrap().to_owned()
}

#[test]
fn a_real_gpus_report_is_judged_as_its_readme_says() {
    let Some(nvidia) = vectors("nvidia") else { return };
    let desk = Desk::new();
    let mut table = Table::default();
    let (report, chain) = (nvidia.join("hopper-report.hex"), nvidia.join("hopper-cert-chain.pem"));
    let digits = std::fs::read_to_string(&report).unwrap();
    let nonce = &digits.trim()[8..72];
    let judged = desk.verify("nvidia-gpu", &[&report, &chain], &["--nonce", nonce, "--at", NOVEMBER_2026]);
    table.add("nvidia/hopper-report.hex, hopper-cert-chain.pem", "signature, chain and FWID verify", &judged);
    judged.holds();
    passed(&judged, &["G1", "G2"]);
    for row in ["G3", "G4", "G5"] {
        assert_eq!(judged.row(row), "not_checked", "{row}");
    }
    assert_eq!(judged.document["claims"]["gpus"][0]["driver_version"], "550.90.07");
    assert_eq!(judged.document["vouched"]["gpus"], true);
    desk.verify("nvidia-gpu", &[&report, &chain], &["--nonce", &"00".repeat(32)]).refused_by(&["G1"]);
    // A chain of another device, or none.
    let judged = desk.verify("nvidia-gpu", &[&report], &[]);
    judged.refused_by(&["G2"]);
    let mut other = hex::decode(digits.trim()).unwrap();
    other[100] ^= 1;
    let other = desk.file("other.bin", other);
    let judged = desk.verify("nvidia-gpu", &[&other, &chain], &[]);
    assert_eq!((judged.row("G2"), &judged.document["vouched"]["gpus"]), ("refused", &json!(false)));

    // As drivers, and as NVIDIA's tools, have them.
    let raw = hex::decode(digits.trim()).unwrap();
    let buffer = desk.file("buffer", [&raw[..], &[0; 500]].concat());
    let base64 = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes);
    let pem = std::fs::read(&chain).unwrap();
    let document = json!({ "arch": "HOPPER", "nonce": nonce, "evidence": base64(&raw), "certificate": base64(&pem) });
    let listed = desk.json("list.json", &[&document]);
    let of_text =
        json!({ "evidence": base64(digits.trim().as_bytes()), "certificate": String::from_utf8(pem).unwrap() });
    let of_text = desk.json("text.json", &of_text);
    for files in [vec![&*buffer, &*chain], vec![&*chain, &*buffer], vec![&*listed], vec![&*of_text]] {
        desk.verify("nvidia-gpu", &files, &["--nonce", nonce]).holds();
    }
    let twice = desk.json("twice.json", &[&document, &document]);
    desk.verify("nvidia-gpu", &[&twice], &[]).malformed("2 GPUs");

    // Manifests: these are of other versions than the report's.
    for (name, id) in [
        ("driver-rim-test-no-gpu.swidtag", "NV_GPU_DRIVER_GH100_545.00"),
        ("vbios-rim-test-no-gpu.swidtag", "NV_GPU_VBIOS_1010_0200_882_96005E0001"),
        ("vbios-rim-prod-1010_0200_882_96005E0001.swidtag", "NV_GPU_VBIOS_1010_0200_882_96005E0001"),
    ] {
        let manifest = nvidia.join(name);
        let judge = |manifest: &Path, at: &str| {
            desk.verify("nvidia-gpu", &[&report, &chain], &["--collateral", text(manifest), "--at", at])
        };
        let judged = judge(&manifest, JANUARY_2025);
        table.add(&format!("nvidia/{name}, with the report"), "parses; golden measurements by index", &judged);
        judged.refused_by(&["G3"]);
        // Its signature holds: under its own name, what is wrong is that it is not the report's.
        let named = desk.path(&format!("{id}.xml"));
        std::fs::copy(&manifest, &named).unwrap();
        let judged = judge(&named, JANUARY_2025);
        judged.refused_by(&["G3"]);
        assert!(
            judged.note("G3").contains(id) && judged.note("G3").contains("550.90.07") != name.starts_with("vbios"),
            "{}",
            judged.note("G3")
        );
        let judged = judge(&named, NOVEMBER_2026);
        judged.refused_by(&["G3"]);
        assert!(judged.note("G3").contains("expired"), "{}", judged.note("G3"));
        // The directory finds a manifest by the id that the report asks for; this one it does not ask for.
        let store = desk.path(&format!("store-{name}"));
        std::fs::create_dir_all(store.join("nvidia/rim")).unwrap();
        std::fs::copy(&manifest, store.join(format!("nvidia/rim/{id}.xml"))).unwrap();
        let judged = desk.verify("nvidia-gpu", &[&report, &chain], &["--store", text(&store), "--at", JANUARY_2025]);
        judged.holds();
        assert_eq!(judged.row("G3"), "not_checked");
    }
}

#[test]
fn real_quotes_of_tdx_are_judged_as_their_readme_says() {
    let Some(tdx) = vectors("tdx") else { return };
    let desk = Desk::new();
    let mut table = Table::default();
    let collateral = |name: &str| tdx.join(format!("{name}_collateral.json"));
    let inside = |name: &str| {
        let collateral = Collateral::parse(&std::fs::read(collateral(name)).unwrap()).unwrap();
        let begin = std::time::Duration::from_secs(collateral.valid_from() + 3600);
        rfc3339(begin.as_secs())
    };
    let judge = |name: &str, at: &str, more: &[&str]| {
        let collateral = collateral(name);
        desk.verify("tdx", &[&tdx.join(name)], &[&["--collateral", text(&collateral), "--at", at], more].concat())
    };
    let bytes = std::fs::read(tdx.join("tdx_quote")).unwrap();
    let bound = hex::encode(&bytes[48 + 520..48 + 584]);
    let judged = judge("tdx_quote", &inside("tdx_quote"), &["--report-data", &bound]);
    table.add("tdx/tdx_quote, its collateral, inside its validity", "verifies", &judged);
    judged.holds();
    assert_eq!(judged.document["claims"]["tdx"]["tcb"]["status"], "UpToDate", "{:#}", judged.document["claims"]);
    assert_eq!(judged.document["vouched"]["tdx"], true);
    let part = |judged: &Judged, title: &str| {
        let parts = judged.document["parts"].as_array().unwrap();
        parts.iter().find(|part| part["title"].as_str().unwrap().contains(title)).unwrap()["verdict"].clone()
    };
    assert_eq!((part(&judged, "report_data"), part(&judged, "TCB status")), (json!("passed"), json!("passed")));
    assert_eq!(part(&judged, "MRTD"), "not_checked");
    let judged = judge("tdx_quote", NOVEMBER_2026, &[]);
    table.add("tdx/tdx_quote, now", "collateral is past", &judged);
    judged.refused_by(&["T1"]);
    judge("tdx_quote", &inside("tdx_quote"), &["--report-data", &"00".repeat(64)]).refused_by(&["T1"]);

    let every = json!({ "tdx": { "tcb_statuses": ["UpToDate", "OutOfDate"] } });
    let every = desk.json("every.json", &every);
    let judged = judge("tdx_quote_outdated", &inside("tdx_quote_outdated"), &["--settings", text(&every)]);
    table.add("tdx/tdx_quote_outdated, its collateral", "reports OutOfDate", &judged);
    judged.refused_by(&["T1"]);

    let log = tdx.join("ccel-ovmf.bin");
    let judged = judge("tdx_quote", &inside("tdx_quote"), &["--ccel", text(&log)]);
    table.add("tdx/ccel-ovmf.bin, with another guest's quote", "replays to RTMRs: they are not this quote's", &judged);
    judged.refused_by(&["T1"]);
    assert_eq!(part(&judged, "event log"), "refused");
    assert!(judged.note("T1").contains("RTMR"), "{}", judged.note("T1"));

    // Another platform's collateral; none; by content; by a set.
    let quote = tdx.join("tdx_quote");
    let other = collateral("tdx_quote_outdated");
    desk.verify("tdx", &[&quote, &other], &[]).refused_by(&["T1"]);
    let judged = desk.verify("tdx", &[&quote], &[]);
    judged.holds();
    assert_eq!((judged.row("T1"), &judged.document["vouched"]["tdx"]), ("not_checked", &json!(false)));
    let at = inside("tdx_quote");
    let own = collateral("tdx_quote");
    let ran = desk.cli.run(["evidence", "verify", text(&own), text(&quote), "--at", &at]).unwrap().done().unwrap();
    assert!(ran.stdout.contains("TCB: UpToDate"), "{}", ran.stdout);
    let set = |mrtd: &str| {
        let set = desk.json("set.json", &json!({ "tdx": { "mrtds": [mrtd] } }));
        judge("tdx_quote", &at, &["--reference", text(&set)])
    };
    set(&hex::encode(&bytes[48 + 136..48 + 184])).holds();
    set(&"ab".repeat(48)).refused_by(&[]);
}

/// Seconds since 1970 as RFC 3339 has them.
fn rfc3339(seconds: u64) -> String {
    let arguments = ["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%dT%H:%M:%SZ"];
    let time = std::process::Command::new("date").args(arguments).output().unwrap().stdout;
    String::from_utf8(time).unwrap().trim().to_owned()
}

/// A stand-in's evidence is laid out as it should be, and nobody pinned its root.
#[test]
fn whoever_has_no_pinned_root_is_refused() {
    let desk = Desk::new();
    let at = ["--at", "2026-06-01T00:00:00Z"];
    let snp = Snp::default();
    let report = desk.file("report.bin", snp.report_bytes());
    let chain: Vec<PathBuf> =
        snp.chain().iter().enumerate().map(|(at, der)| desk.file(&format!("{at}.der"), der)).collect();
    let judged = desk.verify("sev-snp", &[&report, &chain[0], &chain[1]], &at);
    judged.refused_by(&["S3"]);
    assert_eq!((judged.row("S11"), &judged.document["vouched"]["snp"]), ("passed", &json!(false)));
    assert_eq!(judged.document["claims"]["snp"], Value::Null);

    let tdx = Tdx::default();
    let (quote, collateral) = (desk.file("quote", tdx.quote()), desk.file("collateral.json", tdx.collateral()));
    let judged = desk.verify("tdx", &[&quote, &collateral], &at);
    judged.refused_by(&["T1"]);
    assert!(judged.note("T1").contains("not pinned"), "{}", judged.note("T1"));
    let gpu = Gpu::default();
    let certificates = gpu.certificates().into_iter().map(Bytes).collect();
    let item = NvidiaGpuEvidence { report: Bytes(gpu.report_bytes()), certificates };
    let gpu_item = Evidence::NvidiaGpu(item);
    let judged = desk.verify("nvidia-gpu", &[&desk.json("gpu.json", &gpu_item)], &at);
    judged.refused_by(&["G2"]);
    let azure = Azure::default();
    let values = azure.quote.pcrs.iter().map(|(pcr, value)| (*pcr, Bytes(value.clone()))).collect();
    let item = AzureSnpVtpmEvidence {
        hcl_report: Bytes(azure.hcl_report()),
        message: Bytes(azure.message()),
        signature: Bytes(azure.signature()),
        pcrs: Pcrs { bank: PcrBank::Sha256, values: PcrMap(values) },
        certificates: azure.snp.chain().into_iter().map(Bytes).collect(),
    };
    let item = desk.json("azure.json", &Evidence::AzureSnpVtpm(item));
    let judged = desk.verify("azure-snp-vtpm", &[&item], &[&at[..], &["--bind", &"09".repeat(32)]].concat());
    judged.refused_by(&["S3"]);
    passed(&judged, &["Q1", "Q3", "Q7"]);

    // Several items: the kind says which.
    let quote = Evidence::Tdx(TdxEvidence { quote: Bytes(tdx.quote()), ccel: None });
    let both = desk.json("both.json", &[quote, gpu_item]);
    let judged = desk.verify("tdx", &[&both], &at);
    judged.holds();
    assert_eq!(judged.row("T1"), "not_checked");
    let ran = desk.cli.run(["evidence", "verify", text(&both)]).unwrap();
    assert!(ran.code == Some(2) && ran.stderr.contains("say which by --kind"), "{}", ran.stderr);
    desk.verify("sev-snp", &[&both], &[]).malformed("none of its 2 items is of sev-snp");
    // In words.
    let told = desk.cli.run(["evidence", "explain", text(&report)]).unwrap().done().unwrap().stdout;
    assert!(told.contains("report of version 3: Genoa, privilege level 0, signed by a VCEK"), "{told}");
}

/// Bytes that are no evidence, cut off, at random or without end: said so, and nothing panics.
#[test]
fn what_is_no_evidence_of_hardware_ends_with_a_word() {
    let desk = Desk::new();
    let kinds = ["sev-snp", "tdx", "nvidia-gpu", "azure-snp-vtpm"];
    let whole = [
        Snp::default().report_bytes(),
        Tdx::default().quote(),
        Gpu::default().report_bytes(),
        Azure::default().hcl_report(),
    ];
    let ends = |judged: &Judged, what: &str| {
        assert!(matches!(judged.code, Some(1 | 2)), "{what}: {:?} {}", judged.code, judged.stderr);
        assert!(!judged.stderr.contains("panicked") && judged.code != Some(101), "{what}: {}", judged.stderr);
    };
    for (kind, bytes) in kinds.iter().zip(&whole) {
        let mut random = bytes.clone();
        let mut state = 0x2545_f491_u32;
        for byte in &mut random {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = state.to_le_bytes()[3];
        }
        for (what, bytes) in [
            ("cut off", &bytes[..bytes.len() / 2]),
            ("one byte", &bytes[..1]),
            ("random", &random),
            ("doubled", &[&bytes[..], &bytes[..]].concat()),
            ("text", b"hello"),
            ("JSON", b"{\"a\": 1}"),
            ("digits", b"00112233"),
        ] {
            let judged = desk.verify(kind, &[&desk.file("given", bytes)], &[]);
            ends(&judged, &format!("{kind}, {what}"));
            // An envelope with something behind it is one still.
            if what != "random" && (*kind, what) != ("azure-snp-vtpm", "doubled") {
                assert_eq!(judged.code, Some(2), "{kind}, {what}: {:#}", judged.document);
            }
        }
        desk.verify(kind, &[&desk.file("given", b"")], &[]).malformed("empty");
        desk.verify(kind, &[&desk.file("given", vec![7; (4 << 20) + 1])], &[]).malformed("over 4194304 bytes");
        for (other, bytes) in kinds.iter().zip(&whole).filter(|(other, _)| *other != kind) {
            let judged = desk.verify(kind, &[&desk.file("given", bytes)], &[]);
            judged.malformed(&format!("give --kind {other}"));
        }
        let ends_with = desk.verify(kind, &[&desk.file("given", bytes), &desk.file("again", bytes)], &[]);
        ends_with.malformed("give one");
    }
    // What goes with evidence, cut off.
    let report = desk.file("report.bin", &whole[0]);
    let der = Snp::default().leaf.der();
    for (name, bytes) in [
        ("certificate", &der[..der.len() - 5]),
        ("json", b"{\"tcb_info\": 3}"),
        ("pem", b"-----BEGIN CERTIFICATE-----\nAA"),
    ] {
        let beside = desk.file(name, bytes);
        desk.verify("sev-snp", &[&report], &["--collateral", text(&beside)]).malformed(name);
    }
    // Options that are another kind's.
    desk.verify("sev-snp", &[&report], &["--nonce", &"00".repeat(32)]).malformed("give --report-data");
    desk.verify("sev-snp", &[&report], &["--report-data", "00"]).malformed("64");
    let judged = desk.verify("sev-snp", &[&report], &["--ccel", text(&report)]);
    assert!(judged.stderr.contains("--ccel: this says nothing of sev-snp"), "{}", judged.stderr);
    let ran = desk.cli.run(["evidence", "verify", text(&desk.file("text", "hello"))]).unwrap();
    assert!(ran.code == Some(2) && ran.stderr.contains("give --kind"), "{}", ran.stderr);
}

/// The commands of the page, word for word, over files of these names.
#[test]
fn commands_over_hardware_run_as_the_page_shows_them() {
    let desk = Desk::new();
    let (snp, tdx, gpu, azure) = (Snp::default(), Tdx::default(), Gpu::default(), Azure::default());
    let report = snp.report_bytes();
    let pem = |der: &[u8]| strongroom_hardware::certificate::pem(der);
    let table = table_of(&[&snp.leaf.der(), &snp.intermediate.der()]);
    let set = json!({ "bank": "sha256", "pcrs": {}, "snp": { "measurements": [hex::encode(snp.report.measurement)] } });
    let values = azure.quote.pcrs.iter();
    let listing =
        values.fold("sha256:\n".to_owned(), |all, (pcr, value)| all + &format!("{pcr} : 0x{}\n", hex::encode(value)));
    let item = Evidence::Tdx(TdxEvidence { quote: Bytes(tdx.quote()), ccel: None });
    let manifest = strongroom_hardware::nvidia::Manifest::of_driver(&gpu.report).text();
    let policy = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/baseline/data.json")).unwrap();
    let files: [(&str, Vec<u8>); 21] = [
        ("report.bin", report.clone()),
        ("report.hex", hex::encode(&report).into_bytes()),
        ("vcek.der", snp.leaf.der()),
        ("ask_ark_genoa.pem", (pem(&snp.intermediate.der()) + &pem(&snp.ark.der())).into_bytes()),
        ("statement", b"my challenge".to_vec()),
        ("auxblob", table),
        ("data.json", policy),
        ("guests.json", set.to_string().into_bytes()),
        ("quote.dat", tdx.quote()),
        ("collateral.json", tdx.collateral()),
        ("CCEL", strongroom_hardware::tdx::Ccel::default().bytes()),
        ("gpu.hex", hex::encode(gpu.report_bytes()).into_bytes()),
        ("gpu-chain.pem", gpu.certificates().iter().map(|der| pem(der)).collect::<String>().into_bytes()),
        ("NV_GPU_DRIVER_GH100_550.90.07.xml", manifest.into_bytes()),
        ("hcl.bin", azure.hcl_report()),
        ("quote.msg", azure.message()),
        ("quote.sig", azure.signature()),
        ("pcrs.txt", listing.into_bytes()),
        ("vcek-chain.pem", azure.snp.chain().iter().map(|der| pem(der)).collect::<String>().into_bytes()),
        ("evidence.json", serde_json::to_vec(&[item]).unwrap()),
        ("OVMF.fd", super::launch::ovmf(true)),
    ];
    for (name, bytes) in files {
        desk.file(name, bytes);
    }
    for name in ["vmlinuz", "initrd", "cmdline"] {
        desk.file(name, name);
    }
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/evidence.md")).unwrap();
    let shown = |line: &&str| line.contains("from-snp-image") || is_of_hardware(line);
    let shown: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("strongroom ")).filter(shown).collect();
    assert_eq!(shown, SHOWN);
    for line in SHOWN {
        let words = line.split(" > ").next().unwrap().split(' ');
        let run = desk.cli.command(words).current_dir(desk.dir.path()).output().unwrap();
        let (out, said) = (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        // Nobody has pinned the roots of stand-ins; nothing that is given is wrong, or is not looked at.
        let judged = line.contains("--kind");
        assert_eq!((run.status.code(), said.as_ref()), (Some(i32::from(judged)), ""), "{line}\n{out}");
    }
}

/// Commands of the page over evidence of hardware.
const SHOWN: [&str; 8] = [
    "evidence verify --kind sev-snp report.bin --collateral vcek.der --collateral ask_ark_genoa.pem --statement statement",
    "evidence verify --kind sev-snp report.hex auxblob --settings data.json --reference guests.json",
    "evidence verify --kind tdx quote.dat --collateral collateral.json --ccel CCEL --settings data.json",
    "evidence verify --kind nvidia-gpu gpu.hex gpu-chain.pem --collateral NV_GPU_DRIVER_GH100_550.90.07.xml",
    "evidence verify --kind azure-snp-vtpm hcl.bin --quote quote.msg --signature quote.sig --pcrs pcrs.txt --collateral vcek-chain.pem",
    "evidence verify evidence.json",
    "reference from-snp-image --ovmf OVMF.fd --vcpus 4,8 --vcpu-type EPYC-v4 --guest-features 21 > guests.json",
    "reference from-snp-image --ovmf OVMF.fd --kernel vmlinuz --initrd initrd --append-file cmdline --vcpus 4 --vcpu-type EPYC-v4",
];

fn is_of_hardware(line: &str) -> bool {
    let kinds = ["sev-snp", "tdx", "nvidia-gpu", "azure-snp-vtpm"];
    let kind = line.strip_prefix("evidence verify --kind ").and_then(|rest| rest.split(' ').next());
    kind.is_some_and(|kind| kinds.contains(&kind)) || line == "evidence verify evidence.json"
}

/// Every vector, cut off and with its beginning changed, under every kind: an exit code that means something.
#[test]
fn no_changed_vector_makes_a_panic() {
    let Some(all) = vectors("snp").and_then(|path| path.parent().map(Path::to_owned)) else { return };
    let desk = Desk::new();
    for folder in ["snp/milan-v2", "azure-vtpm", "azure-vtpm/snp", "nvidia", "tdx"] {
        for file in super::files(&all.join(folder)) {
            let bytes = std::fs::read(&file).unwrap();
            let mut changed = bytes.clone();
            changed[0] ^= 0xff;
            for (what, bytes) in [("cut off", &bytes[..bytes.len() * 2 / 3]), ("changed", &changed)] {
                let given = desk.file("given", bytes);
                for kind in ["sev-snp", "tdx", "nvidia-gpu", "azure-snp-vtpm"] {
                    let judged = desk.verify(kind, &[&given], &[]);
                    assert!(
                        matches!(judged.code, Some(0..=2)) && !judged.stderr.contains("panicked"),
                        "{}, {what}, {kind}: {:?} {}",
                        file.display(),
                        judged.code,
                        judged.stderr
                    );
                }
            }
        }
    }
}
