//! The mining programs of this rig: started, watched, stopped, started again.
//!
//! ```text
//!   supervisor   one task: commands in, immutable snapshots out; owns everything below
//!     lifecycle  what happens when: a pure table of states and events
//!     launch     profile to running process: ports, files, the record of what was started
//!     adoption   after a crash of the node: miners that went on mining are taken over, strays are ended
//!     process    the only place that starts and signals child processes
//!     console    lines of a process into its log_ring
//!   search       which programs this machine has
//!   driver       what a mining program must be able to say; one per program in drivers/
//!   profiles     the profile files; import of XMRig configurations
//!   host         the machine under the miners
//! ```
//!
//! What may not enter: the mesh, who asked, what is allowed. Mining never depends on this program: a miner outlives a
//! node that crashes, and is found again by a mark in its environment.

mod adoption;
pub mod console;
pub mod driver;
pub mod drivers;
pub mod host;
mod instance;
mod json;
mod keeper;
mod launch;
pub mod lifecycle;
pub mod log_ring;
pub mod process;
pub mod profiles;
mod search;
pub mod supervisor;
mod wanted;
pub mod xmrig_import;

pub use driver::ProgramPath;
pub use search::{ProgramFound, look_for, wrongly_named};
pub use supervisor::{MinersConfig, MinersError, MinersHandle, MinersSnapshot, OnShutdown, check_wanted};
