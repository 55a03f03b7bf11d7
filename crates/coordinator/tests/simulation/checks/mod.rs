//! What must hold. Each file is one invariant; a check says what is wrong.

pub(crate) mod answers;
pub(crate) mod delivery;
pub(crate) mod offsets;
pub(crate) mod owners;
pub(crate) mod replay;
pub(crate) mod stable;
