//! The program `miner-ctrl`; everything is in the library.
fn main() {}
