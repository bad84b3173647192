//! The program `miner-ctrl`; everything is in the library.

use std::ffi::OsString;
use std::process::ExitCode;

use miner_ctrl::simulate;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let program = args.get(1).and_then(|program| program.to_str()?.parse().ok());
    match (args.first(), program) {
        (Some(verb), Some(program)) if verb == "simulate" => simulate::run(program, &args[2..]),
        _ => ExitCode::FAILURE,
    }
}
