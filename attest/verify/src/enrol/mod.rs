//! Enrolment of a node: rows E1 to E6.
//!
//! Nothing here keeps state. The caller verifies the EK certificate, checks the AK, makes a
//! credential, keeps the [`PendingActivation`] until the node answers, redeems it once, and then
//! verifies the enrolment quote by [`crate::quote::verify`] with [`EkIdentity::ek_name`]: its
//! row Q4 is what ties the AK to *this* public area of the EK.

mod ak;
mod anchors;
mod certificate;
mod credential;
mod identity;
mod kdf;
mod path;
mod template;

pub use ak::{AkProfile, check_ak};
pub use anchors::{TrustAnchorError, TrustAnchors};
pub use credential::{Credential, PendingActivation, SECRET_LENGTH, make_credential};
pub use identity::{EkIdentity, check_same_identity, examine, node_id, verify_ek_certificate};
pub use path::check_crl;
