//! `strongroom-for-tests`: the whole of `strongroom`, over a machine of a test's own.
//!
//! `strongroom-for-tests SOCKET ARGUMENTS…`: the socket is that of a `Confidential` machine, the rest is what `strongroom`
//! takes.

use std::{
    ffi::OsString,
    path::PathBuf,
    process::ExitCode,
    sync::{Arc, OnceLock},
};
use strongroom_collect::{CollectError, CollectorConfig, Devices};
use strongroom_tests::confidential::{Below, Beyond, devices};

static SOCKET: OnceLock<PathBuf> = OnceLock::new();

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next();
    let socket = arguments.next().unwrap_or_default();
    let _ = SOCKET.set(socket.into());
    let arguments: Vec<OsString> = program.into_iter().chain(arguments).collect();
    strongroom_cli::run(arguments, open)
}

fn open(config: &CollectorConfig) -> Result<Devices, CollectError> {
    let socket = SOCKET.get().cloned().unwrap_or_default();
    let below: Arc<dyn Below> = Arc::new(Beyond::at(socket));
    devices(&below, config)
}
