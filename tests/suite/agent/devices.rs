//! Several devices of one node: an Azure machine's vTPM beside a TPM, both software, and what is not there.

use super::{Agent, Rig};
use serde_json::{Value, json};
use std::{fs, process::Command};
use strongroom::collect::{
    Attester as _, AzureVtpm, Binding, CollectError, CollectorConfig, DeviceError, Devices, HCL_AK, HCL_REPORT,
    ReportDevice as _, TSM_REPORTS, Wanted,
};
use strongroom_protocol::{
    Bytes, Fixed,
    binding::{TAG_TPM, TAG_TPM_AGENT, tpm_extra_data},
    evidence::{AzureSnpVtpmEvidence, Evidence, EvidenceKind, PcrSelection},
    sha256,
    statement::X_WING_PUBLIC_KEY,
};
use strongroom_tests::{
    Swtpm, programs, tpm_commands,
    vtpm::{Readable, make_key, write_envelope},
};
use tss_esapi::{
    structures::{Attest, Signature},
    traits::UnMarshall as _,
};

/// An envelope as long as swtpm lets an index be; nothing here reads it.
fn envelope() -> Vec<u8> {
    b"HCLA".iter().copied().cycle().take(2000).collect()
}

/// Whether the quote is by the key of this modulus, and of these bytes.
fn is_quote(item: &AzureSnpVtpmEvidence, modulus: &[u8], extra_data: &[u8; 32]) -> bool {
    let Signature::RsaSsa(signature) = Signature::unmarshall(&item.signature.0).unwrap() else { return false };
    let key = ring::signature::RsaPublicKeyComponents { n: modulus, e: [1_u8, 0, 1].as_slice() };
    let algorithm = &ring::signature::RSA_PKCS1_2048_8192_SHA256;
    key.verify(algorithm, &item.message.0, signature.signature()).unwrap();
    Attest::unmarshall(&item.message.0).unwrap().extra_data().as_slice() == extra_data
}

fn azure(items: Vec<Evidence>) -> AzureSnpVtpmEvidence {
    let found = items.into_iter().find_map(|item| match item {
        Evidence::AzureSnpVtpm(item) => Some(item),
        _ => None,
    });
    found.unwrap()
}

#[test]
fn an_envelope_is_read_whole_and_its_key_quotes() {
    let dir = tempfile::tempdir().unwrap();
    let swtpm = Swtpm::start(dir.path()).unwrap();
    let config = CollectorConfig {
        devices: vec![EvidenceKind::AzureSnpVtpm],
        ..CollectorConfig::new(swtpm.tcti().parse().unwrap(), "/nonexistent".into())
    };
    let connect = || tpm_commands::connect(&swtpm.tcti()).unwrap();
    let vtpm = AzureVtpm::open(&config).unwrap();
    let refused = || match vtpm.check() {
        Err(CollectError::Device(error)) => error,
        other => panic!("{other:?}"),
    };
    assert!(matches!(refused(), DeviceError::HclKeyMissing { handle: HCL_AK, .. }), "{}", refused());
    let modulus = make_key(&mut connect()).unwrap();
    assert!(matches!(refused(), DeviceError::HclMissing { index: HCL_REPORT, .. }), "{}", refused());
    // Nothing that an SNP report would fit into.
    write_envelope(&mut connect(), &[1; 1183], Readable::ByOwner).unwrap();
    assert!(matches!(refused(), DeviceError::Size { length: 1183, .. }), "{}", refused());

    let (selection, bound) = (PcrSelection::default_sha256(), Binding::new(b"s", None));
    for readable in [Readable::ByOwner, Readable::ByIndex] {
        write_envelope(&mut connect(), &envelope(), readable).unwrap();
        assert!(vtpm.check().unwrap().contains("2000 bytes"));
        let item = azure(vtpm.evidence(&bound, Wanted::whole(&selection)).unwrap());
        assert_eq!(item.hcl_report.0, envelope());
        assert!(is_quote(&item, &modulus, &tpm_extra_data(TAG_TPM, b"s", None)));
        assert_eq!(item.pcrs.values.0.keys().copied().collect::<Vec<_>>(), selection.pcrs);
    }
    // A node of this device alone has no AK of its own, and needs none.
    let devices = Devices::open(&config).unwrap();
    let item = azure(devices.collect(b"s", Some(b"c"), Wanted::whole(&selection)).unwrap());
    assert!(is_quote(&item, &modulus, &tpm_extra_data(TAG_TPM_AGENT, b"s", Some(b"c"))));
    assert_eq!(tpm_commands::loaded(&mut connect()).unwrap(), 0, "something stayed loaded");
    let wrong = PcrSelection { pcrs: vec![24], ..selection };
    assert!(matches!(vtpm.evidence(&bound, Wanted::whole(&wrong)), Err(CollectError::Selection)));
}

