//! The model of a disk. It knows which writes and names are durable.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs,
    io::{self, Write},
    path::{Component, Path},
};

use super::{Survivors, random::Random};

/// How many bytes a disk writes atomically.
const SECTOR: usize = 512;
/// The folder that contains everything. It is always durable.
const ROOT: usize = 0;

/// A step with paths relative to the journal's root.
#[derive(Clone, Debug)]
pub(super) enum Change {
    FileCreated(OsString),
    Written { path: OsString, offset: usize, bytes: Vec<u8> },
    Resized { path: OsString, length: usize },
    FileSynced(OsString),
    FolderCreated(OsString),
    FolderSynced(OsString),
    Renamed { from: OsString, to: OsString },
    Removed(OsString),
}

/// Files and folders, by number.
#[derive(Debug)]
pub(super) struct Model {
    nodes: Vec<Node>,
    renames: usize,
}

#[derive(Debug)]
enum Node {
    File { durable: Vec<u8>, pending: Vec<Edit> },
    Folder(BTreeMap<OsString, Name>),
}

#[derive(Debug)]
enum Edit {
    Write { offset: usize, bytes: Vec<u8> },
    Resize(usize),
}

/// A name in a folder, with the nodes that it may refer to after a crash.
#[derive(Debug, Default)]
struct Name {
    durable: Option<usize>,
    pending: Vec<Meaning>,
}

#[derive(Debug)]
struct Meaning {
    node: Option<usize>,
    /// The number of the rename that this is one half of.
    rename: Option<usize>,
}

/// For each name with unsynced changes, how many of the changes survive.
type Choice = BTreeMap<(usize, OsString), usize>;

impl Name {
    fn now(&self) -> Option<usize> {
        self.pending.last().map_or(self.durable, |last| last.node)
    }

    fn after(&self, survivors: usize) -> Option<usize> {
        survivors.checked_sub(1).map_or(self.durable, |last| self.pending[last].node)
    }
}

