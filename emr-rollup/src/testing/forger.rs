//! A sequencer that checks nothing. It executes every operation that it gets, keeps all hashes and roots consistent,
//! and returns the witness. So a batch breaks only the clause that the test wants to break.

use std::collections::BTreeMap;

use crate::{
    batch::{BatchData, D2Entry, PublicInputs},
    l1_operation::{L1Rule, MedicalRule},
    operation::{
        Action, BreakGlass, DirectoryCommitment, DirectoryRule, Kind, PutRecord, Rekey, Revoke, Rule, SetGrant,
        SignedOperation, Tombstone,
    },
    primitive::{
        field::{Fr, pack, to_u64},
        poseidon::{self, Tag},
    },
    state::{
        leaf::{LeafHash, Tree, extend_head},
        state_root,
        tree::{Path, SparseMerkleTree, empty_root},
    },
    statement::{
        BatchWitness, EntryFields, EntryWitness, GrantFields, IdentityFields, MedicalFields, Message, OperationWitness,
        RecordFields, SignatureFields,
    },
    version::CircuitVersion,
};

use super::scenario::{TIME, domain, key};

/// One patient's subtree, with the fields of its leaves.
#[derive(Clone, Debug)]
struct Subtree {
    grants: SparseMerkleTree,
    records: SparseMerkleTree,
    medical: MedicalFields,
    grant_leaves: BTreeMap<u64, GrantFields>,
    record_leaves: BTreeMap<u64, RecordFields>,
}

/// A state and an unfinished batch.
#[derive(Clone, Debug)]
pub struct Forger {
    /// Sizes of trees and batch.
    pub version: CircuitVersion,
    /// The batch time in Unix seconds.
    pub time: u64,
    identities: SparseMerkleTree,
    medical: SparseMerkleTree,
    leaves: BTreeMap<u64, IdentityFields>,
    subtrees: BTreeMap<u64, Subtree>,
    /// The witness so far.
    pub witness: BatchWitness,
    /// The published data so far.
    pub data: BatchData,
    /// The medical root that follows from the last operation's path. A false path gives another root than the tree.
    forced_root: Option<Fr>,
}

fn number(element: &Fr) -> u64 {
    to_u64(element).expect("a small number")
}

/// The rules of a header's kind, if there is such a kind.
fn rule(kind: &Fr) -> Option<&'static Rule> {
    let code = |kind: Kind| Fr::from(u64::from(kind.code()));
    Kind::L2.into_iter().find(|other| *kind == code(*other)).and_then(Kind::rule)
}

/// The rules of an entry's kind, if there is such a kind.
fn l1_rule(kind: &Fr) -> Option<&'static L1Rule> {
    let code = |kind: Kind| Fr::from(u64::from(kind.code()));
    Kind::L1.into_iter().find(|other| *kind == code(*other)).and_then(Kind::l1_rule)
}

fn is_patient(identity: &IdentityFields) -> bool {
    identity.role == Fr::from(1)
}

/// The packing of an audit entry: kind, account, tree, slot and purpose, then the time.
fn audit_packed(fields: [Fr; 5], time: u64) -> Fr {
    let fields = fields.into_iter().zip([0, 24, 2, 16, 8]).chain([(Fr::from(time), 40)]);
    fields.fold(Fr::from(0), |packed, (field, width)| packed * Fr::from(1 << width) + field)
}

fn writes_record(kind: &Fr) -> bool {
    rule(kind).is_some_and(|rule| rule.tree == Tree::Records)
}

impl Forger {
    /// An empty state and batch.
    pub fn new(version: CircuitVersion) -> Self {
        let tree = SparseMerkleTree::new(version.account_depth);
        let witness = BatchWitness {
            version,
            identity_root: tree.root(),
            medical_root: tree.root(),
            entries: Vec::new(),
            operations: Vec::new(),
        };
        Self {
            version,
            time: TIME,
            identities: tree.clone(),
            medical: tree,
            leaves: BTreeMap::new(),
            subtrees: BTreeMap::new(),
            witness,
            data: BatchData::default(),
            forced_root: None,
        }
    }

