//! From a [`Profile`] to a [`Program`]: numbers with the same answer are joined to ranges, and a tree finds
//! the range; calls with conditions have their comparisons at its leaf.

use super::emit::{Emitter, Target, Test};
use super::profile::{Action, Comparison, Condition, Profile, Rule};
use super::search::{self, Node, search};
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

type Range<'a> = search::Range<Decision<'a>>;

/// Compiles a profile for an architecture.
///
/// # Errors
/// [`Error::FilterTooLong`] above 4096 instructions.
pub fn compile(profile: &Profile, arch: Arch) -> Result<Program, Error> {
    let ranges = ranges(profile, arch);
    let mut emitter = Emitter::default();
    let node = search(&ranges, arch.last() + 1);
    let tree = tree(&mut emitter, &ranges, &node);
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
        if ranges.last().is_none_or(|last| last.decision != decision) {
            ranges.push(Range {
                start: number,
                decision,
            });
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

/// Finds the decision about the number in the accumulator.
fn tree(emitter: &mut Emitter, ranges: &[Range<'_>], node: &Node) -> Target {
    match node {
        Node::Leaf(index) => leaf(emitter, ranges[*index].decision),
        Node::Split { at, low, high } => {
            let high = tree(emitter, ranges, high);
            let low = tree(emitter, ranges, low);
            emitter.branch(Test::GreaterOrEqual(ranges[*at].start), high, low)
        }
        Node::Each { single, around } => {
            let mut next = leaf(emitter, ranges[*around].decision);
            for &index in single.iter().rev() {
                let Range { start, decision } = ranges[index];
                let holds = leaf(emitter, decision);
                next = emitter.branch(Test::Equal(start), holds, next);
            }
            next
        }
    }
}

/// Where a comparison of an argument begins, with the word of the call's data it looks at not loaded yet:
/// most often the one before has looked at the same.
#[derive(Debug, Clone, Copy)]
struct Entry {
    test: Target,
    /// Offset of the word that `test` expects in the accumulator.
    word: Option<u32>,
    /// Where it is loaded for those who come with another.
    load: Option<Target>,
}

impl Entry {
    fn answer(action: Action) -> Self {
        Self {
            test: Target::Answer(action),
            word: None,
            load: None,
        }
    }

    fn comparing(word: u32, test: Target) -> Self {
        Self {
            test,
            word: Some(word),
            load: None,
        }
    }

    /// The target for who comes with the word at offset `held` in the accumulator.
    fn from(&mut self, emitter: &mut Emitter, held: Option<u32>) -> Target {
        match self.word {
            Some(word) if held != self.word => {
                let test = self.test;
                *self.load.get_or_insert_with(|| emitter.load(word, test))
            }
            _ => self.test,
        }
    }
}

fn leaf(emitter: &mut Emitter, decision: Decision<'_>) -> Target {
    let (rules, otherwise) = match decision {
        Decision::Answer(action) => return Target::Answer(action),
        Decision::Rules(rules, otherwise) => (rules, otherwise),
    };
    // Backwards: the last rule is written first, and where it fails is where the program already is.
    let mut next = Entry::answer(otherwise);
    for rule in rules.iter().rev() {
        let mut holds = Entry::answer(rule.action);
        for condition in rule.conditions.iter().rev() {
            holds = compare(emitter, condition, &mut holds, &mut next);
        }
        next = holds;
    }
    next.from(emitter, None)
}

/// Compares a 64-bit argument in two halves, the accumulator has 32 bits.
fn compare(
    emitter: &mut Emitter,
    condition: &Condition,
    holds: &mut Entry,
    fails: &mut Entry,
) -> Entry {
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
            let low_half = (mask as u32, value as u32);
            let high_half = ((mask >> 32) as u32, (value >> 32) as u32);
            let mut then = masked(emitter, low, low_half, (holds, fails));
            masked(emitter, high, high_half, (&mut then, fails))
        }
    }
}

/// Jumps by a comparison of the word at `offset`.
fn branch(
    emitter: &mut Emitter,
    offset: u32,
    test: Test,
    (holds, fails): (&mut Entry, &mut Entry),
) -> Entry {
    let holds = holds.from(emitter, Some(offset));
    let fails = fails.from(emitter, Some(offset));
    Entry::comparing(offset, emitter.branch(test, holds, fails))
}

fn equal(
    emitter: &mut Emitter,
    low: u32,
    value: u64,
    holds: &mut Entry,
    fails: &mut Entry,
) -> Entry {
    let mut second = branch(
        emitter,
        low,
        Test::Equal(value as u32),
        (holds, &mut *fails),
    );
    let test = Test::Equal((value >> 32) as u32);
    branch(emitter, low + 4, test, (&mut second, fails))
}

/// `low_half` decides when the high halves are equal.
fn above(
    emitter: &mut Emitter,
    low: u32,
    value: u64,
    low_half: Test,
    (holds, fails): (&mut Entry, &mut Entry),
) -> Entry {
    let (high, high_value) = (low + 4, (value >> 32) as u32);
    let mut second = branch(emitter, low, low_half, (&mut *holds, &mut *fails));
    let mut same = branch(
        emitter,
        high,
        Test::Equal(high_value),
        (&mut second, fails),
    );
    branch(emitter, high, Test::Greater(high_value), (holds, &mut same))
}

/// One half of a masked comparison.
fn masked(
    emitter: &mut Emitter,
    offset: u32,
    (mask, value): (u32, u32),
    (holds, fails): (&mut Entry, &mut Entry),
) -> Entry {
    // Decided without looking: nothing is compared, or a bit is asked for that the mask takes away.
    if value & !mask != 0 {
        return *fails;
    }
    if mask == 0 {
        return *holds;
    }
    let test = Test::Equal(value);
    if mask == u32::MAX {
        return branch(emitter, offset, test, (holds, fails));
    }
    // What is in the accumulator after the mask is nobody's word.
    let holds = holds.from(emitter, None);
    let fails = fails.from(emitter, None);
    let test = emitter.branch(test, holds, fails);
    Entry::comparing(offset, emitter.and(mask, test))
}
