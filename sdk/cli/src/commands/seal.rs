//! `strongroom seal`.

use crate::{
    context::Context,
    output::{Answer, Exit, Failure},
    work::{Work, input},
};
use std::{
    fs::File,
    path::{Path, PathBuf},
};
use strongroom::{
    Error, Options, Request,
    protocol::admin::{AssetCurrent, Integrity, KeyState},
    sealed::{ChunkSize, Metadata, SUFFIX, SealedError, check_plain_file},
};

/// Seals a file.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  strongroom seal model.safetensors --asset minilm")]
pub(crate) struct Seal {
    /// The file
    file: PathBuf,
    /// The asset that it becomes an object of
    #[arg(long)]
    asset: String,
    /// Where to; without it, the file's name with `.sealed`
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that is there already
    #[arg(long)]
    replace: bool,
    /// Bytes of a chunk: a power of two from 64 KiB to 16 MiB
    #[arg(long, value_name = "BYTES")]
    chunk_size: Option<u64>,
    /// Store a hash of each chunk, whether or not the asset requires it
    #[arg(long)]
    hashes: bool,
    /// Threads; 0 takes what the machine offers
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

impl Seal {
    pub(crate) fn run(self, context: &Context) -> Result<Answer, Failure> {
        let target = self.output.unwrap_or_else(|| {
            let mut name = self.file.clone().into_os_string();
            name.push(SUFFIX);
            name.into()
        });
        let chunk_size = self
            .chunk_size
            .map(|bytes| {
                ChunkSize::new(bytes)
                    .ok_or_else(|| Failure::usage("a chunk size is a power of two from 65536 to 16777216"))
            })
            .transpose()?;
        let source = input(&self.file)?;
        let length = check_target(&self.file, &source, &target, self.replace)?;
        let room = context.room(Options::default())?;
        let current = room.current(&self.asset)?;
        check_active(&current)?;
        let work = Work::begin(context, room, Request::new().writer(&self.asset, current.version))?;
        let lease = work.lease();
        let mut spec = lease.write_spec(&self.asset)?;
        spec.chunk_size = chunk_size.unwrap_or(spec.chunk_size);
        spec.hashes = self.hashes || current.integrity == Integrity::Hashed;
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned());
        spec.metadata = Metadata { name, ..Metadata::default() };
        let progress = work.shown("sealing", length, context.json);
        let written = lease
            .seal_file(&source, &target, self.replace, &spec, self.threads, &progress)
            .map_err(|error| work.explain(error))?;
        drop(progress);
        let decision = lease.decision();
        let warning = work.end();
        Answer::new(
            &serde_json::json!({
                "file": target, "asset": self.asset, "version": current.version, "object": written.object,
                "writer": spec.writer, "bytes": length, "decision": decision,
                "lease_ended": warning.is_none(),
            }),
            format!(
                "sealed {length} bytes as {}@{} object {}\ninto {}",
                self.asset,
                current.version,
                written.object,
                target.display()
            ),
        )
        .map(|answer| answer.warn(warning))
    }
}

/// Refuses, before a lease is asked for, a name that is taken, that of the plaintext itself, and what has
/// another length than it says; the length.
fn check_target(path: &Path, source: &File, target: &Path, replace: bool) -> Result<u64, Failure> {
    let length = check_plain_file(source, target).map_err(|error| match error {
        SealedError::NotWritable { what } => Failure::usage(format!("{}: {what}", path.display())),
        other => Error::from(other).into(),
    })?;
    if !replace && target.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!("{} exists already: give --replace to replace it", target.display())));
    }
    Ok(length)
}

/// Nothing is sealed under a version that opens only: said here, before a quote is made and a denial
/// recorded.
fn check_active(current: &AssetCurrent) -> Result<(), Failure> {
    if current.state == KeyState::Active {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        format!(
            "{0}@{1} opens only, so nothing is sealed under it: have a custodian run `strongroom key rotate {0}`",
            current.name, current.version
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_wants_an_active_version() {
        let current = |state| AssetCurrent { name: "minilm".into(), version: 3, state, integrity: Integrity::Plain };
        assert!(check_active(&current(KeyState::Active)).is_ok());
        for state in [KeyState::DecryptOnly, KeyState::Destroyed] {
            let refused = check_active(&current(state)).unwrap_err();
            assert_eq!(refused.exit, Exit::Refused);
            assert!(refused.message.contains("minilm@3") && refused.message.contains("key rotate minilm"));
        }
    }
}
