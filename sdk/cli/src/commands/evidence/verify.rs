//! `strongroom evidence verify`: evidence in files, judged as the vault would judge it, without the vault.

use super::{
    contents::{self, GivenFile},
    endorsements::Endorsements,
    expected::{Bound, Requirements},
    given::{self, Ak},
    hardware::{Grounds, Item},
    logs,
    pcrs::{PcrValues, ReferenceFile},
    quote_file::QuoteFile,
    tpm2::{self, Beside},
    verdict::Found,
    words,
};
use crate::{
    context::read_capped,
    output::{Answer, Failure},
    times::now,
};
use clap::ValueEnum;
use std::path::PathBuf;
use strongroom::protocol::limits;
use strongroom_attest::{
    log::{BootLog, Replay},
    quote::Values,
    tpm::HashAlg,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// A quote of a TPM 2.0: an item of evidence in JSON, with its logs; or `TPMS_ATTEST`, signature and perhaps values in files of their own; or Azure's container; or go-attestation's document
    Tpm2,
    /// A crypto-agile boot log, as the kernel shows it in `binary_bios_measurements`
    TcgLog,
    /// An IMA log, as the kernel shows it in `binary_runtime_measurements` or `ascii_runtime_measurements`
    ImaLog,
    /// A report of AMD SEV-SNP (1,184 bytes), raw or in hexadecimal, or an item of evidence in JSON
    SevSnp,
    /// A quote of Intel TDX, raw or in hexadecimal, or an item of evidence in JSON
    Tdx,
    /// A report of an NVIDIA GPU, raw or in hexadecimal, with its chain; or an item of evidence, or NVIDIA's own document, in JSON
    NvidiaGpu,
    /// The envelope of an Azure machine (NV index 0x01400001), with the vTPM's quote by --quote; or an item of evidence in JSON
    AzureSnpVtpm,
}

impl Kind {
    /// Every kind.
    pub(super) const ALL: [Self; 7] =
        [Self::Tpm2, Self::TcgLog, Self::ImaLog, Self::SevSnp, Self::Tdx, Self::NvidiaGpu, Self::AzureSnpVtpm];

    /// As `--kind` takes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tpm2 => "tpm2",
            Self::TcgLog => "tcg-log",
            Self::ImaLog => "ima-log",
            Self::SevSnp => "sev-snp",
            Self::Tdx => "tdx",
            Self::NvidiaGpu => "nvidia-gpu",
            Self::AzureSnpVtpm => "azure-snp-vtpm",
        }
    }

    /// In words.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Tpm2 => "evidence of a TPM 2.0",
            Self::TcgLog => "boot log",
            Self::ImaLog => "IMA log",
            Self::SevSnp => "report of SEV-SNP",
            Self::Tdx => "quote of TDX",
            Self::NvidiaGpu => "report of a GPU",
            Self::AzureSnpVtpm => "evidence of an Azure machine",
        }
    }

    /// Most bytes of one file. Items of evidence may have logs in them.
    fn limit(self) -> usize {
        match self {
            Self::TcgLog => limits::BOOT_LOG,
            Self::ImaLog => limits::IMA_LOG,
            _ => limits::BODY,
        }
    }

    /// Whether it is of a device rather than a log by itself.
    fn is_signed(self) -> bool {
        !matches!(self, Self::TcgLog | Self::ImaLog)
    }
}

/// Arguments of `evidence verify`.
#[derive(clap::Args)]
pub(crate) struct Verify {
    /// What the files hold [default: told by their content, where that is certain]
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// The evidence; of hardware, also what goes with it, as by --collateral
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    bound: Bound,
    /// The AK that must have signed: its public key or certificate (PEM, DER), `TPM2B_PUBLIC` or `TPMT_PUBLIC`
    #[arg(long, value_name = "FILE")]
    ak: Option<PathBuf>,
    /// The EK certificate, then its intermediates (PEM, DER); repeatable
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,
    /// Directory of the vendors' roots and intermediates: files that end in .pem, .crt, .cer or .der
    #[arg(long, value_name = "DIR")]
    roots: Option<PathBuf>,
    /// What goes with evidence of hardware: certificates, in any order, and revocation lists (PEM, DER), OCSP answers, Intel's collateral (JSON), NVIDIA's manifests (XML), the table of certificates that configfs-tsm shows (auxblob); repeatable
    #[arg(long, value_name = "FILE")]
    collateral: Vec<PathBuf>,
    /// Directory of endorsements, as `strongroom endorsement fetch` fills it: what the evidence needs is looked up there
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// What is asked of hardware: a policy's data.json, or its `snp`, `tdx`, `gpu` alone [default: what a policy without them asks]
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// The quote of Azure's vTPM: `TPMS_ATTEST`, or its container of signature, `TPMS_ATTEST` and values
    #[arg(long, value_name = "FILE")]
    quote: Option<PathBuf>,
    /// The signature of --quote, where it is in a file of its own
    #[arg(long, value_name = "FILE", requires = "quote")]
    signature: Option<PathBuf>,
    /// The event log of a TDX guest (CCEL), which has to lead to its registers
    #[arg(long, value_name = "FILE")]
    ccel: Option<PathBuf>,
    /// A reference set that it has to match, as `strongroom reference from-…` prints it
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Values of PCRs that a log must lead to, or that a quote is of: JSON, or what `tpm2_pcrread` prints
    #[arg(long, value_name = "FILE")]
    pcrs: Option<PathBuf>,
    /// The time at which certificates are judged, RFC 3339 [default: now]
    #[arg(long, value_name = "RFC3339")]
    at: Option<String>,
    /// Let what this row refuses pass: it stays shown; of L8 only violations can be allowed; repeatable
    #[arg(long, value_name = "ROW")]
    allow: Vec<String>,
}

