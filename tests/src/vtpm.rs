//! What Azure's paravisor makes in a virtual TPM: the key that quotes, and the envelope that names it.

use anyhow::{Context as _, bail};
use std::io::Write as _;
use strongroom_collect::{HCL_AK, HCL_REPORT};
use tss_esapi::{
    Context,
    abstraction::nv::NvOpenOptions,
    attributes::{NvIndexAttributesBuilder, ObjectAttributesBuilder},
    handles::{NvIndexTpmHandle, PersistentTpmHandle, TpmHandle},
    interface_types::{
        algorithm::{HashingAlgorithm, PublicAlgorithm, RsaSchemeAlgorithm},
        dynamic_handles::Persistent,
        key_bits::RsaKeyBits,
        resource_handles::{Hierarchy, NvAuth, Provision},
        session_handles::AuthSession,
    },
    structures::{
        NvPublicBuilder, Public, PublicBuilder, PublicKeyRsa, PublicRsaParametersBuilder, RsaExponent, RsaScheme,
    },
};

/// Who may read an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readable {
    /// The owner.
    ByOwner,
    /// Whoever has the index's own authorisation, which is empty.
    ByIndex,
}

/// Writes an envelope, in the place of the one that is there. A software TPM's index holds 2,048 bytes at the most.
///
/// # Errors
/// The TPM's.
pub fn write_envelope(tpm: &mut Context, data: &[u8], readable: Readable) -> anyhow::Result<()> {
    let index = NvIndexTpmHandle::new(HCL_REPORT)?;
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        if let Ok(old) = tpm.execute_without_session(|tpm| tpm.tr_from_tpm_public(TpmHandle::NvIndex(index))) {
            tpm.nv_undefine_space(Provision::Owner, old.into())?;
        }
        let by_owner = readable == Readable::ByOwner;
        let attributes = NvIndexAttributesBuilder::new()
            .with_owner_write(true)
            .with_owner_read(by_owner)
            .with_auth_read(!by_owner)
            .with_no_da(true)
            .build()?;
        let nv_public = NvPublicBuilder::new()
            .with_nv_index(index)
            .with_index_name_algorithm(HashingAlgorithm::Sha256)
            .with_index_attributes(attributes)
            .with_data_area_size(data.len())
            .build()?;
        let new = NvOpenOptions::NewIndex { nv_public, auth_handle: NvAuth::Owner };
        new.open(tpm)?.write_all(data).context("writing the envelope")
    })
}

/// Makes the key that an envelope names, RSA, restricted, RSASSA with SHA-256, and keeps it where Azure does. Its
/// modulus.
///
/// # Errors
/// The TPM's; there is such a key already.
pub fn make_key(tpm: &mut Context) -> anyhow::Result<Vec<u8>> {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_restricted(true)
        .with_sign_encrypt(true)
        .build()?;
    let scheme = RsaScheme::create(RsaSchemeAlgorithm::RsaSsa, Some(HashingAlgorithm::Sha256))?;
    let parameters = PublicRsaParametersBuilder::new()
        .with_scheme(scheme)
        .with_key_bits(RsaKeyBits::Rsa2048)
        .with_exponent(RsaExponent::default())
        .with_is_signing_key(true)
        .with_is_decryption_key(false)
        .with_restricted(true);
    let template = PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Rsa)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes)
        .with_rsa_parameters(parameters.build()?)
        .with_rsa_unique_identifier(PublicKeyRsa::default())
        .build()?;
    tpm.execute_with_session(Some(AuthSession::Password), |tpm| {
        let key = tpm.create_primary(Hierarchy::Owner, template, None, None, None, None)?;
        let place = Persistent::Persistent(PersistentTpmHandle::new(HCL_AK)?);
        tpm.evict_control(Provision::Owner, key.key_handle.into(), place)?;
        tpm.execute_without_session(|tpm| tpm.flush_context(key.key_handle.into()))?;
        match key.out_public {
            Public::Rsa { unique, .. } => Ok(unique.to_vec()),
            other => bail!("the TPM made another kind of key: {other:?}"),
        }
    })
}
