//! All devices that a node's configuration names.

use crate::{
    azure::AzureVtpm,
    collector::{Attester, Collector, CollectorConfig, Wanted},
    device::{Binding, ReportDevice},
    device_error::DeviceError,
    error::CollectError,
    nvidia::NvidiaGpus,
    sev_snp::SevSnp,
    tdx::Tdx,
};
use std::collections::BTreeSet;
use strongroom_protocol::{
    evidence::{Evidence, EvidenceKind},
    limits,
};

/// A node's devices, each there when they were opened. Shared by threads.
pub struct Devices(Vec<Box<dyn ReportDevice>>);

impl Devices {
    /// Opens what `devices` names. The TPM's AK must be there: the node is enrolled.
    ///
    /// # Errors
    /// One of them is missing, or cannot be asked by this process; none or one twice is named.
    pub fn open(config: &CollectorConfig) -> Result<Self, CollectError> {
        let mut named = BTreeSet::new();
        if let Some(&device) = config.devices.iter().find(|device| !named.insert(**device)) {
            return Err(DeviceError::NamedTwice { device }.into());
        }
        if config.devices.is_empty() {
            return Err(DeviceError::NoneNamed.into());
        }
        let devices = config.devices.iter().map(|&kind| open(kind, config));
        Ok(Self(devices.collect::<Result<_, _>>()?))
    }

    /// These, as tests have them.
    pub fn of(devices: Vec<Box<dyn ReportDevice>>) -> Self {
        Self(devices)
    }
}

/// One kind, once it is known to be there.
fn open(kind: EvidenceKind, config: &CollectorConfig) -> Result<Box<dyn ReportDevice>, CollectError> {
    let device: Box<dyn ReportDevice> = match kind {
        // Opening it loads the AK, as a check would.
        EvidenceKind::Tpm2 => return Ok(Box::new(Collector::open_enrolled(config)?)),
        EvidenceKind::SevSnp => Box::new(SevSnp::system()),
        EvidenceKind::Tdx => Box::new(Tdx::system(config.ccel.clone())),
        EvidenceKind::NvidiaGpu => Box::new(NvidiaGpus::system()),
        EvidenceKind::AzureSnpVtpm => Box::new(AzureVtpm::open(config)?),
    };
    let found = device.check()?;
    tracing::info!(device = %kind, found, "opened");
    Ok(device)
}

impl Attester for Devices {
    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Evidence>, CollectError> {
        let binding = Binding::new(statement, caller);
        let mut items = Vec::new();
        for device in &self.0 {
            items.extend(device.evidence(&binding, wanted)?);
        }
        if items.len() > limits::EVIDENCE_ITEMS {
            return Err(DeviceError::TooManyItems { items: items.len(), most: limits::EVIDENCE_ITEMS }.into());
        }
        Ok(items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{agent::AgentAnswer, nvidia::tests::Gpus};
    use strongroom_protocol::evidence::PcrSelection;

    fn collect(devices: &Devices, caller: Option<&[u8]>) -> Result<Vec<Evidence>, CollectError> {
        devices.collect(b"s", caller, Wanted::whole(&PcrSelection::default_sha256()))
    }

    fn gpus(count: u32) -> Box<dyn ReportDevice> {
        Box::new(NvidiaGpus::over(Gpus::of(count)))
    }

    /// A device that is lost after it was opened.
    struct Lost;

    impl ReportDevice for Lost {
        fn kind(&self) -> EvidenceKind {
            EvidenceKind::SevSnp
        }
        fn check(&self) -> Result<String, CollectError> {
            Ok("there".to_owned())
        }
        fn evidence(&self, _: &Binding<'_>, _: Wanted<'_>) -> Result<Vec<Evidence>, CollectError> {
            Err(DeviceError::NoGpu.into())
        }
    }

    fn config(devices: &[EvidenceKind]) -> CollectorConfig {
        let tcti = "device:/nonexistent/tpm".parse().unwrap();
        CollectorConfig { devices: devices.to_vec(), ..CollectorConfig::new(tcti, "/nonexistent".into()) }
    }

    #[test]
    fn all_items_come_in_the_order_of_configuration() {
        let devices = Devices::of(vec![gpus(2), gpus(1)]);
        let kinds: Vec<_> = collect(&devices, None).unwrap().iter().map(Evidence::kind).collect();
        assert_eq!(kinds, [EvidenceKind::NvidiaGpu; 3]);
    }

    #[test]
    fn a_device_that_gives_nothing_is_not_left_out() {
        let devices = Devices::of(vec![gpus(1), Box::new(Lost)]);
        assert!(matches!(collect(&devices, None), Err(CollectError::Device(DeviceError::NoGpu))));
    }

    #[test]
    fn no_more_items_than_a_vault_accepts_and_those_fit_into_a_frame() {
        let items = collect(&Devices::of(vec![gpus(32)]), Some(b"c")).unwrap();
        assert_eq!(items.len(), limits::EVIDENCE_ITEMS);
        let mut frame = Vec::new();
        let answer = AgentAnswer::Evidence { evidence: items };
        crate::agent::write_frame(&mut frame, &answer, limits::AGENT_ANSWER).unwrap();
        let read: AgentAnswer = crate::agent::read_frame(&mut frame.as_slice(), limits::AGENT_ANSWER).unwrap();
        assert_eq!(read, answer);
        let error = collect(&Devices::of(vec![gpus(32), gpus(1)]), None).unwrap_err();
        assert!(matches!(error, CollectError::Device(DeviceError::TooManyItems { items: 33, most: 32 })), "{error}");
    }

    #[test]
    fn what_is_named_must_be_there_once() {
        let refused = |devices: &[EvidenceKind]| Devices::open(&config(devices)).err().unwrap();
        assert!(matches!(refused(&[]), CollectError::Device(DeviceError::NoneNamed)));
        let twice = refused(&[EvidenceKind::Tdx, EvidenceKind::SevSnp, EvidenceKind::Tdx]);
        assert!(
            matches!(twice, CollectError::Device(DeviceError::NamedTwice { device: EvidenceKind::Tdx })),
            "{twice}"
        );
        for kind in [EvidenceKind::Tpm2, EvidenceKind::AzureSnpVtpm] {
            assert!(matches!(refused(&[kind]), CollectError::DeviceMissing { .. }), "{kind}");
        }
    }

    #[test]
    fn a_configuration_names_the_tpm_alone_unless_it_says_more() {
        let read = |json: &str| serde_json::from_str::<CollectorConfig>(json);
        let least = r#"{"tcti":"device:/dev/tpmrm0","state_dir":"/s"}"#;
        assert_eq!(read(least).unwrap().devices, [EvidenceKind::Tpm2]);
        let more = least.replacen('{', r#"{"devices":["sev-snp","nvidia-gpu"],"#, 1);
        assert_eq!(read(&more).unwrap().devices, [EvidenceKind::SevSnp, EvidenceKind::NvidiaGpu]);
        for wrong in [r#"["auto"]"#, r#""auto""#, r#"["tpm"]"#] {
            assert!(read(&least.replacen('{', &format!(r#"{{"devices":{wrong},"#), 1)).is_err(), "{wrong}");
        }
    }
}
