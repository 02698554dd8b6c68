//! AMD, Intel and NVIDIA, as far as a test needs them: roots, what they publish, machines of theirs.

use super::{
    amd::Amd,
    azure::AzureMachine,
    below::{Confidential, GpuBelow},
    intel::{Intel, TrustDomain},
};
use serde_json::json;
use std::sync::Arc;
use strongroom_hardware::{
    certificate,
    nvidia::{Chain, Dice, Gpu, Manifest, Report as GpuReport, Status},
    snp::{Leaf, Product},
};
use strongroom_protocol::{
    identity::{Identity, IdentityKind},
    sha256,
};
use time::{Duration, OffsetDateTime};

/// The makers of a test's machines. Their roots are signed once: a root is pinned by all of its bytes.
pub struct Makers {
    genoa: Amd,
    turin: Amd,
    intel: Arc<Intel>,
    gpus: Chain,
    driver: Manifest,
    vbios: Manifest,
}

/// One thing that a maker publishes, as it is imported.
#[derive(Debug, Clone)]
pub struct Published {
    /// What it is, for people.
    pub name: String,
    /// DER, PEM, XML or JSON.
    pub bytes: Vec<u8>,
    /// The id of a manifest.
    pub id: Option<String>,
}

impl Published {
    pub(super) fn of(name: &str, bytes: Vec<u8>) -> Self {
        Self { name: name.to_owned(), bytes, id: None }
    }
}

impl Default for Makers {
    fn default() -> Self {
        Self::new()
    }
}

impl Makers {
    /// Makers with keys of their own. AMD's are the process's, and slow to make.
    pub fn new() -> Self {
        let honest = GpuReport::default();
        let driver = Manifest::of_driver(&honest);
        let vbios = Manifest { signer: Arc::clone(&driver.signer), ..Manifest::of_vbios(&honest) };
        let (genoa, turin) = (Amd::of(Product::Genoa), Amd::of(Product::Turin));
        Self { genoa, turin, intel: Arc::new(Intel::new()), gpus: Chain::of_device(), driver, vbios }
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
        let amd = |line: &Amd| pin("amd-ark", Some(line.product()), sha256(line.root()));
        let pins = [
            amd(&self.genoa),
            amd(&self.turin),
            pin("intel-sgx-root", None, sha256(&self.intel.root())),
            pin("nvidia-device-root", None, self.gpus.root_sha256()),
            pin("nvidia-rim-root", None, self.driver.signer.root_sha256()),
        ];
        json!({ "pins": pins }).to_string().into_bytes()
    }

    /// What AMD and NVIDIA publish: authorities with their lists, and two manifests.
    pub fn endorsements(&self) -> Vec<Published> {
        let mut all = [self.genoa.published(), self.turin.published()].concat();
        all.extend([
            // Device and reporting key come with evidence.
            Published::of("nvidia-devices.pem", pem(self.gpus.ders().get(2..).unwrap_or_default())),
            Published::of("nvidia-rims.pem", pem(&self.driver.signer.ders())),
        ]);
        for (of, chain) in [("devices", &self.gpus), ("rims", &*self.driver.signer)] {
            for (place, issuer) in chain.certificates.iter().take(3).enumerate() {
                all.push(Published::of(&format!("nvidia-{of}-{place}.crl"), nvidia_status().crl(issuer)));
            }
        }
        for manifest in [&self.driver, &self.vbios] {
            let (id, bytes) = (manifest.id.clone(), manifest.text().into_bytes());
            all.push(Published { name: format!("{id}.xml"), bytes, id: Some(id) });
        }
        all
    }

    /// Intel, whose collateral is not among [`Self::endorsements`]: it is of one kind of platform.
    pub fn intel(&self) -> &Intel {
        &self.intel
    }

    /// A machine whose processor, of the line Genoa, has this number, with GPUs of these.
    pub fn machine(&self, chip: u8, gpus: &[u16]) -> Confidential {
        let mut parts = self.genoa.processor(Leaf::Vcek, chip);
        parts.gpus = gpus.iter().map(|number| self.gpu(*number)).collect();
        Confidential::of(parts)
    }

    /// The same of the line Turin, without GPUs.
    pub fn turin(&self, chip: u8) -> Confidential {
        Confidential::of(self.turin.processor(Leaf::Vcek, chip))
    }

    /// A machine of a provider whose own key signs the reports of its processors, of the line Genoa.
    pub fn provided(&self, chip: u8) -> Confidential {
        Confidential::of(self.genoa.processor(Leaf::Vlek, chip))
    }

    /// A TDX guest on the platform with this number.
    pub fn trust_domain(&self, platform: u8) -> TrustDomain {
        TrustDomain::of(&self.intel, platform)
    }

    /// A machine of Azure on the processor with this number, which has booted; `vm` is its id.
    ///
    /// # Errors
    /// The software TPM does not start.
    pub fn azure(&self, vm: &str, chip: u8) -> anyhow::Result<AzureMachine> {
        AzureMachine::boot(self.genoa.processor(Leaf::Vcek, chip), vm)
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

pub(super) fn pem(ders: &[Vec<u8>]) -> Vec<u8> {
    ders.iter().map(|der| certificate::pem(der)).collect::<String>().into_bytes()
}

/// The day on which a vault judges.
pub(super) fn today() -> OffsetDateTime {
    #[expect(clippy::disallowed_methods, reason = "the vault under test judges by its database's clock")]
    OffsetDateTime::now_utc()
}
