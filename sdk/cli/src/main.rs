//! The program `strongroom`, with the devices of this machine.

use std::process::ExitCode;
use strongroom::collect::Devices;

fn main() -> ExitCode {
    strongroom_cli::run(std::env::args_os(), Devices::open)
}
