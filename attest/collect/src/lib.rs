//! Asks the hardware for evidence, and returns what it gives. Never interprets: what a quote
//! means is decided by `strongroom-attest`, on the vault.
//!
//! ```text
//! CollectorConfig ──open──> Collector ──Attester::collect──> Vec<Evidence>
//!                              │    └──Enroller::{identity, activate_credential, enrolment_quote}
//!                              ├── AkBlob     the AK, wrapped by the TPM, in the state directory
//!                              └── TpmDevice  one TPM; one connection for one operation
//!                                     └── TctiConfig  `device:/dev/tpmrm0`, `swtpm:host=…,port=…`
//! ```
//!
//! On a node with an agent, the agent has the collector, and everybody else an [`AgentAttester`], which is
//! an [`Attester`] too: see [`agent`]. [`NodeConfig`] says which of the two a node has.
//!
//! A client takes `&dyn` [`Attester`] and does not know which devices a node has. To extend the
//! crate by a device (SNP, TDX, GPU): a module with its own type that returns evidence items, a
//! field of [`Collector`] for it, and its items appended in [`Attester::collect`]. Each device
//! derives its tag from whether there is a caller; callers cannot name a tag, so nobody can have
//! bytes of their own signed under the enrolment tag.
//!
//! libtss2 waits without end; an operation runs on a thread of its own, and is given up at a deadline.
//! Nothing but an agent's address is read from the environment, and no handle or session outlives the operation that
//! made it, even one that failed.

pub mod agent;
mod ak;
mod collector;
mod deadline;
mod ek;
mod error;
mod log_source;
mod quote;
mod tcti;
mod tpm;

pub use agent::{AgentAddress, AgentAttester, AgentConfig, NodeConfig};
pub use ak::AkBlob;
pub use collector::{Attester, Collector, CollectorConfig, Enroller, EnrolmentQuote, TpmIdentity, Wanted};
pub use ek::{EkCertificates, EkChoice, EkKind};
pub use error::CollectError;
pub use log_source::{KERNEL_BOOT_LOG, KERNEL_IMA_LOG, LogSource};
pub use quote::Quote;
pub use tcti::{TctiConfig, TctiError};
pub use tpm::TpmDevice;
