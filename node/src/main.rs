//! The program `miner-ctrl`; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    miner_ctrl::cli::main()
}
