//! `strongroom inspect`.

use crate::{
    output::{Answer, Failure},
    plain,
    work::input,
};
use std::path::PathBuf;
use strongroom::{Error, sealed};

/// Shows what a sealed file says of itself; nothing of it is authenticated without the key.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  strongroom inspect model.safetensors.sealed")]
pub(crate) struct Inspect {
    /// The sealed file
    file: PathBuf,
}

impl Inspect {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let file = input(&self.file)?;
        let seen = sealed::inspect(&file).map_err(Error::from)?;
        let header = &seen.header;
        Answer::new(
            &serde_json::json!({
                "asset": header.asset, "version": header.version, "object": header.object, "writer": header.writer,
                "chunk_size": header.chunk_size.bytes(), "chunks": seen.chunks, "bytes": seen.len,
                "index_bytes": seen.index_len, "file_bytes": seen.file_len, "authenticated": false,
            }),
            format!(
                "key       {}@{}\nobject    {}\nwriter    {}\nplaintext {} bytes in {} chunks of {}\nindex     {} bytes\nfile      {} bytes\nnot authenticated: only opening it is proof\n",
                // Whoever wrote the file chose its asset's name: no line or escape of theirs is printed.
                plain::line(&header.asset),
                header.version,
                header.object,
                header.writer,
                seen.len,
                seen.chunks,
                header.chunk_size.bytes(),
                seen.index_len,
                seen.file_len
            ),
        )
    }
}
