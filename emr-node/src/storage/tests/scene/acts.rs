//! What the people in the scene do.

use super::*;

impl Scene {
    fn fresh(&mut self) -> u64 {
        self.fresh += 1;
        self.fresh
    }

    /// Uploads a block like the route does. The size in its note may be larger than the block.
    pub(in crate::storage::tests) async fn upload_as(
        &self,
        who: u64,
        codec: Codec,
        bytes: &[u8],
        size: u64,
    ) -> Result<Cid, RequestError> {
        let cid = cid_of(codec, bytes);
        let _in_use = self.engine.in_use.take(&[cid]).await;
        let block = NewBlock { uploader: self.principal(who), cid, codec, bytes, size, at: self.now };
        staging::note(&self.engine, block).await?;
        Ok(self.engine.blockstore.put(codec, bytes).await?)
    }

    /// Uploads new blocks.
    pub(in crate::storage::tests) async fn upload(&mut self, who: u64, blocks: usize, size: u64) -> Outcome<Vec<Cid>> {
        let mut cids = Vec::new();
        for _ in 0..blocks {
            let bytes = self.fresh().to_be_bytes();
            cids.push(self.upload_as(who, Codec::Raw, &bytes, size).await?);
        }
        Ok(cids)
    }

    async fn submit(
        &self,
        who: u64,
        action: Action,
        stored: Option<StoredAt>,
        directory: Option<Cid>,
    ) -> Result<Receipt, RequestError> {
        self.submit_salted(who, action, stored, directory, field::from_opaque(&rand::random())).await
    }

    async fn submit_salted(
        &self,
        who: u64,
        action: Action,
        stored: Option<StoredAt>,
        directory: Option<Cid>,
        salt: Fr,
    ) -> Result<Receipt, RequestError> {
        let operation = Operation {
            signer: account(who),
            signer_epoch: AccountEpoch::FIRST,
            patient: account(PATIENT),
            patient_epoch: AccountEpoch::FIRST,
            valid_until: self.engine.clock.now().saturating_add(CLIENT_VALIDITY),
            salt,
            action,
        };
        let authority = (who != PATIENT).then(|| GrantSlot::new(62 + who).expect("a slot"));
        let signed = operation.sign(domain(), &key(if who == PATIENT { self.patient_key } else { who }), authority);
        let is_record = matches!(action.blocks(), Blocks::Record { .. });
        let epoch = is_record.then(|| first_epoch(Class::Summary));
        let submission = Submission { signed, stored, epoch, directory };
        self.engine.submit(self.principal(who), submission).await
    }

    /// A doctor requests access under their grant.
    pub(in crate::storage::tests) async fn request(&self, who: u64) -> Result<Receipt, RequestError> {
        let slot = GrantSlot::new(62 + who).expect("a slot");
        let (version, expected) = (self.grant_version(slot), Uses::ZERO);
        let purpose = Purpose { reason: Reason::Treatment, class: Class::Summary };
        self.submit(who, Action::RequestAccess(RequestAccess { slot, version, expected, purpose }), None, None).await
    }

    /// Writes a version of a record with these blocks. Its manifest is one more upload.
    pub(in crate::storage::tests) async fn write(
        &self,
        who: u64,
        number: u64,
        parts: &[Cid],
    ) -> Result<(Receipt, Vec<Cid>), RequestError> {
        let bytes = manifest(parts);
        let manifest = self.upload_as(who, Codec::DagCbor, &bytes, bytes.len() as u64).await?;
        let old = self.record(number);
        let salt: [u8; 32] = rand::random();
        let leaf = RecordLeaf {
            status: RecordStatus::Live,
            class: Class::Summary,
            author: account(who),
            custodian: None,
            version: old.map_or(Version::ZERO, |old| old.version).next().expect("a version"),
            revision: old.map_or(Revision::ZERO, |old| old.revision).next().expect("a revision"),
            authored: field::from_opaque(&rand::random()),
            stored: element(Opaque::stored(&manifest, &salt)),
        };
        let expected = old.map_or(Revision::ZERO, |old| old.revision);
        let at = StoredAt { manifest, salt };
        let receipt = self
            .submit(who, Action::PutRecord(PutRecord { slot: slot(number), expected, leaf }), Some(at), None)
            .await?;
        Ok((receipt, [&[manifest], parts].concat()))
    }

    /// The patient stores a record again, with these blocks. Its manifest is one more upload.
    pub(in crate::storage::tests) async fn rekey(&self, number: u64, parts: &[Cid]) -> Result<Vec<Cid>, RequestError> {
        let old = self.record(number).expect("a record");
        let bytes = manifest(parts);
        let manifest = self.upload_as(PATIENT, Codec::DagCbor, &bytes, bytes.len() as u64).await?;
        let salt: [u8; 32] = rand::random();
        let leaf = RecordLeaf {
            revision: old.revision.next().expect("a revision"),
            stored: element(Opaque::stored(&manifest, &salt)),
            ..old
        };
        let action = Action::Rekey(Rekey { slot: slot(number), expected: old.revision, leaf });
        self.submit(PATIENT, action, Some(StoredAt { manifest, salt }), None).await?;
        Ok([&[manifest], parts].concat())
    }

