//! The table that a proof is about: every row's advice, constants and selectors, and the copies between cells.

use halo2curves::ff::Field;

use super::{
    config::{ADVICE, CONSTANTS, SELECTORS, Selector},
    origin::Origin,
};
use crate::primitive::field::Fr;

/// An advice cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CellId {
    /// Row.
    pub row: u32,
    /// Advice column.
    pub column: u8,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) advice: [Fr; ADVICE],
    pub(super) constants: [Fr; CONSTANTS],
    pub(super) selectors: [u8; SELECTORS],
    /// Which advice cells hold something; the others are 0 and no constraint reads them, or reads them times 0.
    pub(super) assigned: u16,
}

impl Row {
    const EMPTY: Self =
        Self { advice: [Fr::ZERO; ADVICE], constants: [Fr::ZERO; CONSTANTS], selectors: [0; SELECTORS], assigned: 0 };
}

/// Where a copy constraint's second end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Advice(CellId),
    PublicInput(u32),
}

/// Two cells that hold one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) left: CellId,
    pub(super) right: End,
    pub(super) origin: Origin,
}

/// Cells that were written for one reason: rows `first..end`, columns `columns`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) first: u32,
    pub(super) end: u32,
    pub(super) columns: u16,
    pub(super) origin: Origin,
}

/// All columns.
pub(super) const ALL: u16 = (1 << ADVICE) - 1;

/// A filled table.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) rows: Vec<Row>,
    pub(super) copies: Vec<Copy>,
    pub(super) spans: Vec<Span>,
}

impl Table {
    /// Appends empty rows and gives the number of the first.
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

    /// Says why cells were written.
    pub(super) fn explain(&mut self, first: u32, end: u32, columns: u16, origin: Origin) {
        self.spans.push(Span { first, end, columns, origin });
    }

    pub(super) fn value(&self, cell: CellId) -> Fr {
        self.rows[cell.row as usize].advice[usize::from(cell.column)]
    }
}
