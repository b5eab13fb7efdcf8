//! Which lines of a folder of Bulk Data, or of a JWE, are taken, and in which class each, before anything is written.

use std::{
    fmt,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use emr_core::{
    Class,
    fhir::{
        self, Classification, FhirError,
        companions::{COMPANIONS, Taken},
        line_resource::{LineResource, NotTaken, PatientId},
        ndjson::Lines,
    },
};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{classed::Choice, failure::one_line};

/// How many refused lines are listed. All are counted.
const LISTED: usize = 10_000;
/// How many lines of each sensitive class are explained on stderr.
const EXPLAINED: usize = 5;

/// A file of lines.
pub(crate) enum LineFile {
    /// On disk.
    OnDisk(PathBuf),
    /// What a JWE held: the name of the JWE, and the lines.
    Held(PathBuf, Zeroizing<Vec<u8>>),
}

impl LineFile {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::OnDisk(path) | Self::Held(path, _) => path,
        }
    }
}

/// Shows no content.
impl fmt::Debug for LineFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LineFile").field(&self.path()).finish()
    }
}

/// A line that was not taken.
#[derive(Debug, Serialize)]
pub(crate) struct Refused {
    pub(crate) file: String,
    /// Counted from 1; 0 if the whole file was refused.
    pub(crate) line: u64,
    pub(crate) reason: String,
}

/// What a run has refused so far.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) count: u64,
    pub(crate) first: Vec<Refused>,
}

impl Refusals {
    pub(crate) fn add(&mut self, file: &Path, line: u64, reason: &dyn std::error::Error) {
        self.say(file, line, one_line(reason));
    }

    fn say(&mut self, file: &Path, line: u64, reason: String) {
        self.count += 1;
        if self.first.len() < LISTED {
            self.first.push(Refused { file: name(file), line, reason });
        }
    }
}

/// The name of a file for a message.
pub(crate) fn name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.chars().filter(|c| emr_core::is_harmless(*c)).collect()
}

/// The lines of a file. On disk it must be a regular one: a pipe or a device could block or never end. `None` if the file was refused.
pub(crate) fn open<'a>(file: &'a LineFile, refusals: &mut Refusals) -> Option<Lines<Box<dyn BufRead + 'a>>> {
    let path = match file {
        LineFile::OnDisk(path) => path,
        LineFile::Held(_, lines) => return Some(Lines::new(Box::new(lines.as_slice()))),
    };
    match fs::metadata(path) {
        Ok(about) if about.is_file() => {}
        Ok(_) => {
            refusals.say(path, 0, "this is not a regular file".to_owned());
            return None;
        }
        Err(error) => {
            refusals.add(path, 0, &error);
            return None;
        }
    }
    match File::open(path) {
        Ok(file) => Some(Lines::new(Box::new(BufReader::with_capacity(1 << 20, file)))),
        Err(error) => {
            refusals.add(path, 0, &error);
            None
        }
    }
}

/// A reason with the line's number in the file.
pub(crate) fn in_file(reason: NotTaken, number: u64) -> NotTaken {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    match reason {
        NotTaken::Fhir(FhirError::NotJson { column, expected, .. }) => {
            FhirError::NotJson { line: number, column, expected }.into()
        }
        NotTaken::Fhir(FhirError::TooDeep { column, .. }) => FhirError::TooDeep { line: number, column }.into(),
        other => other,
    }
}

/// How the class of a line that is taken is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decided {
    /// It is this class.
    Class(Class),
    /// The line is classified without the others.
    Alone,
}

/// A line that is taken.
#[derive(Clone, Copy, Debug)]
struct Place {
    file: usize,
    /// Among the lines of the file that are not empty, counted from 0.
    place: usize,
    /// The number in the file, counted from 1.
    line: u64,
}

/// The lines of a folder, with what was decided of each. It takes two bytes for each line, and while classes are proposed, 24 more and one Bundle
/// of at most 64 MiB.
#[derive(Debug)]
pub(crate) struct Survey<'a> {
    files: &'a [LineFile],
    patient: &'a PatientId,
    decided: Vec<Vec<Option<Decided>>>,
    /// What was refused.
    pub(crate) refusals: Refusals,
}

