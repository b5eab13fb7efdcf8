//! A participant's data folder.
//!
//! | name | what |
//! |---|---|
//! | `identity` | the encrypted identity file |
//! | `device` | in place of `identity`, if the keys are in a device |
//! | `profile.json` | node, Ethereum nodes, contract, account |
//! | `versions.json` | the highest version ever signed for each grant slot of a patient: account index, owner, slot, version |
//! | `emergencies.json` | the emergency grants of which the patient was told |
//! | `delegates` | empty; it exists if the patient named a delegate |
//! | `delegated.json` | the grants of delegates of which the patient was told |
//! | `directories.json` | the key epochs of the patient's own key directories, if there is or was a delegate |
//! | `outbox/` | operations that were signed and are not settled yet, and undelivered records |
//! | `uploads/` | journals of attachments: what may have been sent of files whose record is not settled yet |
//! | `receipts/` | the hospital's receipts of operations that left the outbox |
//! | `imports/` | which records of imports are settled, by the digest of the request |
//! | `seen.json` | the newest final state that was seen on L1 |
//! | `keys-wait` | until when it stays; it exists if rights ended, or may end on L1, and no new keys could be published |
//! | `splits.json` | the parts of documents that are being written one record per class |
//! | `split-secret` | 32 random bytes, from which the common tags of such parts are made |
//! | `backup.json` | which backup of the present keys was made last, and when |
//! | `card.json` | the participant's own card |
//! | `lock` | locked by the process that uses the folder |
//!
//! Only the identity has to be backed up. Everything else that a patient needs, including the secrets of the key
//! directory, is read from blocks and the state. Without `versions.json` a Revoke still ends every settled grant, but a
//! grant that the patient signed and that is neither settled nor lapsed could take effect after the Revoke. Without `directories.json`, classes
//! begin an epoch that they may not need. Without `imports/`, a repeated import writes settled records a second time.

mod backup_mark;
pub(crate) mod durable;
pub mod imports;
pub(crate) mod journal;
mod kept_card;
mod keys_wait;
mod known_directories;
mod known_grants;
pub mod outbox;
pub mod seen;
mod settings;
mod signed_versions;
mod splits;

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use alloy::primitives::Address;
use emr_chain::RollupInstance;
use emr_core::{AccountIndex, GrantSlot, UnixTime, Version};
use emr_crypto::{Identity, IdentityFile, IdentityFileError, Overwrite, ScryptCost};
use emr_durable::Disk;
use emr_rollup::operation::DirectoryCommitment;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use backup_mark::BackupMark;
pub use durable::FileError;
use imports::{Imported, Imports};
use journal::Journals;
use keys_wait::KeysWait;
pub use known_directories::CurrentEpochs;
use known_directories::KnownDirectories;
pub(crate) use known_grants::InEpoch;
use known_grants::KnownGrants;
use outbox::Outbox;
use seen::SeenState;
pub use settings::{Hospital, Settings};
use signed_versions::SignedVersions;
pub use splits::NotedPart;
use splits::Splits;

/// The largest profile file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The folder holds no profile.
    #[error("there is no profile in {}: create one with init, or give another --data-dir", .0.display())]
    NotFound(PathBuf),
    /// Another process uses the profile, or this process opened it already.
    #[error("the profile {} is in use: wait until the other process ends; inside one process, share the profile that is open", .0.display())]
    InUse(PathBuf),
    /// The profile does not know its node yet.
    #[error("the profile {} knows no node yet: give --node and --rpc once", .0.display())]
    NotJoined(PathBuf),
    /// The profile belongs to another deployment.
    #[error(
        "this profile belongs to contract {profile} on chain {profile_chain}, but the node is for {node} on chain {node_chain}: give the address of the right node, or another --data-dir"
    )]
    OtherInstance {
        /// The profile's contract.
        profile: Address,
        /// The profile's chain.
        profile_chain: u64,
        /// The node's contract.
        node: Address,
        /// The node's chain.
        node_chain: u64,
    },
    /// The identity file cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityFileError),
    /// Another file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A patient's account under its owner. The account index alone is not enough: when L1 reorganises, it can get another owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OwnedAccount {
    /// The index.
    pub account: AccountIndex,
    /// The owner's Ethereum address.
    pub owner: Address,
}

