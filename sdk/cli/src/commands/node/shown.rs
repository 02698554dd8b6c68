//! What this machine's own evidence shows: the identities that an operator types for it. Nothing is verified here; a
//! vault verifies them with the first request.

use crate::output::Failure;
use std::collections::BTreeSet;
use strongroom::{
    collect::Attester,
    evidence_to_look_at,
    protocol::{
        evidence::Evidence,
        identity::{Identity, IdentityKind},
    },
};
use strongroom_attest::{
    azure::{Envelope, RuntimeData},
    snp::AttestationReport,
    tdx::Quote,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What a machine shows of itself.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown {
    /// In the order of its devices.
    pub(crate) identities: Vec<Identity>,
    /// What of its evidence shows no identity, and why.
    pub(crate) nameless: Vec<String>,
}

impl Shown {
    /// Asks the devices, or the agent that owns them. A TPM is not told of: its node enrols by it.
    pub(crate) fn by(attester: &dyn Attester) -> Result<Self, Failure> {
        let mut shown = Self::default();
        for item in evidence_to_look_at(attester)? {
            match identity(&item) {
                Some(Ok(identity)) if shown.identities.contains(&identity) => {}
                Some(Ok(identity)) => shown.identities.push(identity),
                Some(Err(why)) => shown.nameless.push(format!("{}: {why}", item.kind())),
                None => {}
            }
        }
        Ok(shown)
    }

    /// Whether an operator can register the machine by it: a GPU names none.
    pub(crate) fn names_a_machine(&self) -> bool {
        self.identities.iter().any(|identity| identity.kind.is_platform())
    }

    /// What the operator types.
    pub(crate) fn import_line(&self) -> String {
        let all: Vec<String> = self.identities.iter().map(|identity| format!(" --identity {identity}")).collect();
        format!("strongroom node import{} --site SITE", all.concat())
    }
}

/// What an item says that it is of; `None` for a TPM's, which enrolment is for.
fn identity(item: &Evidence) -> Option<Result<Identity, &'static str>> {
    let read = |kind, value: &[u8], why| Identity::read(kind, &hex::encode(value)).map_err(|_| why);
    Some(match item {
        Evidence::Tpm2(_) => return None,
        Evidence::SevSnp(item) => AttestationReport::parse(&item.report.0)
            .map_err(|_| "its report cannot be read")
            .and_then(|report| report.chip_id().copied().ok_or(HIDDEN))
            .and_then(|chip| read(IdentityKind::SnpChip, &chip, HIDDEN)),
        Evidence::Tdx(item) => Quote::parse(&item.quote.0)
            .map_err(|_| "its quote cannot be read")
            .and_then(|quote| quote.said_identity().ok_or("its certificate names no platform (PPID)")),
        Evidence::NvidiaGpu(item) => {
            let certificates: Vec<&[u8]> = item.certificates.iter().map(|der| der.0.as_slice()).collect();
            device_serial(&certificates).ok_or("its chain has no device certificate").and_then(|serial| {
                read(IdentityKind::NvidiaGpu, &serial, "its device certificate has no serial number")
            })
        }
        Evidence::AzureSnpVtpm(item) => Envelope::parse(&item.hcl_report.0)
            .and_then(|envelope| RuntimeData::parse(envelope.runtime_data))
            .map_err(|_| "its envelope cannot be read")
            .and_then(|data| data.vm_id.ok_or("its envelope does not name the machine (vmUniqueId)"))
            .and_then(|id| Identity::read(IdentityKind::CloudVm, &id).map_err(|_| "its vmUniqueId is none")),
    })
}

const HIDDEN: &str = "the host hides the processor's id, by which nodes are told apart: have it shown (MASK_CHIP_ID)";