impl Model {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::Folder(BTreeMap::new())], renames: 0 }
    }

    /// Applies a step. Panics if the step is about a file or folder that was not made through the journal's disk.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::FileCreated(path) => {
                let node = self.add(Node::File { durable: Vec::new(), pending: Vec::new() });
                self.name(path, Some(node), None);
            }
            Change::FolderCreated(path) => {
                let node = self.add(Node::Folder(BTreeMap::new()));
                self.name(path, Some(node), None);
            }
            Change::Written { path, offset, bytes } => {
                self.edits(path).push(Edit::Write { offset: *offset, bytes: bytes.clone() });
            }
            Change::Resized { path, length } => self.edits(path).push(Edit::Resize(*length)),
            Change::FileSynced(path) => {
                let number = self.find(path);
                let Node::File { durable, pending } = &mut self.nodes[number] else {
                    panic!("{} is a folder", path.display())
                };
                for edit in pending.drain(..) {
                    edit.apply(durable, None);
                }
            }
            Change::FolderSynced(path) => self.sync_folder(path),
            Change::Renamed { from, to } => {
                let node = self.find(from);
                self.renames += 1;
                self.name(from, None, Some(self.renames));
                self.name(to, Some(node), Some(self.renames));
            }
            Change::Removed(path) => self.name(path, None, None),
        }
    }

    fn add(&mut self, node: Node) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn find(&self, path: &OsStr) -> usize {
        Path::new(path).components().fold(ROOT, |folder, part| match (&self.nodes[folder], part) {
            (Node::Folder(names), Component::Normal(part)) => names
                .get(part)
                .and_then(Name::now)
                .unwrap_or_else(|| panic!("{} was not made through the disk", path.display())),
            _ => panic!("{} is not a path in a folder", path.display()),
        })
    }

    fn name(&mut self, path: &OsStr, node: Option<usize>, rename: Option<usize>) {
        let path = Path::new(path);
        let folder = self.find(path.parent().unwrap_or(Path::new("")).as_os_str());
        let name = path.file_name().expect("the journal's root is not changed").to_owned();
        self.names(folder).entry(name).or_default().pending.push(Meaning { node, rename });
    }

    fn names(&mut self, folder: usize) -> &mut BTreeMap<OsString, Name> {
        match &mut self.nodes[folder] {
            Node::Folder(names) => names,
            Node::File { .. } => panic!("a file is used as a folder"),
        }
    }

    fn edits(&mut self, path: &OsStr) -> &mut Vec<Edit> {
        let number = self.find(path);
        match &mut self.nodes[number] {
            Node::File { pending, .. } => pending,
            Node::Folder(_) => panic!("{} is a folder", path.display()),
        }
    }

    fn sync_folder(&mut self, path: &OsStr) {
        let folder = self.find(path);
        let mut taken_away = Vec::new();
        for name in self.names(folder).values_mut() {
            let removed = name.pending.iter().filter(|meaning| meaning.node.is_none());
            taken_away.extend(removed.filter_map(|meaning| meaning.rename));
            name.durable = name.now();
            name.pending.clear();
        }
        // A rename never loses a file: if the removal of the old name is durable, so is the new name.
        for rename in taken_away {
            for node in &mut self.nodes {
                let Node::Folder(names) = node else { continue };
                for name in names.values_mut() {
                    let given = |meaning: &Meaning| meaning.rename == Some(rename) && meaning.node.is_some();
                    if let Some(place) = name.pending.iter().position(given) {
                        name.durable = name.pending.drain(..=place).next_back().and_then(|meaning| meaning.node);
                    }
                }
            }
        }
    }

    /// Writes the files that survive a crash into an empty folder.
    pub(super) fn crash(&self, survivors: Survivors, target: &Path) -> io::Result<()> {
        let mut random = match survivors {
            Survivors::Some(seed) => Some(Random::new(seed)),
            Survivors::Nothing | Survivors::Everything => None,
        };
        let everything = survivors == Survivors::Everything;
        let mut choice = Choice::new();
        for (folder, node) in self.nodes.iter().enumerate() {
            let Node::Folder(names) = node else { continue };
            for (text, name) in names.iter().filter(|(_, name)| !name.pending.is_empty()) {
                let all = name.pending.len();
                let number = random.as_mut().map_or(if everything { all } else { 0 }, |random| random.below(all + 1));
                choice.insert((folder, text.clone()), number);
            }
        }
        while self.keep_renamed_files(&mut choice) {}
        self.write_folder(ROOT, &choice, &mut random, everything, target)
    }

    /// Restores one old name whose new name did not survive. Returns false if there is no such name.
    fn keep_renamed_files(&self, choice: &mut Choice) -> bool {
        let mut given = BTreeMap::new();
        for (folder, node) in self.nodes.iter().enumerate() {
            let Node::Folder(names) = node else { continue };
            for (text, name) in names {
                let survive = choice.get(&(folder, text.clone())).copied().unwrap_or_default();
                for (place, meaning) in name.pending.iter().enumerate() {
                    if let (Some(_), Some(rename)) = (meaning.node, meaning.rename) {
                        given.insert(rename, place < survive);
                    }
                }
            }
        }
        for (key, survive) in choice.iter_mut() {
            let Node::Folder(names) = &self.nodes[key.0] else { continue };
            let lost = names[&key.1].pending.iter().take(*survive).position(|meaning| {
                // A rename that is no longer pending is durable.
                meaning.node.is_none() && meaning.rename.is_some_and(|rename| given.get(&rename) == Some(&false))
            });
            if let Some(place) = lost {
                *survive = place;
                return true;
            }
        }
        false
    }

    fn write_folder(
        &self,
        folder: usize,
        choice: &Choice,
        random: &mut Option<Random>,
        everything: bool,
        target: &Path,
    ) -> io::Result<()> {
        let Node::Folder(names) = &self.nodes[folder] else { return Ok(()) };
        for (text, name) in names {
            let survive = choice.get(&(folder, text.clone())).copied().unwrap_or_default();
            let Some(number) = name.after(survive) else { continue };
            let path = target.join(text);
            match &self.nodes[number] {
                Node::Folder(_) => {
                    fs::create_dir(&path)?;
                    self.write_folder(number, choice, random, everything, &path)?;
                }
                Node::File { durable, pending } => {
                    let mut bytes = durable.clone();
                    for edit in pending {
                        match random.as_mut() {
                            Some(random) => match random.below(3) {
                                0 => {}
                                1 => edit.apply(&mut bytes, None),
                                _ => edit.apply(&mut bytes, Some(random)),
                            },
                            None if everything => edit.apply(&mut bytes, None),
                            None => {}
                        }
                    }
                    private_file(&path)?.write_all(&bytes)?;
                }
            }
        }
        Ok(())
    }
}

/// Makes a file with mode 0600, because stores refuse some files that others can read. The model does not track modes.
fn private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

impl Edit {
    /// Applies a change to a file's bytes. With `torn`, applies only a random part of it.
    fn apply(&self, file: &mut Vec<u8>, torn: Option<&mut Random>) {
        match self {
            Self::Write { offset, bytes } => {
                let sectors = bytes.len().div_ceil(SECTOR);
                let length = torn.map_or(bytes.len(), |random| random.below(sectors + 1) * SECTOR).min(bytes.len());
                let end = offset + length;
                file.resize(file.len().max(end), 0);
                file[*offset..end].copy_from_slice(&bytes[..length]);
            }
            Self::Resize(length) => file.resize(*length, 0),
        }
    }
}
