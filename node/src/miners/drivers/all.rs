use miner_ctrl_protocol::Program;

use super::tt_miner::TtMiner;
use super::xmrig::Xmrig;
use crate::miners::driver::Driver;

/// The driver of a program.
#[must_use]
pub fn driver(program: Program) -> &'static dyn Driver {
    match program {
        Program::TtMiner => &TtMiner,
        Program::Xmrig => &Xmrig,
    }
}