impl<'a> Survey<'a> {
    /// Reads all files, and decides.
    pub(crate) fn of(files: &'a [LineFile], patient: &'a PatientId, choice: Choice) -> Self {
        let decided = vec![Vec::new(); files.len()];
        let mut survey = Self { files, patient, decided, refusals: Refusals::default() };
        let (mut taken, mut proposals) = (Taken::of(patient), Proposals::default());
        let with_companions = survey.read_all(choice, &mut taken, &mut proposals);
        for companion in COMPANIONS {
            survey.read_companions(companion, choice, (&mut taken, &mut proposals), &with_companions);
        }
        if matches!(choice, Choice::Auto) {
            survey.propose(&proposals);
        }
        survey
    }

    /// Takes all lines except those of companions. Returns the numbers of the files that hold such lines.
    fn read_all(&mut self, choice: Choice, taken: &mut Taken, proposals: &mut Proposals) -> Vec<usize> {
        let mut with_companions = Vec::new();
        for (number, file) in self.files.iter().enumerate() {
            let Some(lines) = open(file, &mut self.refusals) else {
                taken.has_others();
                continue;
            };
            for (place, line) in lines.enumerate() {
                self.decided[number].push(None);
                let line = match line {
                    Ok(line) => line,
                    Err(bad) => {
                        taken.has_others();
                        self.refusals.add(file.path(), bad.number, &bad.error);
                        continue;
                    }
                };
                match checked(&line.bytes, self.patient) {
                    Ok(resource) if COMPANIONS.contains(&resource.resource_type()) => with_companions.push(number),
                    Ok(resource) => {
                        taken.add(&resource);
                        self.take(Place { file: number, place, line: line.number }, &resource, choice, proposals);
                    }
                    Err(reason) => {
                        if reason.may_be_anothers() {
                            taken.has_others();
                        }
                        self.refusals.add(file.path(), line.number, &in_file(reason, line.number));
                    }
                }
                with_companions.dedup();
            }
        }
        with_companions
    }

    /// Takes the lines of one type of companions, when everything is known to which they can refer.
    fn read_companions(
        &mut self,
        companion: &str,
        choice: Choice,
        (taken, proposals): (&mut Taken, &mut Proposals),
        files: &[usize],
    ) {
        for &number in files {
            let file = &self.files[number];
            // What is refused was refused before.
            for (place, line) in open(file, &mut Refusals::default()).into_iter().flatten().enumerate() {
                let Ok(line) = line else { continue };
                let Ok(resource) = checked(&line.bytes, self.patient) else { continue };
                if resource.resource_type() != companion {
                    continue;
                }
                match taken.check(&resource) {
                    Ok(()) => {
                        taken.add(&resource);
                        self.take(Place { file: number, place, line: line.number }, &resource, choice, proposals);
                    }
                    Err(reason) => self.refusals.add(file.path(), line.number, &reason),
                }
            }
        }
    }

    fn take(&mut self, place: Place, resource: &LineResource<'_>, choice: Choice, proposals: &mut Proposals) {
        match choice {
            Choice::Stated(class) => self.decide(place, Decided::Class(class)),
            Choice::Auto => {
                self.decide(place, Decided::Alone);
                proposals.add(place, resource);
            }
        }
    }

    /// A file that grew since it was read first has lines of which nothing is decided, and they are not taken.
    fn decide(&mut self, place: Place, decided: Decided) {
        if let Some(entry) = self.decided[place.file].get_mut(place.place) {
            *entry = Some(decided);
        }
    }

    /// Classifies all lines together, so that references between them count.
    fn propose(&mut self, proposals: &Proposals) {
        let Some(classification) = proposals.classification() else {
            eprintln!(
                "the folder is too large to classify as a whole, so each line is classified alone: what is sensitive only through a reference to another line \
                 is not recognised"
            );
            return;
        };
        let mut explained = std::collections::BTreeMap::<Class, usize>::new();
        for (place, resource) in proposals.places.iter().zip(&classification.resources) {
            self.decide(*place, Decided::Class(resource.class));
            let count = explained.entry(resource.class).or_default();
            *count += 1;
            if resource.class.is_sensitive()
                && *count <= EXPLAINED
                && let Some(because) = resource.because.first()
            {
                let file = name(self.files[place.file].path());
                eprintln!(
                    "{}: {} in {file}:{}, because of {}",
                    resource.class, resource.resource_type, place.line, because.what
                );
            }
        }
        for (class, count) in explained.into_iter().filter(|(class, _)| class.is_sensitive()) {
            if count > EXPLAINED {
                eprintln!("{class}: and {} more", count - EXPLAINED);
            }
        }
    }

    /// Whether a line is taken.
    pub(crate) fn is_taken(&self, file: usize, place: usize) -> bool {
        self.decided[file].get(place).is_some_and(Option::is_some)
    }

