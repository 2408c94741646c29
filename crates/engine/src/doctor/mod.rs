//! Why a program could not be started, from what lies in the container's own tree.

pub(crate) mod near;
