//! Confidential machines, whose makers are this test's own: SEV-SNP guests with GPUs, TDX guests, machines of Azure.
//!
//! ```text
//! Makers::new() ──pins()────────> a set of pins, for a vault that is to trust them (Vault::trusting)
//!       ├────────endorsements()─> what AMD and NVIDIA publish of them, to be imported
//!       ├────────machine(chip, [gpu, …]), turin(chip), provided(chip)──> Confidential, a guest of AMD's
//!       ├────────trust_domain(platform)──> TrustDomain, a guest of Intel's; intel().published() is its collateral
//!       └────────azure(vm, chip)──> AzureMachine, with a software TPM that the released program opens by itself
//! Confidential, TrustDomain ──devices(kinds)──> Devices of this process, as an agent or a job opens them
//!       ├──────── change(|parts| …)    makes anything of it wrong; relaunch() starts another guest
//!       └──────── Served::of(socket)   the same for `strongroom-for-tests`, which is the whole program over it
//! ```
//!
//! Each part below is asked as the real one is: reports by attributes in configfs, GPUs by a driver.

mod amd;
mod azure;
mod below;
mod devices;
mod intel;
mod makers;
mod socket;

pub use amd::set_tcb;
pub use azure::AzureMachine;
pub use below::{Below, Confidential, Parts};
pub use devices::devices;
pub use intel::{Domain, Intel, TrustDomain};
pub use makers::{Makers, Published};
pub use socket::{Beyond, Served};