    /// The witness of an entry on the current state.
    pub fn entry(&self, entry: EntryFields) -> EntryWitness {
        let account = number(&entry.account);
        let (position, slot) = (account as u32, number(&entry.slot) as u32);
        let identity = self.leaves.get(&account).copied().unwrap_or_default();
        let subtree = self.subtrees.get(&account).filter(|_| is_patient(&identity));
        let ends = l1_rule(&entry.kind).is_some_and(|rule| rule.medical == MedicalRule::GrantsEnd);
        let (grant, grant_path) = match subtree.filter(|_| ends) {
            Some(subtree) => (subtree.grants.get(slot), subtree.grants.path(slot)),
            None => (LeafHash::EMPTY, Path::zeros(self.version.grant_depth)),
        };
        EntryWitness {
            entry,
            identity,
            identity_path: self.identities.path(position),
            medical: subtree.map(|subtree| subtree.medical).unwrap_or_default(),
            medical_path: self.medical.path(position),
            grant,
            grant_path,
        }
    }

    /// Takes an entry without a check, and writes its leaves even if it must have no effect.
    pub fn push_entry(&mut self, witness: EntryWitness) {
        self.push_entry_lying(witness, |_, _| ());
    }

    /// Takes an entry without a check, and changes the identity leaf or the medical leaf after it.
    pub fn push_entry_lying(
        &mut self,
        witness: EntryWitness,
        lie: impl FnOnce(&mut IdentityFields, &mut MedicalFields),
    ) {
        let (entry, old) = (witness.entry, witness.identity);
        let account = number(&entry.account);
        let Some(rule) = l1_rule(&entry.kind) else { return self.take_entry(witness) };
        let mut leaf = IdentityFields {
            role: rule.profile.of(entry.role, old.role),
            status: rule.status.of(entry.status, old.status),
            org: rule.profile.of(entry.org, old.org),
            epoch: old.epoch + Fr::from(1),
            key_x: rule.keys.of(entry.key_x, old.key_x),
            key_y: rule.keys.of(entry.key_y, old.key_y),
            encryption: rule.keys.of(entry.opaque, old.encryption),
        };
        let mut subtree = match rule.medical {
            MedicalRule::EmptyForPatient => self.empty_subtree(),
            MedicalRule::Stays => self.subtrees.get(&account).cloned().unwrap_or_else(|| self.empty_subtree()),
            MedicalRule::GrantsEnd => self.without_grants(&witness),
        };
        lie(&mut leaf, &mut subtree.medical);
        if is_patient(&leaf) {
            self.medical.set(account as u32, subtree.medical.hash());
        }
        self.identities.set(account as u32, leaf.hash());
        self.leaves.insert(account, leaf);
        self.subtrees.insert(account, subtree);
        self.take_entry(witness);
    }

    /// Takes an entry that changes nothing, whether or not it should.
    pub fn take_entry(&mut self, witness: EntryWitness) {
        self.data.d1.push(witness.entry.entry());
        self.witness.entries.push(witness);
    }

    fn empty_subtree(&self) -> Subtree {
        let (grant_leaves, record_leaves) = Default::default();
        Subtree {
            grants: SparseMerkleTree::new(self.version.grant_depth),
            records: SparseMerkleTree::new(self.version.record_depth),
            medical: MedicalFields {
                grants_root: empty_root(self.version.grant_depth),
                records_root: empty_root(self.version.record_depth),
                audit_head: Fr::from(0),
                key_directory: DirectoryCommitment::NONE,
            },
            grant_leaves,
            record_leaves,
        }
    }

