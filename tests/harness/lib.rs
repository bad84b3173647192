//! What the stories and benchmarks across real nodes share.
//!
//! ```text
//!   bench    process clocks and a realistic answer          fleet   our mesh: a controller and many rigs
//!   bare     W: a bare WebSocket echo                       stock   S: libp2p's own request-response
//! ```

pub mod bare;
pub mod bench;
pub mod fleet;
pub mod stock;
