//! One whole input of each kind of machine, as the vault makes them.

use super::text;
use serde_json::{Value, json};

fn with_claims(claims: &[(&str, Value)]) -> Value {
    let mut input: Value = serde_json::from_str(&text("input.example.json")).unwrap();
    let all = &mut input["claims"];
    for (kind, empty) in [("snp", json!(null)), ("tdx", json!(null)), ("azure", json!(null)), ("gpus", json!([]))] {
        all[kind] = empty;
    }
    for (kind, value) in claims {
        all[*kind] = value.clone();
    }
    input["node"]["identities"] = json!([{ "kind": "tpm-ek", "value": "55".repeat(32) }]);
    for reference in input["references"].as_object_mut().unwrap().values_mut() {
        reference["files"] = json!(false);
        (reference["snp"], reference["tdx"]) = (json!([]), json!([]));
    }
    input
}

/// A machine with a TPM, whose boot was measured.
pub(crate) fn tpm() -> Value {
    with_claims(&[])
}

/// A guest with two GPUs, and one reference set for each kind of guest.
fn guest(kind: &str, claims: Value) -> Value {
    let gpus = json!([gpu("0a1b2c3d"), gpu("0a1b2c3e")]);
    let mut input = with_claims(&[
        ("tpm", json!(null)),
        ("boot", json!(null)),
        ("ima", json!(null)),
        ("gpus", gpus),
        (kind, claims),
    ]);
    let node = &mut input["node"];
    node["tpm"] = json!("");
    let of_guest = json!({ "kind": "snp-chip", "value": "c1".repeat(64) });
    let of_gpus = ["0a1b2c3d", "0a1b2c3e"].map(|value| json!({ "kind": "nvidia-gpu", "value": value }));
    node["identities"] = json!([[of_guest].as_slice(), of_gpus.as_slice()].concat());
    input["keys"][0]["reference_sets"] = json!(["guests"]);
    input["claims"]["workload"] = json!({ "caller_measured": null, "verity_root": null, "containers": null });
    input["references"] = json!({ "guests": {
        "version": 1,
        "bank": "sha256",
        "pcrs": { "4": "a1".repeat(32) },
        "snp": ["ab".repeat(48)],
        "tdx": ["cd".repeat(48)],
        "files": false,
    } });
    input
}

/// A guest of SEV-SNP.
pub(crate) fn snp() -> Value {
    guest("snp", report())
}

/// A guest of TDX.
pub(crate) fn tdx() -> Value {
    let register = |byte: &str| json!(byte.repeat(48));
    guest(
        "tdx",
        json!({
            "platform": {
                "ppid": "01".repeat(16), "fmspc": "00806f050000", "pce_id": "0000", "cpu_svn": "05".repeat(16),
                "pce_svn": 13, "instance_id": null, "smt": true
            },
            "tcb": {
                "status": "UpToDate", "advisories": [], "date": 1_700_000_000, "evaluation_data_number": 18,
                "collateral_expires": 1_900_000_000
            },
            "module": { "mr_seam": register("5e"), "tee_tcb_svn": "05".repeat(16), "current_tee_tcb_svn": null },
            "guest": {
                "mrtd": register("cd"), "rtmr0": register("10"), "rtmr1": register("11"), "rtmr2": register("22"),
                "rtmr3": register("00"), "mr_config_id": register("00"), "mr_owner": register("00"),
                "mr_owner_config": register("00"), "attributes": ["sept_ve_disable"], "xfam": "0000000000061ae7",
                "td_id": null
            },
            "log": null
        }),
    )
}

/// A confidential machine of Azure.
pub(crate) fn azure() -> Value {
    let pcrs = tpm()["claims"]["tpm"]["pcrs"].clone();
    guest(
        "azure",
        json!({
            "snp": report(), "vm_id": "7b5a1c2e-0d5f-4c39-9f0e-2a41c0ffee00", "ak_sha256": "aa".repeat(32),
            "user_data": null, "secure_boot": true, "console_enabled": false, "pcr_bank": "sha256", "pcrs": pcrs
        }),
    )
}

fn report() -> Value {
    let tcb = json!({ "fmc": null, "boot_loader": 10, "tee": 0, "snp": 28, "microcode": 86 });
    json!({
        "version": 5, "product": "genoa", "chip_id": "c1".repeat(64), "signing_key": "vcek", "csp_id": null,
        "vmpl": 0, "measurement": "ab".repeat(48), "host_data": "00".repeat(32), "report_data": "07".repeat(64),
        "id_key_digest": "00".repeat(48), "author_key_digest": null, "family_id": "00".repeat(16),
        "image_id": "00".repeat(16), "guest_svn": 0, "report_id": "1d".repeat(32),
        "tcb": { "current": tcb, "committed": tcb, "reported": tcb, "launch": tcb },
        "firmware": { "current": "1.55.49", "committed": "1.55.49" },
        "mitigations": { "launch": [0, 1], "current": [0, 1] },
        "policy": {
            "abi_major": 1, "abi_minor": 55, "smt_allowed": true, "single_socket": false, "cxl_allowed": false,
            "aes_256_xts": false, "rapl_disabled": false, "ciphertext_hiding": false, "page_swap_disabled": false
        },
        "platform": {
            "smt": true, "tsme": false, "ecc": true, "rapl_disabled": false, "ciphertext_hiding": false,
            "alias_check_complete": true, "tio": false
        },
        "crl_made_at": 1_760_000_000
    })
}

fn gpu(device: &str) -> Value {
    let manifest = json!({ "tag": "T", "sha384": "ee".repeat(48), "root_sha256": "af".repeat(32), "compared": 12 });
    json!({
        "device": device, "device_key_sha256": "de".repeat(32), "report_key": "0f", "model": "GH100 A01 GSP BROM",
        "nonce": "07".repeat(32), "root_sha256": "af".repeat(32), "driver_version": "550.90.07",
        "vbios_version": "96.00.9F.00.01", "driver_rim": "NV_GPU_DRIVER_GH100_550.90.07",
        "vbios_rim": "NV_GPU_VBIOS_1010_0200_882_96009F0001", "fwid": "fd".repeat(48),
        "measurements": { "0": "00".repeat(48) }, "mode": "multi", "protected_pcie": null, "nvdec0_enabled": false,
        "devtools_off": "measurements", "manifests": { "driver": manifest, "vbios": manifest },
        "revocation_checked": true
    })
}