    /// The account's subtree after a forced revocation.
    fn without_grants(&self, witness: &EntryWitness) -> Subtree {
        let entry = &witness.entry;
        let mut subtree = self.subtrees.get(&number(&entry.account)).cloned().unwrap_or_else(|| self.empty_subtree());
        if entry.tree == Fr::from(1) {
            let slot = number(&entry.slot) % (1 << self.version.grant_depth);
            subtree.grants.set(slot as u32, LeafHash::EMPTY);
            subtree.grant_leaves.remove(&slot);
        } else {
            subtree.grants = SparseMerkleTree::new(self.version.grant_depth);
            subtree.grant_leaves.clear();
        }
        let packed = audit_packed([entry.kind, entry.account, entry.tree, entry.slot, Fr::from(0)], self.time);
        let audit_entry = poseidon::hash(Tag::AuditEntry, &[packed, Fr::from(0), Fr::from(0)]);
        subtree.medical.grants_root = subtree.grants.root();
        subtree.medical.audit_head = extend_head(subtree.medical.audit_head, audit_entry);
        if entry.replace_directory == Fr::from(1) {
            subtree.medical.key_directory = entry.opaque.into();
        }
        subtree
    }

    /// The witness of an operation on the current state, if its signature is valid.
    pub fn operation(&self, signed: &SignedOperation) -> OperationWitness {
        let message = Message::from(&signed.operation);
        let (signer, patient) = (number(&message.header.signer), number(&message.header.patient));
        let slot = number(&message.header.slot);
        let subtree = &self.subtrees[&patient];
        let mut old_grant = GrantFields::default();
        let mut new_grant = GrantFields::default();
        let mut old_record = RecordFields::default();
        let mut new_record = RecordFields::default();
        let target_path = if writes_record(&message.header.kind) {
            old_record = subtree.record_leaves.get(&slot).copied().unwrap_or_default();
            new_record = match signed.operation.action {
                Action::PutRecord(PutRecord { leaf, .. })
                | Action::Tombstone(Tombstone { leaf, .. })
                | Action::Rekey(Rekey { leaf, .. }) => (&leaf).into(),
                Action::SetGrant(_) | Action::Revoke(_) | Action::RequestAccess(_) | Action::BreakGlass(_) => {
                    old_record
                }
            };
            subtree.records.path(slot as u32)
        } else {
            old_grant = subtree.grant_leaves.get(&slot).copied().unwrap_or_default();
            new_grant = match signed.operation.action {
                Action::SetGrant(SetGrant { leaf, .. }) | Action::BreakGlass(BreakGlass { leaf, .. }) => {
                    GrantFields { uses: old_grant.uses, ..GrantFields::from(&leaf) }
                }
                Action::Revoke(Revoke { leaf_salt, expected, .. }) => GrantFields {
                    uses: old_grant.uses,
                    version: Fr::from(expected.get() + 1),
                    salt: leaf_salt,
                    ..GrantFields::default()
                },
                Action::RequestAccess(_) => GrantFields { uses: old_grant.uses + Fr::from(1), ..old_grant },
                Action::PutRecord(_) | Action::Tombstone(_) | Action::Rekey(_) => old_grant,
            };
            subtree.grants.path(slot as u32).to_depth(self.version.record_depth)
        };
        let authority = signed.authority.map_or(0, |slot| slot.get());
        let has_authority = signed.authority.is_some();
        OperationWitness {
            message,
            signature: SignatureFields::from(signed),
            signer: self.leaves[&signer],
            signer_path: self.identities.path(signer as u32),
            patient: self.leaves[&patient],
            patient_path: self.identities.path(patient as u32),
            medical: subtree.medical,
            medical_path: self.medical.path(patient as u32),
            authority_slot: Fr::from(authority),
            authority: subtree.grant_leaves.get(&authority).copied().filter(|_| has_authority).unwrap_or_default(),
            authority_path: subtree.grants.path(authority as u32),
            old_grant,
            new_grant,
            old_record,
            new_record,
            target_path,
        }
    }

    /// Signs the witness's message with its signer's key.
    pub fn sign(&self, witness: &mut OperationWitness) {
        let key = key(number(&witness.message.header.signer));
        let signature = key.sign(witness.message.hash(domain().element()));
        witness.signature = SignatureFields {
            r_x: signature.r.x(),
            r_y: signature.r.y(),
            s: crate::primitive::field::reduce(&signature.s.to_bytes()),
        };
    }

    /// Takes an operation without a check, and executes it.
    pub fn push(&mut self, witness: OperationWitness) {
        self.push_lying(witness, |_, _| ());
    }

