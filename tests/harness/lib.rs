//! What the stories and benchmarks across real nodes share.
//!
//! ```text
//!   home       a node's directory and its command line      bench    process clocks and a realistic answer
//!   serving    a node that serves, as a child process       fleet    our mesh: a controller and many rigs
//!   farm       a controller and rigs, paired                bare     W: a bare WebSocket echo
//!   wait       until a state is there                       stock    S: libp2p's own request-response
//!   processes  what /proc says, and signals
//!   steps      a process that is killed at a step of a test's choice
//!   stratum    a mining pool of a hundred lines
//!   lan        hosts in network namespaces, and the wires between them
//!   caller     a peer of the wire that says whatever a test wants said
//!   held       what a node holds before a fault, and after
//!   history    numbers over time, written as a recorder would and asked for
//! ```

pub mod bare;
pub mod bench;
pub mod caller;
pub mod farm;
pub mod fleet;
pub mod held;
pub mod history;
pub mod home;
pub mod lan;
pub mod processes;
pub mod serving;
pub mod steps;
pub mod stock;
pub mod stratum;
pub mod wait;

pub use caller::Caller;
pub use farm::Farm;
pub use held::Held;
pub use home::{Home, Ran};
pub use lan::{Cut, Host, Lan, Wire};
pub use serving::Serving;
pub use wait::{DEADLINE, for_a_while, wait_for};
