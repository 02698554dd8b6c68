//! `strongroom endorsement fetch`: for machines with a network; no vault and no node fetches anything.
//!
//! ```text
//! reports, ids ──wanted──> Wanted ──directory: there, and not near its end?──> done
//!    ↑ a manifest's signer      └──service: one after another, patiently──> bytes ──library: vouched for?──> file
//! ```

mod directory;
mod service;
mod wanted;
mod web;

use crate::{
    context::{Context, read_regular},
    output::{Answer, Failure},
    plain,
    progress::Shown,
    times,
};
use directory::Directory;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde::Serialize;
use service::{Bases, Service, System, Vendor};
use std::{
    collections::{BTreeSet, VecDeque},
    fmt::Write as _,
    path::PathBuf,
};
use strongroom::{
    protocol::{claims::SnpProduct, limits},
    sealed::Progress,
};
use strongroom_attest::{
    PinKind, Pins,
    nvidia::{self, GpuEvidence},
    snp::AttestationReport,
    tdx::{CollateralKey, Quote},
};
use wanted::Wanted;
use web::Client;

/// Fetches what reports and ids ask for.
#[derive(clap::Args)]
#[command(
    after_help = "Example:\n  strongroom endorsement fetch --snp report.bin --to fetched\n\nAMD answers one request in ten seconds, so a fleet takes hours: start the command again after an interruption, and it goes on where it was. What is there and valid for 14 days yet is not fetched again; lists, collateral and answers are once they are a day old. Of NVIDIA's certificates the responder is asked about each, of devices and of manifests' signers: give a chain with --gpu-certificates. Carry the directory to where `strongroom endorsement import` reaches the vault."
)]
pub(crate) struct Fetch {
    /// The directory
    #[arg(long, value_name = "DIR", default_value = "endorsements")]
    to: PathBuf,
    /// An SEV-SNP report, binary or hexadecimal (repeat): its chip's certificate, chain, revocation list
    #[arg(long, value_name = "FILE")]
    snp: Vec<PathBuf>,
    /// A product of AMD's: Milan, Genoa, Turin (repeat): chain and revocation list
    #[arg(long, value_name = "NAME", value_parser = product)]
    product: Vec<SnpProduct>,
    /// A chip id, where there is no report: 128 hexadecimal digits, Turin's 16
    #[arg(long, value_name = "HEX", requires_all = ["tcb", "product"])]
    chip: Option<String>,
    /// Its reported TCB, 16 hexadecimal digits as reports have them
    #[arg(long, value_name = "HEX", requires = "chip")]
    tcb: Option<String>,
    /// A TDX quote, binary or hexadecimal (repeat): the collateral of its platform
    #[arg(long, value_name = "FILE")]
    tdx: Vec<PathBuf>,
    /// A GPU's report, binary or hexadecimal (repeat): the manifests of its driver and VBIOS
    #[arg(long, value_name = "FILE")]
    gpu: Vec<PathBuf>,
    /// The chain of a GPU's certificates (PEM; repeat): whether NVIDIA revoked any, and its authorities; names the chip where a report, given in the same order, does not
    #[arg(long, value_name = "FILE")]
    gpu_certificates: Vec<PathBuf>,
    /// A manifest of NVIDIA's (repeat), by its id; and whether its signer is revoked
    #[arg(long, value_name = "ID")]
    rim: Vec<String>,
    /// Ask a mirror: amd=URL, intel=URL, intel-certificates=URL, nvidia=URL, nvidia-status=URL (repeat)
    #[arg(long, value_name = "VENDOR=URL", value_parser = service::base)]
    base_url: Vec<(Vendor, String)>,
    /// The CAs (PEM) that the servers' certificates are believed by, instead of this system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Fetched {
    /// Names that were written.
    #[serde(rename = "fetched")]
    written: Vec<String>,
    /// Names that were there.
    there: Vec<String>,
    /// Of these the vendor says that they are revoked.
    revoked: Vec<Revoked>,
    failed: Vec<Failed>,
}

#[derive(Debug, Serialize)]
struct Revoked {
    name: String,
    subject: String,
}

#[derive(Debug, Serialize)]
struct Failed {
    names: Vec<String>,
    problem: String,
}

