//! `strongroomd`, the Strongroom key service.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use clap::Parser;
use mimalloc::MiMalloc;
use std::process::ExitCode;
use strongroom_server::command::{Arguments, complain, run};

/// A release makes some thousands of small allocations, many of them freed by another thread.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Before the first secret arrives, and before there is a second thread: no core dumps, no tracing.
    if let Err(error) = strongroom_memory::harden_process() {
        complain(error);
        return ExitCode::FAILURE;
    }
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(run(arguments)),
        Err(error) => {
            complain(format_args!("cannot start: {error}"));
            ExitCode::FAILURE
        }
    }
}
