//! Several devices of one node: an Azure machine's vTPM beside a TPM, both software, and what is not there.

use super::{Agent, Rig};
use serde_json::{Value, json};
use std::{fs, io::Write as _, process::Command};
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
use strongroom_tests::{Swtpm, programs, tpm_commands};
use tss_esapi::{
    Context,
    abstraction::nv::NvOpenOptions,
    attributes::{NvIndexAttributesBuilder, ObjectAttributesBuilder},
    handles::{NvIndexTpmHandle, PersistentTpmHandle, TpmHandle},
    interface_types::{
        algorithm::{HashingAlgorithm, PublicAlgorithm, RsaSchemeAlgorithm},
        dynamic_handles::Persistent,
        key_bits::RsaKeyBits,
        resource_handles::{Hierarchy, NvAuth, Provision},
        session_handles::AuthSession,
    },
    structures::{
        Attest, NvPublicBuilder, Public, PublicBuilder, PublicKeyRsa, PublicRsaParametersBuilder, RsaExponent,
        RsaScheme, Signature,
    },
    traits::UnMarshall as _,
};

/// An envelope as long as swtpm lets an index be; nothing here reads it.
fn envelope() -> Vec<u8> {
    b"HCLA".iter().copied().cycle().take(2000).collect()
}

/// Who may read an index.
#[derive(Clone, Copy)]
enum Readable {
    ByOwner,
    ByIndex,
}

/// Writes the paravisor's envelope, in the place of the one that is there.
fn write_envelope(tpm: &mut Context, data: &[u8], readable: Readable) {
    let index = NvIndexTpmHandle::new(HCL_REPORT).unwrap();
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        if let Ok(old) = tpm.execute_without_session(|tpm| tpm.tr_from_tpm_public(TpmHandle::NvIndex(index))) {
            tpm.nv_undefine_space(Provision::Owner, old.into()).unwrap();
        }
        let by_owner = matches!(readable, Readable::ByOwner);
        let attributes = NvIndexAttributesBuilder::new()
            .with_owner_write(true)
            .with_owner_read(by_owner)
            .with_auth_read(!by_owner)
            .with_no_da(true)
            .build()
            .unwrap();
        let nv_public = NvPublicBuilder::new()
            .with_nv_index(index)
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes)
            .with_data_area_size(data.len())
            .build()
            .unwrap();
        let new = NvOpenOptions::NewIndex { nv_public, auth_handle: NvAuth::Owner };
        new.open(tpm).unwrap().write_all(data).unwrap();
    });
}

/// Makes the key that the envelope names: RSA, restricted, RSASSA with SHA-256. Its modulus.
fn make_key(tpm: &mut Context) -> Vec<u8> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_restricted(true)
        .with_sign_encrypt(true)
        .build()
        .unwrap();
    let scheme = RsaScheme::create(RsaSchemeAlgorithm::RsaSsa, Some(HashingAlgorithm::Sha256)).unwrap();
    let parameters = PublicRsaParametersBuilder::new()
        .with_scheme(scheme)
        .with_key_bits(RsaKeyBits::Rsa2048)
        .with_exponent(RsaExponent::default())
        .with_is_signing_key(true)
        .with_is_decryption_key(false)
        .with_restricted(true);
    let template = PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Rsa)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_rsa_parameters(parameters.build().unwrap())
        .with_rsa_unique_identifier(PublicKeyRsa::default())
        .build()
        .unwrap();
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        let key = tpm.create_primary(Hierarchy::Owner, template, None, None, None, None).unwrap();
        let place = Persistent::Persistent(PersistentTpmHandle::new(HCL_AK).unwrap());
        tpm.evict_control(Provision::Owner, key.key_handle.into(), place).unwrap();
        match key.out_public {
            Public::Rsa { unique, .. } => unique.to_vec(),
            other => panic!("{other:?}"),
        }
    })
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
    let modulus = make_key(&mut connect());
    assert!(matches!(refused(), DeviceError::HclMissing { index: HCL_REPORT, .. }), "{}", refused());
    // Nothing that an SNP report would fit into.
    write_envelope(&mut connect(), &[1; 1183], Readable::ByOwner);
    assert!(matches!(refused(), DeviceError::Size { length: 1183, .. }), "{}", refused());

    let (selection, bound) = (PcrSelection::default_sha256(), Binding::new(b"s", None));
    for readable in [Readable::ByOwner, Readable::ByIndex] {
        write_envelope(&mut connect(), &envelope(), readable);
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
    let modulus = make_key(&mut tpm);
    write_envelope(&mut tpm, &envelope(), Readable::ByOwner);
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
