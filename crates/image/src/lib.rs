//! Container images: what their layers are made of, and how a layer becomes a directory.
//!
//! [`layer`] turns the stream of a layer into a directory that overlayfs can stack, and back.

pub mod layer;