/// The unit as it ships, with its drop-in.
#[test]
fn the_units_drop_in_opens_no_more_than_it_says() {
    let units = programs::project().join("deploy/systemd");
    let read = |name: &str| fs::read_to_string(units.join(name)).unwrap();
    let (unit, more) = (read("strongroom-agent.service"), read("strongroom-agent-confidential.conf"));
    for kept in ["CapabilityBoundingSet", "AmbientCapabilities", "DevicePolicy", "Protect", "Restrict", "SystemCall"] {
        assert!(!more.contains(&format!("\n{kept}")), "the drop-in changes {kept}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("strongroom-agent.service");
    let (unit, install) = unit.split_once("[Install]").unwrap();
    fs::write(&path, format!("{unit}\n{more}\n[Install]{install}")).unwrap();
    let mut analyze = Command::new("systemd-analyze");
    match analyze.args(["security", "--offline=true", "--no-pager", "--threshold=25"]).arg(&path).output() {
        Ok(run) => assert!(
            run.status.success(),
            "{}{}",
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr)
        ),
        Err(_) => programs::skip("devices", "systemd-analyze is not installed"),
    }
}

/// A release statement that names this caller.
fn statement(caller: &[u8]) -> Vec<u8> {
    let statement: Value = json!({
        "v": 1, "act": "release", "lease": null, "vault": Fixed([1; 32]), "nonce": Fixed([2; 40]),
        "client_random": Fixed([3; 16]),
        "recipient": { "kem": "x-wing", "public_key": Bytes(vec![4; X_WING_PUBLIC_KEY]) },
        "keys": [{ "asset": "minilm", "version": 1, "access": "read", "scope": "version" }],
        "job": null, "caller": { "sha256": Fixed(sha256(caller)) },
    });
    serde_json::to_vec(&statement).unwrap()
}

#[test]
fn an_agent_passes_on_what_it_was_told_to_give_and_nothing_more() {
    let rig = Rig::new();
    let mut tpm = tpm_commands::connect(&rig.member().node.tpm.tcti()).unwrap();
    let modulus = make_key(&mut tpm).unwrap();
    write_envelope(&mut tpm, &envelope(), Readable::ByOwner).unwrap();
    drop(tpm);
    let selection = PcrSelection::default_sha256();
    let items = |agent: &Agent| {
        let attester = agent.attester();
        let caller = attester.caller().unwrap().unwrap();
        let statement = statement(&caller);
        let extra_data = tpm_extra_data(TAG_TPM_AGENT, &statement, Some(&caller));
        (attester.collect(&statement, Some(&caller), Wanted::whole(&selection)).unwrap(), extra_data)
    };
    let kinds = |items: &[Evidence]| items.iter().map(Evidence::kind).collect::<Vec<_>>();
    let (alone, _) = items(&rig.agent);
    assert_eq!(kinds(&alone), [EvidenceKind::Tpm2], "others are sent unasked");

    let agent = Agent::of(rig.member(), "0600", &["--device", "azure-snp-vtpm", "--device", "tpm2"]);
    let (both, extra_data) = items(&agent);
    assert_eq!(kinds(&both), [EvidenceKind::AzureSnpVtpm, EvidenceKind::Tpm2]);
    assert!(agent.log().contains("an HCL report of 2000 bytes"), "{}", agent.log());
    let item = azure(both);
    assert_eq!(item.hcl_report.0, envelope());
    assert!(is_quote(&item, &modulus, &extra_data));
}

#[test]
fn an_agent_does_not_serve_without_a_device_that_it_was_told_to_give() {
    let rig = Rig::new();
    let member = rig.member();
    let (tcti, state) = (member.node.tpm.tcti(), member.cli.home().join("node"));
    let start = |devices: &[&str]| {
        let socket = rig.agent.dir.path().join("other.sock");
        let mut arguments =
            vec!["agent", "--accept-namespaces", "--tcti", &tcti, "--state-dir", state.to_str().unwrap()];
        arguments.extend(["--socket", socket.to_str().unwrap()]);
        arguments.extend(devices.iter().flat_map(|&device| ["--device", device]));
        let ran = member.cli.run(arguments).unwrap();
        assert!(!socket.exists(), "it made its socket");
        (ran.code.unwrap(), ran.stderr)
    };
    let (code, text) = start(&["tpm2", "azure-snp-vtpm"]);
    assert!(code == 4 && text.contains("0x81000003"), "{code}: {text}");
    let (code, text) = start(&["tpm2", "tpm2"]);
    assert!(code != 0 && text.contains("tpm2 twice"), "{code}: {text}");
    let (code, text) = start(&["auto"]);
    assert!(code == 2 && text.contains("no kind of evidence"), "{code}: {text}");
    if std::path::Path::new(TSM_REPORTS).exists() {
        return println!("skipped: this machine may be a confidential guest");
    }
    for (device, word) in [("sev-snp", "/dev/sev-guest"), ("tdx", "confidential guest")] {
        let (code, text) = start(&["tpm2", device]);
        assert!(code == 4 && text.contains(word), "{code}: {text}");
    }
    if !std::path::Path::new("/dev/nvidiactl").exists() {
        let (code, text) = start(&["tpm2", "nvidia-gpu"]);
        assert!(code == 4 && text.contains("libnvidia-ml.so.1"), "{code}: {text}");
    }
}
