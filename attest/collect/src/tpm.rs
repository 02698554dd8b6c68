//! One TPM 2.0, by one connection for each operation.
//!
//! Nothing is kept open in between: a rebooted software TPM or a restarted resource manager needs
//! no reconnecting, `/dev/tpm0` is free for others, and dropping the connection flushes whatever
//! handles and sessions an operation left, whether or not it failed.

use crate::{
    ak::AkBlob,
    deadline::{Lost, Worker},
    device_error::DeviceError,
    ek::{self, EkCertificates, EkChoice, EkKind, kind_of},
    error::CollectError,
    quote::{self, Quote},
    tcti::TctiConfig,
};
use std::{
    hash::{BuildHasher as _, RandomState},
    str::FromStr as _,
    time::Duration,
};
use strongroom_protocol::evidence::{PcrSelection, Pcrs};
use tss_esapi::{
    Context, TctiNameConf,
    attributes::SessionAttributesBuilder,
    constants::{CapabilityType, PropertyTag, SessionType, response_code::Tss2ResponseCodeKind as Kind},
    handles::AuthHandle,
    interface_types::{
        algorithm::HashingAlgorithm,
        session_handles::{AuthSession, PolicySession},
    },
    structures::{CapabilityData, EncryptedSecret, IdObject, SymmetricDefinition},
    traits::Marshall as _,
};
use zeroize::Zeroizing;

/// Attempts while the TPM says that it is busy: with the pauses between them 15 to 30 s. Many
/// processes that share a TPM without a resource manager crowd each other out for that long.
const ATTEMPTS: u32 = 50;
/// The first pause; each one after is twice as long, up to [`LONGEST`].
const PAUSE: Duration = Duration::from_millis(10);
/// The longest pause.
const LONGEST: Duration = Duration::from_millis(640);
/// How long one operation may take, unless it is said otherwise, seconds. An RSA key takes a discrete
/// TPM up to half a minute.
pub(crate) const TIMEOUT_S: u64 = 60;

/// A TPM 2.0. Shared by threads: operations wait for each other.
#[derive(Debug)]
pub struct TpmDevice {
    tcti: TctiConfig,
    /// Software TPMs have three slots for keys and no resource manager: one operation at a time.
    worker: Worker,
}

impl TpmDevice {
    /// Checks that the device can be opened and that a TPM 2.0 answers. Each operation may take a
    /// minute.
    pub fn open(tcti: &TctiConfig) -> Result<Self, CollectError> {
        Self::open_within(tcti, Duration::from_secs(TIMEOUT_S))
    }

    /// The same, and no operation, this one included, is waited for longer than `timeout`.
    pub fn open_within(tcti: &TctiConfig, timeout: Duration) -> Result<Self, CollectError> {
        tcti.probe()?;
        let device = Self { tcti: tcti.clone(), worker: Worker::new(timeout) };
        let family =
            device.run("asking for its family", |ctx| Ok(ctx.get_tpm_property(PropertyTag::FamilyIndicator)?))?;
        // TPM_SPEC_FAMILY, "2.0" and a zero (TPM 2.0 Library, Part 2, §6.13).
        if family == Some(u32::from_be_bytes(*b"2.0\0")) {
            Ok(device)
        } else {
            Err(device.unexpected("asking for its family", "something other than TPM 2.0"))
        }
    }

    /// Where the TPM is.
    pub fn tcti(&self) -> &TctiConfig {
        &self.tcti
    }

    /// The EK's certificate, and issuers' certificates if the TPM carries any.
    pub fn ek_certificate_chain(&self, choice: EkChoice) -> Result<EkCertificates, CollectError> {
        let tcti = self.tcti.clone();
        self.run("reading the EK certificate", move |ctx| ek::certificates(ctx, &tcti, choice))
    }

    /// The EK's `TPMT_PUBLIC`.
    pub fn ek_public(&self, kind: EkKind) -> Result<Vec<u8>, CollectError> {
        let tcti = self.tcti.clone();
        self.run("reading the EK", move |ctx| {
            let ek = ek::load(ctx, &tcti, kind)?;
            let (public, _, _) = ctx.execute_without_session(|ctx| ctx.read_public(ek))?;
            Ok(public.marshall()?)
        })
    }

    /// Makes an AK under the EK: P-256, restricted, ECDSA with SHA-256. The TPM keeps nothing of it.
    pub fn create_ak(&self, kind: EkKind) -> Result<AkBlob, CollectError> {
        let tcti = self.tcti.clone();
        self.run("making the AK", move |ctx| {
            let ek = ek::load(ctx, &tcti, kind)?;
            AkBlob::create(ctx, ek, kind)
        })
    }

