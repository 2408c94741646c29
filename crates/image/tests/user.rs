//! Layers applied by root of a user namespace that any user can make.

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
fn names_stay_inside_or_are_refused() {
    rows::names(Who::User);
}

#[test]
fn symbolic_links_lead_nowhere_outside() {
    rows::symbolic_links(Who::User);
}

#[test]
fn hard_links_name_what_the_layer_has() {
    rows::hard_links(Who::User);
}

#[test]
fn the_layers_below_are_read_and_never_changed() {
    rows::stacked_layers(Who::User);
}

#[test]
fn whiteouts_become_what_overlayfs_knows() {
    rows::whiteouts(Who::User);
}

#[test]
fn devices_are_left_out_and_modes_kept() {
    rows::kinds_and_modes(Who::User);
}

#[test]
fn attributes_that_would_steer_the_host_are_left_out() {
    rows::attributes(Who::User);
}

#[test]
fn extended_headers_say_one_thing_or_are_refused() {
    rows::extended_headers(Who::User);
}

#[test]
fn sparse_files_keep_their_holes() {
    rows::sparse_files(Who::User);
}

#[test]
fn numbers_and_types_are_known_or_refused() {
    rows::numbers_and_types(Who::User);
}

#[test]
fn an_archive_ends_once_and_completely() {
    rows::ends(Who::User);
}

#[test]
fn limits_end_a_layer() {
    rows::limits(Who::User);
}

#[test]
fn directories_keep_their_times() {
    rows::directory_times(Who::User);
}

#[test]
fn what_gnu_tar_writes_becomes_what_gnu_tar_makes_of_it() {
    differential::all_formats(Who::User);
}

#[test]
fn a_layer_written_from_a_layer_makes_the_same_layer() {
    diffs::round_trip(Who::User);
}

#[test]
fn a_difference_over_what_was_is_what_is() {
    diffs::two_trees(Who::User);
}

#[test]
fn what_changed_in_an_overlay_is_found_and_mounts_are_not() {
    diffs::overlays(Who::User);
}

#[test]
fn what_a_layer_cannot_say_is_refused() {
    diffs::refused(Who::User);
}

#[test]
fn overlayfs_shows_what_the_layers_say() {
    diffs::stacked(Who::User);
}
