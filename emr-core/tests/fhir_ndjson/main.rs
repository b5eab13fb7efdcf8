//! NDJSON in and out: lines with limits, whose resources they are, Bundles that are gathered from them, and the same lines back.

mod gather;
mod lines;
mod patient;

use emr_core::fhir::line_resource::{LineResource, NotTaken};
use emr_core::fhir::ndjson::{BadLine, Line, Lines};

type Anything = Box<dyn std::error::Error>;

const BUNDLE: &[u8] = include_bytes!("../../fixtures/synthea-bundle.json");

fn lines(bytes: &[u8]) -> Vec<Result<Line, BadLine>> {
    Lines::new(bytes).collect()
}

fn texts(bytes: &[u8]) -> Result<Vec<(u64, String)>, Anything> {
    lines(bytes)
        .into_iter()
        .map(|line| line.map(|Line { number, bytes }| Ok((number, String::from_utf8(bytes)?)))?)
        .collect()
}

fn read(line: &str) -> Result<LineResource<'_>, NotTaken> {
    LineResource::read(line.as_bytes())
}