    /// A line that is taken, and its class. The file may have changed since, so the line is checked again.
    ///
    /// # Errors
    /// [`NotTaken`] if the line is not what it was, or cannot be classified.
    pub(crate) fn resource<'b>(
        &self,
        (file, place): (usize, usize),
        line: &'b [u8],
    ) -> Result<(LineResource<'b>, Class), NotTaken> {
        let resource = checked(line, self.patient)?;
        let class = match self.decided[file].get(place).copied().flatten() {
            Some(Decided::Class(class)) => class,
            _ => {
                let classification = fhir::classify(line)?;
                classification.resources.first().map_or(Class::Document, |resource| resource.class)
            }
        };
        Ok((resource, class))
    }
}

/// A line's resource, if it is this patient's as far as the line says.
fn checked<'b>(line: &'b [u8], patient: &PatientId) -> Result<LineResource<'b>, NotTaken> {
    let resource = LineResource::read(line)?;
    resource.check_patient(patient)?;
    Ok(resource)
}

/// The lines that are to be classified, as one Bundle.
#[derive(Debug, Default)]
struct Proposals {
    places: Vec<Place>,
    entries: String,
    is_too_large: bool,
}

impl Proposals {
    const HEAD: &'static str = "{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[";
    const TAIL: &'static str = "]}";
    /// What is around a resource in an entry, with the comma.
    const AROUND: usize = "{\"resource\":},".len();

    fn add(&mut self, place: Place, resource: &LineResource<'_>) {
        let json = resource.json();
        let more = json.len() + Self::AROUND + Self::HEAD.len() + Self::TAIL.len();
        if self.is_too_large || self.entries.len() + more > fhir::MAX_BYTES {
            *self = Self { is_too_large: true, ..Self::default() };
            return;
        }
        self.places.push(place);
        self.entries.push_str(if self.entries.is_empty() { "{\"resource\":" } else { ",{\"resource\":" });
        self.entries.push_str(json);
        self.entries.push('}');
    }

