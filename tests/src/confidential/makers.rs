//! AMD and NVIDIA, as far as a test needs them: roots, and what they publish.

use super::below::{Confidential, GpuBelow, Parts};
use serde_json::json;
use std::sync::Arc;
use strongroom_collect::GpuState;
use strongroom_hardware::{
    certificate,
    nvidia::{Chain, Dice, Gpu, Manifest, Report as GpuReport, Status},
    snp::{Leaf, Product, Snp, leaf_extensions},
};
use strongroom_protocol::{
    identity::{Identity, IdentityKind},
    sha256,
};
use time::{Duration, OffsetDateTime};

/// The makers of a test's machines. Their roots are signed once: a root is pinned by all of its bytes.
pub struct Makers {
    amd: Snp,
    ark: Vec<u8>,
    ask: Vec<u8>,
    gpus: Chain,
    driver: Manifest,
    vbios: Manifest,
}

/// One thing that a maker publishes, as it is imported.
#[derive(Debug, Clone)]
pub struct Published {
    /// What it is, for people.
    pub name: String,
    /// DER, PEM or XML.
    pub bytes: Vec<u8>,
    /// The id of a manifest.
    pub id: Option<String>,
}

impl Default for Makers {
    fn default() -> Self {
        Self::new()
    }
}

impl Makers {
    /// Makers with keys of their own. AMD's are the process's, and slow to make.
    pub fn new() -> Self {
        let amd = Snp::new(Product::Genoa, Leaf::Vcek);
        let (ark, ask) = (amd.ark.der(), amd.intermediate.der());
        let honest = GpuReport::default();
        let driver = Manifest::of_driver(&honest);
        let vbios = Manifest { signer: Arc::clone(&driver.signer), ..Manifest::of_vbios(&honest) };
        Self { amd, ark, ask, gpus: Chain::of_device(), driver, vbios }
    }

    /// The roots as a set of pins (JSON): what a vault is opened with that is to trust these makers.
    pub fn pins(&self) -> Vec<u8> {
        let pin = |kind: &str, product: Option<&str>, sha256: [u8; 32]| {
            let mut pin = json!({
                "kind": kind, "name": "a stand-in", "sha256": hex::encode(sha256), "source": "made for a test",
            });
            if let (Some(product), Some(pin)) = (product, pin.as_object_mut()) {
                pin.insert("product".to_owned(), product.into());
            }
            pin
        };
        let pins = [
            pin("amd-ark", Some(self.amd.product.name()), sha256(&self.ark)),
            pin("nvidia-device-root", None, self.gpus.root_sha256()),
            pin("nvidia-rim-root", None, self.driver.signer.root_sha256()),
        ];
        json!({ "pins": pins }).to_string().into_bytes()
    }

    /// What the makers publish: AMD's authorities with their list, NVIDIA's with theirs, two manifests.
    pub fn endorsements(&self) -> Vec<Published> {
        let published = |name: &str, bytes: Vec<u8>| Published { name: name.to_owned(), bytes, id: None };
        let pem = |ders: &[Vec<u8>]| ders.iter().map(|der| certificate::pem(der)).collect::<String>().into_bytes();
        let mut all = vec![
            published("amd.pem", pem(&[self.ark.clone(), self.ask.clone()])),
            published("amd.crl", self.amd_list()),
            // Device and reporting key come with evidence.
            published("nvidia-devices.pem", pem(self.gpus.ders().get(2..).unwrap_or_default())),
            published("nvidia-rims.pem", pem(&self.driver.signer.ders())),
        ];
        for (of, chain) in [("devices", &self.gpus), ("rims", &*self.driver.signer)] {
            for (place, issuer) in chain.certificates.iter().take(3).enumerate() {
                all.push(published(&format!("nvidia-{of}-{place}.crl"), nvidia_status().crl(issuer)));
            }
        }
        for manifest in [&self.driver, &self.vbios] {
            let (id, bytes) = (manifest.id.clone(), manifest.text().into_bytes());
            all.push(Published { name: format!("{id}.xml"), bytes, id: Some(id) });
        }
        all
    }

    /// AMD's list of revoked certificates, of today.
    fn amd_list(&self) -> Vec<u8> {
        let mut list = self.amd.crl.clone();
        let utc = |at: OffsetDateTime| {
            let (year, month, day) = (at.year().rem_euclid(100), u8::from(at.month()), at.day());
            format!("{year:02}{month:02}{day:02}000000Z")
        };
        list.this_update = utc(today() - Duration::days(2));
        list.next_update = Some(utc(today() + Duration::days(60)));
        list.der()
    }

    /// A machine whose processor has this number, with GPUs of these.
    pub fn machine(&self, chip: u8, gpus: &[u16]) -> Confidential {
        let mut snp = self.amd.clone();
        snp.report.chip_id = [chip; 64];
        snp.report.report_id = [chip; 32];
        // As new as the tiers that are shipped ask for: SNP firmware 28, microcode 88h.
        let tcb = [10, 0, 0, 0, 0, 0, 28, 0x88];
        (snp.report.current_tcb, snp.report.committed_tcb) = (tcb, tcb);
        (snp.report.reported_tcb, snp.report.launch_tcb) = (tcb, tcb);
        let gpus = gpus.iter().map(|number| self.gpu(*number)).collect();
        let state = GpuState { gpus: 0, confidential: Some(true), dev_tools: Some(false), ready: Some(true) };
        let mut parts = Parts { snp, vcek: Vec::new(), ask: self.ask.clone(), gpus, state };
        self.certify(&mut parts);
        Confidential::of(parts)
    }

    /// Has AMD certify the processor's key anew, for the chip and the TCB that it reports now.
    pub fn certify(&self, parts: &mut Parts) {
        let snp = &mut parts.snp;
        snp.leaf.extensions = leaf_extensions(snp.product, Leaf::Vcek, &snp.report);
        parts.vcek = snp.leaf.der();
    }

    /// A GPU whose device certificate has this serial number.
    pub fn gpu(&self, number: u16) -> GpuBelow {
        let chain = self.gpus.another_device(&serial(number));
        GpuBelow::of(Gpu { chain, dice: Dice::default(), report: GpuReport::default() })
    }
}

/// A GPU's serial number: positive, and without a leading zero.
fn serial(number: u16) -> [u8; 4] {
    let [high, low] = number.to_be_bytes();
    [0x47, 0x50, high, low]
}

/// The identity of the GPU with this number.
pub(super) fn gpu_identity(number: u16) -> Identity {
    Identity { kind: IdentityKind::NvidiaGpu, value: hex::encode(serial(number)) }
}

fn nvidia_status() -> Status {
    let date = |at: OffsetDateTime| (at.year(), u8::from(at.month()), at.day());
    let (this, next) = (today() - Duration::days(2), today() + Duration::days(60));
    Status { this_update: date(this), next_update: Some(date(next)), ..Status::default() }
}

/// The day on which a vault judges.
fn today() -> OffsetDateTime {
    #[expect(clippy::disallowed_methods, reason = "the vault under test judges by its database's clock")]
    OffsetDateTime::now_utc()
}
