use std::ffi::OsString;
use std::process::ExitCode;

use miner_ctrl_protocol::Program;

use super::{console, tt_miner, xmrig};

/// Runs as a program, with the arguments that the real one would be given, until it is stopped.
#[must_use]
pub fn run(program: Program, args: &[OsString]) -> ExitCode {
    let args: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            console::line(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(async {
        match program {
            Program::TtMiner => tt_miner::run(&args).await,
            Program::Xmrig => xmrig::run(&args).await,
        }
    });
    ExitCode::from(code)
}
