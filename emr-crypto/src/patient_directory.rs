//! The key directory as its owner holds it: she grants and revokes, and every change makes a new published directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use emr_core::{AccountIndex, Class, ClassMask};
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};

use crate::directory::{MAX_DIRECTORY_BYTES, ReaderKeys, Section, SectionKind, classes_digest, owner_aad};
use crate::epoch::{ClassKeys, Epoch, EpochKeyring, EpochPublicKey};
use crate::epoch_tree::Subtree;
use crate::key_wrap::{self, KeyUnwrap, KeyWrap, RecipientError};
use crate::{DecryptionFailed, KeyDirectory};

/// Grants stop at this size, so that revocations still have room.
const MAX_GRANT_BYTES: usize = MAX_DIRECTORY_BYTES / 2;

/// Why a grant could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// There are too many readers.
    #[error("the key directory is full; revoke readers who no longer need access first")]
    Full,
}

/// Why a grant could not be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// The account reads none of these classes.
    #[error("account {0} reads none of these classes; list the grants to see what it reads")]
    NotAReader(AccountIndex),
    /// A class has had its 65536 epochs, or the directory outgrew a block.
    #[error("the key directory cannot grow any more; revoke other readers altogether, or create a new directory")]
    Full,
}

/// Why a directory could not be opened by its owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnDirectoryError {
    /// Not hers, or altered.
    #[error(transparent)]
    Decryption(#[from] DecryptionFailed),
    /// A reader's key is of a kind that this program does not know.
    #[error(transparent)]
    Recipient(#[from] RecipientError),
}

/// A reader: his key, and by class the first epoch he may read.
#[derive(Clone, Debug)]
struct Reader {
    key: Arc<dyn KeyWrap>,
    classes: BTreeMap<Class, Epoch>,
}

/// A class's current epoch and the trees of its secrets. A tree serves from its first epoch on, until the next one does.
#[derive(Clone, Debug)]
struct ClassState {
    current: Epoch,
    trees: Vec<(Epoch, Subtree)>,
}

impl ClassState {
    fn keys(&self, first: Epoch) -> ClassKeys {
        let ends =
            self.trees[1..].iter().map(|(start, _)| start.previous().unwrap_or(Epoch::FIRST)).chain([self.current]);
        let subtrees =
            self.trees.iter().zip(ends).flat_map(|((start, tree), end)| tree.cover(first.max(*start), end)).collect();
        ClassKeys { first, last: self.current, subtrees }
    }

    fn public(&self, class: Class) -> EpochPublicKey {
        let secret = self.keys(self.current).secret(self.current).expect("a tree serves the current epoch");
        secret.public(class, self.current)
    }
}

/// The logical content of a directory.
#[derive(Clone, Debug)]
struct State {
    owner: Arc<dyn KeyWrap>,
    classes: [ClassState; 16],
    readers: BTreeMap<AccountIndex, Reader>,
}

/// A patient's key directory with all its secrets. It can be loaded again from the published directory and her key.
#[derive(Clone, Debug)]
pub struct PatientDirectory {
    state: State,
    published: KeyDirectory,
}

/// What the owner's section holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerPart {
    /// By class code: first epoch and seed of each tree.
    classes: Vec<Vec<(u32, ByteArray<32>)>>,
    readers: Vec<OwnerReader>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnerReader {
    account: AccountIndex,
    algorithm: String,
    /// Class code and first epoch.
    classes: Vec<(u8, u32)>,
    key: ByteBuf,
}

impl State {
    /// Every section is made anew, with fresh keys and in the order of the random wraps, so that comparing two published
    /// directories shows nothing about who was touched.
    fn publish(&self) -> KeyDirectory {
        let current = Class::ALL.map(|class| self.classes[usize::from(class.code())].public(class));
        let aad = classes_digest(&current);
        // Most readers of a class have the same first epoch: each range is worked out once.
        let mut ranges = BTreeMap::new();
        let mut readers: Vec<_> = self
            .readers
            .values()
            .map(|reader| {
                let mut ring = EpochKeyring::default();
                for (class, first) in &reader.classes {
                    let keys = || self.classes[usize::from(class.code())].keys(*first);
                    ring.insert(*class, ranges.entry((*class, *first)).or_insert_with(keys).clone());
                }
                Section::seal(SectionKind::Reader, &*reader.key, &aad, &ReaderKeys::new(&ring))
            })
            .collect();
        readers.sort();
        let part = OwnerPart {
            classes: self
                .classes
                .iter()
                .map(|class| {
                    let trees = class.trees.iter();
                    trees.map(|(start, tree)| (start.get(), ByteArray::new(*tree.secret_bytes()))).collect()
                })
                .collect(),
            readers: self
                .readers
                .iter()
                .map(|(account, reader)| OwnerReader {
                    account: *account,
                    algorithm: reader.key.algorithm().to_owned(),
                    classes: reader.classes.iter().map(|(class, first)| (class.code(), first.get())).collect(),
                    key: reader.key.public_bytes().into(),
                })
                .collect(),
        };
        let aad = owner_aad(&current, &readers);
        KeyDirectory::new(current, Section::seal(SectionKind::Owner, &*self.owner, &aad, &part), readers)
    }

    fn from_part(
        part: OwnerPart,
        current: &[EpochPublicKey; 16],
        owner: Arc<dyn KeyWrap>,
    ) -> Result<Self, OwnDirectoryError> {
        let epoch = |number| Epoch::new(number).ok_or(DecryptionFailed);
        let classes = part.classes.into_iter().zip(current).map(|(trees, public)| {
            let trees = trees
                .into_iter()
                .map(|(start, seed)| Ok((epoch(start)?, Subtree::root(seed.into_array()))))
                .collect::<Result<Vec<_>, DecryptionFailed>>()?;
            let starts = || trees.iter().map(|(start, _)| *start);
            let in_order = starts().is_sorted_by(|a, b| a < b);
            if starts().next() != Some(Epoch::FIRST) || !in_order || starts().any(|start| start > public.epoch()) {
                return Err(DecryptionFailed);
            }
            let class = ClassState { current: public.epoch(), trees };
            if class.public(public.class()) == *public { Ok(class) } else { Err(DecryptionFailed) }
        });
        let classes = classes.collect::<Result<Vec<_>, _>>()?.try_into().map_err(|_| DecryptionFailed)?;
        let readers = part.readers.into_iter().map(|reader| {
            let key = key_wrap::recipient(&reader.algorithm, &reader.key)?;
            let classes = reader
                .classes
                .into_iter()
                .map(|(class, first)| Ok((Class::from_code(class).ok_or(DecryptionFailed)?, epoch(first)?)));
            let classes = classes.collect::<Result<BTreeMap<_, _>, DecryptionFailed>>()?;
            Ok((reader.account, Reader { key, classes }))
        });
        let readers = readers.collect::<Result<_, OwnDirectoryError>>()?;
        Ok(Self { owner, classes, readers })
    }
}

impl PatientDirectory {
    /// A new directory: every class in its first epoch, no readers but its owner.
    pub fn create(owner: &dyn KeyUnwrap) -> Self {
        let class = |_| ClassState { current: Epoch::FIRST, trees: vec![(Epoch::FIRST, Subtree::generate())] };
        let state = State { owner: owner.recipient(), classes: Class::ALL.map(class), readers: BTreeMap::new() };
        let published = state.publish();
        Self { state, published }
    }

    /// Opens the published directory of this owner. She first checks that her account commits to it: anyone can make a
    /// directory that opens for her.
    ///
    /// # Errors
    /// [`OwnDirectoryError`].
    pub fn open(published: KeyDirectory, owner: &dyn KeyUnwrap) -> Result<Self, OwnDirectoryError> {
        let part = published.owner().open(SectionKind::Owner, owner, &published.owner_aad())?;
        let state = State::from_part(part, published.current(), owner.recipient())?;
        Ok(Self { state, published })
    }

    /// The directory to publish and to commit to. It changes with every successful call that changes anything.
    pub const fn published(&self) -> &KeyDirectory {
        &self.published
    }

    /// The owner's keys: every epoch of every class.
    pub fn keyring(&self) -> EpochKeyring {
        let mut ring = EpochKeyring::default();
        for (class, state) in Class::ALL.into_iter().zip(&self.state.classes) {
            ring.insert(class, state.keys(Epoch::FIRST));
        }
        ring
    }

    /// Who may read what, by account.
    pub fn readers(&self) -> impl Iterator<Item = (AccountIndex, ClassMask)> + '_ {
        self.state.readers.iter().map(|(account, reader)| (*account, reader.classes.keys().copied().collect()))
    }

    /// Lets an account read classes from now on, and with `include_old` also what is already there. Repeating a grant adds
    /// to it, and replaces the account's key.
    ///
    /// # Errors
    /// [`GrantError::Full`]; then nothing changed.
    pub fn grant(
        &mut self,
        account: AccountIndex,
        key: impl KeyWrap + 'static,
        classes: ClassMask,
        include_old: bool,
    ) -> Result<(), GrantError> {
        let mut state = self.state.clone();
        let key: Arc<dyn KeyWrap> = Arc::new(key);
        let reader =
            state.readers.entry(account).or_insert_with(|| Reader { key: key.clone(), classes: BTreeMap::new() });
        reader.key = key;
        for class in classes.classes() {
            let first = if include_old { Epoch::FIRST } else { state.classes[usize::from(class.code())].current };
            reader.classes.entry(class).and_modify(|known| *known = first.min(*known)).or_insert(first);
        }
        self.replace(state, MAX_GRANT_BYTES).ok_or(GrantError::Full)
    }

    /// Ends an account's access to classes: they get a new epoch, whose key goes to the remaining readers. Returns the
    /// classes that it had been able to read and that changed epoch. What it holds of older epochs cannot be taken back.
    ///
    /// # Errors
    /// [`RevokeError`]; then nothing changed.
    pub fn revoke(&mut self, account: AccountIndex, classes: ClassMask) -> Result<ClassMask, RevokeError> {
        let mut state = self.state.clone();
        let reader = state.readers.get_mut(&account).ok_or(RevokeError::NotAReader(account))?;
        let revoked: ClassMask = classes.classes().filter(|class| reader.classes.remove(class).is_some()).collect();
        if revoked == ClassMask::default() {
            return Err(RevokeError::NotAReader(account));
        }
        if reader.classes.is_empty() {
            state.readers.remove(&account);
        }
        for class in revoked.classes() {
            let class = &mut state.classes[usize::from(class.code())];
            class.current = class.current.next().ok_or(RevokeError::Full)?;
        }
        self.replace(state, MAX_DIRECTORY_BYTES).ok_or(RevokeError::Full)?;
        Ok(revoked)
    }

    /// Starts every class anew under secrets that nothing before gives away, for an owner whose key was replaced or may
    /// be known to others. Readers keep what they have.
    ///
    /// # Errors
    /// [`RevokeError::Full`]; then nothing changed.
    pub fn renew(&mut self, owner: &dyn KeyUnwrap) -> Result<(), RevokeError> {
        let mut state = self.state.clone();
        state.owner = owner.recipient();
        for class in &mut state.classes {
            class.current = class.current.next().ok_or(RevokeError::Full)?;
            class.trees.push((class.current, Subtree::generate()));
        }
        self.replace(state, MAX_DIRECTORY_BYTES).ok_or(RevokeError::Full)
    }

    fn replace(&mut self, state: State, limit: usize) -> Option<()> {
        let published = state.publish();
        if published.to_bytes().len() > limit {
            return None;
        }
        *self = Self { state, published };
        Some(())
    }
}
