//! The key directory as its owner holds it. The owner grants and revokes; every change makes a new published directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use emr_core::{AccountIndex, Class, ClassMask};
use serde_bytes::ByteBuf;

use emr_core::cid::MAX_BLOCK_BYTES;

use crate::directory::{
    ListedReader, MAX_DIRECTORY_BYTES, MAX_READERS, NewDirectory, ReaderPart, Section, SectionKind, Segment,
    SegmentLink, classes_digest,
};
use crate::epoch::{ClassKeys, EpochKeyring, EpochPublicKey, EpochSecret, KeyEpoch};
use crate::key_wrap::{Algorithm, KeyUnwrap, KeyWrap, RecipientError};
use crate::{DecryptionFailed, KeyDirectory, random};

/// The largest directory that a change may make, and its largest block, in bytes.
struct Limit {
    directory: usize,
    block: usize,
}

impl Limit {
    const CHANGES: Self = Self { directory: MAX_DIRECTORY_BYTES, block: MAX_BLOCK_BYTES };
    /// Grants are refused beyond three quarters, so that there is still room for revocations.
    const GRANTS: Self = Self { directory: MAX_DIRECTORY_BYTES / 4 * 3, block: MAX_BLOCK_BYTES / 4 * 3 };
}

/// Which older records a new reader can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Those of all past epochs.
    Included,
    /// None: a new epoch begins.
    Closed,
}

/// Why a grant could not be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// There are too many readers.
    #[error("the key directory is full; revoke readers who no longer need access first")]
    Full,
}

/// Why a grant could not be revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevokeError {
    /// The account reads none of these classes.
    #[error("account {0} reads none of these classes; list the grants to see what it reads")]
    NotAReader(AccountIndex),
    /// The directory would exceed its limits.
    #[error("the key directory cannot grow any more; revoke other readers completely, or create a new directory")]
    Full,
}

/// Why a directory could not be opened by its owner.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OwnDirectoryError {
    /// The directory belongs to another owner, or was altered.
    #[error(
        "your key directory cannot be opened with this identity: it was made with another RSA key, or altered. If you took the account over with a new \
         identity, `emr-patient revoke --force --new-keys` ends all grants and lets you begin another one"
    )]
    Decryption(#[from] DecryptionFailed),
    /// This program does not know the kind of a reader's key.
    #[error(transparent)]
    Recipient(#[from] RecipientError),
}

/// A reader: their key, and by class the first epoch that they may read.
#[derive(Clone, Debug)]
struct Reader {
    key: Arc<dyn KeyWrap>,
    classes: BTreeMap<Class, KeyEpoch>,
}

/// The logical content of a directory.
#[derive(Clone, Debug)]
struct DirectoryContent {
    owner: Arc<dyn KeyWrap>,
    /// By class code: the secrets of all epochs from the first on. Each was generated when its epoch began. So two
    /// directories made from the same one share no new secret, and it is safe if only one of them takes effect.
    classes: [ClassKeys; 16],
    readers: BTreeMap<AccountIndex, Reader>,
}

/// A patient's key directory with all its secrets. It can be loaded again from the published directory and the
/// patient's key.
#[derive(Clone, Debug)]
pub struct PatientDirectory {
    content: DirectoryContent,
    published: KeyDirectory,
}

/// A random permutation: the position of each of `count` things.
fn random_positions(count: usize) -> Vec<u32> {
    let mut order: Vec<(u64, u32)> = (0..).take(count).map(|i| (u64::from_be_bytes(random::bytes()), i)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, position)| position).collect()
}

impl DirectoryContent {
    fn class(&self, class: Class) -> &ClassKeys {
        &self.classes[usize::from(class.code())]
    }

    /// The current epoch of a class.
    fn epoch(&self, class: Class) -> KeyEpoch {
        let keys = self.class(class);
        keys.first.after(keys.secrets.len() - 1).expect("fewer than 2^32 epochs fit a directory")
    }

    fn current(&self, class: Class) -> EpochPublicKey {
        self.class(class).secrets.last().expect("a class has at least one epoch").public(class, self.epoch(class))
    }

    /// Begins a new epoch.
    fn advance(&mut self, class: Class) {
        self.classes[usize::from(class.code())].secrets.push(EpochSecret::generate());
    }

    /// Adds a reader with the first epoch of each class, or adds to what they read. Their key is replaced.
    fn add(&mut self, account: AccountIndex, key: Arc<dyn KeyWrap>, firsts: Vec<(Class, KeyEpoch)>) {
        let new = || Reader { key: Arc::clone(&key), classes: BTreeMap::new() };
        let reader = self.readers.entry(account).or_insert_with(new);
        reader.key = key;
        for (class, first) in firsts {
            reader.classes.entry(class).and_modify(|known| *known = first.min(*known)).or_insert(first);
        }
    }