    /// Takes an operation without a check, and changes its audit entry or the medical leaf after it.
    pub fn push_lying(&mut self, witness: OperationWitness, lie: impl FnOnce(&mut Fr, &mut MedicalFields)) {
        let header = witness.message.header;
        let patient = number(&header.patient);
        let slot = number(&header.slot);
        let is_record = writes_record(&header.kind);
        let new_leaf = if is_record { witness.new_record.hash() } else { witness.new_grant.hash() };
        let depth = if is_record { self.version.record_depth } else { self.version.grant_depth };
        let new_root = witness.target_path.to_depth(depth).root(slot as u32, new_leaf);
        let fields = [header.kind, header.signer, header.tree, header.slot, header.purpose];
        let packed = audit_packed(fields, self.time);
        let mut entry = poseidon::hash(Tag::AuditEntry, &[packed, new_leaf.element(), witness.message.salt]);
        let mut next = witness.medical;
        if is_record {
            next.records_root = new_root;
        } else {
            next.grants_root = new_root;
        }
        next.audit_head = extend_head(next.audit_head, entry);
        let current = witness.message.directory_before == witness.medical.key_directory.element();
        let replaced = match rule(&header.kind).map(|rule| rule.directory) {
            Some(DirectoryRule::Replaced) => true,
            Some(DirectoryRule::ReplacedIfCurrent) => current,
            Some(DirectoryRule::Stays) | None => false,
        };
        if replaced {
            next.key_directory = witness.message.directory_after.into();
        }
        lie(&mut entry, &mut next);
        let root = witness.medical_path.root(patient as u32, next.hash());
        let subtree = self.subtrees.get_mut(&patient).expect("a subtree");
        subtree.medical = next;
        if is_record {
            subtree.records.set(slot as u32, new_leaf);
            subtree.record_leaves.insert(slot, witness.new_record);
        } else {
            subtree.grants.set(slot as u32 % (1 << self.version.grant_depth), new_leaf);
            subtree.grant_leaves.insert(slot, witness.new_grant);
        }
        self.medical.set(patient as u32, next.hash());
        self.forced_root = Some(root);
        let place = pack(&[(patient, 24), (number(&header.tree), 2), (slot, 16)]);
        let key_directory = next.key_directory;
        self.data.d2.push(D2Entry { place, leaf: new_leaf, audit_entry: entry, key_directory });
        self.witness.operations.push(witness);
    }

    /// Changes an account's identity in the state before the batch.
    pub fn write_identity(&mut self, account: u64, change: impl FnOnce(&mut IdentityFields)) {
        let leaf = self.leaves.get_mut(&account).expect("an account");
        change(leaf);
        self.identities.set(account as u32, leaf.hash());
        self.begin_batch();
    }

    /// Puts a grant in the state before the batch.
    pub fn write_grant(&mut self, patient: u64, slot: u64, leaf: &crate::state::leaf::GrantLeaf) {
        let leaf = GrantFields::from(leaf);
        let subtree = self.subtrees.get_mut(&patient).expect("a subtree");
        subtree.grants.set(slot as u32, leaf.hash());
        subtree.medical.grants_root = subtree.grants.root();
        subtree.grant_leaves.insert(slot, leaf);
        let hash = subtree.medical.hash();
        self.medical.set(patient as u32, hash);
        // The grant counts as part of the state before the batch.
        self.begin_batch();
    }

    /// Makes the current state the state before the batch, and begins the batch here.
    pub fn begin_batch(&mut self) {
        self.witness.entries.clear();
        self.witness.operations.clear();
        self.data = BatchData::default();
        self.forced_root = None;
        (self.witness.identity_root, self.witness.medical_root) = (self.identities.root(), self.medical.root());
    }

    /// The witness and the public inputs.
    pub fn finish(&self) -> (BatchWitness, PublicInputs) {
        let pre = state_root(self.witness.identity_root, self.witness.medical_root);
        let medical = self.forced_root.unwrap_or_else(|| self.medical.root());
        let post = state_root(self.identities.root(), medical);
        let public = PublicInputs::derive(&self.version, domain(), 1, (pre, post), self.time, &self.data);
        (self.witness.clone(), public)
    }
}
