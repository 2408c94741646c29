//! Maps of sparse files: which bytes of a file are stored, the rest being holes.

use super::super::error::Rule;

/// Regions of one file.
pub(super) const MAX_REGIONS: usize = 1 << 16;

/// A stored part of a sparse file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Where it goes, bytes.
    pub offset: u64,
    /// How long it is, bytes.
    pub length: u64,
}

/// Checks order and bounds, and that the map accounts for exactly the bytes stored.
pub(super) fn regions(
    pairs: impl IntoIterator<Item = (u64, u64)>,
    real_size: u64,
    stored: u64,
) -> Result<Vec<Region>, Rule> {
    let mut regions = Vec::new();
    let (mut end, mut sum) = (0u64, 0u64);
    for (offset, length) in pairs {
        if regions.len() == MAX_REGIONS {
            return Err(Rule::SparseCount);
        }
        let next = offset.checked_add(length).ok_or(Rule::Sparse)?;
        if offset < end || next > real_size {
            return Err(Rule::Sparse);
        }
        end = next;
        // Cannot overflow: the regions are disjoint and lie below `real_size`.
        sum += length;
        // GNU tar ends a map with an empty region at the end of the file.
        if length > 0 {
            regions.push(Region { offset, length });
        }
    }
    if sum != stored || i64::try_from(real_size).is_err() {
        return Err(Rule::Sparse);
    }
    Ok(regions)
}

/// Pairs of a flat list.
pub(super) fn pairs(map: &[u64]) -> Result<impl Iterator<Item = (u64, u64)>, Rule> {
    if !map.len().is_multiple_of(2) {
        return Err(Rule::Sparse);
    }
    Ok(map.chunks_exact(2).map(|pair| (pair[0], pair[1])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_sorted_disjoint_and_inside() {
        for (pairs, real, stored, ok) in [
            (&[(0, 5), (10, 5)][..], 20, 10, true),
            (&[(0, 5), (20, 0)], 20, 5, true),
            (&[(0, 5), (4, 5)], 20, 10, false),
            (&[(10, 5), (0, 5)], 20, 10, false),
            (&[(0, 21)], 20, 21, false),
            (&[(u64::MAX, 2)], 20, 2, false),
            (&[(0, 5)], 20, 6, false),
            (&[], 1 << 63, 0, false),
        ] {
            let answer = regions(pairs.iter().copied(), real, stored);
            assert_eq!(answer.is_ok(), ok, "{pairs:?}");
        }
    }
}
