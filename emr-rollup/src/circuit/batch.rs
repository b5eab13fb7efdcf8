//! The whole circuit: L1 slots, L2 slots, data and public inputs.

use halo2_proofs::{
    circuit::{Cell, Layouter, SimpleFloorPlanner, Value},
    plonk::{Circuit, Column, ConstraintSystem, Error, Fixed},
};
use halo2curves::ff::Field;
use sha3::{Digest, Keccak256};

use super::{
    builder::{Builder, Wire},
    config::Config,
    demand::{Demand, PublicInput},
    gadget::constrained::Bit,
    operation::Common,
    origin::Part,
    scope::{Scope, Section},
    table::{End, Table},
};
use crate::{
    batch::PublicInputs,
    layout,
    primitive::{field::Fr, poseidon::Tag},
    state::{leaf::LeafHash, tree::Path},
    statement::{BatchWitness, EntryWitness, OperationWitness, SignatureFields},
    version::CircuitVersion,
};

/// Rows at the end that blind the columns; no constraint may reach them.
pub(super) const RESERVED_ROWS: usize = 8;

/// A batch that is laid out. It can be used for keys, for a proof, or to find what it violates.
#[derive(Clone, Debug)]
pub struct BatchCircuit {
    pub(super) version: CircuitVersion,
    pub(super) table: Table,
}

/// The wires of the public inputs.
struct PublicInputWires {
    domain: Wire,
    pre: Wire,
    post: Wire,
    time: Wire,
    n1: Wire,
    n: Wire,
    commitment: Wire,
    z: Wire,
    y1: Wire,
    y2: Wire,
}

impl PublicInputWires {
    fn new(builder: &mut Builder, public: &PublicInputs) -> Self {
        let mut frame = builder.section(Part::Frame);
        let wires = frame.hints("public", public.elements());
        for (row, (wire, input)) in (0..).zip(wires.into_iter().zip(PublicInput::ALL)) {
            frame.under(Demand::PublicInput(input)).expose(wire, row);
        }
        let [domain, pre, post, time, n1, n, commitment, z, y1, y2] = wires;
        Self { domain, pre, post, time, n1, n, commitment, z, y1, y2 }
    }
}

pub(super) fn unused_operation() -> OperationWitness {
    let path = Path::zeros(0);
    OperationWitness {
        message: Default::default(),
        // Under the key (0, 1), S = 0 signs everything.
        signature: SignatureFields { r_y: Fr::ONE, ..SignatureFields::default() },
        signer: Default::default(),
        signer_path: path.clone(),
        patient: Default::default(),
        patient_path: path.clone(),
        medical: Default::default(),
        medical_path: path.clone(),
        authority_slot: Fr::ZERO,
        authority: Default::default(),
        authority_path: path.clone(),
        old_grant: Default::default(),
        new_grant: Default::default(),
        old_record: Default::default(),
        new_record: Default::default(),
        target_path: path,
    }
}

pub(super) fn unused_entry() -> EntryWitness {
    let path = Path::zeros(0);
    EntryWitness {
        entry: Default::default(),
        identity: Default::default(),
        identity_path: path.clone(),
        medical: Default::default(),
        medical_path: path.clone(),
        grant: LeafHash::EMPTY,
        grant_path: path,
    }
}

impl BatchCircuit {
    /// Lays out a witness under public inputs. A witness that violates the statement gives a table that violates
    /// constraints.
    ///
    /// Operations beyond the version's L1 and L2 slots are left out.
    pub fn new(witness: &BatchWitness, public: &PublicInputs) -> Self {
        Self::lay_out(Builder::new(), witness, public)
    }