    pub(in crate::storage::tests) async fn tombstone(&self, number: u64) -> Outcome {
        let old = self.record(number).ok_or("no record")?;
        let leaf = RecordLeaf { status: RecordStatus::Tombstone, revision: old.revision.next()?, ..old };
        self.submit(
            PATIENT,
            Action::Tombstone(Tombstone { slot: slot(number), expected: old.revision, leaf }),
            None,
            None,
        )
        .await?;
        Ok(())
    }

    /// Publishes a new key directory.
    async fn directory(&self) -> Outcome<(Cid, DirectoryCommitment)> {
        let directory = first_directory();
        for (_, bytes) in directory.published().blocks() {
            self.upload_as(PATIENT, Codec::DagCbor, bytes, bytes.len() as u64).await?;
        }
        let cid = directory.published().cid();
        let blocks = directory.published().blocks().map(|(cid, _)| cid).collect();
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).insert(cid, blocks);
        Ok((cid, DirectoryCommitment::of(&cid)))
    }

    fn directory_in_force(&self) -> DirectoryCommitment {
        self.engine.state().soft.medical(account(PATIENT)).map_or(DirectoryCommitment::NONE, |leaf| leaf.key_directory)
    }

    /// Grants a doctor the right to write for a year, with a new directory.
    pub(in crate::storage::tests) async fn grant(&mut self, number: u64, doctor: u64) -> Outcome<Cid> {
        self.grant_rights(number, doctor, Rights::READ | Rights::WRITE).await
    }

    /// Names the first doctor as a delegate, in the slot of their grant.
    pub(in crate::storage::tests) async fn name_delegate(&mut self) -> Outcome {
        self.grant_rights(62 + DOCTORS[0], DOCTORS[0], Rights::READ | Rights::MANAGE).await?;
        Ok(())
    }

    async fn grant_rights(&mut self, number: u64, doctor: u64, rights: Rights) -> Outcome<Cid> {
        let (cid, directory_after) = self.directory().await?;
        let slot = GrantSlot::new(number)?;
        let expected = self.grant_version(slot);
        let leaf = GrantLeaf {
            grantee: Some(account(doctor)),
            rights,
            scope: Class::Summary.into(),
            not_after: UnixTime::now().saturating_add(365 * 24 * 3600),
            uses: Uses::ZERO,
            version: expected.next()?,
            salt: Fr::from(9),
        };
        let directory_before = self.directory_in_force();
        let action = Action::SetGrant(SetGrant { slot, expected, leaf, directory_before, directory_after });
        self.submit(PATIENT, action, None, Some(cid)).await?;
        Ok(cid)
    }

    /// Ends a grant, with a new directory.
    pub(in crate::storage::tests) async fn revoke(&mut self, number: u64) -> Outcome<Cid> {
        let (cid, directory_after) = self.directory().await?;
        let slot = GrantSlot::new(number)?;
        let (expected, directory_before) = (self.grant_version(slot), self.directory_in_force());
        let action =
            Action::Revoke(Revoke { slot, expected, leaf_salt: Fr::from(3), directory_before, directory_after });
        self.submit(PATIENT, action, None, Some(cid)).await?;
        Ok(cid)
    }

    /// The delegate lets the second doctor read, and hands on keys. Returns the address of the keys.
    pub(in crate::storage::tests) async fn hand_on(&self, number: u64) -> Outcome<Cid> {
        let (directory, people) = (first_directory(), people());
        let links = directory.published().links_of(&people.doctor.identity)?;
        let reader = people.stranger.identity.encryption_key();
        let keys = DelegatedKeys::hand_on(&links, directory.published(), Class::Summary.into(), &reader)?;
        let bytes = keys.to_bytes();
        let manifest = self.upload_as(DOCTORS[0], Codec::DagCbor, bytes, bytes.len() as u64).await?;
        let at = StoredAt { manifest, salt: rand::random() };
        let slot = GrantSlot::new(number)?;
        let expected = self.grant_version(slot);
        let leaf = GrantLeaf {
            grantee: Some(account(DOCTORS[1])),
            rights: Rights::READ,
            scope: Class::Summary.into(),
            not_after: UnixTime::now().saturating_add(24 * 3600),
            uses: Uses::ZERO,
            version: expected.next()?,
            salt: field::from_opaque(&rand::random()),
        };
        let directory = self.directory_in_force();
        let (directory_before, directory_after) = (directory, directory);
        let action = Action::SetGrant(SetGrant { slot, expected, leaf, directory_before, directory_after });
        let salt = element(Opaque::handed_on(&at.manifest, &at.salt));
        self.submit_salted(DOCTORS[0], action, Some(at), None, salt).await?;
        Ok(manifest)
    }

    /// The delegate ends a grant.
    pub(in crate::storage::tests) async fn end_for_patient(&self, number: u64) -> Outcome {
        let slot = GrantSlot::new(number)?;
        let (expected, directory) = (self.grant_version(slot), self.directory_in_force());
        let (directory_before, directory_after) = (directory, directory);
        let leaf_salt = field::from_opaque(&rand::random());
        let action = Action::Revoke(Revoke { slot, expected, leaf_salt, directory_before, directory_after });
        self.submit(DOCTORS[0], action, None, None).await?;
        Ok(())
    }

    fn grant_version(&self, slot: GrantSlot) -> Version {
        let state = self.engine.state();
        let grant = state.soft.patient(account(PATIENT)).and_then(|leaves| leaves.grants.get(&slot));
        grant.map_or(Version::ZERO, |grant| grant.version)
    }
}
