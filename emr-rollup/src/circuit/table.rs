//! The table that a proof covers: advice, constants and selectors of every row, and the copy constraints between cells.

use halo2curves::ff::Field;

use super::{
    config::{ADVICE, CONSTANTS, SELECTORS, Selector},
    origin::Origin,
};
use crate::primitive::field::Fr;

/// An advice cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellId {
    /// The row.
    pub row: u32,
    /// The advice column.
    pub column: u8,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) advice: [Fr; ADVICE],
    pub(super) constants: [Fr; CONSTANTS],
    pub(super) selectors: [u8; SELECTORS],
    /// One bit for each advice cell that was written. The other cells are 0, and constraints do not read them or
    /// multiply them by 0.
    pub(super) assigned: u16,
}

impl Row {
    const EMPTY: Self =
        Self { advice: [Fr::ZERO; ADVICE], constants: [Fr::ZERO; CONSTANTS], selectors: [0; SELECTORS], assigned: 0 };
}

/// The second cell of a copy constraint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Advice(CellId),
    PublicInput(u32),
}

/// A copy constraint: the two cells hold the same value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) left: CellId,
    pub(super) right: End,
    pub(super) origin: Origin,
}

/// Cells that were written for one origin: rows `first..end`, and the columns of the mask `columns`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) end: u32,
    pub(super) columns: u16,
    pub(super) origin: Origin,
}

/// The mask of all advice columns.
pub(super) const ALL: u16 = (1 << ADVICE) - 1;

/// A filled table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    pub(super) copies: Vec<Copy>,
    pub(super) spans: Vec<Span>,
}

impl Table {
    /// Appends empty rows, and returns the number of the first.
    pub(super) fn append(&mut self, rows: usize) -> u32 {
        let first = self.rows.len() as u32;
        self.rows.resize(self.rows.len() + rows, Row::EMPTY);
        first
    }

    pub(super) fn row(&mut self, row: u32) -> &mut Row {
        &mut self.rows[row as usize]
    }

    /// Writes a cell.
    pub(super) fn write(&mut self, row: u32, column: usize, value: Fr) -> CellId {
        let target = self.row(row);
        target.advice[column] = value;
        target.assigned |= 1 << column;
        CellId { row, column: column as u8 }
    }

    /// Switches a selector on.
    pub(super) fn select(&mut self, row: u32, selector: Selector) {
        let (column, value) = selector.place();
        self.row(row).selectors[column] = value as u8;
    }

    /// Records the origin of cells.
    pub(super) fn explain(&mut self, first: u32, end: u32, columns: u16, origin: Origin) {
        self.spans.push(Span { first, end, columns, origin });
    }

    pub(super) fn value(&self, cell: CellId) -> Fr {
        self.rows[cell.row as usize].advice[usize::from(cell.column)]
    }
}
