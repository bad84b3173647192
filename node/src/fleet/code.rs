//! The pairing code's type, named in one place.

/// The one-time code that the operator reads to another.
pub type Code = miner_ctrl_protocol::smsg::PairingCode;
