//! Rows that nothing was given for: of every kind, which rows pass with just so much beside the evidence.

use super::{Desk, Judged, vectors};
use serde_json::json;
use std::path::{Path, PathBuf};

const JUNE_2025: &str = "2025-06-01T00:00:00Z";

/// The rows that passed, in the order in which they are shown.
fn passed(judged: &Judged) -> String {
    let rows = judged.document["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = rows.iter().filter(|row| row["verdict"] == "passed").filter_map(|row| row["row"].as_str());
    rows.collect::<Vec<_>>().join(" ")
}

/// A row counts as passed once what it judges by is given, and not before.
#[test]
fn a_row_that_nothing_was_given_for_is_never_shown_as_passed() {
    let Some(all) = vectors("snp").and_then(|path| path.parent().map(Path::to_owned)) else { return };
    let desk = Desk::new();
    let at = |name: &str| all.join(name);
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let settings = |name: &str, settings: serde_json::Value| text(desk.json(name, &settings));
    let snp = std::fs::read(at("snp/milan-v3-vlek-aws/report.bin")).unwrap();
    let quote = std::fs::read(at("tdx/tdx_quote")).unwrap();
    let gpu = std::fs::read_to_string(at("nvidia/hopper-report.hex")).unwrap();
    let nonce = gpu.trim()[8..72].to_owned();
    let (report_data, of_td) = (hex::encode(&snp[0x50..0x90]), hex::encode(&quote[48 + 520..48 + 584]));
    let minimum = json!({ "milan": { "reported": { "microcode": 1 } } });
    let zeros = json!({ "milan": { "reported": { "microcode": 0 } } });
    let of_cloud =
        |minimum: &serde_json::Value| json!({ "snp": { "vmpl": 1, "allow_vlek": true, "minimum_tcb": minimum } });
    let cloud = settings("cloud.json", of_cloud(&minimum));
    let lax = settings("lax.json", of_cloud(&zeros));
    let (vlek, asvk) = (text(at("snp/milan-v3-vlek-aws/vlek.der")), text(at("snp/roots/asvk_ark_milan.pem")));
    let chain = ["--collateral", &vlek, "--collateral", &asvk, "--at", JUNE_2025];
    let (azure, azure_quote) = (text(at("azure-vtpm/snp/vcek-chain.pem")), text(at("azure-vtpm/snp/quote.bin")));
    let of_azure = ["--collateral", &azure, "--at", JUNE_2025];
    let (gpu_chain, ak) = (text(at("nvidia/hopper-cert-chain.pem")), text(at("azure-vtpm/akpub.pem")));
    let ima = at("ima/ascii_runtime_measurements");
    let pcr = desk.verify("ima-log", &[&ima], &[]).document["pcrs"]["sha1"]["10"].clone();
    let pcr10 = settings("pcr10.json", json!({ "sha1": { "10": pcr } }));
    let log = at("eventlog/ubuntu-2104-no-secure-boot.bin");
    let values = desk.verify("tcg-log", &[&log], &[]).document["pcrs"]["sha256"].clone();
    let pcrs = settings("pcrs.json", json!({ "sha256": values }));

    let cases: Vec<(&str, &str, Vec<&str>, &str)> = vec![
        ("tcg-log", "eventlog/ubuntu-2104-no-secure-boot.bin", vec![], "L1 L2 L3 L4 L5 L6"),
        ("tcg-log", "eventlog/ubuntu-2104-no-secure-boot.bin", vec!["--pcrs", &pcrs], "L1 L2 L3 L4 L5 L6 L7"),
        ("ima-log", "ima/ascii_runtime_measurements", vec![], ""),
        ("ima-log", "ima/ascii_runtime_measurements", vec!["--pcrs", &pcr10], ""),
        ("tpm2", "azure-vtpm/quote.bin", vec![], "Q2 Q7 Q8"),
        ("tpm2", "azure-vtpm/quote.bin", vec!["--ak", &ak], "Q1 Q2 Q7 Q8"),
        ("sev-snp", "snp/milan-v3-vlek-aws/report.bin", vec!["--settings", &cloud], "S1 S2 S6 S7 S8"),
        ("sev-snp", "snp/milan-v3-vlek-aws/report.bin", vec!["--settings", &lax], "S1 S2 S7 S8"),
        (
            "sev-snp",
            "snp/milan-v3-vlek-aws/report.bin",
            [&["--settings", &cloud, "--report-data", &report_data], &chain[..]].concat(),
            "S1 S2 S13 S3 S5 S11 S9 S6 S7 S8",
        ),
        ("tdx", "tdx/tdx_quote", vec!["--report-data", &of_td], ""),
        ("nvidia-gpu", "nvidia/hopper-report.hex", vec!["--collateral", &gpu_chain], "G2"),
        ("nvidia-gpu", "nvidia/hopper-report.hex", vec!["--collateral", &gpu_chain, "--nonce", &nonce], "G1 G2"),
        ("azure-snp-vtpm", "azure-vtpm/snp/hcl-report.bin", vec![], "S1 S8"),
        ("azure-snp-vtpm", "azure-vtpm/snp/hcl-report.bin", of_azure.to_vec(), "S1 S2 S13 S3 S5 S11 S7 S8"),
        (
            "azure-snp-vtpm",
            "azure-vtpm/snp/hcl-report.bin",
            [&["--quote", &azure_quote], &of_azure[..]].concat(),
            "S1 S2 S13 S3 S5 S11 S7 S8 Q1 Q2 Q7 Q8",
        ),
    ];
    for (kind, file, options, expected) in cases {
        let judged = desk.verify(kind, &[&at(file)], &options);
        judged.holds();
        assert_eq!(passed(&judged), expected, "{kind}, {file}, {options:?}: {:#}", judged.document["rows"]);
    }
}
