use miner_ctrl_protocol::profile::Invalid;
use miner_ctrl_protocol::{Profile, ProfileDraft, Program};

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

/// The profile of a draft, by its program's own names. The rest that only the program knows is left to [`Driver::check`].
///
/// # Errors
/// As [`ProfileDraft::check`].
pub fn checked(draft: ProfileDraft) -> Result<Profile, Invalid> {
    driver(draft.program).named(draft).check()
}
