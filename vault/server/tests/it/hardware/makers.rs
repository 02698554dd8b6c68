//! AMD, Intel and NVIDIA for tests, and the machines that they make: reports with keys of the test's own.

use crate::bench::{Bench, CALLER};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, OnceLock};
use strongroom_attest::Pins;
use strongroom_hardware::{
    azure::Azure,
    nvidia::{Chain, Gpu, Manifest, Report as GpuReport},
    snp::{Leaf, Product, Snp, leaf_extensions},
    tdx::Tdx,
};
use strongroom_protocol::{
    Bytes,
    admin::Role,
    binding::{
        TAG_NVIDIA, TAG_NVIDIA_AGENT, TAG_SNP, TAG_SNP_AGENT, TAG_TDX, TAG_TDX_AGENT, TAG_TPM, TAG_TPM_AGENT,
        gpu_nonce, report_data, tpm_extra_data,
    },
    evidence::{AzureSnpVtpmEvidence, Evidence, NvidiaGpuEvidence, PcrBank, PcrMap, Pcrs, SevSnpEvidence, TdxEvidence},
    release::ReleaseRequest,
    sha256,
    statement::Statement,
};

/// Roots and what they publish, made once: AMD's keys are slow to make, and a root is pinned by all of its bytes.
pub(crate) struct Makers {
    pub(crate) genoa: Snp,
    pub(crate) milan: Azure,
    pub(crate) intel: Mutex<Tdx>,
    genoa_ark: Vec<u8>,
    milan_ark: Vec<u8>,
    asks: [Vec<u8>; 2],
    gpus: Chain,
    manifests: [Manifest; 2],
}

pub(crate) fn makers() -> &'static Makers {
    static MAKERS: OnceLock<Makers> = OnceLock::new();
    MAKERS.get_or_init(|| {
        let (mut genoa, mut milan) = (Snp::new(Product::Genoa, Leaf::Vcek), Azure::default());
        for snp in [&mut genoa, &mut milan.snp] {
            "260101000000Z".clone_into(&mut snp.crl.this_update);
            snp.crl.next_update = Some("480101000000Z".to_owned());
        }
        let mut intel = Tdx::default();
        (intel.tcb_info.next_update, intel.qe_identity.next_update) = ((2048, 1, 1), (2048, 1, 1));
        (intel.lists.root_next_update, intel.lists.pck_next_update) = ((2048, 1, 1), (2048, 1, 1));
        let driver = Manifest::of_driver(&GpuReport::default());
        let vbios = Manifest { signer: Arc::clone(&driver.signer), ..Manifest::of_vbios(&GpuReport::default()) };
        Makers {
            genoa_ark: genoa.ark.der(),
            milan_ark: milan.snp.ark.der(),
            asks: [genoa.intermediate.der(), milan.snp.intermediate.der()],
            genoa,
            milan,
            intel: Mutex::new(intel),
            gpus: Chain::of_device(),
            manifests: [driver, vbios],
        }
    })
}

impl Makers {
    /// The roots that a vault of these tests is opened with.
    pub(crate) fn pins(&self) -> Pins {
        let pin = |kind: &str, product: Option<&str>, sha256: [u8; 32]| {
            let mut pin = json!({ "kind": kind, "name": "stand-in", "source": "made for a test" });
            pin["sha256"] = hex::encode(sha256).into();
            if let Some(product) = product {
                pin["product"] = product.into();
            }
            pin
        };
        let pins = [
            pin("amd-ark", Some("Genoa"), sha256(&self.genoa_ark)),
            pin("amd-ark", Some("Milan"), sha256(&self.milan_ark)),
            pin("intel-sgx-root", None, sha256(&self.intel.lock().unwrap().root())),
            pin("nvidia-device-root", None, self.gpus.root_sha256()),
            pin("nvidia-rim-root", None, self.manifests[0].signer.root_sha256()),
        ];
        Pins::parse(json!({ "pins": pins }).to_string().as_bytes()).unwrap()
    }

    /// Everything that a vault needs to judge honest machines.
    pub(crate) async fn publish(&self, bench: &Bench) {
        for der in [&self.genoa_ark, &self.milan_ark, &self.asks[0], &self.asks[1]] {
            import(bench, der.clone(), None).await;
        }
        for list in [&self.genoa.crl, &self.milan.snp.crl] {
            import(bench, list.der(), None).await;
        }
        let collateral = self.intel.lock().unwrap().collateral();
        import(bench, collateral, None).await;
        for der in self.manifests[0].signer.ders().into_iter().rev() {
            import(bench, der, None).await;
        }
        for manifest in &self.manifests {
            import(bench, manifest.text().into_bytes(), Some(&manifest.id)).await;
        }
    }

    /// The list by which AMD's intermediate is revoked from now on.
    pub(crate) fn revoked(&self) -> Vec<u8> {
        let mut list = self.genoa.crl.clone();
        "260201000000Z".clone_into(&mut list.this_update);
        list.revoked.push(self.genoa.intermediate.serial.clone());
        list.der()
    }
}

pub(crate) async fn import(bench: &Bench, bytes: Vec<u8>, id: Option<&str>) -> Value {
    let mut body = json!({ "bytes": Bytes(bytes) });
    if let Some(id) = id {
        body["id"] = id.into();
    }
    bench.post(Role::Endorser, "/v1/endorsements", body).await.ok()
}

/// What is bound in evidence.
#[derive(Clone, Copy)]
pub(crate) struct Bound<'a> {
    pub(crate) statement: &'a [u8],
    pub(crate) caller: Option<&'a [u8]>,
}