/// The serial number of a GPU's device certificate: the one whose key issued the reporting key's, which issued none.
fn device_serial(certificates: &[&[u8]]) -> Option<Vec<u8>> {
    let read = certificates.iter().map(|der| X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate));
    let all: Vec<X509Certificate<'_>> = read.collect::<Option<_>>()?;
    let issuers: BTreeSet<&[u8]> = all.iter().map(|one| one.issuer().as_raw()).collect();
    let leaf = all.iter().find(|one| !issuers.contains(one.subject().as_raw()))?;
    let device = all.iter().find(|one| one.subject() == leaf.issuer())?;
    Some(device.raw_serial().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SerialNumber};
    use strongroom::{
        collect::{CollectError, Wanted},
        protocol::{
            Bytes,
            evidence::{NvidiaGpuEvidence, SevSnpEvidence},
            limits,
        },
    };

    /// Devices that give these items.
    struct Given(Vec<Evidence>);

    impl Attester for Given {
        fn collect(&self, _: &[u8], _: Option<&[u8]>, _: Wanted<'_>) -> Result<Vec<Evidence>, CollectError> {
            Ok(self.0.clone())
        }
    }

    fn snp(chip: u8) -> Evidence {
        let mut report = vec![0; limits::SNP_REPORT];
        // Version 3, signature algorithm 1, reserved bit of the policy, Genoa, the chip (AMD 56860, table 23).
        for (at, byte) in [(0x00, 3), (0x34, 1), (0x0a, 2), (0x188, 0x19), (0x189, 0x11)] {
            report[at] = byte;
        }
        report[0x1a0..0x1e0].fill(chip);
        Evidence::SevSnp(SevSnpEvidence { report: Bytes(report), certificates: vec![], aux: None })
    }

    /// A chain of a root, a device with this serial number, and a reporting key; leaf last.
    fn gpu(serial: &[u8]) -> Evidence {
        let params = |name: &str, serial: &[u8]| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.serial_number = Some(SerialNumber::from_slice(serial));
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params
        };
        let keys: Vec<KeyPair> = (0..3).map(|_| KeyPair::generate().unwrap()).collect();
        let all = [params("root", &[1]), params("device", serial), params("reporting key", &[3])];
        let signed = |place: usize, by: usize| {
            let issuer = Issuer::from_params(&all[by], &keys[by]);
            Bytes(all[place].signed_by(&keys[place], &issuer).unwrap().der().to_vec())
        };
        let certificates = vec![signed(0, 0), signed(1, 0), signed(2, 1)];
        Evidence::NvidiaGpu(NvidiaGpuEvidence { report: Bytes(vec![1]), certificates })
    }

    #[test]
    fn a_machine_is_registered_by_what_its_evidence_shows() {
        let shown = Shown::by(&Given(vec![snp(0xab), gpu(&[0x47, 2]), gpu(&[0x47, 1]), gpu(&[0x47, 2])])).unwrap();
        let chip = format!("snp-chip:{}", "ab".repeat(64));
        let told: Vec<String> = shown.identities.iter().map(ToString::to_string).collect();
        assert_eq!(told, [chip.as_str(), "nvidia-gpu:4702", "nvidia-gpu:4701"]);
        assert!(shown.nameless.is_empty() && shown.names_a_machine());
        let line = format!(
            "strongroom node import --identity {chip} --identity nvidia-gpu:4702 --identity nvidia-gpu:4701 --site SITE"
        );
        assert_eq!(shown.import_line(), line);
    }

    #[test]
    fn what_shows_no_identity_is_told_and_names_no_machine() {
        let broken =
            Evidence::NvidiaGpu(NvidiaGpuEvidence { report: Bytes(vec![]), certificates: vec![Bytes(vec![7])] });
        let shown = Shown::by(&Given(vec![snp(0), broken, gpu(&[0x47])])).unwrap();
        assert_eq!(shown.identities.len(), 1);
        assert!(!shown.names_a_machine(), "a GPU names no machine");
        let [chip, gpu] = shown.nameless.as_slice() else { panic!("{:?}", shown.nameless) };
        assert!(chip.contains("sev-snp: the host hides") && gpu.contains("nvidia-gpu: its chain"), "{chip} {gpu}");
    }
}
