//! What a node can say of itself, behind two traits; and its TPM, which is behind both.

use crate::{
    ak::AkBlob,
    device::{Binding, ReportDevice},
    ek::EkChoice,
    error::CollectError,
    log_source::LogSource,
    quote::Quote,
    tcti::TctiConfig,
    tpm::{TIMEOUT_S, TpmDevice},
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};
use strongroom_protocol::{
    Bytes, EnrolmentId, Fixed, VaultId,
    binding::{TAG_ENROL, tpm_extra_data},
    challenge::Nonce,
    enrol::{EnrolAct, EnrolStatement},
    evidence::{Evidence, EvidenceKind, PcrSelection, Tpm2Evidence},
    sha256,
};
use zeroize::Zeroizing;

/// IMA's PCR.
const IMA: u8 = 10;

/// Gives evidence that binds a statement: the node itself, or an agent that owns its devices.
pub trait Attester: Send + Sync {
    /// The caller bytes that evidence will bind, to be named by the statement; `None` where it is
    /// collected in process. The same for the life of a process, so that renewals can be told from
    /// requests of others.
    fn caller(&self) -> Result<Option<Vec<u8>>, CollectError> {
        Ok(None)
    }

    /// All evidence that the node has, each item bound to the statement's exact bytes, and to the
    /// caller's if there is one (the tags then end in `-agent`).
    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Evidence>, CollectError>;
}

/// Which evidence is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The PCRs that a quote selects.
    pub selection: &'a PcrSelection,
    /// Bytes of the node's IMA log that the vault has already, as its last answer of this boot says; 0 for the whole.
    pub ima_offset: u64,
}

impl<'a> Wanted<'a> {
    /// All that can be said of these PCRs.
    pub fn whole(selection: &'a PcrSelection) -> Self {
        Self { selection, ima_offset: 0 }
    }
}

/// Enrols the node by its TPM.
pub trait Enroller: Send + Sync {
    /// What `POST /v1/nodes` asks for.
    fn identity(&self) -> Result<TpmIdentity, CollectError>;

    /// The secret in the vault's credential; both arguments are `TPM2B` contents, without the size.
    fn activate_credential(
        &self,
        credential_blob: &[u8],
        encrypted_secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CollectError>;

    /// The quote that ends an enrolment, over a statement that the node writes itself.
    fn enrolment_quote(
        &self,
        vault: VaultId,
        nonce: Nonce,
        enrolment: EnrolmentId,
        selection: &PcrSelection,
    ) -> Result<EnrolmentQuote, CollectError>;
}

/// A node's TPM identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmIdentity {
    /// DER: the EK's certificate first, then issuers' if the TPM carries any.
    pub ek_certificate_chain: Vec<Vec<u8>>,
    /// The EK's `TPMT_PUBLIC`.
    pub ek_public: Vec<u8>,
    /// The AK's `TPMT_PUBLIC`.
    pub ak_public: Vec<u8>,
    /// The AK's name, 34 bytes.
    pub ak_name: Vec<u8>,
}

/// What `POST /v1/enrolments/{id}/activate` asks for beside the secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentQuote {
    /// [`EnrolStatement`] as JSON; the quote binds these bytes.
    pub statement: Vec<u8>,
    /// The quote.
    pub quote: Tpm2Evidence,
}

/// Configuration of a node's devices: of a [`Collector`], and of [`crate::Devices`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CollectorConfig {
    /// The TPM, or an Azure machine's vTPM: `device:/dev/tpmrm0`, or a software TPM's
    /// `swtpm:host=127.0.0.1,port=2321`.
    #[cfg_attr(test, schemars(with = "String"))]
    pub tcti: TctiConfig,
    /// Where the AK is kept, wrapped by the TPM; made with mode 0700 if it is not there.
    pub state_dir: PathBuf,
    /// Which EK to use.
    #[serde(default)]
    pub ek: EkChoice,
    /// Where the boot log comes from; the kernel's is `/sys/kernel/security/tpm0/binary_bios_measurements`.
    #[serde(default)]
    pub boot_log: LogSource,
    /// Where the IMA log comes from; the kernel's is `/sys/kernel/security/ima/binary_runtime_measurements`. It is
    /// sent where the quote covers PCR 10.
    #[serde(default)]
    pub ima_log: LogSource,
    /// Which devices give evidence, in this order: `tpm2` alone unless given. One that is named and not there is an
    /// error: nothing is left out in silence.
    #[serde(default = "devices")]
    pub devices: Vec<EvidenceKind>,
    /// Where the event log of a TDX guest comes from; the kernel's is `/sys/firmware/acpi/tables/data/CCEL`.
    #[serde(default)]
    pub ccel: LogSource,
    /// How long one operation of the TPM may take, seconds; 60 unless given. One that takes longer
    /// is given up.
    #[serde(default = "timeout_s")]
    pub tpm_timeout_s: u64,
}

impl CollectorConfig {
    /// The TPM, with its AK in `state_dir`; all else as it is by default.
    pub fn new(tcti: TctiConfig, state_dir: PathBuf) -> Self {
        let (boot_log, ima_log, ccel) = (LogSource::default(), LogSource::default(), LogSource::default());
        let (ek, devices, tpm_timeout_s) = (EkChoice::default(), devices(), timeout_s());
        Self { tcti, state_dir, ek, boot_log, ima_log, devices, ccel, tpm_timeout_s }
    }
}

/// A vault may judge fewer kinds than there are, and refuses what it does not judge: others are sent once somebody
/// has said so.
fn devices() -> Vec<EvidenceKind> {
    vec![EvidenceKind::Tpm2]
}