    /// Cuts each class's epochs where a reader's access begins, and encrypts the segments. Each segment links to the
    /// next, so their total size does not depend on the number of readers.
    fn seal_segments(&self, aad: &[u8; 32]) -> (Vec<ByteBuf>, BTreeMap<(Class, KeyEpoch), SegmentLink>) {
        let mut firsts: BTreeSet<_> = Class::ALL.map(|class| (class, KeyEpoch::FIRST)).into();
        for reader in self.readers.values() {
            firsts.extend(reader.classes.iter().map(|(class, first)| (*class, *first)));
        }
        let mut segments = vec![ByteBuf::new(); firsts.len()];
        let mut links: BTreeMap<(Class, KeyEpoch), SegmentLink> = BTreeMap::new();
        for ((class, first), position) in firsts.into_iter().rev().zip(random_positions(segments.len())) {
            let next = links.first_key_value().filter(|((of, _), _)| *of == class);
            let secrets = &self.class(class).secrets;
            let index = |epoch: KeyEpoch| epoch.get() as usize - 1;
            let end = next.map_or(secrets.len(), |((_, epoch), _)| index(*epoch));
            let (key, sealed) =
                Segment::seal(first, &secrets[index(first)..end], next.map(|(_, link)| link.clone()), aad);
            segments[position as usize] = sealed;
            links.insert((class, first), (position, key));
        }
        (segments, links)
    }

    /// Makes all sections again, with new keys and in random order. So comparing two published directories does not
    /// show whose access changed.
    fn publish(&self) -> KeyDirectory {
        let current = Class::ALL.map(|class| self.current(class));
        let aad = classes_digest(&current);
        let (segments, links) = self.seal_segments(&aad);
        let sections = self.readers.values().map(|reader| {
            let classes = reader.classes.iter();
            let part: ReaderPart =
                classes.map(|(class, first)| (class.code(), links[&(*class, *first)].clone())).collect();
            Section::seal(SectionKind::Reader, &*reader.key, &aad, &part)
        });
        let readers = self.readers.iter().map(|(account, reader)| ListedReader {
            account: *account,
            algorithm: reader.key.algorithm().name().to_owned(),
            classes: reader.classes.iter().map(|(class, first)| (class.code(), first.get())).collect(),
            key: reader.key.public_bytes().into(),
        });
        KeyDirectory::new(NewDirectory {
            sections: sections.collect(),
            readers: readers.collect(),
            firsts: Class::ALL.into_iter().map(|class| links[&(class, KeyEpoch::FIRST)].clone()).collect(),
            owner: &*self.owner,
            current,
            segments,
        })
    }

    fn open(published: &KeyDirectory, owner: &dyn KeyUnwrap) -> Result<Self, OwnDirectoryError> {
        let (links, readers) = published.open_owner(owner)?;
        let classes = Class::ALL.into_iter().zip(links).map(|(class, link)| {
            let keys = published.class_keys(class, link)?;
            if keys.first == KeyEpoch::FIRST { Ok(keys) } else { Err(DecryptionFailed) }
        });
        let classes = classes.collect::<Result<Vec<_>, _>>()?.try_into().map_err(|_| DecryptionFailed)?;
        let readers = readers.into_iter().map(|reader| {
            let key = reader.algorithm.parse::<Algorithm>()?.recipient(&reader.key)?;
            let classes = reader.classes.into_iter().map(|(class, first)| {
                let class = Class::from_code(class).ok_or(DecryptionFailed)?;
                let first = KeyEpoch::new(first).ok_or(DecryptionFailed)?;
                if first <= published.current_public(class).epoch() {
                    Ok((class, first))
                } else {
                    Err(DecryptionFailed)
                }
            });
            let classes = classes.collect::<Result<BTreeMap<_, _>, DecryptionFailed>>()?;
            Ok((reader.account, Reader { key, classes }))
        });
        let readers = readers.collect::<Result<_, OwnDirectoryError>>()?;
        Ok(Self { owner: owner.recipient(), classes, readers })
    }
}

impl PatientDirectory {
    /// Makes a new directory: every class is in its first epoch, and only the owner can read.
    pub fn create(owner: &dyn KeyUnwrap) -> Self {
        let class = |_| ClassKeys { first: KeyEpoch::FIRST, secrets: vec![EpochSecret::generate()] };
        let content =
            DirectoryContent { owner: owner.recipient(), classes: Class::ALL.map(class), readers: BTreeMap::new() };
        let published = content.publish();
        Self { content, published }
    }

    /// Opens the published directory of this owner. The caller must first check that the owner's account commits to it,
    /// because anyone can make a directory that this owner can open.
    ///
    /// # Errors
    /// Returns [`OwnDirectoryError`] if the directory belongs to another owner, was altered, or has a reader with an
    /// unknown kind of key.
    pub fn open(published: KeyDirectory, owner: &dyn KeyUnwrap) -> Result<Self, OwnDirectoryError> {
        Ok(Self { content: DirectoryContent::open(&published, owner)?, published })
    }

