//! Caps, checked before anything beyond the frame is parsed (`protocol.md`, "Release").

/// A request's body, bytes.
pub const BODY: usize = 4 << 20;
/// A statement, bytes: 4,096 objects of 80 characters each fit.
pub const STATEMENT: usize = 1 << 20;
/// Caller bytes, bytes.
pub const CALLER: usize = 64 << 10;
/// A frame that asks the node's agent, bytes: a statement in base64 and what goes with it.
pub const AGENT_REQUEST: usize = (64 << 10) + STATEMENT.div_ceil(3) * 4;
/// A frame that the node's agent answers with, bytes.
pub const AGENT_ANSWER: usize = 4 << 20;
/// Evidence items in a request.
pub const EVIDENCE_ITEMS: usize = 32;
/// A boot log, bytes.
pub const BOOT_LOG: usize = 1 << 20;
/// An IMA log, bytes.
pub const IMA_LOG: usize = 2 << 20;
/// An SEV-SNP report, bytes: exactly this many.
pub const SNP_REPORT: usize = 1184;
/// The certificate table beside an SEV-SNP report, bytes.
pub const SNP_AUX: usize = 64 << 10;
/// An envelope of Azure's vTPM, bytes.
pub const HCL_REPORT: usize = 16 << 10;
/// A TDX quote with its certification data, bytes.
pub const TDX_QUOTE: usize = 32 << 10;
/// A GPU's SPDM request and response, bytes.
pub const GPU_REPORT: usize = 64 << 10;
/// Objects named in one request.
pub const OBJECTS: usize = 4096;
/// Keys asked for in one request.
pub const KEYS: usize = 256;
/// Identities in one node record.
pub const IDENTITIES: usize = 256;
/// A TPM structure on the wire (`TPM2B_MAX_BUFFER` is smaller on every TPM known).
pub const TPM_STRUCTURE: usize = 8 << 10;
/// One certificate, bytes.
pub const CERTIFICATE: usize = 16 << 10;
/// Certificates in a chain.
pub const CERTIFICATES: usize = 8;
/// A possession request's body, bytes.
pub const POSSESSION_BODY: usize = 4 << 10;
/// A nonce lives this long, seconds.
pub const NONCE_LIFETIME: u64 = 60;
/// A burnt nonce is kept this long beyond its expiry, seconds.
pub const NONCE_KEPT: u64 = 300;
