//! Stored revocation: lists and answers.

use super::{Certificate, Date, Key};
use rcgen::{
    CertificateRevocationListParams, ExtendedKeyUsagePurpose, KeyIdMethod, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use ring::digest::{Context, SHA384};
use yasna::{
    Tag, construct_der,
    models::{GeneralizedTime, ObjectIdentifier},
};

const ECDSA_SHA384: [u64; 7] = [1, 2, 840, 10045, 4, 3, 3];

/// What a list or an answer says.
#[derive(Debug, Clone)]
pub struct Status {
    /// When it was made.
    pub this_update: Date,
    /// Until when it speaks; an answer may leave it open.
    pub next_update: Option<Date>,
    /// Revoked serial numbers.
    pub revoked: Vec<Vec<u8>>,
    /// An answer says that it does not know the certificate.
    pub unknown: bool,
    /// An extension of an answer about its one certificate: identifier, and whether it is critical.
    pub extension: Option<(Vec<u64>, bool)>,
}

/// Who signs an answer.
pub enum Responder<'a> {
    /// The certificate's issuer.
    Issuer,
    /// Somebody whom the issuer named, with or without the purpose.
    Named {
        /// His certificate before it is signed.
        certificate: &'a Certificate,
        /// Whether it has id-kp-OCSPSigning.
        purpose: bool,
    },
    /// A key that nobody named.
    Stranger(&'a Key),
}

impl Default for Status {
    fn default() -> Self {
        Self {
            this_update: (2026, 11, 20),
            next_update: Some((2026, 12, 20)),
            revoked: vec![],
            unknown: false,
            extension: None,
        }
    }
}

impl Status {
    /// A list, signed by this issuer's key.
    pub fn crl(&self, issuer: &Certificate) -> Vec<u8> {
        let date = |(year, month, day): Date| date_time_ymd(year, month, day);
        let revoked = |serial: &Vec<u8>| RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: date(self.this_update),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date(self.this_update),
            next_update: date(self.next_update.unwrap_or((2049, 1, 1))),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: self.revoked.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&issuer.issuer()).unwrap().der().to_vec()
    }

    /// An answer on one certificate.
    pub fn ocsp(&self, certificate: &Certificate, issuer: &Certificate, responder: &Responder<'_>) -> Vec<u8> {
        let hash = |bytes: &[u8]| {
            let mut context = Context::new(&SHA384);
            context.update(bytes);
            context.finish().as_ref().to_vec()
        };
        let name = hash(&subject(issuer));
        let key = hash(&issuer.key.point());
        let oid = |id: &[u64]| ObjectIdentifier::from_slice(id);
        let data = construct_der(|writer| {
            writer.write_sequence(|writer| {
                let writer_key = |writer: yasna::DERWriter<'_>| writer.write_bytes(&[1; 20]);
                writer.next().write_tagged(Tag::context(2), writer_key);
                writer.next().write_generalized_time(&time(self.this_update));
                writer.next().write_sequence(|writer| {
                    writer.next().write_sequence(|writer| {
                        writer.next().write_sequence(|writer| {
                            let sha384 = oid(&[2, 16, 840, 1, 101, 3, 4, 2, 2]);
                            writer.next().write_sequence(|writer| writer.next().write_oid(&sha384));
                            writer.next().write_bytes(&name);
                            writer.next().write_bytes(&key);
                            writer.next().write_bigint_bytes(&certificate.serial, true);
                        });
                        if self.unknown {
                            writer.next().write_tagged_implicit(Tag::context(2), |writer| writer.write_null());
                        } else if self.revoked.contains(&certificate.serial) {
                            writer.next().write_tagged_implicit(Tag::context(1), |writer| {
                                writer.write_sequence(|writer| {
                                    writer.next().write_generalized_time(&time(self.this_update));
                                });
                            });
                        } else {
                            writer.next().write_tagged_implicit(Tag::context(0), |writer| writer.write_null());
                        }
                        writer.next().write_generalized_time(&time(self.this_update));
                        if let Some(next) = self.next_update {
                            let next = time(next);
                            writer.next().write_tagged(Tag::context(0), |writer| writer.write_generalized_time(&next));
                        }
                        if let Some((id, critical)) = &self.extension {
                            writer.next().write_tagged(Tag::context(1), |writer| {
                                writer.write_sequence(|writer| {
                                    writer.next().write_sequence(|writer| {
                                        writer.next().write_oid(&oid(id));
                                        if *critical {
                                            writer.next().write_bool(true);
                                        }
                                        writer.next().write_bytes(&[5, 0]);
                                    });
                                });
                            });
                        }
                    });
                });
            });
        });
        let (signature, sent) = match responder {
            Responder::Issuer => (issuer.key.sign_der(&data), None),
            Responder::Stranger(key) => (key.sign_der(&data), None),
            Responder::Named { certificate, purpose } => {
                let mut params = certificate.params(None);
                if *purpose {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
                }
                let signed = params.signed_by(certificate.key.pair(), &issuer.issuer()).unwrap();
                (certificate.key.sign_der(&data), Some(signed.der().to_vec()))
            }
        };
        let basic = construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_der(&data);
                writer.next().write_sequence(|writer| writer.next().write_oid(&oid(&ECDSA_SHA384)));
                writer.next().write_bitvec_bytes(&signature, signature.len() * 8);
                if let Some(sent) = &sent {
                    writer.next().write_tagged(Tag::context(0), |writer| {
                        writer.write_sequence(|writer| writer.next().write_der(sent));
                    });
                }
            });
        });
        construct_der(|writer| {
            writer.write_sequence(|writer| {
                writer.next().write_enum(0);
                writer.next().write_tagged(Tag::context(0), |writer| {
                    writer.write_sequence(|writer| {
                        writer.next().write_oid(&oid(&[1, 3, 6, 1, 5, 5, 7, 48, 1, 1]));
                        writer.next().write_bytes(&basic);
                    });
                });
            });
        })
    }
}

/// The subject as it stands in the certificate: name, then organisation.
fn subject(certificate: &Certificate) -> Vec<u8> {
    let part = |id: u64, text: &str| {
        construct_der(|writer| {
            writer.write_set(|writer| {
                writer.next().write_sequence(|writer| {
                    writer.next().write_oid(&ObjectIdentifier::from_slice(&[2, 5, 4, id]));
                    writer.next().write_utf8_string(text);
                });
            });
        })
    };
    construct_der(|writer| {
        writer.write_sequence(|writer| {
            writer.next().write_der(&part(3, &certificate.name));
            writer.next().write_der(&part(10, "Stand-in of NVIDIA"));
        });
    })
}

fn time((year, month, day): Date) -> GeneralizedTime {
    let text = format!("{year:04}{month:02}{day:02}000000Z");
    GeneralizedTime::parse(text.as_bytes()).unwrap()
}
