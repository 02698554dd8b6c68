//! What evidence binds, and what the vault signs: one tag for each purpose.

use crate::{
    ids::{DecisionId, LeaseId, VaultId},
    push_length_prefixed, sha256,
};

/// Tag of TPM evidence collected in process.
pub const TAG_TPM: &str = "strongroom/v1/tpm";
/// Tag of TPM evidence collected by the node agent for a caller.
pub const TAG_TPM_AGENT: &str = "strongroom/v1/tpm-agent";
/// Tag of an SEV-SNP report collected in process.
pub const TAG_SNP: &str = "strongroom/v1/snp";
/// Tag of an SEV-SNP report collected by the node agent for a caller.
pub const TAG_SNP_AGENT: &str = "strongroom/v1/snp-agent";
/// Tag of a TDX quote collected in process.
pub const TAG_TDX: &str = "strongroom/v1/tdx";
/// Tag of a TDX quote collected by the node agent for a caller.
pub const TAG_TDX_AGENT: &str = "strongroom/v1/tdx-agent";
/// Tag of a GPU's report collected in process.
pub const TAG_NVIDIA: &str = "strongroom/v1/nvidia";
/// Tag of a GPU's report collected by the node agent for a caller.
pub const TAG_NVIDIA_AGENT: &str = "strongroom/v1/nvidia-agent";
/// Tag of the quote that ends an enrolment. The agent never signs bytes given to it under this tag.
pub const TAG_ENROL: &str = "strongroom/v1/enrol";
/// Tag of a challenge's MAC.
pub const TAG_NONCE: &str = "strongroom/v1/nonce";
/// Tag of the vault's signature over a release or an attested renewal.
pub const TAG_RESPONSE: &str = "strongroom/v1/response";
/// Start of the HPKE `info` of a release.
pub const TAG_RELEASE: &str = "strongroom/v1/release";
/// Tag of a possession MAC.
pub const TAG_POSSESSION: &str = "strongroom/v1/possession";
/// Tag of the vault's signature over an answer to a possession MAC, and over an event.
pub const TAG_LEASE: &str = "strongroom/v1/lease";

/// `bound(tag) = tag || 0x00 || SHA-256(statement bytes) || SHA-256(caller bytes)`, with 32 zero
/// bytes where there is no caller.
#[must_use]
pub fn bound(tag: &str, statement: &[u8], caller: Option<&[u8]>) -> Vec<u8> {
    let mut out = tagged(tag, 64);
    out.extend_from_slice(&sha256(statement));
    out.extend_from_slice(&caller.map_or([0; 32], sha256));
    out
}

/// A TPM quote's `extraData`: SHA-256 of [`bound`].
#[must_use]
pub fn tpm_extra_data(tag: &str, statement: &[u8], caller: Option<&[u8]>) -> [u8; 32] {
    sha256(&bound(tag, statement, caller))
}

/// A GPU's nonce: SHA-256 of [`bound`].
#[must_use]
pub fn gpu_nonce(tag: &str, statement: &[u8], caller: Option<&[u8]>) -> [u8; 32] {
    sha256(&bound(tag, statement, caller))
}

/// The `report_data` of SEV-SNP and TDX: SHA-512 of [`bound`].
#[must_use]
pub fn report_data(tag: &str, statement: &[u8], caller: Option<&[u8]>) -> [u8; 64] {
    let digest = ring::digest::digest(&ring::digest::SHA512, &bound(tag, statement, caller));
    let mut out = [0; 64];
    out.copy_from_slice(digest.as_ref());
    out
}

/// What the vault signs under a release: tag, statement, leaf, envelope.
///
/// `leaf` is the Merkle leaf hash of the decision's entry (RFC 6962, 0x00 prefix).
#[must_use]
pub fn response_message(statement: &[u8], leaf: &[u8; 32], enc: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let mut envelope = Vec::with_capacity(8 + enc.len() + ciphertext.len());
    push_length_prefixed(&mut envelope, enc);
    push_length_prefixed(&mut envelope, ciphertext);
    let mut out = tagged(TAG_RESPONSE, 96);
    out.extend_from_slice(&sha256(statement));
    out.extend_from_slice(leaf);
    out.extend_from_slice(&sha256(&envelope));
    out
}

/// HPKE `info` of a release: `"strongroom/v1/release" || 0x00 || decision_id` (ASCII).
#[must_use]
pub fn release_info(decision: DecisionId) -> Vec<u8> {
    let mut out = tagged(TAG_RELEASE, 26);
    out.extend_from_slice(decision.to_string().as_bytes());
    out
}

/// What a possession MAC covers.
#[must_use]
pub fn possession_message(
    act: &str,
    vault: VaultId,
    lease: LeaseId,
    nonce: &[u8],
    client_random: &[u8; 16],
    body: &[u8],
) -> Vec<u8> {
    let mut out = tagged(TAG_POSSESSION, 160);
    push_length_prefixed(&mut out, act.as_bytes());
    out.extend_from_slice(vault.as_array());
    out.extend_from_slice(lease.as_array());
    out.extend_from_slice(nonce);
    out.extend_from_slice(client_random);
    out.extend_from_slice(&sha256(body));
    out
}

/// What the vault signs under an answer to a possession MAC; an event of the stream has its
/// counter (u64 big-endian) in place of the nonce.
#[must_use]
pub fn lease_message(act: &str, lease: LeaseId, nonce: &[u8], client_random: &[u8; 16], answer: &[u8]) -> Vec<u8> {
    let mut out = tagged(TAG_LEASE, 128);
    push_length_prefixed(&mut out, act.as_bytes());
    out.extend_from_slice(lease.as_array());
    out.extend_from_slice(nonce);
    out.extend_from_slice(client_random);
    out.extend_from_slice(&sha256(answer));
    out
}

/// What a challenge's MAC covers: tag, purpose, random, expiry.
#[must_use]
pub fn nonce_message(purpose: &str, random: &[u8; 16], expiry: &[u8; 8]) -> Vec<u8> {
    let mut out = TAG_NONCE.as_bytes().to_vec();
    push_length_prefixed(&mut out, purpose.as_bytes());
    out.extend_from_slice(random);
    out.extend_from_slice(expiry);
    out
}

fn tagged(tag: &str, more: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(tag.len() + 1 + more);
    out.extend_from_slice(tag.as_bytes());
    out.push(0);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binding_is_laid_out_as_written() {
        let mut expected = b"strongroom/v1/tpm\0".to_vec();
        expected.extend_from_slice(&sha256(b"statement"));
        expected.extend_from_slice(&[0; 32]);
        assert_eq!(bound(TAG_TPM, b"statement", None), expected);

        let mut expected = b"strongroom/v1/tpm-agent\0".to_vec();
        expected.extend_from_slice(&sha256(b"statement"));
        expected.extend_from_slice(&sha256(b"caller"));
        assert_eq!(bound(TAG_TPM_AGENT, b"statement", Some(b"caller")), expected);
    }

    #[test]
    fn an_empty_caller_is_not_no_caller() {
        assert_ne!(bound(TAG_TPM, b"s", None), bound(TAG_TPM, b"s", Some(b"")));
    }

    #[test]
    fn bytes_cannot_move_between_the_envelope_parts() {
        let leaf = [7; 32];
        assert_ne!(response_message(b"s", &leaf, b"ab", b"c"), response_message(b"s", &leaf, b"a", b"bc"));
    }
}