impl Bound<'_> {
    fn tag(self, own: &'static str, agents: &'static str) -> &'static str {
        if self.caller.is_some() { agents } else { own }
    }

    pub(crate) fn tpm(self) -> [u8; 32] {
        tpm_extra_data(self.tag(TAG_TPM, TAG_TPM_AGENT), self.statement, self.caller)
    }

    pub(crate) fn snp(self) -> [u8; 64] {
        report_data(self.tag(TAG_SNP, TAG_SNP_AGENT), self.statement, self.caller)
    }

    fn tdx(self) -> [u8; 64] {
        report_data(self.tag(TAG_TDX, TAG_TDX_AGENT), self.statement, self.caller)
    }

    pub(crate) fn gpu(self) -> [u8; 32] {
        gpu_nonce(self.tag(TAG_NVIDIA, TAG_NVIDIA_AGENT), self.statement, self.caller)
    }
}

/// A guest on a processor of AMD's, with its GPUs.
#[derive(Clone)]
pub(crate) struct Machine {
    pub(crate) snp: Snp,
    pub(crate) vcek: Vec<u8>,
    pub(crate) gpus: Vec<Arc<Mutex<Gpu>>>,
    serials: Vec<[u8; 4]>,
}

impl Machine {
    /// The machine with this processor and these GPUs.
    pub(crate) fn new(chip: u8, gpus: &[u8]) -> Self {
        let makers = makers();
        let mut snp = makers.genoa.clone();
        snp.report.chip_id = [chip; 64];
        snp.leaf.extensions = leaf_extensions(snp.product, Leaf::Vcek, &snp.report);
        let serials: Vec<[u8; 4]> = gpus.iter().map(|gpu| [0x47, 0x50, 0, *gpu]).collect();
        let gpu = |serial: &[u8; 4]| {
            Arc::new(Mutex::new(Gpu { chain: makers.gpus.another_device(serial), ..Gpu::default() }))
        };
        Self { vcek: snp.leaf.der(), snp, gpus: serials.iter().map(gpu).collect(), serials }
    }

    /// `KIND:VALUE` of its processor.
    pub(crate) fn chip(&self) -> String {
        format!("snp-chip:{}", hex::encode(self.snp.report.chip_id))
    }

    /// `KIND:VALUE` of each of its GPUs.
    pub(crate) fn gpu_ids(&self) -> Vec<String> {
        self.serials.iter().map(|serial| format!("nvidia-gpu:{}", hex::encode(serial))).collect()
    }

    pub(crate) fn report(&self, bound: Bound<'_>) -> Evidence {
        let mut snp = self.snp.clone();
        snp.report.report_data = bound.snp();
        let certificates = vec![Bytes(self.vcek.clone())];
        Evidence::SevSnp(SevSnpEvidence { report: Bytes(snp.report_bytes()), certificates, aux: None })
    }

    pub(crate) fn gpu_reports(&self, bound: Bound<'_>) -> Vec<Evidence> {
        let report = |gpu: &Arc<Mutex<Gpu>>| {
            let mut gpu = gpu.lock().unwrap();
            gpu.report.nonce = bound.gpu();
            let report = Bytes(gpu.report_bytes());
            let certificates = gpu.certificates().into_iter().map(Bytes).collect();
            Evidence::NvidiaGpu(NvidiaGpuEvidence { report, certificates })
        };
        self.gpus.iter().map(report).collect()
    }

    /// All of its evidence.
    pub(crate) fn evidence(&self, bound: Bound<'_>) -> Vec<Evidence> {
        [vec![self.report(bound)], self.gpu_reports(bound)].concat()
    }
}

/// Azure's evidence.
pub(crate) fn azure(machine: &Azure, bound: Bound<'_>) -> Evidence {
    azure_of_boot(machine, 0, bound)
}

/// After magic, type, the signer's name and the request's binding: a clock of eight bytes, then the counters.
const RESETS: std::ops::Range<usize> = 6 + 36 + 34 + 8..6 + 36 + 34 + 12;

/// The same, quoted after so many resets of the vTPM.
pub(crate) fn azure_of_boot(machine: &Azure, resets: u32, bound: Bound<'_>) -> Evidence {
    let mut machine = machine.clone();
    machine.quote.extra_data = bound.tpm().to_vec();
    let mut message = machine.message();
    message[RESETS].copy_from_slice(&resets.to_be_bytes());
    let value = machine.quote.signed_by.sign_rsassa_sha256(&message);
    let length = u16::try_from(value.len()).unwrap().to_be_bytes();
    let signature = [&[0, 0x14, 0, 0x0b][..], &length, &value].concat();
    let values = machine.quote.pcrs.iter().map(|(pcr, value)| (*pcr, Bytes(value.clone()))).collect();
    Evidence::AzureSnpVtpm(AzureSnpVtpmEvidence {
        hcl_report: Bytes(machine.hcl_report()),
        message: Bytes(message),
        signature: Bytes(signature),
        pcrs: Pcrs { bank: PcrBank::Sha256, values: PcrMap(values) },
        certificates: vec![Bytes(machine.snp.leaf.der())],
    })
}

/// A quote of Intel's only machine.
pub(crate) fn tdx(bound: Bound<'_>) -> Evidence {
    let mut machine = makers().intel.lock().unwrap();
    machine.quote.body.report_data = bound.tdx();
    Evidence::Tdx(TdxEvidence { quote: Bytes(machine.quote()), ccel: None })
}

/// The request of a statement with the evidence that `collect` gives.
pub(crate) fn request(statement: &Statement, collect: impl FnOnce(Bound<'_>) -> Vec<Evidence>) -> ReleaseRequest {
    let bytes = serde_json::to_vec(statement).unwrap();
    let caller = statement.caller.map(|_| CALLER);
    let evidence = collect(Bound { statement: &bytes, caller });
    ReleaseRequest { statement: Bytes(bytes), caller: caller.map(Bytes::from), job_token: None, evidence }
}