impl Fetch {
    pub(super) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let wanted = self.wanted()?;
        let client = Client::new(self.ca.as_deref())?;
        let mut directory = Directory::open(&self.to, Pins::built_in().clone(), times::now().unix_timestamp())?;
        let bases = Bases::with(self.base_url);
        let mut service = Service::new(&client, System::default(), bases).after(directory.notes());
        let shown = Shown::new("fetch", wanted.len() as u64, context.json);
        let all = fetch(&wanted, &mut service, &mut directory, &shown)?;
        let mut text = String::new();
        for name in &all.written {
            let _ = writeln!(text, "{name}");
        }
        let (fetched, there, failed) = (all.written.len(), all.there.len(), all.failed.len());
        let _ = writeln!(text, "{fetched} fetched into {}, {there} there already, {failed} failed", self.to.display());
        for Revoked { name, subject } in &all.revoked {
            let _ = writeln!(text, "revoked: {}: {name}; import it, so that the vault knows", plain::line(subject));
        }
        for Failed { names, problem } in &all.failed {
            let _ = writeln!(text, "failed: {}: {}", names.join(", "), plain::line(problem));
        }
        Ok(Answer { holds: all.failed.is_empty() && all.revoked.is_empty(), ..Answer::new(&all, text)? })
    }

    /// Everything that is asked for, each once.
    fn wanted(&self) -> Result<Vec<Wanted>, Failure> {
        let mut wanted = Vec::new();
        for path in &self.snp {
            let bytes = raw(read_regular(path, 3 * limits::SNP_REPORT as u64)?);
            let wrong = |problem: String| Failure::usage(format!("{}: {problem}", path.display()));
            let report = AttestationReport::parse(&bytes).map_err(|error| wrong(error.to_string()))?;
            let of = Wanted::of_report(&report, self.product.first().copied());
            wanted.extend(of.map_err(|problem| wrong(problem.to_owned()))?);
        }
        for product in &self.product {
            wanted.extend([Wanted::Chain(*product), Wanted::RevocationList(*product)]);
        }
        if let (Some(chip), Some(tcb), Some(product)) = (&self.chip, &self.tcb, self.product.first()) {
            let chip = Wanted::of_chip(*product, chip, tcb);
            wanted.push(chip.map_err(|problem| Failure::usage(format!("--chip, --tcb: {problem}")))?);
        }
        for path in &self.tdx {
            let bytes = raw(read_regular(path, 3 * limits::TDX_QUOTE as u64)?);
            let key: Result<CollateralKey, _> = Quote::parse(&bytes).and_then(|quote| quote.key());
            let key = key.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            wanted.push(Wanted::Collateral(key));
        }
        let chains: Vec<Vec<Vec<u8>>> =
            self.gpu_certificates.iter().map(|path| chain(path)).collect::<Result<_, _>>()?;
        for (path, chain) in self.gpu_certificates.iter().zip(&chains) {
            let of = Wanted::of_chain(PinKind::NvidiaDeviceRoot, chain);
            wanted.extend(of.map_err(|problem| Failure::usage(format!("{}: {problem}", path.display())))?);
        }
        for (place, path) in self.gpu.iter().enumerate() {
            // One chain stands for all reports: it names the chip only.
            let chain = chains.get(place).or(chains.last()).map(Vec::as_slice).unwrap_or_default();
            let report = raw(read_regular(path, 3 * limits::GPU_REPORT as u64)?);
            let certificates = chain.iter().map(Vec::as_slice).collect();
            let ids = nvidia::rim_ids(&GpuEvidence { report: &report, certificates });
            let ids = ids.ok_or_else(|| Failure::usage(format!("{}: not a GPU's report", path.display())))?;
            for id in [ids.driver, ids.vbios] {
                wanted.push(Wanted::manifest(&id).map_err(Failure::usage)?);
            }
        }
        for id in &self.rim {
            wanted.push(Wanted::manifest(id).map_err(Failure::usage)?);
        }
        if wanted.is_empty() {
            return Err(Failure::usage(
                "nothing is asked for: give --snp, --product, --tdx, --gpu, --gpu-certificates or --rim",
            ));
        }
        // What others need first: chains before what they issued.
        wanted.sort();
        wanted.dedup();
        Ok(wanted)
    }
}

/// Fetches each thing that is not there. One that cannot be had does not stop the others.
fn fetch(
    wanted: &[Wanted],
    service: &mut Service<'_, impl service::Time>,
    directory: &mut Directory,
    shown: &Shown,
) -> Result<Fetched, Failure> {
    let mut all = Fetched::default();
    let mut asked: BTreeSet<Vec<String>> = wanted.iter().map(Wanted::names).collect();
    let mut waiting: VecDeque<Wanted> = wanted.iter().cloned().collect();
    while let Some(one) = waiting.pop_front() {
        let names = one.names();
        if names.iter().all(|name| directory.has(name, one.id())) {
            all.there.extend(names);
        } else {
            let fetched = one.fetch(service).and_then(|bytes| directory.check(&bytes, one.id(), &names));
            match fetched {
                Ok(checked) => {
                    for (name, bytes) in checked {
                        directory.write(&name, &bytes)?;
                        all.written.push(name);
                    }
                }
                Err(problem) => {
                    all.failed.push(Failed { names, problem });
                    continue;
                }
            }
        }
        match &one {
            // Who signed a manifest is known once it is here.
            Wanted::Manifest(id) => match directory.of_signer(id) {
                Ok(more) => waiting.extend(more.into_iter().filter(|one| asked.insert(one.names()))),
                Err(problem) => all.failed.push(Failed { names: one.names(), problem }),
            },
            Wanted::Answer { name, subject, .. }
                if directory.get(name).is_some_and(|one| nvidia::says_revoked(&one.bytes)) =>
            {
                all.revoked.push(Revoked { name: name.clone(), subject: subject.clone() });
            }
            _ => {}
        }
        shown.advanced(1);
    }
    Ok(all)
}

/// Bytes as they are, or what hexadecimal digits stand for.
fn raw(bytes: Vec<u8>) -> Vec<u8> {
    let text: Vec<u8> = bytes.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    hex::decode(&text).unwrap_or(bytes)
}

fn chain(path: &std::path::Path) -> Result<Vec<Vec<u8>>, Failure> {
    let bytes = read_regular(path, (limits::CERTIFICATES * limits::CERTIFICATE) as u64)?;
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&bytes).map(|der| der.map(|der| der.to_vec())).collect();
    read.map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

fn product(text: &str) -> Result<SnpProduct, String> {
    let named = SnpProduct::ALL.into_iter().find(|product| product.name().eq_ignore_ascii_case(text));
    named.ok_or_else(|| "Milan, Genoa or Turin".to_owned())
}

#[cfg(test)]
mod tests;
