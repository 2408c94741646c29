//! From a [`Profile`] to a [`Program`]: numbers with the same answer are joined to ranges, and a balanced
//! tree finds the range; calls with conditions have their comparisons at its leaf.

use super::emit::{Emitter, Target, Test};
use super::profile::{Action, Comparison, Condition, Profile, Rule};
use super::{Arch, Program};
use crate::Error;

/// `__X32_SYSCALL_BIT`
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`.
const OFFSET_NR: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// What happens to the numbers of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision<'a> {
    Answer(Action),
    /// The first rule that holds, else the last.
    Rules(&'a [Rule], Action),
}

/// From this number to the next range's.
type Range<'a> = (u32, Decision<'a>);

/// Compiles a profile for an architecture.
///
/// # Errors
/// [`Error::FilterTooLong`] above 4096 instructions.
pub fn compile(profile: &Profile, arch: Arch) -> Result<Program, Error> {
    let ranges = ranges(profile, arch);
    let mut emitter = Emitter::default();
    let tree = tree(&mut emitter, &ranges);
    let number = emitter.load(OFFSET_NR, tree);
    let foreign = Target::Answer(profile.foreign_action);
    let check = emitter.branch(Test::Equal(arch.audit()), number, foreign);
    let start = emitter.load(OFFSET_ARCH, check);
    let instructions = emitter.finish(start);
    if instructions.len() > Program::MAX_INSTRUCTIONS {
        return Err(Error::FilterTooLong {
            instructions: instructions.len(),
        });
    }
    Ok(Program::new(instructions, profile.flags))
}

/// All numbers from 0 up, neighbours with the same answer joined.
fn ranges<'a>(profile: &'a Profile, arch: Arch) -> Vec<Range<'a>> {
    let mut ranges: Vec<Range<'a>> = Vec::new();
    let mut push = |number: u32, decision: Decision<'a>| {
        if ranges.last().is_none_or(|(_, last)| *last != decision) {
            ranges.push((number, decision));
        }
    };
    for number in 0..=arch.last() {
        push(
            number,
            match arch.name(number) {
                Some(name) => decision(profile, name),
                None => Decision::Answer(profile.unknown_action),
            },
        );
    }
    push(arch.last() + 1, Decision::Answer(profile.unknown_action));
    if arch == Arch::X86_64 {
        push(X32_BIT, Decision::Answer(profile.foreign_action));
    }
    ranges
}

/// What happens to a call, with rules that cannot be reached or make no difference left out.
fn decision<'a>(profile: &'a Profile, name: &str) -> Decision<'a> {
    let rules = profile.rules.get(name).map_or(&[][..], Vec::as_slice);
    let (rules, otherwise) = match rules.iter().position(|rule| rule.conditions.is_empty()) {
        Some(always) => (&rules[..always], rules[always].action),
        None => (rules, profile.default_action),
    };
    if rules.iter().all(|rule| rule.action == otherwise) {
        return Decision::Answer(otherwise);
    }
    Decision::Rules(rules, otherwise)
}

/// Finds the range of the number in the accumulator. Depth is the logarithm of their count.
fn tree(emitter: &mut Emitter, ranges: &[Range<'_>]) -> Target {
    if let [(_, decision)] = ranges {
        return leaf(emitter, *decision);
    }
    // One number that differs from those around it takes one comparison instead of two.
    if let [(_, around), (number, inner), (end, after)] = ranges
        && around == after
        && number + 1 == *end
    {
        let inner = leaf(emitter, *inner);
        let around = leaf(emitter, *around);
        return emitter.branch(Test::Equal(*number), inner, around);
    }
    let (low, high) = ranges.split_at(middle(ranges));
    let right = tree(emitter, high);
    let left = tree(emitter, low);
    emitter.branch(Test::GreaterOrEqual(high[0].0), right, left)
}

/// Where to split: half of the numbers on each side, rather than half of the ranges. When it loads a filter
/// the kernel runs it once for every number it has a call for, so it is the average path over all
/// numbers that counts.
fn middle(ranges: &[Range<'_>]) -> usize {
    let (first, last) = (ranges[0].0, ranges[ranges.len() - 1].0);
    let half = first + (last - first) / 2;
    // The last range may have no end; it begins where it is counted to.
    let after = ranges
        .partition_point(|(number, _)| *number < half)
        .clamp(1, ranges.len() - 1);
    let before = (after - 1).max(1);
    let nearer = ranges[before].0.abs_diff(half) < ranges[after].0.abs_diff(half);
    if nearer { before } else { after }
}

fn leaf(emitter: &mut Emitter, decision: Decision<'_>) -> Target {
    let (rules, otherwise) = match decision {
        Decision::Answer(action) => return Target::Answer(action),
        Decision::Rules(rules, otherwise) => (rules, otherwise),
    };
    // Backwards: the last rule is written first, and where it fails is where the program already is.
    let mut next = Target::Answer(otherwise);
    for rule in rules.iter().rev() {
        let mut holds = Target::Answer(rule.action);
        for condition in rule.conditions.iter().rev() {
            holds = compare(emitter, condition, holds, next);
        }
        next = holds;
    }
    next
}

/// Compares a 64-bit argument in two halves, the accumulator has 32 bits.
fn compare(emitter: &mut Emitter, condition: &Condition, holds: Target, fails: Target) -> Target {
    let low = OFFSET_ARGS + 8 * u32::from(condition.arg);
    let high = low + 4;
    match condition.is {
        Comparison::Eq(value) => equal(emitter, low, value, holds, fails),
        Comparison::Ne(value) => equal(emitter, low, value, fails, holds),
        Comparison::Gt(value) => {
            let test = Test::Greater(value as u32);
            above(emitter, low, value, test, (holds, fails))
        }
        Comparison::Le(value) => {
            let test = Test::Greater(value as u32);
            above(emitter, low, value, test, (fails, holds))
        }
        Comparison::Ge(value) => {
            let test = Test::GreaterOrEqual(value as u32);
            above(emitter, low, value, test, (holds, fails))
        }
        Comparison::Lt(value) => {
            let test = Test::GreaterOrEqual(value as u32);
            above(emitter, low, value, test, (fails, holds))
        }
        Comparison::MaskedEq { mask, value } => {
            let then = masked(emitter, low, mask as u32, value as u32, (holds, fails));
            masked(
                emitter,
                high,
                (mask >> 32) as u32,
                (value >> 32) as u32,
                (then, fails),
            )
        }
    }
}

fn equal(emitter: &mut Emitter, low: u32, value: u64, holds: Target, fails: Target) -> Target {
    let test = emitter.branch(Test::Equal(value as u32), holds, fails);
    let second = emitter.load(low, test);
    let test = emitter.branch(Test::Equal((value >> 32) as u32), second, fails);
    emitter.load(low + 4, test)
}

/// `low_half` decides when the high halves are equal.
fn above(
    emitter: &mut Emitter,
    low: u32,
    value: u64,
    low_half: Test,
    (holds, fails): (Target, Target),
) -> Target {
    let high_value = (value >> 32) as u32;
    let test = emitter.branch(low_half, holds, fails);
    let second = emitter.load(low, test);
    let same = emitter.branch(Test::Equal(high_value), second, fails);
    let test = emitter.branch(Test::Greater(high_value), holds, same);
    emitter.load(low + 4, test)
}

/// One half of a masked comparison.
fn masked(
    emitter: &mut Emitter,
    offset: u32,
    mask: u32,
    value: u32,
    (holds, fails): (Target, Target),
) -> Target {
    // Decided without looking: nothing is compared, or a bit is asked for that the mask takes away.
    if value & !mask != 0 {
        return fails;
    }
    if mask == 0 {
        return holds;
    }
    let test = emitter.branch(Test::Equal(value), holds, fails);
    if mask == u32::MAX {
        return emitter.load(offset, test);
    }
    let cut = emitter.and(mask, test);
    emitter.load(offset, cut)
}
