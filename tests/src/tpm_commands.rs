//! Commands that only a test or a firmware gives to a TPM: extend, define, write, shut down.

use anyhow::{Context as _, bail};
use std::str::FromStr as _;
use tss_esapi::{
    Context, TctiNameConf,
    abstraction::{AsymmetricAlgorithmSelection, DefaultKey, ek::create_ek_object_2, nv::NvOpenOptions},
    attributes::NvIndexAttributesBuilder,
    constants::{CapabilityType, StartupType},
    handles::{NvIndexTpmHandle, PcrHandle},
    interface_types::{
        algorithm::HashingAlgorithm, ecc::EccCurve, resource_handles::NvAuth, session_handles::AuthSession,
    },
    structures::{CapabilityData, Digest, DigestValues, NvPublicBuilder, Public},
};

/// Connects to a TPM.
pub fn connect(tcti: &str) -> anyhow::Result<Context> {
    // Parsed first by our own rules, so that a test cannot reach a real TPM by a slip.
    if !tcti.starts_with("swtpm:") {
        bail!("the stand-ins talk to a software TPM only, not to {tcti}");
    }
    let name = TctiNameConf::from_str(tcti).context("reading the TCTI")?;
    Context::new(name).with_context(|| format!("connecting to {tcti}"))
}

/// Extends one PCR of the SHA-256 bank.
pub fn extend(tpm: &mut Context, pcr: u32, digest: [u8; 32]) -> anyhow::Result<()> {
    let mut digests = DigestValues::new();
    digests.set(HashingAlgorithm::Sha256, Digest::try_from(digest.to_vec())?);
    let handle = PcrHandle::try_from(pcr).with_context(|| format!("there is no PCR {pcr}"))?;
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| tpm.pcr_extend(handle, digests))?;
    Ok(())
}

/// `TPM2_Shutdown(CLEAR)`: what an operating system does before it powers off.
pub fn shut_down(tpm: &mut Context) -> anyhow::Result<()> {
    tpm.execute_without_session(|tpm| tpm.shutdown(StartupType::Clear)).context("shutting the TPM down")
}

/// Makes an NV index in the owner's hierarchy that anyone may read, and fills it.
pub fn store(tpm: &mut Context, index: u32, data: &[u8]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let attributes = NvIndexAttributesBuilder::new()
        .with_owner_write(true)
        .with_owner_read(true)
        .with_auth_read(true)
        .with_no_da(true)
        .build()?;
    let nv_public = NvPublicBuilder::new()
        .with_nv_index(NvIndexTpmHandle::new(index)?)
        .with_index_name_algorithm(HashingAlgorithm::Sha256)
        .with_index_attributes(attributes)
        .with_data_area_size(data.len())
        .build()?;
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        let new = NvOpenOptions::NewIndex { nv_public, auth_handle: NvAuth::Owner };
        new.open(tpm)?.write_all(data).with_context(|| format!("writing NV index {index:#010x}"))
    })
}

/// The point of the P-256 EK: x and y, 32 bytes each.
pub fn p256_ek(tpm: &mut Context) -> anyhow::Result<(Vec<u8>, Vec<u8>)> {
    let ek = create_ek_object_2(tpm, AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256), DefaultKey)?;
    let (public, _, _) = tpm.execute_without_session(|tpm| tpm.read_public(ek))?;
    match public {
        Public::Ecc { unique, .. } => Ok((unique.x().to_vec(), unique.y().to_vec())),
        other => bail!("the TPM made another kind of key: {other:?}"),
    }
}

/// How many keys and sessions are loaded: what an operation should leave at zero.
pub fn loaded(tpm: &mut Context) -> anyhow::Result<usize> {
    let mut count = 0;
    // Transient objects, loaded sessions, saved sessions (TPM 2.0 Library, Part 2, §7.2).
    for first in [0x8000_0000, 0x0200_0000, 0x0300_0000] {
        let (data, _) = tpm.execute_without_session(|tpm| tpm.get_capability(CapabilityType::Handles, first, 254))?;
        match data {
            CapabilityData::Handles(list) => count += list.into_inner().len(),
            other => bail!("asked for handles, got {other:?}"),
        }
    }
    Ok(count)
}