    /// Like [`new`](Self::new), with a given builder.
    pub(super) fn lay_out(mut builder: Builder, witness: &BatchWitness, public: &PublicInputs) -> Self {
        let version = witness.version;
        let inputs = PublicInputWires::new(&mut builder, public);
        let mut frame = builder.section(Part::Frame);
        let time = frame.under(Demand::TimeInRange).range::<{ layout::TIME }>(inputs.time);

        let mut roots = frame.hints("root before", [witness.identity_root, witness.medical_root]);
        let mut scope = frame.under(Demand::RootBefore);
        let pre = scope.hash(Tag::State, &roots);
        scope.assert_equal(pre, inputs.pre);

        let unused = unused_entry();
        let (mut d1, mut used) = (Vec::new(), Vec::new());
        for slot in 0..version.max_l1 {
            let mut section = builder.section(Part::Entry(slot as u32));
            let witness = witness.entries.get(slot).unwrap_or(&unused);
            let outcome = section.entry((&version, time), roots, witness);
            roots = outcome.roots;
            d1.extend(outcome.d1);
            used.push(outcome.active);
        }
        let mut data = builder.section(Part::Data);
        data.assert_count(&used, inputs.n1, Demand::L1InOrder, Demand::L1Count);

        let [identity_root, mut medical_root] = roots;
        let common = Common { version, domain: inputs.domain, time, identity_root };
        let unused = unused_operation();
        let (mut d2, mut used) = (Vec::new(), Vec::new());
        for slot in 0..version.max_l2 {
            let mut section = builder.section(Part::Operation(slot as u32));
            let witness = witness.operations.get(slot).unwrap_or(&unused);
            let outcome = section.operation(&common, medical_root, witness);
            medical_root = outcome.medical_root;
            d2.extend(outcome.d2);
            used.push(outcome.active);
        }
        let mut data = builder.section(Part::Data);
        data.assert_count(&used, inputs.n, Demand::L2InOrder, Demand::L2Count);
        if version.max_l2 == 0 {
            // Nothing here is signed for a domain. The public input still needs a cell; `z` binds it on L1.
            let mut scope = data.under(Demand::PublicInput(PublicInput::Domain));
            scope.assert_linear(&[(Fr::ONE, inputs.domain)], Fr::ZERO, inputs.domain);
        }

        let mut scope = data.under(Demand::RootAfter);
        let post = scope.hash(Tag::State, &[identity_root, medical_root]);
        scope.assert_equal(post, inputs.post);
        let mut scope = data.under(Demand::DataCommitment);
        let commitment = scope.hash(Tag::Data, &[&d1[..], &d2[..]].concat());
        scope.assert_equal(commitment, inputs.commitment);
        let mut scope = data.under(Demand::D1Evaluation);
        let y1 = scope.evaluate(&d1, inputs.z);
        scope.assert_equal(y1, inputs.y1);
        let mut scope = data.under(Demand::D2Evaluation);
        let y2 = scope.evaluate(&d2, inputs.z);
        scope.assert_equal(y2, inputs.y2);
        Self { version, table: builder.finish() }
    }

    /// The layout of a version, on an empty batch.
    pub fn blank(version: CircuitVersion) -> Self {
        let witness = BatchWitness {
            version,
            identity_root: Fr::ZERO,
            medical_root: Fr::ZERO,
            entries: Vec::new(),
            operations: Vec::new(),
        };
        let domain = crate::operation::Domain::new(0, [0; 20]);
        let data = crate::batch::BatchData::default();
        let root = crate::state::state_root(Fr::ZERO, Fr::ZERO);
        Self::new(&witness, &PublicInputs::derive(&version, domain, 0, (root, root), 0, &data))
    }

    /// Rows in use.
    pub fn rows(&self) -> usize {
        self.table.rows.len()
    }

    /// The version it is for.
    pub fn version(&self) -> &CircuitVersion {
        &self.version
    }

