//! What policy may demand of a guest of TDX: words of the protocol, which policies hold too.

pub use strongroom_protocol::requirements::{Mask, Register, Registers, TdxRequirements};
