//! `strongroom seal`.

use crate::{
    context::Context,
    output::{Answer, Failure},
    progress::Shown,
};
use std::{fs::File, path::PathBuf};
use strongroom::{
    Options, Request,
    protocol::admin::Integrity,
    sealed::{ChunkSize, Metadata, SUFFIX},
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
        let source = File::open(&self.file).map_err(|e| Failure::file(&self.file, e))?;
        let length = source.metadata().map_err(|e| Failure::file(&self.file, e))?.len();
        let collector = context.collector()?;
        let room = context.room(Options::default())?;
        let current = room.current(&self.asset)?;
        let lease = room.release(&collector, Request::new().writer(&self.asset, current.version))?;
        let mut spec = lease.write_spec(&self.asset)?;
        spec.chunk_size = chunk_size.unwrap_or(spec.chunk_size);
        spec.hashes = self.hashes || current.integrity == Integrity::Hashed;
        let name = self.file.file_name().map(|name| name.to_string_lossy().into_owned());
        spec.metadata = Metadata { name, ..Metadata::default() };
        let progress = Shown::new("sealing", length, context.json);
        let written = lease.seal_file(&source, &target, self.replace, &spec, self.threads, &progress)?;
        drop(progress);
        let decision = lease.decision();
        lease.end()?;
        Answer::new(
            &serde_json::json!({
                "file": target, "asset": self.asset, "version": current.version, "object": written.object,
                "writer": spec.writer, "bytes": length, "decision": decision,
            }),
            format!(
                "sealed {length} bytes as {}@{} object {}\ninto {}",
                self.asset,
                current.version,
                written.object,
                target.display()
            ),
        )
    }
}
