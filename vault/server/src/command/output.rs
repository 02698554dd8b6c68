//! What commands print. An output that cannot be written is an error of the command and never a
//! panic; a reader that went away has seen what it wanted.

use anyhow::{Context as _, Result};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{self, IsTerminal as _, Write},
};

/// Prints text on standard output.
pub(super) fn text(text: impl AsRef<[u8]>) -> Result<()> {
    write(io::stdout().lock(), text.as_ref()).context("write to standard output")
}

/// Prints a value as one line of JSON; pretty on a terminal.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let mut line =
        if io::stdout().is_terminal() { serde_json::to_string_pretty(value)? } else { serde_json::to_string(value)? };
    line.push('\n');
    text(line)
}

/// Says on standard error why a command failed. Nobody is told if that is closed or full.
pub fn complain(message: impl Display) {
    let _ = writeln!(io::stderr().lock(), "strongroomd: {message}");
}

fn write(mut out: impl Write, text: &[u8]) -> io::Result<()> {
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