fn timeout_s() -> u64 {
    TIMEOUT_S
}

/// A node's TPM with its AK. Shared by threads.
pub struct Collector {
    tpm: TpmDevice,
    ak: AkBlob,
    boot_log: LogSource,
    ima_log: LogSource,
}

impl Collector {
    /// Opens the TPM and takes the AK from the state directory, or makes one there.
    ///
    /// An AK that this TPM did not make is an error: another one needs another enrolment.
    pub fn open(config: &CollectorConfig) -> Result<Self, CollectError> {
        let tpm = TpmDevice::open_within(&config.tcti, Duration::from_secs(config.tpm_timeout_s))?;
        let ak = if let Some(ak) = AkBlob::read(&config.state_dir)? {
            tpm.check_ak(&ak)?;
            ak
        } else {
            let kind = tpm.ek_certificate_chain(config.ek)?.kind;
            let ak = tpm.create_ak(kind)?.write(&config.state_dir)?;
            tracing::info!(device = %config.tcti, ek = %kind, "made an attestation key");
            ak
        };
        Ok(Self::over(tpm, ak, config))
    }

    /// The same for a node that is enrolled: its AK is there, or the configuration leads elsewhere.
    ///
    /// Making another AK would hide that, and the vault knows only the one that was enrolled.
    pub fn open_enrolled(config: &CollectorConfig) -> Result<Self, CollectError> {
        let tpm = TpmDevice::open_within(&config.tcti, Duration::from_secs(config.tpm_timeout_s))?;
        let ak = AkBlob::read(&config.state_dir)?
            .ok_or_else(|| CollectError::AkMissing { state_dir: config.state_dir.clone() })?;
        tpm.check_ak(&ak)?;
        Ok(Self::over(tpm, ak, config))
    }

    fn over(tpm: TpmDevice, ak: AkBlob, config: &CollectorConfig) -> Self {
        Self { tpm, ak, boot_log: config.boot_log.clone(), ima_log: config.ima_log.clone() }
    }

    /// The TPM.
    pub fn tpm(&self) -> &TpmDevice {
        &self.tpm
    }

    /// The AK.
    pub fn ak(&self) -> &AkBlob {
        &self.ak
    }

    fn quote(&self, extra_data: &[u8; 32], wanted: Wanted<'_>) -> Result<Tpm2Evidence, CollectError> {
        let boot_log = self.boot_log.boot_log()?;
        let Quote { message, signature, pcrs } = self.tpm.quote(&self.ak, extra_data, wanted.selection)?;
        // After the quote, so that the log has at least what the quote covers.
        let ima_log =
            if wanted.selection.pcrs.contains(&IMA) { self.ima_log.ima_log(wanted.ima_offset)? } else { None };
        let ima_offset = ima_log.as_ref().map(|_| wanted.ima_offset).filter(|&offset| offset > 0);
        Ok(Tpm2Evidence {
            ak: Fixed(sha256(&self.ak.name())),
            message: Bytes(message),
            signature: Bytes(signature),
            pcrs,
            boot_log: boot_log.map(Bytes),
            ima_log: ima_log.map(Bytes),
            ima_offset,
        })
    }
}

/// The TPM's quote alone, whatever else `devices` names: for enrolments, which know no other.
impl Attester for Collector {
    fn collect(
        &self,
        statement: &[u8],
        caller: Option<&[u8]>,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Evidence>, CollectError> {
        self.evidence(&Binding::new(statement, caller), wanted)
    }
}

impl ReportDevice for Collector {
    fn kind(&self) -> EvidenceKind {
        EvidenceKind::Tpm2
    }

    fn check(&self) -> Result<String, CollectError> {
        self.tpm.check_ak(&self.ak)?;
        Ok(format!("{}: the AK is this TPM's", self.tpm.tcti()))
    }

    fn evidence(&self, binding: &Binding<'_>, wanted: Wanted<'_>) -> Result<Vec<Evidence>, CollectError> {
        Ok(vec![Evidence::Tpm2(self.quote(&binding.tpm(), wanted)?)])
    }
}

impl Enroller for Collector {
    fn identity(&self) -> Result<TpmIdentity, CollectError> {
        // The AK decides which EK it is: the configuration may have changed since it was made.
        let kind = self.ak.kind();
        let ek_certificate_chain = self.tpm.ek_certificate_chain(kind.into())?.chain;
        Ok(TpmIdentity {
            ek_certificate_chain,
            ek_public: self.tpm.ek_public(kind)?,
            ak_public: self.ak.public().to_vec(),
            ak_name: self.ak.name(),
        })
    }

    fn activate_credential(
        &self,
        credential_blob: &[u8],
        encrypted_secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CollectError> {
        self.tpm.activate_credential(&self.ak, credential_blob, encrypted_secret)
    }

    fn enrolment_quote(
        &self,
        vault: VaultId,
        nonce: Nonce,
        enrolment: EnrolmentId,
        selection: &PcrSelection,
    ) -> Result<EnrolmentQuote, CollectError> {
        let statement = EnrolStatement {
            v: 1,
            act: EnrolAct::Enrol,
            vault,
            nonce,
            enrolment,
            ek_sha256: Fixed(sha256(&self.tpm.ek_public(self.ak.kind())?)),
            ak_name: Bytes(self.ak.name()),
        };
        let statement = serde_json::to_vec(&statement).map_err(CollectError::Statement)?;
        let extra_data = tpm_extra_data(TAG_ENROL, &statement, None);
        let quote = self.quote(&extra_data, Wanted::whole(selection))?;
        Ok(EnrolmentQuote { statement, quote })
    }
}
