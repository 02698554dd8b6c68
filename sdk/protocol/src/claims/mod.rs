//! Claims: the verified facts that are read from evidence, as policy, ledger, command line and documents name them.
//!
//! A claim has one name, its path in these types: `boot.secure_boot.enabled` is that in `input.claims` of a policy,
//! in a decision's explanation, and in what `strongroom evidence verify` prints. Only verification fills them in
//! (`strongroom-attest`); reading one from a document proves nothing. A claim holds what a digest or signature
//! covers, never a label beside it.

mod boot;
mod gpu;
mod ima;
mod snp;
mod tdx;
mod tolerance;
mod workload;

pub use boot::{Authority, BootClaims, BootPath, Loader, SecureBoot, SignatureDatabase};
pub use gpu::{GpuClaims, GpuManifest, GpuManifests, GpuMode};
pub use ima::{ImaClaims, Listed, ListedFile};
pub use snp::{
    AzureClaims, SnpClaims, SnpFirmware, SnpGuestPolicy, SnpMitigations, SnpPlatform, SnpProduct, SnpSigningKey,
    SnpTcb, SnpTcbs,
};
pub use tdx::{TdxAttribute, TdxClaims, TdxGuest, TdxLog, TdxModule, TdxPlatform, TdxTcb, TdxTcbStatus};
pub use tolerance::Tolerance;
pub use workload::WorkloadClaims;