    /// Loads the AK once: an error if it was not made by this TPM.
    pub fn check_ak(&self, ak: &AkBlob) -> Result<(), CollectError> {
        let (tcti, ak) = (self.tcti.clone(), ak.clone());
        self.run("loading the AK", move |ctx| {
            let ek = ek::load(ctx, &tcti, ak.kind())?;
            ak.load(ctx, &tcti, ek).map(drop)
        })
    }

    /// `TPM2_ActivateCredential`: the secret, if the credential was made for this EK and this AK.
    ///
    /// Both arguments are the contents of their `TPM2B`, without the size in front.
    pub fn activate_credential(
        &self,
        ak: &AkBlob,
        credential_blob: &[u8],
        encrypted_secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CollectError> {
        let malformed = |what| CollectError::CredentialMalformed { what };
        let blob = IdObject::try_from(credential_blob).map_err(|_| malformed("credential_blob is too long"))?;
        let seed =
            EncryptedSecret::try_from(encrypted_secret).map_err(|_| malformed("encrypted_secret is too long"))?;
        let (tcti, ak) = (self.tcti.clone(), ak.clone());
        self.run("activating the credential", move |ctx| {
            let ek = ek::load(ctx, &tcti, ak.kind())?;
            let ak = ak.load(ctx, &tcti, ek)?;
            let policy = ek_policy(ctx)?;
            let sessions = (Some(AuthSession::Password), Some(policy), None);
            match ctx.execute_with_sessions(sessions, |ctx| ctx.activate_credential(ak, ek, blob.clone(), seed.clone()))
            {
                Ok(secret) => Ok(Zeroizing::new(secret.to_vec())),
                Err(error) if is_refusal(ctx, error) => {
                    Err(CollectError::CredentialRefused { device: tcti.clone() }.into())
                }
                Err(error) => Err(Step::Tpm(error)),
            }
        })
    }

    /// Quotes the selected PCRs with `extra_data` in it, and gives the values that the quote is of.
    pub fn quote(&self, ak: &AkBlob, extra_data: &[u8; 32], selection: &PcrSelection) -> Result<Quote, CollectError> {
        if selection.bitmap().is_none() {
            return Err(CollectError::Selection);
        }
        let (tcti, ak, extra_data, selection) = (self.tcti.clone(), ak.clone(), *extra_data, selection.clone());
        self.run("quoting", move |ctx| {
            let ek = ek::load(ctx, &tcti, ak.kind())?;
            let ak = ak.load(ctx, &tcti, ek)?;
            quote::quote(ctx, &tcti, ak, &extra_data, &selection)
        })
    }

    /// The selected PCRs' values, without a quote.
    pub fn pcrs(&self, selection: &PcrSelection) -> Result<Pcrs, CollectError> {
        if selection.bitmap().is_none() {
            return Err(CollectError::Selection);
        }
        let (tcti, selection) = (self.tcti.clone(), selection.clone());
        self.run("reading PCRs", move |ctx| quote::read_pcrs(ctx, &tcti, &selection))
    }

    /// Runs one operation on a connection of its own, again while the TPM is busy, and gives it up
    /// when the TPM does not answer in time.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        doing: &'static str,
        mut operation: impl FnMut(&mut Context) -> Result<T, Step> + Send + 'static,
    ) -> Result<T, CollectError> {
        let tcti = self.tcti.clone();
        let attempts = move || {
            let attempt = || {
                let mut ctx = connect(&tcti, doing)?;
                operation(&mut ctx)
            };
            patiently(ATTEMPTS, |pause| std::thread::sleep(spread(pause, random())), attempt)
        };
        let device = || self.tcti.clone();
        match self.worker.run(attempts) {
            Ok(result) => result.map_err(|stop| match stop {
                Stop::Final(error) => error,
                Stop::Tpm(source) => CollectError::Tpm { device: device(), doing, source },
                Stop::Busy(source) => CollectError::TpmBusy { device: device(), doing, attempts: ATTEMPTS, source },
            }),
            Err(Lost::TimedOut) => {
                Err(CollectError::TpmTimeout { device: device(), doing, timeout: self.worker.deadline() })
            }
            Err(Lost::NoThread) => Err(self.unexpected(doing, "nothing: no thread could do it")),
        }
    }

    fn unexpected(&self, doing: &'static str, what: &'static str) -> CollectError {
        CollectError::UnexpectedAnswer { device: self.tcti.clone(), doing, what }
    }
}