    /// One class for each place; `None` if the lines are too many for one Bundle.
    fn classification(&self) -> Option<Classification> {
        if self.is_too_large {
            return None;
        }
        let bundle = [Self::HEAD, &self.entries, Self::TAIL].concat();
        let classification = fhir::classify(bundle.as_bytes()).ok()?;
        (classification.resources.len() == self.places.len()).then_some(classification)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult<T = ()> = Result<T, Box<dyn std::error::Error>>;

    type Taken = (String, Class);

    /// Writes files, and returns each taken line with its class, and what was refused.
    fn surveyed(files: &[(&str, &str)], choice: Choice) -> TestResult<(Vec<Taken>, Vec<Refused>)> {
        let folder = tempfile::tempdir()?;
        let mut paths = Vec::new();
        for (name, text) in files {
            paths.push(LineFile::OnDisk(folder.path().join(name)));
            fs::write(folder.path().join(name), text)?;
        }
        let patient: PatientId = "p-1".parse()?;
        let survey = Survey::of(&paths, &patient, choice);
        let mut taken = Vec::new();
        for (number, file) in paths.iter().enumerate() {
            for (place, line) in open(file, &mut Refusals::default()).ok_or("a file")?.enumerate() {
                let Ok(line) = line else { continue };
                if survey.is_taken(number, place) {
                    let (resource, class) = survey.resource((number, place), &line.bytes)?;
                    taken.push((resource.reference().unwrap_or_default(), class));
                }
            }
        }
        Ok((taken, survey.refusals.first))
    }

    const PATIENT: &str = "{\"resourceType\":\"Patient\",\"id\":\"p-1\"}\n";
    const OTHER: &str = "{\"resourceType\":\"Patient\",\"id\":\"p-2\"}\n";
    const BINARIES: &str = "{\"resourceType\":\"Binary\",\"id\":\"b-1\",\"contentType\":\"text/plain\",\"data\":\"AA==\"}\n\
        {\"resourceType\":\"Binary\",\"id\":\"b-2\",\"contentType\":\"text/plain\",\"data\":\"AA==\"}\n";
    const DOCUMENT: &str = "{\"resourceType\":\"DocumentReference\",\"id\":\"d\",\"subject\":{\"reference\":\"Patient/p-1\"},\
        \"content\":[{\"attachment\":{\"url\":\"Binary/b-1\"}}]}\n";
    const PROVENANCES: &str = "{\"resourceType\":\"Provenance\",\"id\":\"of-b-1\",\"target\":[{\"reference\":\"Binary/b-1\"}]}\n\
        {\"resourceType\":\"Provenance\",\"id\":\"of-b-2\",\"target\":[{\"reference\":\"Binary/b-2\"}]}\n";

    /// The files come before what refers to them, and other patients after them.
    #[test]
    fn files_of_others_stay_out_of_a_mixed_folder() -> TestResult {
        let stated = Choice::Stated(Class::Document);
        let companions = [("Binary.ndjson", BINARIES), ("DocumentReference.ndjson", DOCUMENT)];
        let one = [&companions[..], &[("Patient.ndjson", PATIENT), ("Provenance.ndjson", PROVENANCES)]].concat();
        let (taken, refused) = surveyed(&one, stated)?;
        assert_eq!((taken.len(), refused.len()), (6, 0), "{taken:?} {refused:?}");
        let both = [PATIENT, OTHER].concat();
        let mixed = [&companions[..], &[("Patient.ndjson", &*both), ("Provenance.ndjson", PROVENANCES)]].concat();
        let (taken, refused) = surveyed(&mixed, stated)?;
        let names: Vec<&str> = taken.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Binary/b-1", "DocumentReference/d", "Patient/p-1", "Provenance/of-b-1"]);
        let lines: Vec<(&str, u64)> = refused.iter().map(|refused| (&*refused.file, refused.line)).collect();
        assert_eq!(lines, [("Patient.ndjson", 2), ("Binary.ndjson", 2), ("Provenance.ndjson", 2)]);
        assert!(refused[1].reason.contains("Binary/b-2"), "{refused:?}");
        Ok(())
    }

    /// A visit in an earlier file is as sensitive as its reason in a later one.
    #[test]
    fn references_between_files_decide_classes() -> TestResult {
        let visit = "{\"resourceType\":\"Encounter\",\"id\":\"e\",\"subject\":{\"reference\":\"Patient/p-1\"},\
            \"reasonReference\":[{\"reference\":\"Condition/c\"}]}\n";
        let values = "{\"resourceType\":\"Condition\",\"id\":\"c\",\"subject\":{\"reference\":\"Patient/p-1\"},\"code\":{\"coding\":\
            [{\"system\":\"http://hl7.org/fhir/sid/icd-10\",\"code\":\"F32.1\"}]}}\n";
        let files = [("A.ndjson", visit), ("B.ndjson", PATIENT), ("C.ndjson", values)];
        let (taken, refused) = surveyed(&files, Choice::Auto)?;
        let classes: Vec<Class> = taken.iter().map(|(_, class)| *class).collect();
        assert_eq!((classes, refused.len()), (vec![Class::MentalHealth, Class::Summary, Class::MentalHealth], 0));
        let (taken, _) = surveyed(&files, Choice::Stated(Class::Laboratory))?;
        assert!(taken.iter().all(|(_, class)| *class == Class::Laboratory) && taken.len() == 3, "{taken:?}");
        Ok(())
    }

    /// More lines than one Bundle holds are classified alone: by their own codes, not by references.
    #[test]
    fn lines_without_a_proposal_are_classified_alone() -> TestResult {
        let mut proposals = Proposals { entries: "x".repeat(fhir::MAX_BYTES), ..Proposals::default() };
        let resource = LineResource::read(PATIENT.trim().as_bytes())?;
        proposals.add(Place { file: 0, place: 0, line: 1 }, &resource);
        assert!(proposals.classification().is_none() && proposals.entries.is_empty());
        let patient: PatientId = "p-1".parse()?;
        let decided = vec![vec![Some(Decided::Alone)]];
        let survey = Survey { files: &[], patient: &patient, decided, refusals: Refusals::default() };
        let condition =
            br#"{"resourceType":"Condition","subject":{"reference":"Patient/p-1"},"code":{"text":"Depression"}}"#;
        assert_eq!(survey.resource((0, 0), condition)?.1, Class::MentalHealth);
        let others = br#"{"resourceType":"Condition","subject":{"reference":"Patient/p-2"}}"#;
        assert!(survey.resource((0, 0), others).is_err(), "the file changed meanwhile");
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn a_device_is_not_read() -> TestResult {
        let folder = tempfile::tempdir()?;
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("Patient.ndjson"))?;
        let mut refusals = Refusals::default();
        assert!(open(&LineFile::OnDisk(folder.path().join("Patient.ndjson")), &mut refusals).is_none());
        assert_eq!((refusals.count, refusals.first[0].line), (1, 0));
        assert_eq!(refusals.first[0].file, "Patient.ndjson");
        Ok(())
    }
}
