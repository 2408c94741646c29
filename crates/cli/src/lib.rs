//! The front end of `ctr`: manifest, commands, diagnostics, output.
//!
//! This is a library only so that tests and fuzzers reach it; the program is `main.rs`. The way of a
//! manifest through it:
//!
//! 1. [`manifest::load`] reads a bounded, regular file, walks the spanned TOML document and collects
//!    every error in one pass as a [`diagnostic::Report`];
//! 2. [`manifest::Loaded::spec`] turns the typed values into an [`engine::spec::Spec`], each with the
//!    line that asked for it;
//! 3. a failure at run time comes back with such a line, and [`diagnostic::failure`] shows it.
//!
//! Nothing below this crate knows of TOML, clap or terminals.

pub mod args;
pub mod commands;
pub mod diagnostic;
pub mod exit;
pub mod images;
pub mod logging;
pub mod manifest;
pub mod output;
