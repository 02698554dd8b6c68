//! The attestation key: wrapped by the TPM under its EK, kept as a file.

use crate::{
    ek::{EkKind, kind_of},
    error::CollectError,
    tcti::TctiConfig,
    tpm::Step,
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};
use strongroom_protocol::{limits, push_length_prefixed, sha256};
use tss_esapi::{
    Context,
    abstraction::{AsymmetricAlgorithmSelection, KeyCustomization, ak},
    attributes::ObjectAttributesBuilder,
    constants::response_code::Tss2ResponseCodeKind as Kind,
    handles::KeyHandle,
    interface_types::{
        algorithm::{HashingAlgorithm, SignatureSchemeAlgorithm},
        ecc::EccCurve,
    },
    structures::{Private, Public},
    traits::{Marshall as _, UnMarshall as _},
};

/// The file's name in the state directory.
const FILE: &str = "ak.blob";
/// First bytes of the file.
const MAGIC: &[u8] = b"strongroom ak v1\n";
/// Tells the drafts of one process's threads apart.
static DRAFTS: AtomicU32 = AtomicU32::new(0);

/// An AK as the TPM gave it: public area, and private area wrapped by the EK. Useless elsewhere
/// than in the TPM that made it, but whoever has file and TPM can quote as this node.
#[derive(Clone, PartialEq, Eq)]
pub struct AkBlob {
    kind: EkKind,
    public: Vec<u8>,
    private: Vec<u8>,
    file: Option<PathBuf>,
}

/// The AK's private area cannot be guessed at, so that failed authorisations mean nothing; without
/// `noDA` each power cut would count as one, and in the end lock the AK (Part 1, §19.8.4).
struct NoDictionaryAttack;

impl KeyCustomization for NoDictionaryAttack {
    fn attributes(&self, attributes: ObjectAttributesBuilder) -> ObjectAttributesBuilder {
        attributes.with_no_da(true)
    }
}

impl AkBlob {
    /// The AK's `TPMT_PUBLIC`.
    pub fn public(&self) -> &[u8] {
        &self.public
    }

    /// The AK's name: `TPM_ALG_SHA256 || SHA-256(TPMT_PUBLIC)`, 34 bytes.
    pub fn name(&self) -> Vec<u8> {
        let mut name = vec![0x00, 0x0b];
        name.extend_from_slice(&sha256(&self.public));
        name
    }

    /// The EK that it was made under.
    pub fn kind(&self) -> EkKind {
        self.kind
    }

    /// Reads the AK of a state directory; `None` if it has none yet.
    pub fn read(state_dir: &Path) -> Result<Option<Self>, CollectError> {
        let path = state_dir.join(FILE);
        let failed = |doing| {
            let path = path.clone();
            move |source| CollectError::AkFile { path, doing, source }
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("opening it")(error)),
        };
        let mode = file.metadata().map_err(failed("reading its mode"))?.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(CollectError::AkFileExposed { path, mode });
        }
        let mut bytes = Vec::new();
        file.take(3 * limits::TPM_STRUCTURE as u64).read_to_end(&mut bytes).map_err(failed("reading it"))?;
        match Self::parse(&bytes) {
            Ok(blob) => Ok(Some(Self { file: Some(path), ..blob })),
            Err(what) => Err(CollectError::AkFileDamaged { path, what }),
        }
    }

    /// Writes the AK into a state directory (made with mode 0700 if it is not there), with mode
    /// 0600, whole or not at all. An AK that is there already stays and is the one returned: two
    /// processes that start at once end up with the same.
    pub fn write(self, state_dir: &Path) -> Result<Self, CollectError> {
        let path = state_dir.join(FILE);
        let failed = |doing| {
            let path = path.clone();
            move |source| CollectError::AkFile { path, doing, source }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(failed("making its directory"))?;
        let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
        let draft = state_dir.join(format!("{FILE}.{}.{number}.tmp", std::process::id()));
        let written = write_draft(&draft, &self.to_bytes()).map_err(failed("writing it")).and_then(|()| {
            match fs::hard_link(&draft, &path) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                done => done.map(|()| true).map_err(failed("naming it")),
            }
        });
        // The draft has served whether or not it got its name; a left-over is not an AK.
        let _ = fs::remove_file(&draft);
        if written? {
            File::open(state_dir).and_then(|dir| dir.sync_all()).map_err(failed("syncing its directory"))?;
            return Ok(Self { file: Some(path), ..self });
        }
        Self::read(state_dir)?.ok_or(CollectError::AkFileDamaged { path, what: "it vanished while being read" })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(match self.kind {
            EkKind::EccP256 => 1,
            EkKind::Rsa2048 => 2,
        });
        push_length_prefixed(&mut out, &self.public);
        push_length_prefixed(&mut out, &self.private);
        out
    }

    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as an AK does")?;
        let (kind, rest) = match rest.split_first() {
            Some((1, rest)) => (EkKind::EccP256, rest),
            Some((2, rest)) => (EkKind::Rsa2048, rest),
            _ => return Err("its kind of EK is unknown"),
        };
        let (public, rest) = take_length_prefixed(rest).ok_or("its public area is cut off")?;
        let (private, rest) = take_length_prefixed(rest).ok_or("its private area is cut off")?;
        if !rest.is_empty() {
            return Err("something follows its end");
        }
        Ok(Self { kind, public: public.to_vec(), private: private.to_vec(), file: None })
    }

    pub(crate) fn create(ctx: &mut Context, ek: KeyHandle, kind: EkKind) -> Result<Self, Step> {
        let made = ak::create_ak_2(
            ctx,
            ek,
            HashingAlgorithm::Sha256,
            AsymmetricAlgorithmSelection::Ecc(EccCurve::NistP256),
            SignatureSchemeAlgorithm::EcDsa,
            None,
            NoDictionaryAttack,
        )?;
        Ok(Self { kind, public: made.out_public.marshall()?, private: made.out_private.to_vec(), file: None })
    }

    pub(crate) fn load(&self, ctx: &mut Context, tcti: &TctiConfig, ek: KeyHandle) -> Result<KeyHandle, Step> {
        let another = || {
            let file = self.file.as_ref().map_or_else(|| "the AK".to_owned(), |path| path.display().to_string());
            CollectError::AkOfAnotherTpm { device: tcti.clone(), file }
        };
        let public = Public::unmarshall(&self.public)?;
        let private = Private::try_from(self.private.as_slice())?;
        ak::load_ak(ctx, ek, None, private, public).map_err(|error| match kind_of(error) {
            Some(Kind::Integrity | Kind::Binding | Kind::Sensitive) => another().into(),
            _ => Step::Tpm(error),
        })
    }
}

