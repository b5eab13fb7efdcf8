//! What other patients do on their own accounts.

use super::*;

impl Scene {
    /// A patient uploads the blocks of a new directory, the root last, and then signs the change of their grants that names it.
    async fn own(
        &self,
        who: u64,
        directory: Option<&[(Cid, Vec<u8>)]>,
        action: impl FnOnce(DirectoryCommitment, DirectoryCommitment) -> Action,
    ) -> Result<Receipt, RequestError> {
        let medical = self.engine.state().soft.medical(account(who));
        let before = medical.map_or(DirectoryCommitment::NONE, |leaf| leaf.key_directory);
        let mut cid = None;
        for (_, bytes) in directory.unwrap_or_default() {
            cid = Some(self.upload_as(who, Codec::DagCbor, bytes, bytes.len() as u64).await?);
        }
        let after = cid.as_ref().map_or(before, DirectoryCommitment::of);
        let operation = Operation {
            signer: account(who),
            signer_epoch: AccountEpoch::FIRST,
            patient: account(who),
            patient_epoch: AccountEpoch::FIRST,
            valid_until: self.engine.clock.now().saturating_add(CLIENT_VALIDITY),
            salt: field::from_opaque(&rand::random()),
            action: action(before, after),
        };
        let signed = operation.sign(domain(), &key(who), None);
        let submission = Submission { signed, stored: None, epoch: None, directory: cid };
        self.engine.submit(self.principal(who), submission).await
    }

    /// A patient grants a doctor the right to write. The directory stays the same.
    pub(in crate::storage::tests) async fn own_grant(&self, who: u64, number: u64) -> Result<Receipt, RequestError> {
        let slot = GrantSlot::new(number).expect("a slot");
        let leaf = GrantLeaf {
            grantee: Some(account(DOCTORS[0])),
            rights: Rights::WRITE,
            scope: Class::Summary.into(),
            not_after: UnixTime::now().saturating_add(365 * 24 * 3600),
            uses: Uses::ZERO,
            version: Version::ZERO.next().expect("a version"),
            salt: Fr::from(9),
        };
        let expected = Version::ZERO;
        self.own(who, None, |directory_before, directory_after| {
            Action::SetGrant(SetGrant { slot, expected, leaf, directory_before, directory_after })
        })
        .await
    }

    /// A patient ends the grant in a slot, with a new directory or without one.
    pub(in crate::storage::tests) async fn own_revoke(
        &self,
        who: u64,
        number: u64,
        directory: Option<&[(Cid, Vec<u8>)]>,
    ) -> Result<Receipt, RequestError> {
        let slot = GrantSlot::new(number).expect("a slot");
        let expected = Version::ZERO.next().expect("a version");
        self.own(who, directory, |directory_before, directory_after| {
            Action::Revoke(Revoke { slot, expected, leaf_salt: Fr::from(3), directory_before, directory_after })
        })
        .await
    }
}
