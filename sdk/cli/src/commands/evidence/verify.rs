//! `strongroom evidence verify`: evidence in files, judged as the vault would judge it, without the vault.

use super::{
    given::{self, Ak},
    logs,
    pcrs::{PcrValues, ReferenceFile},
    quote_file::QuoteFile,
    tpm2::{self, Beside},
    verdict::Found,
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
    rows::{BOOT_LOG, ENROLMENT, IMA_LOG, QUOTE, WORKLOAD},
    tpm::HashAlg,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// What files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A quote of a TPM 2.0: an item of evidence in JSON, with its logs; or `TPMS_ATTEST`, signature and perhaps values in files of their own; or Azure's container; or go-attestation's document
    Tpm2,
    /// A crypto-agile boot log, as the kernel shows it in `binary_bios_measurements`
    TcgLog,
    /// An IMA log, as the kernel shows it in `binary_runtime_measurements` or `ascii_runtime_measurements`
    ImaLog,
}

/// Arguments of `evidence verify`.
#[derive(clap::Args)]
pub(crate) struct Verify {
    /// What the files hold
    #[arg(long, value_enum)]
    kind: Kind,
    /// The evidence
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The AK that must have signed: its public key or certificate (PEM, DER), `TPM2B_PUBLIC` or `TPMT_PUBLIC`
    #[arg(long, value_name = "FILE")]
    ak: Option<PathBuf>,
    /// The EK certificate, then its intermediates (PEM, DER); repeatable
    #[arg(long, value_name = "FILE")]
    cert: Vec<PathBuf>,
    /// Directory of the vendors' roots and intermediates: files that end in .pem, .crt, .cer or .der
    #[arg(long, value_name = "DIR")]
    roots: Option<PathBuf>,
    /// A reference set that it has to match, as `strongroom reference from-…` prints it
    #[arg(long, value_name = "FILE")]
    reference: Option<PathBuf>,
    /// Values of PCRs that a log must lead to, or that a quote is of: JSON, or what `tpm2_pcrread` prints
    #[arg(long, value_name = "FILE")]
    pcrs: Option<PathBuf>,
    /// The time at which certificates are judged, RFC 3339 [default: now]
    #[arg(long, value_name = "RFC3339")]
    at: Option<String>,
    /// What the quote must bind (extraData), hexadecimal
    #[arg(long, value_name = "HEX")]
    bind: Option<String>,
    /// Let what this row refuses pass: it stays shown; of L8 only violations can be allowed; repeatable
    #[arg(long, value_name = "ROW")]
    allow: Vec<String>,
}

impl Verify {
    pub(super) fn run(self) -> Result<Answer, Failure> {
        let mut known =
            [&ENROLMENT[..], &QUOTE, &BOOT_LOG, &IMA_LOG, &WORKLOAD].concat().into_iter().map(|(row, _)| row);
        for row in &self.allow {
            if !known.clone().any(|known| known == row) {
                let rows: Vec<_> = known.by_ref().collect();
                let problem =
                    format!("--allow {}: there is no such row; there are {}", row.escape_debug(), rows.join(", "));
                return Err(Failure::usage(problem));
            }
        }
        let ignored = self.ignored();
        let found = match self.kind {
            Kind::Tpm2 => self.quote(),
            Kind::TcgLog => self.boot_log().map(Found::unsigned),
            Kind::ImaLog => self.ima_log().map(Found::unsigned),
        }?;
        let files: Vec<String> = self.files.iter().map(|file| file.display().to_string()).collect();
        let kind = self.kind.to_possible_value();
        let kind = kind.as_ref().map_or("", |kind| kind.get_name());
        Ok(found.answer(kind, &files, &self.allow)?.warn(ignored))
    }

    /// Options that say nothing of a log.
    fn ignored(&self) -> Option<String> {
        let given = [
            ("--ak", self.ak.is_some()),
            ("--cert", !self.cert.is_empty()),
            ("--roots", self.roots.is_some()),
            ("--bind", self.bind.is_some()),
        ];
        let given: Vec<_> = given.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect();
        let idle = self.kind != Kind::Tpm2 && !given.is_empty();
        idle.then(|| format!("{}: a log by itself is signed by nobody, so there is nothing to check", given.join(", ")))
    }

    fn allows(&self, row: &str) -> bool {
        self.allow.iter().any(|allowed| allowed == row)
    }

    fn quote(&self) -> Result<Found, Failure> {
        let at = match &self.at {
            Some(text) => OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|e| Failure::usage(format!("--at: `{}` is no RFC 3339 time: {e}", text.escape_debug())))?,
            None => now(),
        };
        let bind = self.bind.as_ref().map(|text| {
            hex::decode(text).map_err(|e| Failure::usage(format!("--bind: {e}: give extraData in hexadecimal")))
        });
        let mut certificates = Vec::new();
        for path in &self.cert {
            certificates.extend(given::certificates(path)?);
        }
        let beside = Beside {
            ak: self.ak.as_deref().map(Ak::read).transpose()?,
            certificates,
            roots: self.roots.as_deref().map(given::roots).transpose()?,
            at: u64::try_from(at.unix_timestamp()).unwrap_or_default(),
            bind: bind.transpose()?,
            reference: self.reference.as_deref().map(ReferenceFile::read).transpose()?,
            allow_violations: self.allows("L8"),
        };
        let pcrs = self.pcrs.as_deref().map(PcrValues::read).transpose()?;
        tpm2::judge(&QuoteFile::read(&self.files, beside.ak.as_ref(), pcrs.as_ref())?, &beside)
    }

    fn boot_log(&self) -> Result<Found, Failure> {
        let bytes = self.one_log(limits::BOOT_LOG)?;
        let replay = BootLog::parse(&bytes).ok().and_then(|log| Replay::of(&log).ok());
        let values = self.pcrs.as_deref().map(PcrValues::read).transpose()?;
        let reference = self.reference.as_deref().map(ReferenceFile::read).transpose()?;
        let quoted = match (&values, &replay) {
            (Some(values), Some(replay)) => {
                Some(values.bank(|bank| replay.bank(bank).is_some()).or_else(|| values.bank(|_| true)))
            }
            _ => None,
        };
        let mut found = logs::boot_log(&bytes, quoted.flatten());
        if let (Some(reference), Some(replay)) = (&reference, &replay) {
            found.compare(&reference.values, |bank, pcr| replay.value(bank, pcr))?;
        }
        Ok(found)
    }

    fn ima_log(&self) -> Result<Found, Failure> {
        let bytes = self.one_log(limits::IMA_LOG)?;
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
        let mut found = logs::ima_log(&bytes, quoted, self.allows("L8"), lists);
        if let Some(pcrs) = found.members.remove("ima_pcrs") {
            found.members.insert("pcrs".to_owned(), pcrs);
        }
        // A set's values are of the whole boot; here only its lists of files are looked at.
        found.differing = lists.map(|_| Vec::new());
        Ok(found)
    }

    fn one_log(&self, limit: usize) -> Result<Vec<u8>, Failure> {
        let [file] = &self.files[..] else {
            return Err(Failure::usage("a log is one file: give the log of one boot"));
        };
        let bytes = read_capped(file, limit as u64)?;
        if bytes.is_empty() {
            return Err(Failure::usage(format!("{}: the file is empty", file.display())));
        }
        Ok(bytes)
    }
}