fn connect(tcti: &TctiConfig, doing: &'static str) -> Result<Context, Step> {
    let name = TctiNameConf::from_str(&tcti.to_string())?;
    Context::new(name).map_err(|source| match tcti.probe() {
        Err(reason) => reason.into(),
        Ok(()) => CollectError::Tpm { device: tcti.clone(), doing, source }.into(),
    })
}

/// Why one attempt ended: by the TPM, which may be worth another, or for good.
pub(crate) enum Step {
    /// The TPM, or the stack below it.
    Tpm(tss_esapi::Error),
    /// Already named.
    Final(CollectError),
}

impl From<tss_esapi::Error> for Step {
    fn from(error: tss_esapi::Error) -> Self {
        Self::Tpm(error)
    }
}

impl From<DeviceError> for Step {
    fn from(error: DeviceError) -> Self {
        Self::Final(error.into())
    }
}

impl From<CollectError> for Step {
    fn from(error: CollectError) -> Self {
        Self::Final(error)
    }
}

enum Stop {
    Final(CollectError),
    Tpm(tss_esapi::Error),
    Busy(tss_esapi::Error),
}

fn patiently<T>(
    attempts: u32,
    mut pause: impl FnMut(Duration),
    mut attempt: impl FnMut() -> Result<T, Step>,
) -> Result<T, Stop> {
    let mut next = PAUSE;
    for left in (0..attempts).rev() {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(Step::Final(error)) => return Err(Stop::Final(error)),
            Err(Step::Tpm(error)) if !kind_of(error).is_some_and(is_busy) => return Err(Stop::Tpm(error)),
            Err(Step::Tpm(error)) if left == 0 => return Err(Stop::Busy(error)),
            Err(Step::Tpm(_)) => pause(next),
        }
        next = (next * 2).min(LONGEST);
    }
    // INVARIANT: `attempts` is not zero, so the last turn returned.
    Err(Stop::Tpm(tss_esapi::Error::WrapperError(tss_esapi::WrapperErrorKind::InternalError)))
}

/// Half of a pause and a random part of the other half: who was refused together comes back apart.
fn spread(pause: Duration, random: u64) -> Duration {
    let half = pause / 2;
    let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
    half + Duration::from_nanos(random % nanos)
}

/// Random enough to spread pauses: what the standard library seeds its maps with.
fn random() -> u64 {
    RandomState::new().hash_one(())
}

/// Codes that say "later": those of TPM 2.0 Part 2, §6.6.3, that another attempt can cure. Memory
/// and handles run out where another process uses a TPM without a resource manager.
fn is_busy(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Retry
            | Kind::Yielded
            | Kind::Testing
            | Kind::NvRate
            | Kind::NvUnavailable
            | Kind::ObjectMemory
            | Kind::SessionMemory
            | Kind::Memory
            | Kind::SessionHandles
            | Kind::ObjectHandles
    )
}

/// Whether `TPM2_ActivateCredential` failed by what it was given, not by the TPM's state.
///
/// libtpms answers `TPM_RC_FAILURE` when the OAEP padding of a seed for another RSA key is wrong; a
/// TPM that really is in failure mode gives no random numbers either.
fn is_refusal(ctx: &mut Context, error: tss_esapi::Error) -> bool {
    match kind_of(error) {
        Some(
            Kind::Integrity
            | Kind::Value
            | Kind::Size
            | Kind::EccPoint
            | Kind::Insufficient
            | Kind::Scheme
            | Kind::NoResult
            | Kind::Asymmetric,
        ) => true,
        Some(Kind::Failure) => ctx.execute_without_session(|ctx| ctx.get_random(8)).is_ok(),
        _ => false,
    }
}

/// A policy session that may use an EK of the templates L-1 and L-2: `TPM2_PolicySecret` with the
/// endorsement hierarchy (EK Credential Profile, B.6, policy A).
fn ek_policy(ctx: &mut Context) -> Result<AuthSession, Step> {
    let session = ctx
        .start_auth_session(
            None,
            None,
            None,
            SessionType::Policy,
            SymmetricDefinition::AES_128_CFB,
            HashingAlgorithm::Sha256,
        )?
        .ok_or(tss_esapi::Error::WrapperError(tss_esapi::WrapperErrorKind::WrongValueFromTpm))?;
    let (attributes, mask) = SessionAttributesBuilder::new().with_decrypt(true).with_encrypt(true).build();
    ctx.tr_sess_set_attributes(session, attributes, mask)?;
    ctx.execute_with_session(Some(AuthSession::Password), |ctx| {
        ctx.policy_secret(
            PolicySession::try_from(session)?,
            AuthHandle::Endorsement,
            tss_esapi::structures::Nonce::default(),
            tss_esapi::structures::Digest::default(),
            tss_esapi::structures::Nonce::default(),
            None,
        )
    })?;
    Ok(session)
}