    /// Keccak-256 of everything that keys depend on: gates, constants, selectors and copies, no witness.
    pub fn layout_digest(&self) -> [u8; 32] {
        let mut system = ConstraintSystem::default();
        Config::new(&mut system);
        let mut hasher = Keccak256::new();
        hasher.update(format!("{:?} {}", system.pinned(), self.version.k));
        for row in &self.table.rows {
            for constant in &row.constants {
                hasher.update(crate::primitive::field::to_bytes(constant));
            }
            hasher.update(row.selectors);
        }
        for copy in &self.table.copies {
            let (kind, row, column) = match copy.right {
                End::Advice(cell) => (0, cell.row, cell.column),
                End::PublicInput(row) => (1, row, 0),
            };
            hasher.update(copy.left.row.to_be_bytes());
            hasher.update(row.to_be_bytes());
            hasher.update([copy.left.column, kind, column]);
        }
        hasher.finalize().into()
    }

    /// Whether the rows in use fit `2^k`.
    pub fn fits(&self) -> bool {
        self.rows() + RESERVED_ROWS <= 1 << self.version.k
    }

    /// The advice columns, of `2^k` rows each.
    pub(crate) fn advice(&self) -> Vec<Vec<Fr>> {
        let mut columns = vec![vec![Fr::ZERO; 1 << self.version.k]; super::config::ADVICE];
        for (i, row) in self.table.rows.iter().enumerate() {
            for (column, value) in columns.iter_mut().zip(row.advice) {
                column[i] = value;
            }
        }
        columns
    }
}

impl Section<'_> {
    /// Constrains `count` to be the number of used slots, and the used slots to come first.
    fn assert_count(&mut self, used: &[Bit], count: Wire, in_order: fn(u32) -> Demand, counted: Demand) {
        for (i, pair) in (0..).zip(used.windows(2)) {
            self.under(in_order(i)).assert_zero_unless(pair[0], pair[1]);
        }
        let terms: Vec<_> = used.iter().map(|bit| (Fr::ONE, Wire::from(*bit))).collect();
        self.under(counted).assert_linear(&terms, Fr::ZERO, count);
    }
}

impl Scope<'_> {
    /// `sum elements[i] z^i`.
    fn evaluate(&mut self, elements: &[Wire], z: Wire) -> Wire {
        elements.iter().rev().fold(self.zero(), |sum, element| self.mul_add(sum, z, *element))
    }
}

impl Circuit<Fr> for BatchCircuit {
    type Config = Config;
    type FloorPlanner = SimpleFloorPlanner;
    type Params = ();

    fn params(&self) -> Self::Params {}

    fn without_witnesses(&self) -> Self {
        Self::blank(self.version)
    }

    fn configure(meta: &mut ConstraintSystem<Fr>) -> Config {
        Config::new(meta)
    }

    fn synthesize(&self, config: Config, mut layouter: impl Layouter<Fr>) -> Result<(), Error> {
        layouter.assign_region(
            || "batch",
            |mut region| {
                for (i, row) in self.table.rows.iter().enumerate() {
                    let mut fix = |column: Column<Fixed>, value: Fr| {
                        if value != Fr::ZERO {
                            region.assign_fixed(column, i, value);
                        }
                    };
                    for (column, value) in config.constants.into_iter().zip(row.constants) {
                        fix(column, value);
                    }
                    for (column, value) in config.selectors.into_iter().zip(row.selectors) {
                        fix(column, Fr::from(u64::from(value)));
                    }
                    for (column, value) in config.advice.into_iter().zip(row.advice) {
                        region.assign_advice(column, i, Value::known(value));
                    }
                }
                for copy in &self.table.copies {
                    if let End::Advice(right) = copy.right {
                        let [left, right] = [copy.left, right].map(|cell| Cell {
                            row_offset: cell.row as usize,
                            column: config.advice[usize::from(cell.column)].into(),
                        });
                        region.constrain_equal(left, right);
                    }
                }
                Ok(())
            },
        )?;
        for copy in &self.table.copies {
            if let End::PublicInput(row) = copy.right {
                let column = config.advice[usize::from(copy.left.column)].into();
                let cell = Cell { row_offset: copy.left.row as usize, column };
                layouter.constrain_instance(cell, config.instance, row as usize);
            }
        }
        Ok(())
    }
}
