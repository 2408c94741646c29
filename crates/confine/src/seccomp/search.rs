//! Which comparisons find the range of a number, at the least price of a load.
//!
//! When it loads a filter the kernel checks and translates each instruction (twice, and then to the machine's
//! in several passes), and executes the filter once for every number it has a call for. Both are paid at
//! every start of a container, so both are weighed here: a comparison costs as an instruction, and for
//! every number that comes by it.

/// Translating an instruction takes as long as executing one for this many numbers: 0.13 µs and 2.4 ns
/// (Linux 6.18, x86_64).
const INSTRUCTION: u64 = 54;

/// Up to so many ranges the best of all trees is searched for, which takes the third power of it.
const BLOCK: usize = 16;

/// What becomes of the numbers from `start` to the start of the next range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range<D> {
    pub(super) start: u32,
    pub(super) decision: D,
}

/// What to compare; the numbers are indices of ranges.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Nothing: only this range is left.
    Leaf(usize),
    /// Whether the number is below the start of `at`.
    Split {
        at: usize,
        low: Box<Node>,
        high: Box<Node>,
    },
    /// Whether it is one of `single`, all of them ranges of one number; else it is decided as `around`.
    Each { single: Vec<usize>, around: usize },
}

#[derive(Debug, Clone, Copy)]
enum Choice {
    Leaf,
    Split(usize),
    Each { around: usize },
}

/// The tree for these ranges, of which there is at least one. The kernel has calls below `limit`.
pub(super) fn search<D: PartialEq + Copy>(ranges: &[Range<D>], limit: u32) -> Node {
    Search { ranges, limit }.tree(0, ranges.len())
}

struct Search<'a, D> {
    ranges: &'a [Range<D>],
    limit: u32,
}

impl<D: PartialEq + Copy> Search<'_, D> {
    fn tree(&self, from: usize, to: usize) -> Node {
        if to - from <= BLOCK {
            return self.best(from, to);
        }
        let at = self.middle(from, to);
        Node::Split {
            at,
            low: Box::new(self.tree(from, at)),
            high: Box::new(self.tree(at, to)),
        }
    }

    /// How many numbers of calls come before a range.
    fn before(&self, index: usize) -> u64 {
        let start = self.ranges.get(index).map_or(u32::MAX, |range| range.start);
        start.min(self.limit).into()
    }

    fn weight(&self, from: usize, to: usize) -> u64 {
        self.before(to) - self.before(from)
    }

    /// Half of the numbers on each side, rather than half of the ranges.
    fn middle(&self, from: usize, to: usize) -> usize {
        let unequal =
            |at: &usize| self.weight(from, *at).abs_diff(self.weight(*at, to));
        (from + 1..to).min_by_key(unequal).unwrap_or(from + 1)
    }

    fn is_single(&self, index: usize) -> bool {
        let next = self.ranges.get(index + 1);
        next.is_some_and(|next| next.start == self.ranges[index].start + 1)
    }

    /// The cheapest tree of all: from those of its parts, which get longer.
    fn best(&self, from: usize, to: usize) -> Node {
        let count = to - from;
        let mut table = [[(0, Choice::Leaf); BLOCK + 1]; BLOCK];
        for length in 2..=count {
            for low in 0..=count - length {
                let high = low + length;
                let (begin, end) = (from + low, from + high);
                let here = self.weight(begin, end) + INSTRUCTION * if length == 2 { 2 } else { 1 };
                let splits = (low + 1..high).map(|at| {
                    let below = table[low][at].0 + table[at][high].0;
                    (here + below, Choice::Split(from + at))
                });
                let all = splits.chain(self.each(begin, end));
                if let Some(best) = all.min_by_key(|(cost, _)| *cost) {
                    table[low][high] = best;
                }
            }
        }
        self.node(&table, from, from, to)
    }

    fn node(
        &self,
        table: &[[(u64, Choice); BLOCK + 1]; BLOCK],
        base: usize,
        from: usize,
        to: usize,
    ) -> Node {
        match table[from - base][to - base].1 {
            Choice::Leaf => Node::Leaf(from),
            Choice::Split(at) => Node::Split {
                at,
                low: Box::new(self.node(table, base, from, at)),
                high: Box::new(self.node(table, base, at, to)),
            },
            Choice::Each { around } => Node::Each {
                single: self.others(from, to, around).collect(),
                around,
            },
        }
    }

    /// Those that are decided otherwise.
    fn others(&self, from: usize, to: usize, around: usize) -> impl Iterator<Item = usize> {
        let decision = self.ranges[around].decision;
        (from..to).filter(move |&index| self.ranges[index].decision != decision)
    }

    /// Single numbers that differ from what is around them, tried one after the other.
    fn each(&self, from: usize, to: usize) -> Option<(u64, Choice)> {
        let around = (from..to).find(|&index| !self.is_single(index)).unwrap_or(from);
        let mut count = 0;
        for index in self.others(from, to, around) {
            if !self.is_single(index) {
                return None;
            }
            count += 1;
        }
        // The last of them has both its targets elsewhere, which takes two of the kernel's instructions.
        let cost = INSTRUCTION * (count + 1) + count * self.weight(from, to);
        Some((cost, Choice::Each { around }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[(u32, char)]) -> Vec<Range<char>> {
        let range = |&(start, decision)| Range { start, decision };
        list.iter().map(range).collect()
    }

    /// What a tree answers, and after how many comparisons.
    fn walk(node: &Node, ranges: &[Range<char>], number: u32) -> (char, usize) {
        match node {
            Node::Leaf(index) => (ranges[*index].decision, 0),
            Node::Split { at, low, high } => {
                let next = if number < ranges[*at].start { low } else { high };
                let (decision, steps) = walk(next, ranges, number);
                (decision, steps + 1)
            }
            Node::Each { single, around } => {
                match single.iter().position(|&at| ranges[at].start == number) {
                    Some(place) => (ranges[single[place]].decision, place + 1),
                    None => (ranges[*around].decision, single.len()),
                }
            }
        }
    }

    #[test]
    fn one_range_needs_no_comparison() {
        assert_eq!(search(&ranges(&[(0, 'a')]), 400), Node::Leaf(0));
    }

    #[test]
    fn single_numbers_among_equal_ones_are_tried_one_by_one() {
        let list = ranges(&[(0, 'a'), (10, 'b'), (11, 'a'), (20, 'c'), (21, 'a')]);
        let expected = Node::Each {
            single: vec![1, 3],
            around: 0,
        };
        assert_eq!(search(&list, 60), expected);
    }

    #[test]
    fn every_number_of_every_pattern_is_decided_by_its_range() {
        for seed in 0..200_u32 {
            let mut list = Vec::new();
            let (mut start, mut state) = (0, seed * 7919 + 1);
            for _ in 0..seed % 70 + 1 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let decision = ['a', 'b', 'c'][(state >> 20) as usize % 3];
                if list.last().is_none_or(|&(_, last)| last != decision) {
                    list.push((start, decision));
                }
                start += [1, 1, 2, 9][(state >> 28) as usize % 4];
            }
            let list = ranges(&list);
            let tree = search(&list, start);
            for number in 0..start + 3 {
                let expected = list.iter().rfind(|range| range.start <= number).unwrap();
                let (decision, steps) = walk(&tree, &list, number);
                assert_eq!(decision, expected.decision, "{seed}: {number}");
                assert!(steps <= 16, "{seed}: {number}: {steps}");
            }
        }
    }
}