fn write_draft(draft: &Path, bytes: &[u8]) -> io::Result<()> {
    // A draft of a process that died and had our number would stop us for ever.
    match fs::remove_file(draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn take_length_prefixed(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > limits::TPM_STRUCTURE { None } else { rest.split_at_checked(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(byte: u8) -> AkBlob {
        AkBlob { kind: EkKind::Rsa2048, public: vec![byte; 88], private: vec![9; 126], file: None }
    }

    #[test]
    fn the_name_is_the_digest_of_the_public_area() {
        let name = blob(1).name();
        assert_eq!(name.len(), 34);
        assert_eq!(name[..2], [0x00, 0x0b]);
        assert_eq!(name[2..], sha256(&[1; 88]));
    }

    #[test]
    fn the_first_ak_stays() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        assert!(AkBlob::read(&state).unwrap().is_none());
        let first = blob(1).write(&state).unwrap();
        assert_eq!(first.public(), [1; 88]);
        assert_eq!(blob(2).write(&state).unwrap().public(), [1; 88]);
        assert!(AkBlob::read(&state).unwrap().unwrap() == first);
        let names: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [FILE]);
        assert_eq!(fs::metadata(state.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn an_exposed_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        blob(1).write(dir.path()).unwrap();
        fs::set_permissions(dir.path().join(FILE), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(AkBlob::read(dir.path()), Err(CollectError::AkFileExposed { mode: 0o640, .. })));
    }

    #[test]
    fn a_damaged_file_is_refused() {
        let whole = blob(1).to_bytes();
        assert!(AkBlob::parse(&whole).is_ok());
        for end in 0..whole.len() {
            assert!(AkBlob::parse(&whole[..end]).is_err(), "cut at {end}");
        }
        let mut wrong = whole.clone();
        wrong[0] ^= 1;
        assert_eq!(AkBlob::parse(&wrong).err(), Some("it does not begin as an AK does"));
        let mut wrong = whole.clone();
        wrong[MAGIC.len()] = 3;
        assert_eq!(AkBlob::parse(&wrong).err(), Some("its kind of EK is unknown"));
        let mut wrong = whole.clone();
        wrong[MAGIC.len() + 3] = 1; // 65,536 bytes and more
        assert_eq!(AkBlob::parse(&wrong).err(), Some("its public area is cut off"));
        let mut wrong = whole;
        wrong.push(0);
        assert_eq!(AkBlob::parse(&wrong).err(), Some("something follows its end"));
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        blob(1).write(dir.path()).unwrap();
        fs::write(dir.path().join(FILE), b"strongroom").unwrap();
        let error = AkBlob::read(dir.path()).err().unwrap();
        assert!(error.to_string().contains("ak.blob is damaged (it does not begin as an AK does)"), "{error}");
    }
}
