//! The order of a program's instructions. Words of one kind follow each other as long as they can be filled: a change
//! of the kind costs gas, and so does an empty place in a word.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::program::{Instruction, Kind, Operand, Program, ZERO};

/// Words of one kind, one after the other.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) kind: Kind,
    pub(super) words: Vec<Vec<Operand>>,
}

/// A program in order.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) runs: Vec<Run>,
    /// The number of the first result of each instruction.
    pub(super) results: Vec<usize>,
    /// The number of the first denominator's result. The others follow.
    pub(super) denominators: usize,
    /// How many results there are, with those of empty places.
    pub(super) count: usize,
}

/// The gas of a change of the kind, approximately.
const RUN_GAS: usize = 110;

impl Schedule {
    /// The cheapest of several orders.
    pub(super) fn new(program: &Program) -> Self {
        let orders =
            (0..=10).flat_map(|stay| [0, 1, 2].map(|urge| Self::with(program, Preference { stay: 10 * stay, urge })));
        orders.min_by_key(Self::gas).unwrap_or_else(|| Self::with(program, Preference { stay: 100, urge: 0 }))
    }

    fn gas(&self) -> usize {
        self.runs.iter().map(|run| RUN_GAS + run.words.len() * run.kind.gas()).sum()
    }

    fn with(program: &Program, preference: Preference) -> Self {
        let instructions = &program.instructions;
        let schedule =
            Self { runs: Vec::new(), results: vec![usize::MAX; instructions.len()], denominators: 0, count: 0 };
        let urgency = urgency(instructions);
        let mut scheduler =
            Scheduler { program, schedule, preference, done: BTreeSet::new(), inverted: false, urgency };
        let mut needed = BTreeSet::new();
        for denominator in &program.denominators {
            collect(instructions, &instructions[*denominator], &mut needed);
        }
        scheduler.all(needed);
        scheduler.invert();
        let rest = (0..instructions.len()).filter(|i| !scheduler.done.contains(i)).collect();
        scheduler.all(rest);
        scheduler.schedule
    }
}

/// The instructions that an instruction depends on.
fn dependencies(instruction: &Instruction) -> impl Iterator<Item = usize> + '_ {
    instruction.operands.iter().filter_map(|operand| match operand {
        Operand::Result { instruction, .. } => Some(*instruction),
        _ => None,
    })
}

fn collect(instructions: &[Instruction], instruction: &Instruction, needed: &mut BTreeSet<usize>) {
    for dependency in dependencies(instruction) {
        if needed.insert(dependency) {
            collect(instructions, &instructions[dependency], needed);
        }
    }
}

/// How many instructions follow, one after the other, from each one. A dependency has a smaller number than what
/// depends on it.
fn urgency(instructions: &[Instruction]) -> Vec<usize> {
    let mut urgency = vec![0; instructions.len()];
    for (i, instruction) in instructions.iter().enumerate().rev() {
        for dependency in dependencies(instruction) {
            urgency[dependency] = urgency[dependency].max(urgency[i] + 1);
        }
    }
    urgency
}

/// What decides between several kinds that are ready.
#[derive(Clone, Copy)]
struct Preference {
    /// The last kind goes on if it fills this part of a word, in percent.
    stay: usize,
    /// How much each following instruction counts, in percent of a word.
    urge: usize,
}

struct Scheduler<'a> {
    program: &'a Program,
    schedule: Schedule,
    preference: Preference,
    done: BTreeSet<usize>,
    inverted: bool,
    urgency: Vec<usize>,
}

impl Scheduler<'_> {
    /// Schedules these instructions.
    fn all(&mut self, mut open: BTreeSet<usize>) {
        while !open.is_empty() {
            let mut ready: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
            for i in open.iter().copied().filter(|i| self.is_ready(*i)) {
                ready.entry(self.program.instructions[i].kind).or_default().push(i);
            }
            let last = self.schedule.runs.last().map(|run| run.kind);
            // The last kind first, then the kind with the most words.
            let Preference { stay, urge } = self.preference;
            let rank = |kind: &Kind, chosen: &Vec<usize>| {
                let percent = 100 * chosen.len() / kind.per_word();
                let urgency = chosen.iter().map(|i| self.urgency[*i]).max().unwrap_or(0);
                (Some(*kind) == last && percent >= stay, percent + urge * urgency)
            };
            let Some((kind, mut chosen)) = ready.into_iter().max_by_key(|(kind, chosen)| rank(kind, chosen)) else {
                unreachable!("an instruction depends on earlier ones only")
            };
            chosen.sort_by_key(|i| (Reverse(self.urgency[*i]), *i));
            chosen.truncate(kind.per_word());
            for instruction in &chosen {
                open.remove(instruction);
            }
            self.word(kind, &chosen);
        }
    }

    fn is_ready(&self, instruction: usize) -> bool {
        self.program.instructions[instruction].operands.iter().all(|operand| match operand {
            Operand::Result { instruction, .. } => self.done.contains(instruction),
            Operand::Inverse(_) => self.inverted,
            Operand::Constant(_) | Operand::Input(_) | Operand::Number(_) => true,
        })
    }

    /// Adds a word. Empty places compute 0.
    fn word(&mut self, kind: Kind, chosen: &[usize]) {
        let mut operands = Vec::new();
        for i in chosen {
            let instruction = &self.program.instructions[*i];
            operands.extend(instruction.operands.iter().copied());
            self.schedule.results[*i] = self.schedule.count;
            self.schedule.count += instruction.results;
            self.done.insert(*i);
        }
        self.schedule.count += kind.per_word() - chosen.len();
        operands.resize(kind.per_word() * kind.operands(), ZERO);
        match self.schedule.runs.last_mut() {
            Some(run) if run.kind == kind => run.words.push(operands),
            _ => self.schedule.runs.push(Run { kind, words: vec![operands] }),
        }
    }

    /// Computes the denominators, one after the other, and inverts them.
    fn invert(&mut self) {
        let denominators = &self.program.denominators;
        self.schedule.denominators = self.schedule.count;
        for chosen in denominators.chunks(Kind::MultiplyAdd.per_word()) {
            self.word(Kind::MultiplyAdd, chosen);
        }
        self.inverted = true;
        let count = Operand::Number((denominators.len() / 3) as u16);
        self.schedule.runs.push(Run { kind: Kind::Invert, words: vec![vec![Operand::Inverse(0), count]] });
    }
}
