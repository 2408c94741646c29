//! No C start-up code for `true`: it brings its own `_start`.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg-bins=-nostartfiles");
    // Pages of 4 KiB also between the segments: the file is mapped, not read, but it is copied.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,noseparate-code");
}
