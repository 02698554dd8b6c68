use super::*;
use crate::stand_in::{PublicSpec, RSA_A, RSA_B, SigningKey, Vendor};

#[test]
fn e6_the_node_is_the_digest_of_the_eks_public_area() {
    let vendor = Vendor::rsa();
    let identity = vendor.verify().unwrap();
    assert_eq!(identity.node_id(), NodeId::from(sha256(vendor.ek.as_bytes())));
    assert_eq!(identity.ek_name(), vendor.ek.name());
}

#[test]
fn e6_another_ek_or_another_ak_is_refused() {
    let (ek, ak) = (PublicSpec::rsa_ek(&RSA_A).public(), SigningKey::p256().spec().public());
    assert_eq!(check_same_identity(node_id(&ek), &ak.name(), &ek, &ak), Ok(()));
    let other = PublicSpec::rsa_ek(&RSA_B).public();
    assert_eq!(
        check_same_identity(node_id(&ek), &ak.name(), &other, &ak),
        Err(Refused::E6OtherEk { enrolled: node_id(&ek), presented: node_id(&other) })
    );
    let another = SigningKey::p256().spec().public();
    assert!(matches!(check_same_identity(node_id(&ek), &ak.name(), &ek, &another), Err(Refused::E6OtherAk { .. })));
}

#[test]
fn an_enrolment_is_reported_row_by_row() {
    let vendor = Vendor::rsa();
    let ak = SigningKey::p256().spec().public();
    let (leaf, intermediate) = (vendor.leaf_der(), &vendor.intermediate.certificate);
    let chain = [leaf.as_slice(), intermediate];
    let (report, found) = examine(&chain, &vendor.ek, &ak, &vendor.anchors(), &[], vendor.at);
    assert!(found.is_some() && report.holds());
    // Without CRLs the row as a whole is not shown as passed.
    assert_eq!(report.verdict("E2"), Some(Verdict::NotChecked));
    assert_eq!(report.verdict("E3"), Some(Verdict::Passed));
    assert_eq!(report.verdict("E5"), Some(Verdict::NotChecked));
    let (report, found) = examine(&chain, &vendor.ek, &vendor.ek, &vendor.anchors(), &[], vendor.at);
    assert!(found.is_none());
    assert_eq!((report.verdict("E4"), report.verdict("E3")), (Some(Verdict::Refused), Some(Verdict::Passed)));
}