impl Verify {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        if let Some(row) = self.allow.iter().find(|row| words::meaning_of_row(row).is_none()) {
            let rows = words::rows().map(|(row, _)| row).collect::<Vec<_>>().join(", ");
            return Err(Failure::usage(format!(
                "--allow {}: there is no such row; there are {rows}",
                row.escape_debug()
            )));
        }
        let limit = self.kind.map_or(limits::BODY, Kind::limit);
        let files: Vec<GivenFile> =
            self.files.iter().map(|path| contents::read(path, limit)).collect::<Result<_, _>>()?;
        let kind = match self.kind {
            Some(kind) => kind,
            None => contents::recognised(&files)?,
        };
        let mut warnings: Vec<String> = self.ignored(kind).into_iter().collect();
        let found = match kind {
            Kind::Tpm2 => self.tpm2(&files),
            Kind::TcgLog => self.boot_log(&files).map(Found::unsigned),
            Kind::ImaLog => self.ima_log(&files).map(Found::unsigned),
            Kind::SevSnp | Kind::Tdx | Kind::NvidiaGpu | Kind::AzureSnpVtpm => {
                self.hardware(kind, files, &mut warnings)
            }
        }?;
        let names: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        let answer = found.answer(kind.name(), &names, &self.allow)?;
        Ok(warnings.into_iter().fold(answer, Answer::warn))
    }

    /// Options that say nothing of this kind.
    fn ignored(&self, kind: Kind) -> Option<String> {
        let (tpm2, azure, log) = (kind == Kind::Tpm2, kind == Kind::AzureSnpVtpm, !kind.is_signed());
        let hardware = !tpm2 && !log;
        let given = [
            ("--ak", self.ak.is_some(), tpm2),
            ("--cert", !self.cert.is_empty(), tpm2),
            ("--roots", self.roots.is_some(), tpm2),
            ("--bind, --report-data, --nonce, --statement", self.bound.is_some(), !log),
            ("--collateral", !self.collateral.is_empty(), hardware),
            ("--store", self.store.is_some(), hardware),
            ("--settings", self.settings.is_some(), hardware),
            ("--quote", self.quote.is_some(), azure),
            ("--ccel", self.ccel.is_some(), kind == Kind::Tdx),
            ("--pcrs", self.pcrs.is_some(), tpm2 || azure || log),
            ("--reference", self.reference.is_some(), kind != Kind::NvidiaGpu),
        ];
        let given = given.into_iter().filter(|(_, given, used)| *given && !used);
        let given: Vec<_> = given.map(|(name, ..)| name).collect();
        let names = given.join(", ");
        if given.is_empty() {
            None
        } else if log {
            Some(format!("{names}: a log by itself is signed by nobody, so there is nothing to check"))
        } else {
            Some(format!("{names}: this says nothing of {}, and is not looked at", kind.name()))
        }
    }

    fn allows(&self, row: &str) -> bool {
        self.allow.iter().any(|allowed| allowed == row)
    }

    /// Unix seconds.
    fn time(&self) -> Result<u64, Failure> {
        let at = match &self.at {
            Some(text) => OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|e| Failure::usage(format!("--at: `{}` is no RFC 3339 time: {e}", text.escape_debug())))?,
            None => now(),
        };
        Ok(u64::try_from(at.unix_timestamp()).unwrap_or_default())
    }

    fn tpm2(&self, files: &[GivenFile]) -> Result<Found, Failure> {
        let mut certificates = Vec::new();
        for path in &self.cert {
            certificates.extend(given::certificates(path)?);
        }
        let beside = Beside {
            ak: self.ak.as_deref().map(Ak::read).transpose()?,
            certificates,
            roots: self.roots.as_deref().map(given::roots).transpose()?,
            at: self.time()?,
            bind: self.bound.of(Kind::Tpm2)?,
            reference: self.reference.as_deref().map(ReferenceFile::read).transpose()?,
            allow_violations: self.allows("L8"),
        };
        let pcrs = self.pcrs.as_deref().map(PcrValues::read).transpose()?;
        tpm2::judge(&QuoteFile::of(files, beside.ak.as_ref(), pcrs.as_ref())?, &beside)
    }

    fn hardware(&self, kind: Kind, files: Vec<GivenFile>, warnings: &mut Vec<String>) -> Result<Found, Failure> {
        let mut grounds = Grounds {
            bound: self.bound.of(kind)?,
            at: self.time()?,
            requirements: self.settings.as_deref().map(Requirements::read).transpose()?.unwrap_or_default(),
            endorsements: Endorsements::default(),
            reference: self.reference.as_deref().map(ReferenceFile::read).transpose()?,
            quote: None,
            ccel: self.ccel.as_deref().map(|path| read_capped(path, limits::BOOT_LOG as u64)).transpose()?,
        };
        for path in &self.collateral {
            grounds.endorsements.add(contents::read(path, limits::BODY)?)?;
        }
        if let Some(directory) = &self.store {
            grounds.endorsements.open(directory, grounds.at)?;
        }
        let item = grounds.evidence(kind, files)?;
        if let Item::Azure(given) = &item
            && let Some(path) = &self.quote
        {
            let parts = [Some(path), self.signature.as_ref()].into_iter().flatten();
            let parts: Vec<_> = parts.map(|path| contents::read(path, limits::BODY)).collect::<Result<_, _>>()?;
            let pcrs = self.pcrs.as_deref().map(PcrValues::read).transpose()?;
            grounds.quote = Some(QuoteFile::of(&parts, given.ak().as_ref(), pcrs.as_ref())?);
        }
        warnings.extend(grounds.endorsements.idle(kind));
        warnings.append(&mut grounds.endorsements.warnings);
        grounds.judge(&item)
    }

    fn boot_log(&self, files: &[GivenFile]) -> Result<Found, Failure> {
        let bytes = one_log(files, limits::BOOT_LOG)?;
        let replay = BootLog::parse(bytes).ok().and_then(|log| Replay::of(&log).ok());
        let values = self.pcrs.as_deref().map(PcrValues::read).transpose()?;
        let reference = self.reference.as_deref().map(ReferenceFile::read).transpose()?;
        let quoted = match (&values, &replay) {
            (Some(values), Some(replay)) => {
                Some(values.bank(|bank| replay.bank(bank).is_some()).or_else(|| values.bank(|_| true)))
            }
            _ => None,
        };
        let mut found = logs::boot_log(bytes, quoted.flatten());
        let compared = values.as_ref().zip(replay.as_ref()).zip(quoted.flatten());
        for ((bank, of), replay) in
            compared.iter().flat_map(|((values, replay), (bank, _))| values.beside(*bank).map(move |of| (of, replay)))
        {
            if replay.bank(bank).is_some() {
                found.take_bank("L7", logs::boot_log(bytes, Some((bank, of))));
            } else {
                found.not_compared("L7", bank, "the log has no digests of it");
            }
        }
        if let (Some(reference), Some(replay)) = (&reference, &replay) {
            found.compare(&reference.values, |bank, pcr| replay.value(bank, pcr))?;
        }
        Ok(found)
    }

    fn ima_log(&self, files: &[GivenFile]) -> Result<Found, Failure> {
        let bytes = one_log(files, limits::IMA_LOG)?;
        let values = self.pcrs.as_deref().map(PcrValues::read).transpose()?;
        let reference = self.reference.as_deref().map(ReferenceFile::read).transpose()?;
        let has_ima = |bank: HashAlg| {
            values
                .as_ref()
                .and_then(|values| values.0.get(&bank))
                .is_some_and(|values: &Values| values.contains_key(&10))
        };
        let quoted = values.as_ref().and_then(|values| values.bank(has_ima));
        if values.is_some() && quoted.is_none() {
            return Err(Failure::usage("--pcrs has no value of PCR 10: that is where IMA's log leads"));
        }
        let lists = reference.as_ref().map(|reference| &reference.files);
        let mut found = logs::ima_log(bytes, quoted, self.allows("L8"), lists);
        for (bank, of) in values.iter().zip(quoted).flat_map(|(values, (bank, _))| values.beside(bank)) {
            if of.contains_key(&10) {
                found.take_bank("L8", logs::ima_log(bytes, Some((bank, of)), self.allows("L8"), None));
            }
        }
        if let Some(pcrs) = found.members.remove("ima_pcrs") {
            found.members.insert("pcrs".to_owned(), pcrs);
        }
        // A set's values are of the whole boot; here only its lists of files are looked at.
        found.differing = lists.map(|_| Vec::new());
        Ok(found)
    }
}

/// The one file of a log. Where the kind was told by content, its size is looked at here.
fn one_log(files: &[GivenFile], limit: usize) -> Result<&[u8], Failure> {
    let [GivenFile { path, bytes }] = files else {
        return Err(Failure::usage("a log is one file: give the log of one boot"));
    };
    if bytes.len() > limit {
        return Err(Failure::usage(format!("{}: over {limit} bytes", path.display())));
    }
    Ok(bytes)
}