    /// The directory to publish and to commit to. Every successful change replaces it.
    pub const fn published(&self) -> &KeyDirectory {
        &self.published
    }

    /// The owner's keys: all epochs of all classes.
    pub fn keyring(&self) -> EpochKeyring {
        let mut ring = EpochKeyring::default();
        for class in Class::ALL {
            ring.insert(class, self.content.class(class).clone());
        }
        ring
    }

    /// The readers and the classes that each may read.
    pub fn readers(&self) -> impl Iterator<Item = (AccountIndex, ClassMask)> + '_ {
        self.content.readers.iter().map(|(account, reader)| (*account, reader.classes.keys().copied().collect()))
    }

    /// Lets an account read classes. A second grant adds to the first, and replaces the account's key.
    ///
    /// With [`Past::Included`] the account gets all epochs from the first on. With [`Past::Closed`] each class begins a
    /// new epoch, whose key goes to all readers; the account gets this epoch and later ones. Existing records are
    /// sealed under older epochs, so the account cannot read them even if it has their blocks. An account that could
    /// read a class before keeps that access.
    ///
    /// # Errors
    /// Returns [`GrantError::Full`] if the directory would become too large. Then nothing changed.
    pub fn grant(
        &mut self,
        account: AccountIndex,
        key: impl KeyWrap + 'static,
        classes: ClassMask,
        past: Past,
    ) -> Result<(), GrantError> {
        self.grant_all([(account, Arc::new(key) as Arc<dyn KeyWrap>, classes)], past)
    }

    /// Lets several accounts read classes, as [`Self::grant`] does, in one change. That takes much less time than one change for each: every
    /// change makes all sections again.
    ///
    /// # Errors
    /// Returns [`GrantError::Full`] if the directory would become too large. Then nothing changed.
    pub fn grant_all(
        &mut self,
        readers: impl IntoIterator<Item = (AccountIndex, Arc<dyn KeyWrap>, ClassMask)>,
        past: Past,
    ) -> Result<(), GrantError> {
        let mut content = self.content.clone();
        let readers: Vec<_> = readers.into_iter().collect();
        if past == Past::Closed {
            let all: ClassMask = readers.iter().flat_map(|(.., classes)| classes.classes()).collect();
            all.classes().for_each(|class| content.advance(class));
        }
        for (account, key, classes) in readers {
            let first = |class| match past {
                Past::Included => KeyEpoch::FIRST,
                Past::Closed => content.epoch(class),
            };
            let firsts = classes.classes().map(|class| (class, first(class))).collect();
            content.add(account, key, firsts);
        }
        self.replace(content, Limit::GRANTS).ok_or(GrantError::Full)
    }

    /// Lets an account read classes that a delegate granted, from the epochs on from which the delegate reads them. The epochs stay. If the
    /// delegate reads a class no more, the account reads it from the current epoch on: only the delegate's own links said from when.
    ///
    /// # Errors
    /// [`GrantError::Full`] if the directory would become too large. Then nothing changed.
    pub fn grant_as(
        &mut self,
        delegate: AccountIndex,
        account: AccountIndex,
        key: impl KeyWrap + 'static,
        classes: ClassMask,
    ) -> Result<(), GrantError> {
        let mut content = self.content.clone();
        let of_delegate = content.readers.get(&delegate).map(|reader| reader.classes.clone()).unwrap_or_default();
        let firsts: Vec<_> = classes
            .classes()
            .map(|class| (class, of_delegate.get(&class).copied().unwrap_or_else(|| content.epoch(class))))
            .collect();
        content.add(account, Arc::new(key), firsts);
        self.replace(content, Limit::GRANTS).ok_or(GrantError::Full)
    }

    /// Ends an account's access to classes. Each class that the account could read begins a new epoch, whose key goes
    /// to the remaining readers. Returns these classes. Keys of older epochs that the account holds cannot be taken
    /// back.
    ///
    /// # Errors
    /// Returns [`RevokeError`] if the account reads none of the classes, or the directory would exceed its limits. Then
    /// nothing changed.
    pub fn revoke(&mut self, account: AccountIndex, classes: ClassMask) -> Result<ClassMask, RevokeError> {
        let mut content = self.content.clone();
        let reader = content.readers.get_mut(&account).ok_or(RevokeError::NotAReader(account))?;
        let revoked: ClassMask = classes.classes().filter(|class| reader.classes.remove(class).is_some()).collect();
        if revoked == ClassMask::default() {
            return Err(RevokeError::NotAReader(account));
        }
        if reader.classes.is_empty() {
            content.readers.remove(&account);
        }
        for class in revoked.classes() {
            content.advance(class);
        }
        self.replace(content, Limit::CHANGES).ok_or(RevokeError::Full)?;
        Ok(revoked)
    }

    /// Begins a new epoch of these classes. All readers keep their access. Use it when somebody who is no reader here has keys.
    ///
    /// # Errors
    /// Returns [`RevokeError::Full`] if the directory would exceed its limits. Then nothing changed.
    pub fn begin_epochs(&mut self, classes: ClassMask) -> Result<(), RevokeError> {
        let mut content = self.content.clone();
        for class in classes.classes() {
            content.advance(class);
        }
        self.replace(content, Limit::CHANGES).ok_or(RevokeError::Full)
    }

    /// Begins a new epoch of every class, under a new key of the owner. Use it when the owner replaced their key, or
    /// when others may know it. All readers keep their access.
    ///
    /// # Errors
    /// Returns [`RevokeError::Full`] if the directory would exceed its limits. Then nothing changed.
    pub fn renew(&mut self, owner: &dyn KeyUnwrap) -> Result<(), RevokeError> {
        let mut content = self.content.clone();
        content.owner = owner.recipient();
        for class in Class::ALL {
            content.advance(class);
        }
        self.replace(content, Limit::CHANGES).ok_or(RevokeError::Full)
    }

    fn replace(&mut self, content: DirectoryContent, limit: Limit) -> Option<()> {
        if content.readers.len() > MAX_READERS {
            return None;
        }
        let published = content.publish();
        if published.size() > limit.directory || published.largest_block() > limit.block {
            return None;
        }
        *self = Self { content, published };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EncryptionSecret, KeyProfile, RsaSecret};

    fn directory() -> Result<(PatientDirectory, EncryptionSecret), Box<dyn std::error::Error>> {
        let rsa = RsaSecret::from_pem(include_str!("../tests/fixtures/doctor-2048.pem"))?;
        let owner = EncryptionSecret::with_rsa(rsa, KeyProfile::Hybrid);
        let mut directory = PatientDirectory::create(&owner);
        directory.grant(AccountIndex::new(1)?, owner.public(), ClassMask::ALL, Past::Included)?;
        Ok((directory, owner))
    }

    #[test]
    fn the_number_of_readers_is_bounded() -> Result<(), Box<dyn std::error::Error>> {
        let (mut directory, owner) = directory()?;
        let before = directory.published.cid();
        let key: Arc<dyn KeyWrap> = Arc::new(owner.public());
        let readers: Vec<_> = (2..=4097)
            .map(|number| Ok((AccountIndex::new(number)?, Arc::clone(&key), ClassMask::ALL)))
            .collect::<Result<_, emr_core::OutOfRange>>()?;
        assert_eq!(directory.grant_all(readers, Past::Included), Err(GrantError::Full));
        assert_eq!((directory.published.cid(), directory.readers().count()), (before, 1));
        Ok(())
    }

    /// Secrets of many epochs fill the first segment block. Above three quarters of it, grants are refused. Then access can still be taken
    /// away, until the block is full. Every refusal leaves the directory as it was.
    #[test]
    fn a_full_block_refuses_grants_before_revocations() -> Result<(), Box<dyn std::error::Error>> {
        let (mut directory, owner) = directory()?;
        let advance = |directory: &mut PatientDirectory, epochs: usize| {
            for class in Class::ALL {
                (0..epochs).for_each(|_| directory.content.advance(class));
            }
        };
        // 16 classes, some 34 bytes an epoch: 700 kB.
        advance(&mut directory, 1200);
        directory.grant(AccountIndex::new(2)?, owner.public(), ClassMask::ALL, Past::Included)?;
        advance(&mut directory, 300);
        let before = directory.published.cid();
        let refused = directory.grant(AccountIndex::new(3)?, owner.public(), ClassMask::ALL, Past::Included);
        assert_eq!((refused, directory.published.cid()), (Err(GrantError::Full), before));
        assert_eq!(directory.revoke(AccountIndex::new(2)?, ClassMask::ALL), Ok(ClassMask::ALL));
        assert!(directory.published.largest_block() > MAX_BLOCK_BYTES / 4 * 3);
        let opened = PatientDirectory::open(directory.published.clone(), &owner)?;
        assert_eq!(opened.keyring().epochs(Class::Imaging).map(|(_, last)| last.get()), Some(1502));

        advance(&mut directory, 600);
        let before = directory.published.cid();
        assert_eq!(directory.revoke(AccountIndex::new(1)?, ClassMask::ALL), Err(RevokeError::Full));
        assert_eq!(directory.begin_epochs(ClassMask::ALL), Err(RevokeError::Full));
        assert_eq!((directory.published.cid(), directory.readers().count()), (before, 1));
        Ok(())
    }
}
