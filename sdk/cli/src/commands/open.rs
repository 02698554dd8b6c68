//! `strongroom open`.

use crate::{
    context::Context,
    output::{Answer, Failure},
    private_file::PrivateFile,
    work::{Work, input},
};
use std::{
    fmt::Write as _,
    io::Write,
    path::{Path, PathBuf},
};
use strongroom::{
    Error, OpenObject, Options, Request,
    memory::{Protection, Weakening},
    protocol::{ObjectId, admin::Integrity, statement::ObjectRef},
    sealed::{Expected, Opening},
};

/// Opens a sealed file in protected memory.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  strongroom open model.safetensors.sealed --asset minilm --digest")]
pub(crate) struct Open {
    /// The sealed file
    file: PathBuf,
    /// The asset that is expected: a file of another asset is refused
    #[arg(long)]
    asset: String,
    /// The object that is expected
    #[arg(long, allow_hyphen_values = true)]
    object: Option<ObjectId>,
    /// Print the SHA-256 of the plaintext
    #[arg(long)]
    digest: bool,
    /// Write the plaintext to a new file (mode 0600): policy may forbid it, and the ledger shows it
    #[arg(long, value_name = "FILE")]
    plaintext_to: Option<PathBuf>,
    /// Accept memory that is not locked; the ledger shows it
    #[arg(long)]
    accept_unlocked_memory: bool,
    /// Threads; 0 takes what the machine offers
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl Open {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let file = input(&self.file)?;
        let expected = Expected { asset: self.asset.clone(), version: None, object: self.object };
        let opening = Opening::start(file, &expected).map_err(Error::from)?;
        let header = opening.header();
        let (version, bytes) = (header.version, opening.len());
        if let Some(path) = self.plaintext_to.as_deref().filter(|path| path.symlink_metadata().is_ok()) {
            return Err(Failure::usage(format!("{} is there already, and plaintext replaces nothing", path.display())));
        }
        let object = ObjectRef { writer: header.writer, object: header.object };

        let mut protection = Protection::default();
        if self.accept_unlocked_memory {
            protection = protection.accepting(Weakening::UnlockedMemory);
        }
        let room = context.room(Options { protection: protection.clone(), ..Options::default() })?;
        let current = room.current(&self.asset)?;
        let mut request = Request::new().objects(&self.asset, version, vec![object]);
        if self.plaintext_to.is_some() {
            request = request.plaintext_to_disk();
        }
        let work = Work::begin(context, room, request)?;
        let lease = work.lease();

        let progress = work.shown("opening", bytes, context.json);
        let hashed = current.integrity == Integrity::Hashed;
        let opened = lease
            .open_file(&self.file, &expected, hashed, self.threads, &protection, &progress)
            .map_err(|error| work.explain(error))?;
        drop(progress);
        let digest = self.digest.then(|| digest(&work, &opened)).transpose()?;
        if let Some(path) = &self.plaintext_to {
            write_plaintext(&work, &opened, path)?;
        }
        let (handling, decision) = (lease.handling().clone(), lease.decision());
        drop(opened);
        let warning = work.end();

        let mut text = format!(
            "opened {bytes} bytes of {}@{version} in protected memory (keys: {})\ndecision {decision}\n",
            self.asset, handling.key_pages
        );
        if let Some(digest) = &digest {
            let _ = writeln!(text, "sha256 {digest}");
        }
        if let Some(path) = &self.plaintext_to {
            let _ = writeln!(text, "plaintext written to {}; the ledger shows it", path.display());
        }
        Answer::new(
            &serde_json::json!({
                "asset": self.asset, "version": version, "object": object.object, "bytes": bytes,
                "sha256": digest, "decision": decision, "handling": handling, "plaintext_to": self.plaintext_to,
                "lease_ended": warning.is_none(),
            }),
            text,
        )
        .map(|answer| answer.warn(warning))
    }
}

/// SHA-256 of the plaintext, lower-case hex.
fn digest(work: &Work, opened: &OpenObject) -> Result<String, Failure> {
    let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
    work.each_piece(opened, |piece| {
        digest.update(piece);
        Ok(())
    })?;
    Ok(hex::encode(digest.finish()))
}

fn write_plaintext(work: &Work, opened: &OpenObject, path: &Path) -> Result<(), Failure> {
    // Without a name until it is whole: half a file of plaintext under its final name helps nobody.
    let mut file = PrivateFile::create(path, false, ".plaintext.")?;
    work.each_piece(opened, |piece| file.write_all(piece).map_err(|e| Failure::file(path, e)))?;
    file.sync()?;
    // The disk may have taken long; a lease that is lost meanwhile leaves no file.
    work.check()?;
    file.commit()
}
