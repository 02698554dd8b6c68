//! `strongroomd-for-tests`: the whole of `strongroomd`, trusting hardware of a test's own makers.
//!
//! `strongroomd-for-tests PINS ARGUMENTS…`: a file with a set of pins, then what `strongroomd` takes. The set stands
//! where the release has its own, which is built in; `strongroomd` itself takes no other from anybody.

use anyhow::Context as _;
use clap::Parser as _;
use std::{ffi::OsString, process::ExitCode};
use strongroom_attest::Pins;
use strongroom_server::command::{Arguments, run_with};

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = std::env::args_os();
    let program = arguments.next();
    let file = arguments.next().context("the first argument is a file with pins")?;
    let pins = Pins::parse(&std::fs::read(&file).with_context(|| format!("reading {}", file.display()))?)?;
    let arguments: Vec<OsString> = program.into_iter().chain(arguments).collect();
    let arguments = Arguments::parse_from(arguments);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(run_with(arguments, pins)))
}