/// An open data folder. Until this is dropped, neither another process nor this one can open the folder again. Tasks of
/// one process share it.
///
/// Each part has its own lock. It is held only while that part is read or written, never across an await.
#[derive(Debug)]
pub struct Profile {
    disk: Disk,
    folder: PathBuf,
    settings: Mutex<Option<Settings>>,
    versions: SignedVersions,
    emergencies: KnownGrants,
    delegated: KnownGrants,
    directories: KnownDirectories,
    keys_wait: KeysWait,
    imports: Imports,
    outbox: Outbox,
    uploads: Journals,
    seen: SeenState,
    splits: Splits,
    _lock: File,
}

impl Profile {
    /// Makes a folder with mode 0700 and a new identity file in it.
    ///
    /// # Errors
    /// [`IdentityFileError::Exists`] if the folder has an identity file already. Other variants of [`ProfileError`] if the folder cannot be used.
    pub fn create(
        folder: &Path,
        identity: &Identity,
        passphrase: &SecretString,
        cost: ScryptCost,
    ) -> Result<Self, ProfileError> {
        Self::create_on(Disk::default(), folder, identity, passphrase, cost)
    }

    /// Like [`Self::create`], on a given disk, so that a test can watch it.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub fn create_on(
        disk: Disk,
        folder: &Path,
        identity: &Identity,
        passphrase: &SecretString,
        cost: ScryptCost,
    ) -> Result<Self, ProfileError> {
        disk.create_folder_all(folder).map_err(|error| FileError::io(folder, error))?;
        private(folder)?;
        IdentityFile::create_on(&disk, &identity_path(folder), identity, passphrase, cost, Overwrite::Never)?;
        Self::open_on(disk, folder)
    }

    /// Makes a folder with mode 0700 for a participant whose keys are in a device. It has no identity file.
    ///
    /// # Errors
    /// [`IdentityFileError::Exists`] if the folder has an identity file. Other variants of [`ProfileError`] if the folder cannot be used.
    pub fn create_for_device(folder: &Path) -> Result<Self, ProfileError> {
        let disk = Disk::default();
        disk.create_folder_all(folder).map_err(|error| FileError::io(folder, error))?;
        private(folder)?;
        let (identity, device) = (identity_path(folder), device_path(folder));
        if identity.exists() {
            return Err(IdentityFileError::Exists(identity).into());
        }
        disk.replace(&device, b"").map_err(|error| FileError::io(&device, error))?;
        Self::open_on(disk, folder)
    }

    /// Opens a folder.
    ///
    /// # Errors
    /// [`ProfileError::NotFound`] if the folder holds no profile. [`ProfileError::InUse`] if the profile is open already. [`ProfileError::File`] if
    /// a file cannot be read.
    pub fn open(folder: &Path) -> Result<Self, ProfileError> {
        Self::open_on(Disk::default(), folder)
    }

    /// Like [`Self::open`], on a given disk, so that a test can watch it.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_on(disk: Disk, folder: &Path) -> Result<Self, ProfileError> {
        if !identity_path(folder).exists() && !device_path(folder).exists() {
            return Err(ProfileError::NotFound(folder.to_owned()));
        }
        let path = folder.join("lock");
        let lock = File::options().create(true).append(true).open(&path);
        let lock = lock.map_err(|error| FileError::io(&path, error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ProfileError::InUse(folder.to_owned())),
            Err(TryLockError::Error(error)) => return Err(FileError::io(&path, error).into()),
        }
        let outbox = Outbox::open(&disk, &folder.join("outbox"))?;
        let uploads = Journals::new(disk.clone(), folder.join("uploads"));
        uploads.sweep(&outbox.journals(), SystemTime::now())?;
        Ok(Self {
            settings: Mutex::new(durable::read_json(&settings_path(folder), MAX_FILE_BYTES)?),
            versions: SignedVersions::open(&disk, folder.join("versions.json"))?,
            emergencies: KnownGrants::open(&disk, folder.join("emergencies.json"))?,
            delegated: KnownGrants::open(&disk, folder.join("delegated.json"))?,
            directories: KnownDirectories::open(&disk, folder.join("directories.json"))?,
            keys_wait: KeysWait::new(disk.clone(), folder.join("keys-wait")),
            imports: Imports::new(disk.clone(), imports::folder(folder)),
            outbox,
            uploads,
            seen: SeenState::open(&disk, &folder.join("seen.json"))?,
            splits: Splits::open(&disk, folder)?,
            disk,
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Decrypts the identity file.
    ///
    /// # Errors
    /// [`IdentityFileError`] if the file cannot be read or the passphrase is wrong.
    pub fn identity(&self, passphrase: &SecretString) -> Result<Identity, IdentityFileError> {
        IdentityFile::open(&identity_path(&self.folder), passphrase)
    }

    /// How much work a guess of the passphrase takes now.
    ///
    /// # Errors
    /// [`IdentityFileError`] if the file cannot be read.
    pub fn scrypt_cost(&self) -> Result<ScryptCost, IdentityFileError> {
        IdentityFile::cost(&identity_path(&self.folder))
    }

    /// Writes the same identity under another passphrase.
    ///
    /// # Errors
    /// [`IdentityFileError`] if the file cannot be written, or if the passphrase is empty. Then the old one is still there.
    pub fn change_passphrase(
        &self,
        identity: &Identity,
        passphrase: &SecretString,
        cost: ScryptCost,
    ) -> Result<(), IdentityFileError> {
        let path = identity_path(&self.folder);
        IdentityFile::create_on(&self.disk, &path, identity, passphrase, cost, Overwrite::Replace)
    }

    /// Writes the identity file again with other keys, for example with a next rollup key when a rotation begins. The file never gets cheaper to
    /// guess than it is. The last backup does not have the new keys, so it does not count any more.
    ///
    /// # Errors
    /// [`IdentityFileError`] if the file cannot be written. Then the old one is still there.
    pub fn replace_identity(
        &self,
        identity: &Identity,
        passphrase: &SecretString,
        cost: ScryptCost,
    ) -> Result<(), IdentityFileError> {
        let path = identity_path(&self.folder);
        let cost = self.scrypt_cost().map_or(cost, |present| cost.at_least(present));
        self.forget_derived().map_err(|source| IdentityFileError::Io { path: self.folder.clone(), source })?;
        IdentityFile::create_on(&self.disk, &path, identity, passphrase, cost, Overwrite::Replace)
    }

    /// The settings: node, chain, contract and account.
    ///
    /// # Errors
    /// [`ProfileError::NotJoined`] if none were set yet.
    pub fn settings(&self) -> Result<Settings, ProfileError> {
        let settings = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        settings.clone().ok_or_else(|| ProfileError::NotJoined(self.folder.clone()))
    }

    /// Checks that a node's deployment is the one that this profile belongs to. A profile without settings accepts
    /// every deployment.
    ///
    /// # Errors
    /// [`ProfileError::OtherInstance`] if it is another deployment.
    pub fn expect_instance(&self, node: &RollupInstance) -> Result<(), ProfileError> {
        match self.settings() {
            Ok(known) if known.instance() != *node => Err(ProfileError::OtherInstance {
                profile: known.contract,
                profile_chain: known.chain_id,
                node: node.contract,
                node_chain: node.chain_id,
            }),
            _ => Ok(()),
        }
    }

    /// Changes the settings. The addresses may change. Chain and contract may not, because the account belongs to them.
    ///
    /// # Errors
    /// [`ProfileError::OtherInstance`] if chain or contract differ. [`ProfileError::File`] if the file cannot be written.
    pub fn join(&self, settings: Settings) -> Result<(), ProfileError> {
        self.expect_instance(&settings.instance())?;
        let mut known = self.settings.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != Some(&settings) {
            durable::replace_json(&self.disk, &settings_path(&self.folder), &settings)?;
            *known = Some(settings);
        }
        Ok(())
    }

    /// The newest final state that was seen on L1.
    pub const fn seen(&self) -> &SeenState {
        &self.seen
    }

    /// The highest version that was ever signed for a grant slot of this patient, or 0.
    pub fn highest_signed(&self, patient: OwnedAccount, slot: GrantSlot) -> Version {
        self.versions.highest(patient, slot)
    }

    /// Notes durably that a version is about to be signed for a grant slot of this patient.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub fn note_version(&self, patient: OwnedAccount, slot: GrantSlot, version: Version) -> Result<(), FileError> {
        self.versions.note(patient, slot, version)
    }

    /// Notes durably which emergency grants of this patient were seen. Returns how many of them are new.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(crate) fn note_emergencies(
        &self,
        patient: InEpoch,
        grants: impl IntoIterator<Item = (GrantSlot, Version)>,
    ) -> Result<usize, FileError> {
        self.emergencies.note(patient, grants)
    }

    /// Whether the patient was told of this grant of a delegate, or of a newer one of its slot.
    pub(crate) fn knows_delegated(&self, patient: InEpoch, slot: GrantSlot, version: Version) -> bool {
        self.delegated.knows(patient, slot, version)
    }

    /// Notes durably of which grants of delegates the patient was told. Returns how many of them are new.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(crate) fn note_delegated(
        &self,
        patient: InEpoch,
        grants: impl IntoIterator<Item = (GrantSlot, Version)>,
    ) -> Result<usize, FileError> {
        self.delegated.note(patient, grants)
    }

    /// The current epochs of a key directory of this patient. `None` if this folder does not know them.
    pub fn epochs_of(&self, patient: OwnedAccount, directory: DirectoryCommitment) -> Option<CurrentEpochs> {
        self.directories.epochs(patient, directory)
    }

    /// Notes durably the current epochs of key directories of this patient. What is known of a directory stays as it is.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(crate) fn note_epochs(
        &self,
        patient: OwnedAccount,
        directories: &BTreeMap<DirectoryCommitment, CurrentEpochs>,
    ) -> Result<(), FileError> {
        self.directories.note(patient, directories)
    }

    /// Whether this patient ever named a delegate, as far as this folder knows.
    pub fn has_delegates(&self) -> bool {
        delegates_path(&self.folder).exists()
    }

    /// Notes durably that this patient has a delegate, who may write grants too.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(crate) fn note_delegates(&self) -> Result<(), FileError> {
        let path = delegates_path(&self.folder);
        if path.exists() {
            return Ok(());
        }
        self.disk.mark(&path).map_err(|error| FileError::io(&path, error))
    }

    /// Whether rights ended, or may end soon, while no new key directory could be published. The directory in force may then give keys to
    /// readers without rights.
    pub fn keys_wait(&self) -> bool {
        self.keys_wait.is_noted()
    }

    /// Notes durably that the key directory may have to be published again. A directory in which nothing is missing settles that only from a
    /// time on: until then, what the patient sent to L1 may not be settled.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(crate) fn note_keys_wait(&self, until: UnixTime) -> Result<(), FileError> {
        self.keys_wait.note(until)
    }

    /// Notes that nothing is missing in the key directory.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be removed.
    pub(crate) fn forget_keys_wait(&self) -> Result<(), FileError> {
        self.keys_wait.forget(UnixTime::now())
    }

    /// The settled record of an import, by the intent of its request.
    pub(crate) fn imported(&self, intent: &str) -> Result<Option<Imported>, FileError> {
        self.imports.find(intent)
    }

    /// Notes durably that a record is settled, if its intent is one of an import.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(crate) fn note_imported(&self, intent: &str, imported: &Imported) -> Result<(), FileError> {
        self.imports.note(intent, imported)
    }

    /// The secret from which the tags are made that the parts of a split document have in common. It is made the first time, and never leaves
    /// the folder.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be read or written.
    pub fn split_secret(&self) -> Result<Zeroizing<[u8; 32]>, FileError> {
        self.splits.secret()
    }

    /// The parts of a document that an interrupted run wrote.
    pub(crate) fn split_parts(&self, split: &str) -> Vec<NotedPart> {
        self.splits.parts(split)
    }

    /// Notes the parts of a document durably, or forgets the document if there are none.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub(crate) fn note_split_parts(&self, split: &str, parts: Vec<NotedPart>) -> Result<(), FileError> {
        self.splits.set(split, parts)
    }

    /// The journals of attachments that are being sent.
    pub(crate) const fn uploads(&self) -> &Journals {
        &self.uploads
    }

    /// The outbox.
    pub const fn outbox(&self) -> &Outbox {
        &self.outbox
    }
}

fn identity_path(folder: &Path) -> PathBuf {
    folder.join("identity")
}

fn device_path(folder: &Path) -> PathBuf {
    folder.join("device")
}

fn settings_path(folder: &Path) -> PathBuf {
    folder.join("profile.json")
}

fn delegates_path(folder: &Path) -> PathBuf {
    folder.join("delegates")
}

#[cfg(unix)]
fn private(folder: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(|error| FileError::io(folder, error))
}

#[cfg(not(unix))]
fn private(_folder: &Path) -> Result<(), FileError> {
    Ok(())
}

#[cfg(test)]
mod tests;
