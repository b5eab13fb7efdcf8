//! Checks a FHIR file against the definitions of R4.

use std::{io::Write, path::PathBuf};

use emr_core::fhir::{self, Problems};
use serde::Serialize;

use crate::{
    failure::{Exit, Failure, one_line},
    input,
    report::{Answer, print},
};

/// The arguments of `validate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Validate {
    /// The FHIR file
    file: PathBuf,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    path: &'a str,
    message: &'a str,
}

#[derive(Debug, Serialize)]
struct Answered<'a> {
    total: usize,
    problems: Vec<Line<'a>>,
}

impl<'a> Answered<'a> {
    fn of(problems: &'a Problems) -> Self {
        let line = |problem: &'a fhir::Problem| Line { path: &problem.path, message: &problem.message };
        Self { total: problems.total, problems: problems.first.iter().map(line).collect() }
    }
}

impl Answer for Answered<'_> {
    fn write(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for Line { path, message } in &self.problems {
            writeln!(out, "{path}: {message}")?;
        }
        match self.total - self.problems.len() {
            0 => Ok(()),
            more => writeln!(out, "and {more} more"),
        }
    }
}

impl Validate {
    /// Prints all problems of the file.
    ///
    /// # Errors
    /// Fails with [`Exit::Input`] if the file is not FHIR or has problems.
    pub(crate) fn run(&self, json: bool) -> Result<(), Failure> {
        let name = self.file.display();
        let document = input::read("the document", &self.file, fhir::MAX_BYTES as u64)?;
        let problems = fhir::validate(&document)
            .map_err(|error| Failure::new(Exit::Input, format!("{name}: {}", one_line(&error))))?;
        print(&Answered::of(&problems), json)?;
        if problems.total > 0 {
            let message = format!(
                "{name}: {} places do not conform to FHIR R4: correct them where the file was made; `upload` takes the file as it is",
                problems.total
            );
            return Err(Failure::new(Exit::Input, message));
        }
        Ok(())
    }
}
