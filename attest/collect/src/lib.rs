//! Asks the hardware for evidence, and returns what it gives. Never interprets: what a quote
//! means is decided by `strongroom-attest`, on the vault.
//!
//! ```text
//! CollectorConfig ──open──> Devices ──Attester::collect──> Vec<Evidence>   all that `devices` names
//!                              └── dyn ReportDevice ──evidence(Binding)──> its items
//!        ├── Collector    the TPM with its AK; also Enroller::{identity, activate_credential, enrolment_quote}
//!        │      ├── AkBlob     the AK, wrapped by the TPM, in the state directory
//!        │      └── TpmDevice  one TPM; one connection for one operation
//!        │             └── TctiConfig  `device:/dev/tpmrm0`, `swtpm:host=…,port=…`
//!        ├── AzureVtpm    the report in an Azure machine's vTPM, and a quote by the key that it names
//!        ├── SevSnp, Tdx  by TsmFiles (configfs-tsm); SevSnp else by SevGuest (`/dev/sev-guest`)
//!        └── NvidiaGpus   by GpuDriver (NVML, loaded when it is asked)
//! ```
//!
//! On a node with an agent, the agent has the collector, and everybody else an [`AgentAttester`], which is
//! an [`Attester`] too: see [`agent`]. [`NodeConfig`] says which of the two a node has.
//!
//! A client takes `&dyn` [`Attester`] and does not know which devices a node has. To extend the crate by a
//! device: a module with its own type that is a [`ReportDevice`], over a trait where tests cannot have the
//! hardware; a [`EvidenceKind`]; a line in `Devices::open`. Each device derives its tag from whether there is a
//! caller ([`Binding`]); callers cannot name a tag, so nobody can have bytes of their own signed under the
//! enrolment tag. A device that configuration names and that is not there is an error, never left out: what a
//! node sends is what it was told to send.
//!
//! libtss2 waits without end; an operation runs on a thread of its own, and is given up at a deadline.
//! Nothing but an agent's address is read from the environment, and no handle or session outlives the operation that
//! made it, even one that failed.

pub mod agent;
mod ak;
mod azure;
mod collector;
mod deadline;
mod device;
mod device_error;
mod devices;
mod ek;
mod error;
mod log_source;
mod nvidia;
mod quote;
mod sev_snp;
mod tcti;
mod tdx;
mod tpm;
mod tsm;

pub use agent::{AgentAddress, AgentAttester, AgentConfig, NodeConfig};
pub use ak::AkBlob;
pub use azure::{AzureVtpm, HCL_AK, HCL_REPORT};
pub use collector::{Attester, Collector, CollectorConfig, Enroller, EnrolmentQuote, TpmIdentity, Wanted};
pub use device::{Binding, ReportDevice};
pub use device_error::DeviceError;
pub use devices::Devices;
pub use ek::{EkCertificates, EkChoice, EkKind};
pub use error::CollectError;
pub use log_source::{KERNEL_BOOT_LOG, KERNEL_CCEL, KERNEL_IMA_LOG, LogSource};
pub use nvidia::{GpuDriver, GpuReport, GpuState, NvidiaGpus, Nvml};
pub use quote::Quote;
pub use sev_snp::{SEV_GUEST, SevGuest, SevGuestDevice, SevSnp};
pub use tcti::{TctiConfig, TctiError};
pub use tdx::{TDX_GUEST, Tdx};
pub use tpm::TpmDevice;
pub use tsm::{ConfigFs, TSM_REPORTS, TsmFiles};
