//! Layers applied by root, each in a mount namespace of its own.

#![allow(clippy::too_many_lines, reason = "rows of a table")]

#[path = "common/differential.rs"]
mod differential;
#[path = "common/diffs.rs"]
mod diffs;
#[path = "common/rows.rs"]
mod rows;
#[path = "common/scene.rs"]
mod scene;
#[path = "common/tarball.rs"]
mod tarball;

use scene::Who;

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_names_stay_inside_or_are_refused() {
    rows::names(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_symbolic_links_lead_nowhere_outside() {
    rows::symbolic_links(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_hard_links_name_what_the_layer_has() {
    rows::hard_links(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_the_layers_below_are_read_and_never_changed() {
    rows::stacked_layers(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_whiteouts_become_what_overlayfs_knows() {
    rows::whiteouts(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_devices_are_left_out_and_modes_kept() {
    rows::kinds_and_modes(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_attributes_that_would_steer_the_host_are_left_out() {
    rows::attributes(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_extended_headers_say_one_thing_or_are_refused() {
    rows::extended_headers(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_sparse_files_keep_their_holes() {
    rows::sparse_files(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_numbers_and_types_are_known_or_refused() {
    rows::numbers_and_types(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_an_archive_ends_once_and_completely() {
    rows::ends(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_limits_end_a_layer() {
    rows::limits(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_directories_keep_their_times() {
    rows::directory_times(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_what_gnu_tar_writes_becomes_what_gnu_tar_makes_of_it() {
    differential::all_formats(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_a_layer_written_from_a_layer_makes_the_same_layer() {
    diffs::round_trip(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_a_difference_over_what_was_is_what_is() {
    diffs::two_trees(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_what_changed_in_an_overlay_is_found_and_mounts_are_not() {
    diffs::overlays(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_what_a_layer_cannot_say_is_refused() {
    diffs::refused(Who::Root);
}

#[test]
#[ignore = "vm: needs CAP_SYS_ADMIN; cargo xtask test-vm"]
fn root_overlayfs_shows_what_the_layers_say() {
    diffs::stacked(Who::Root);
}