/// The TPM's handles of the same type from `first` on, ascending.
pub(crate) fn handles_from(ctx: &mut Context, first: u32) -> Result<Vec<u32>, Step> {
    let (data, _) = ctx.execute_without_session(|ctx| ctx.get_capability(CapabilityType::Handles, first, 254))?;
    match data {
        CapabilityData::Handles(list) => Ok(list.into_inner().into_iter().map(u32::from).collect()),
        _ => Err(tss_esapi::Error::WrapperError(tss_esapi::WrapperErrorKind::WrongValueFromTpm).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        net::{Ipv4Addr, TcpListener},
        time::Instant,
    };
    use tss_esapi::constants::response_code::{FormatOneResponseCode, FormatZeroResponseCode, Tss2ResponseCode};

    fn retry() -> Step {
        Step::Tpm(tss_esapi::Error::Tss2Error(Tss2ResponseCode::FormatZero(FormatZeroResponseCode(0x922))))
    }

    #[test]
    fn a_busy_tpm_is_asked_again_with_growing_pauses() {
        let (mut pauses, mut calls) = (Vec::new(), 0);
        let answer = patiently(
            4,
            |pause| pauses.push(pause),
            || {
                calls += 1;
                if calls < 3 { Err(retry()) } else { Ok(7) }
            },
        );
        assert!(matches!(answer, Ok(7)));
        assert_eq!(pauses, [PAUSE, PAUSE * 2]);
    }

    #[test]
    fn patience_ends() {
        let mut calls = 0;
        let answer: Result<(), _> = patiently(
            4,
            |_| (),
            || {
                calls += 1;
                Err(retry())
            },
        );
        assert!(matches!(answer, Err(Stop::Busy(_))));
        assert_eq!(calls, 4);
    }

    /// `TPM_RC_SESSION_MEMORY`: another process holds the contexts, and gives them back.
    #[test]
    fn a_tpm_without_session_contexts_is_waited_for_longer_than_a_crowd_needs() {
        let full = tss_esapi::Error::Tss2Error(Tss2ResponseCode::FormatZero(FormatZeroResponseCode(0x903)));
        assert!(kind_of(full).is_some_and(is_busy));
        let mut waited = Duration::ZERO;
        let answer: Result<(), _> = patiently(
            ATTEMPTS,
            |pause| {
                assert!(pause <= LONGEST);
                waited += spread(pause, 0);
            },
            || Err(Step::Tpm(full)),
        );
        assert!(matches!(answer, Err(Stop::Busy(_))));
        let most = Duration::from_secs(TIMEOUT_S / 2);
        assert!(Duration::from_secs(10) < waited && waited < most, "{waited:?}");
    }

    #[test]
    fn who_was_refused_together_comes_back_apart() {
        let pause = Duration::from_millis(100);
        let pauses: Vec<Duration> = (0..20).map(|_| spread(pause, random())).collect();
        assert!(pauses.iter().all(|p| pause / 2 <= *p && *p <= pause), "{pauses:?}");
        assert!(pauses.iter().any(|p| *p != pauses[0]), "{pauses:?}");
    }

    #[test]
    fn other_codes_end_it_at_once() {
        // TPM_RC_INTEGRITY of parameter 1.
        let integrity = tss_esapi::Error::Tss2Error(Tss2ResponseCode::FormatOne(FormatOneResponseCode(0x1df)));
        let mut calls = 0;
        let answer: Result<(), _> = patiently(
            4,
            |_| (),
            || {
                calls += 1;
                Err(Step::Tpm(integrity))
            },
        );
        assert!(matches!(answer, Err(Stop::Tpm(error)) if error == integrity));
        assert_eq!(calls, 1);
    }

    /// A TPM that hangs: its ports take connections, and nothing is ever answered.
    #[test]
    fn a_tpm_that_never_answers_is_given_up_in_time() {
        let pair = || {
            let data = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).ok()?;
            let port = data.local_addr().ok()?.port();
            let control = TcpListener::bind((Ipv4Addr::LOCALHOST, port.checked_add(1)?)).ok()?;
            Some((data, control, port))
        };
        let (_data, _control, port) = (0..50).find_map(|_| pair()).unwrap();
        let tcti: TctiConfig = format!("swtpm:host=127.0.0.1,port={port}").parse().unwrap();
        let start = Instant::now();
        let error = TpmDevice::open_within(&tcti, Duration::from_millis(300)).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
        assert!(matches!(error, CollectError::TpmTimeout { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains(&tcti.to_string()) && text.contains("tpm_timeout_s"), "{text}");
    }
}
