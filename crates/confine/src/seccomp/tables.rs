//! x
use super::Instruction;
pub(super) const DEFAULT_X86_64: [Instruction; 0] = [];
pub(super) const DEFAULT_AARCH64: [Instruction; 0] = [];
pub(super) const INIT_X86_64: [Instruction; 0] = [];
pub(super) const INIT_AARCH64: [Instruction; 0] = [];
