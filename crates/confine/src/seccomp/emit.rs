//! An assembler that writes a program from its end to its start.
//!
//! In classic BPF jumps only go forwards, so written backwards every target is known when a jump to it is
//! written. A conditional jump reaches 255 instructions; a target further away is reached over an
//! unconditional one (32-bit distance) put right behind the jump, or, for an answer, over a copy of it.

use std::collections::BTreeMap;

use super::profile::Action;
use super::program::{AND, Instruction, JEQ, JGE, JGT, JUMP, LOAD, RET};

/// Where a jump goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// An instruction already written, by its distance from the end of the program.
    At(usize),
    /// The end of the filter with this answer.
    Answer(Action),
}

/// How far a conditional jump may go, less the one instruction its other branch may still need.
const REACH: usize = 254;

/// A comparison of the accumulator with a constant.
#[derive(Debug, Clone, Copy)]
pub(super) enum Test {
    Equal(u32),
    Greater(u32),
    GreaterOrEqual(u32),
}

#[derive(Debug, Default)]
pub(super) struct Emitter {
    /// Last instruction first.
    backwards: Vec<Instruction>,
    /// The place of each answer that was written most recently.
    answers: BTreeMap<Action, usize>,
}

impl Emitter {
    /// Jumps by a comparison; returns the place of the jump.
    pub(super) fn branch(&mut self, test: Test, holds: Target, fails: Target) -> Target {
        let holds = self.near(holds);
        let fails = self.near(fails);
        let here = self.backwards.len();
        // `near` left both within reach, also after what it added for the other.
        let distance = |place: usize| (here - place - 1) as u8;
        let (jt, jf) = (distance(holds), distance(fails));
        let (code, k) = match test {
            Test::Equal(k) => (JEQ, k),
            Test::Greater(k) => (JGT, k),
            Test::GreaterOrEqual(k) => (JGE, k),
        };
        self.push(Instruction { code, jt, jf, k })
    }

    /// Loads a word of the call's data, then goes on at `then`.
    pub(super) fn load(&mut self, offset: u32, then: Target) -> Target {
        self.follow(then);
        self.push(Instruction {
            code: LOAD,
            jt: 0,
            jf: 0,
            k: offset,
        })
    }

    /// Cuts the accumulator down to a mask, then goes on at `then`.
    pub(super) fn and(&mut self, mask: u32, then: Target) -> Target {
        self.follow(then);
        self.push(Instruction {
            code: AND,
            jt: 0,
            jf: 0,
            k: mask,
        })
    }

    /// The program, beginning at `start`.
    pub(super) fn finish(mut self, start: Target) -> Vec<Instruction> {
        self.follow(start);
        self.backwards.reverse();
        self.backwards
    }

    fn push(&mut self, instruction: Instruction) -> Target {
        self.backwards.push(instruction);
        Target::At(self.backwards.len() - 1)
    }

    /// Makes `target` the instruction behind the one written next.
    fn follow(&mut self, target: Target) {
        match target {
            Target::At(place) if place + 1 == self.backwards.len() => {}
            Target::At(place) => {
                self.jump(place);
            }
            Target::Answer(action) => {
                self.answer(action);
            }
        }
    }

    /// A place within reach of a conditional jump that leads to `target`.
    fn near(&mut self, target: Target) -> usize {
        let reachable = |place: &usize| self.backwards.len() - place <= REACH;
        match target {
            Target::At(place) if reachable(&place) => place,
            Target::At(place) => self.jump(place),
            Target::Answer(action) => match self.answers.get(&action).filter(|p| reachable(p)) {
                Some(&place) => place,
                None => self.answer(action),
            },
        }
    }

    fn jump(&mut self, place: usize) -> usize {
        let k = (self.backwards.len() - place - 1) as u32;
        self.backwards.push(Instruction {
            code: JUMP,
            jt: 0,
            jf: 0,
            k,
        });
        self.backwards.len() - 1
    }

    fn answer(&mut self, action: Action) -> usize {
        self.backwards.push(Instruction {
            code: RET,
            jt: 0,
            jf: 0,
            k: action.to_ret(),
        });
        let place = self.backwards.len() - 1;
        self.answers.insert(action, place);
        place
    }
}
