//! Makes operations for tests of the outbox.

use std::error::Error;

use alloy::primitives::Address;
use emr_api::Submission;
use emr_client::profile::outbox::{NewEntry, Parties};
use emr_core::{
    AccountEpoch, AccountIndex, Cid, Class, Codec, GrantSlot, OutOfRange, Purpose, Reason, UnixTime, Uses, Version,
    cid::cid_of,
};
use emr_rollup::{
    operation::{Action, Domain, Operation, OperationId, RequestAccess},
    primitive::{eddsa::SigningKey, field::Fr},
};

const PARTIES: Parties = Parties { signer: Address::repeat_byte(2), patient: Address::repeat_byte(3) };

/// A signed request that is valid until second 1000.
fn submission(salt: u64) -> Result<(OperationId, Submission), OutOfRange> {
    let domain = Domain::new(31337, [1; 20]);
    let operation = Operation {
        signer: AccountIndex::new(2)?,
        signer_epoch: AccountEpoch::FIRST,
        patient: AccountIndex::new(3)?,
        patient_epoch: AccountEpoch::FIRST,
        valid_until: UnixTime::new(1000)?,
        salt: Fr::from(salt),
        action: Action::RequestAccess(RequestAccess {
            slot: GrantSlot::FIRST_ORDINARY,
            version: Version::ZERO,
            expected: Uses::ZERO,
            purpose: Purpose { reason: Reason::Treatment, class: Class::Summary },
        }),
    };
    let signed = operation.sign(domain, &SigningKey::from_seed(&[1; 32]), None);
    Ok((signed.id(domain), Submission { signed, stored: None, epoch: None, directory: None }))
}

pub(crate) fn id(salt: u64) -> Result<OperationId, OutOfRange> {
    Ok(submission(salt)?.0)
}

pub(crate) fn blocks(salt: u64) -> Vec<(Cid, Vec<u8>)> {
    (0..2).map(|block| vec![block; 700 + salt as usize]).map(|bytes| (cid_of(Codec::Raw, &bytes), bytes)).collect()
}

/// An entry with two blocks.
pub(crate) fn entry(salt: u64) -> Result<NewEntry, Box<dyn Error>> {
    let (id, submission) = submission(salt)?;
    Ok(NewEntry { blocks: blocks(salt), ..NewEntry::plain(id, PARTIES, submission) })
}
