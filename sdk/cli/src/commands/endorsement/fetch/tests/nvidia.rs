//! NVIDIA's responder and its manifests: what is fetched is what a verification takes.

use super::*;
use strongroom_attest::{
    endorsements::Store,
    nvidia::{GpuExpectation, GpuRequirements, GuestWord, Revocation, answers, rim, verify},
};
use strongroom_hardware::nvidia::{AT, Certificate, Chain, Gpu, Manifest, Report, Responder, Status, pins};

struct Site {
    gpu: Gpu,
    manifests: [Manifest; 2],
    pins: Pins,
}

impl Site {
    fn new() -> Self {
        let driver = Manifest::of_driver(&Report::default());
        let vbios = Manifest { signer: driver.signer.clone(), ..Manifest::of_vbios(&Report::default()) };
        let gpu = Gpu::default();
        let pins = Pins::parse(pins(&[&gpu.chain], &[&driver.signer]).as_bytes()).unwrap();
        Self { gpu, manifests: [driver, vbios], pins }
    }

    fn wanted(&self) -> Vec<Wanted> {
        let manifests = self.manifests.iter().map(|manifest| Wanted::manifest(&manifest.id).unwrap());
        let chain = Wanted::of_chain(PinKind::NvidiaDeviceRoot, &self.gpu.certificates()).unwrap();
        manifests.chain(chain).collect()
    }

    /// What the services give, in the order in which they are asked: manifests, device, signer.
    fn published(&self, status: &Status) -> Answers {
        let manifest = |manifest: &Manifest| {
            let rim = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, manifest.text());
            ok(serde_json::json!({ "id": manifest.id, "rim": rim }).to_string())
        };
        let about = |chain: &Chain, skipped: usize| -> Answers {
            let pair = |pair: &[Certificate]| ok(status.ocsp(&pair[1], &pair[0], &Responder::Issuer));
            let all: Vec<_> = chain.certificates.windows(2).map(pair).collect();
            all.into_iter().rev().skip(skipped).collect()
        };
        let manifests = self.manifests.iter().map(manifest);
        manifests.chain(about(&self.gpu.chain, 1)).chain(about(&self.manifests[0].signer, 0)).collect()
    }
}

fn now() -> i64 {
    i64::try_from(AT).unwrap()
}

#[test]
fn what_is_fetched_is_what_a_gpu_is_judged_by() {
    let (site, directory) = (Site::new(), tempfile::tempdir().unwrap());
    let stand = Stand::new(site.published(&Status::default()));
    let mut to = Directory::open(directory.path(), site.pins.clone(), now()).unwrap();
    let all = fetched(&site.wanted(), &stand, &mut to);
    assert!(all.failed.is_empty() && all.revoked.is_empty(), "{all:?}");
    assert_eq!(all.written.iter().filter(|name| name.starts_with("nvidia/ocsp/")).count(), 6, "{all:?}");
    assert_eq!(stand.asked().iter().filter(|line| line.starts_with("POST / ")).count(), 6);
    drop(to);

    // Into an empty store, as a vault takes files: what waits for its issuer comes again.
    let mut store = Store::new(site.pins.clone());
    let mut waiting = all.written.clone();
    while !waiting.is_empty() {
        let before = waiting.len();
        waiting.retain(|name| {
            let id = name.strip_prefix("nvidia/rim/").and_then(|name| name.strip_suffix(".xml"));
            store.import(&std::fs::read(directory.path().join(name)).unwrap(), id, AT).is_err()
        });
        assert!(waiting.len() < before, "{waiting:?}");
    }
    let rim = |manifest: &Manifest| rim::verify(&manifest.id, store.manifest(&manifest.id).unwrap(), &site.pins, AT);
    let (driver, vbios) = (rim(&site.manifests[0]).unwrap(), rim(&site.manifests[1]).unwrap());
    let (report, certificates) = (site.gpu.report_bytes(), site.gpu.certificates());
    let evidence = GpuEvidence { report: &report, certificates: certificates.iter().map(Vec::as_slice).collect() };
    let found = answers(&store, &evidence, [Some(&driver), Some(&vbios)]);
    let requirements = GpuRequirements::default();
    let expect = GpuExpectation {
        nonce: Some(&site.gpu.report.nonce),
        pins: &site.pins,
        at: AT,
        driver_rim: Some(&driver),
        vbios_rim: Some(&vbios),
        record: None,
        revocation: Revocation { crls: &[], ocsp: &found },
        guest: Some(GuestWord { confidential: true, devtools: false }),
        requirements: &requirements,
    };
    assert!(verify(&evidence, &expect).unwrap().revocation_checked);
    let none = GpuExpectation { revocation: Revocation::default(), ..expect };
    assert!(verify(&evidence, &none).is_err(), "without answers");
}

#[test]
fn a_revoked_device_is_told_of_and_a_past_answer_is_not_written() {
    let site = Site::new();
    let run = |status: &Status| {
        let directory = tempfile::tempdir().unwrap();
        let mut to = Directory::open(directory.path(), site.pins.clone(), now()).unwrap();
        fetched(&site.wanted(), &Stand::new(site.published(status)), &mut to)
    };
    let device = site.gpu.chain.certificates[3].serial.clone();
    let all = run(&Status { revoked: vec![device.clone()], ..Status::default() });
    assert!(all.failed.is_empty(), "{all:?}");
    assert!(all.revoked[0].name.contains(&hex::encode(device)) && all.written.contains(&all.revoked[0].name));
    let past = Status { this_update: (2026, 11, 1), next_update: Some((2026, 11, 8)), ..Status::default() };
    let all = run(&past);
    assert_eq!(all.failed.len(), 6, "{all:?}");
    assert!(all.failed[0].problem.contains("whose end is past"), "{all:?}");
}

#[test]
fn one_command_at_a_time_fetches_into_a_directory_and_keeps_the_pace_of_the_last() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Directory::open(directory.path(), Pins::built_in().clone(), times::now().unix_timestamp());
    let first = open().unwrap();
    assert!(open().err().unwrap().message.contains("another command fetches into it"));
    first.notes().asked(Vendor::Amd);
    drop(first);
    let again = open().unwrap();
    let (client, time, stand) = (Client::new(None).unwrap(), Still::default(), Stand::new(vec![ok("a")]));
    Service::new(&client, &time, stand.bases()).after(again.notes()).get(Vendor::Amd, "/").unwrap();
    let waits = time.waits.borrow().clone();
    assert!(waits.len() == 1 && waits[0] > 5_000, "{waits:?}");
}
