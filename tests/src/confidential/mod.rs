//! Confidential machines: an SEV-SNP guest with GPUs, whose makers are this test's own.
//!
//! ```text
//! Makers::new() ──pins()────────> a set of pins, for a vault that is to trust them (Vault::trusting)
//!       ├────────endorsements()─> what AMD and NVIDIA publish of them, to be imported
//!       └────────machine(chip, [gpu, …])──> Confidential
//! Confidential ──devices(kinds)──> Devices of this process, as an agent or a job opens them
//!       ├──────── change(|parts| …)    makes anything of it wrong; relaunch() starts another guest
//!       └──────── serve(socket)        the same for `strongroom-for-tests`, which is the whole program over it
//! ```
//!
//! Each part below is asked as the real one is: reports by attributes in configfs, GPUs by a driver.

mod below;
mod devices;
mod makers;
mod socket;

pub use below::{Below, Confidential, Parts};
pub use devices::devices;
pub use makers::{Makers, Published};
pub use socket::{Beyond, Served};
