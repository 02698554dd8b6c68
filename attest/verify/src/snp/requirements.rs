//! Reports held against what a site asks of them; [`SnpRequirements`] themselves are words of the protocol.

use super::{SnpRefused, report::MitigationVectors, tcb::above};
use strongroom_protocol::claims::{SnpClaims, SnpGuestPolicy, SnpPlatform, SnpProduct, SnpSigningKey, SnpTcb};
pub use strongroom_protocol::requirements::{MinimumTcb, MinimumTcbs, SnpRequirements};

/// Row S2: the product is not one that policy refuses.
pub(super) fn check_product(requirements: &SnpRequirements, product: SnpProduct) -> Result<(), SnpRefused> {
    if requirements.refused_products.contains(&product) { Err(SnpRefused::S2Refused { product }) } else { Ok(()) }
}

/// Row S3: VLEKs count only where policy lets them.
pub(super) fn check_key(requirements: &SnpRequirements, key: SnpSigningKey) -> Result<(), SnpRefused> {
    if key == SnpSigningKey::Vlek && !requirements.allow_vlek { Err(SnpRefused::S3Vlek) } else { Ok(()) }
}

/// Row S6: minima, and mitigations.
pub(super) fn check_tcbs(
    requirements: &SnpRequirements,
    claims: &SnpClaims,
    vectors: Option<MitigationVectors>,
) -> Result<(), SnpRefused> {
    let product = claims.product;
    match requirements.minimum_tcb.get(&product) {
        Some(minimum) => {
            check_minimum("reported", product, minimum.reported, claims.tcb.reported)?;
            check_minimum("committed", product, minimum.committed, claims.tcb.committed)?;
            check_minimum("launch", product, minimum.launch, claims.tcb.launch)?;
        }
        None if requirements.minimum_tcb.is_empty() => {}
        None => return Err(SnpRefused::S6NoMinimum { product }),
    }
    for &bit in &requirements.mitigations {
        let set = |vector: u64| vector.checked_shr(bit.into()).is_some_and(|rest| rest & 1 == 1);
        let refused = |which| SnpRefused::S6Mitigation { which, bit };
        match vectors {
            None => return Err(SnpRefused::S6NoMitigations { version: claims.version }),
            Some(vectors) if !set(vectors.launch) => return Err(refused("launch")),
            Some(vectors) if !set(vectors.current) => return Err(refused("current")),
            Some(_) => {}
        }
    }
    Ok(())
}

/// Row S7, but for what is always refused.
pub(super) fn check_setup(
    requirements: &SnpRequirements,
    policy: SnpGuestPolicy,
    platform: SnpPlatform,
) -> Result<(), SnpRefused> {
    let checks = [
        (requirements.smt_off && platform.smt, "smt_off", "switch SMT off in the host's firmware"),
        (requirements.single_socket && !policy.single_socket, "single_socket", "launch the guest with policy bit 20"),
        (requirements.cxl_off && policy.cxl_allowed, "cxl_off", "launch the guest without policy bit 21"),
        (requirements.aes_256_xts && !policy.aes_256_xts, "aes_256_xts", "launch the guest with policy bit 22"),
        (
            requirements.ciphertext_hiding && !platform.ciphertext_hiding,
            "ciphertext_hiding",
            "enable ciphertext hiding on the host",
        ),
        (
            requirements.alias_check_complete && !platform.alias_check_complete,
            "alias_check_complete",
            "update the host's firmware so that it looks for aliased memory",
        ),
    ];
    match checks.into_iter().find(|(fails, ..)| *fails) {
        Some((_, requirement, action)) => Err(SnpRefused::S7Setup { requirement, action }),
        None => Ok(()),
    }
}

/// Row S8: exactly the level that policy names.
pub(super) fn check_vmpl(requirements: &SnpRequirements, vmpl: u32) -> Result<(), SnpRefused> {
    if vmpl == requirements.vmpl { Ok(()) } else { Err(SnpRefused::S8Vmpl { expected: requirements.vmpl, got: vmpl }) }
}

fn check_minimum(which: &'static str, product: SnpProduct, minimum: MinimumTcb, tcb: SnpTcb) -> Result<(), SnpRefused> {
    match above(minimum.into(), tcb) {
        Some((part, expected, got)) => Err(SnpRefused::S6Minimum { which, product, part, expected, got }),
        None => Ok(()),
    }
}
