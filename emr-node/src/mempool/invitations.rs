//! Which invitations were used, and by whom, and how many of each inviter on each day. The key is the address that registered the inviter's
//! account: after a reorganisation, an account number may belong to somebody else.

use std::collections::BTreeMap;

use alloy::primitives::Address;
use emr_core::UnixTime;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};

use super::{Mempool, MempoolError, decode, encode};

/// Inviter (20 bytes) and nonce (16).
type Key = [u8; 36];

/// [`Key`] to [`Used`].
const USED: TableDefinition<'_, Key, &[u8]> = TableDefinition::new("invitations-used");
/// Expiry and key of each entry of [`USED`], to find the entries that lapsed.
const BY_EXPIRY: TableDefinition<'_, (u64, Key), ()> = TableDefinition::new("invitations-by-expiry");
/// Inviter and day (of 86,400 s since 1970) to the number of invitations used.
const BY_DAY: TableDefinition<'_, ([u8; 20], u64), u32> = TableDefinition::new("invitations-by-day");
/// Ended inviters, and since when. Their unused invitations no longer count.
const ENDED: TableDefinition<'_, [u8; 20], u64> = TableDefinition::new("inviters-ended");

const DAY: u64 = 86_400;
/// How long a used nonce is kept after its expiry. So an invitation does not become usable again if the clock is set
/// back. Seconds.
const KEPT: u64 = 7 * DAY;
/// How many times the hospital pays for one invitation: the first transaction may be lost, or may fail.
const ATTEMPTS: u32 = 5;

/// A nonce that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Used {
    /// The owner that it registers, or registered.
    owner: Address,
    /// When it was first used.
    at: UnixTime,
    /// How many transactions may have been sent for it.
    attempts: u32,
}

/// A request to use an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvitationUse {
    /// The address that registered the inviter's account: another owner of it has no other quota.
    pub inviter: Address,
    /// The owner of the inviter's account, who signed the invitation.
    pub signer: Address,
    /// The invitation's nonce.
    pub nonce: [u8; 16],
    /// The invitation's expiry.
    pub expires: UnixTime,
    /// The owner to register.
    pub owner: Address,
    /// How many invitations of this inviter may be used in a day. `None` for the hospital itself: any number, and nobody can end them.
    pub quota: Option<u32>,
}

/// Whether an invitation may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invited {
    /// It was not used before.
    First,
    /// The same owner used it before. Only L1 knows whether a transaction was sent then.
    Again,
    /// Another owner used it.
    Used,
    /// The same owner used it too many times.
    Exhausted,
    /// The inviter's quota for today is used up.
    OverQuota,
    /// The hospital ended this inviter.
    Ended,
}

impl InvitationUse {
    fn key(&self) -> Key {
        let mut key = [0; 36];
        key[..20].copy_from_slice(self.inviter.as_slice());
        key[20..].copy_from_slice(&self.nonce);
        key
    }

    fn judge(&self, used: Option<&Used>, today: u32, ended: bool) -> Invited {
        match used {
            Some(used) if used.owner != self.owner => Invited::Used,
            Some(used) if used.attempts >= ATTEMPTS => Invited::Exhausted,
            Some(_) => Invited::Again,
            None => match self.quota {
                Some(_) if ended => Invited::Ended,
                Some(quota) if today >= quota => Invited::OverQuota,
                _ => Invited::First,
            },
        }
    }
}

/// What the hospital sees of an inviter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Inviter {
    /// Invitations used today.
    pub today: u32,
    /// Since when the inviter is ended.
    pub ended: Option<UnixTime>,
}

pub(super) fn create(transaction: &WriteTransaction) -> Result<(), MempoolError> {
    transaction.open_table(USED)?;
    transaction.open_table(BY_EXPIRY)?;
    transaction.open_table(BY_DAY)?;
    transaction.open_table(ENDED)?;
    Ok(())
}

impl Mempool {
    /// Whether an invitation may be used now. Changes nothing.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn invited(&self, asked: &InvitationUse, now: UnixTime) -> Result<Invited, MempoolError> {
        let transaction = self.read()?;
        let inviter = asked.inviter.into_array();
        let used = transaction.open_table(USED)?.get(asked.key())?.map(|used| decode(used.value())).transpose()?;
        let today = transaction.open_table(BY_DAY)?.get((inviter, now.get() / DAY))?.map_or(0, |count| count.value());
        let ended = transaction.open_table(ENDED)?.get(inviter)?.is_some();
        Ok(asked.judge(used.as_ref(), today, ended))
    }

    /// Uses an invitation, durably, if it may be used. After [`Invited::First`] and [`Invited::Again`], a transaction
    /// may be sent for this owner, and never for another. Also removes entries that lapsed long ago.
    ///
    /// # Errors
    /// [`MempoolError`]; after that the invitation may be used or not.
    pub fn use_invitation(&self, asked: &InvitationUse, now: UnixTime) -> Result<Invited, MempoolError> {
        let transaction = self.write()?;
        let key = asked.key();
        let day = (asked.inviter.into_array(), now.get() / DAY);
        let judged = {
            let mut used = transaction.open_table(USED)?;
            let mut by_expiry = transaction.open_table(BY_EXPIRY)?;
            let mut by_day = transaction.open_table(BY_DAY)?;
            let known: Option<Used> = used.get(key)?.map(|used| decode(used.value())).transpose()?;
            let today = by_day.get(day)?.map_or(0, |count| count.value());
            let ended = transaction.open_table(ENDED)?.get(day.0)?.is_some();
            let judged = asked.judge(known.as_ref(), today, ended);
            let next = match (judged, known) {
                (Invited::First, _) => {
                    by_expiry.insert((asked.expires.get(), key), ())?;
                    by_day.insert(day, today + 1)?;
                    Used { owner: asked.owner, at: now, attempts: 1 }
                }
                (Invited::Again, Some(known)) => Used { attempts: known.attempts + 1, ..known },
                _ => return Ok(judged),
            };
            used.insert(key, encode(&next)?.as_slice())?;

            let lapsed = ..(now.get().saturating_sub(KEPT), [0; 36]);
            for entry in by_expiry.extract_from_if(lapsed, |_, ()| true)? {
                used.remove(entry?.0.value().1)?;
            }
            by_day.retain(|(_, day), _| day + KEPT / DAY >= now.get() / DAY)?;
            judged
        };
        transaction.commit()?;
        Ok(judged)
    }

    /// Ends an inviter, durably: its unused invitations no longer count. Returns `false` if the inviter was already
    /// ended.
    ///
    /// # Errors
    /// [`MempoolError`]; after that the inviter may be ended or not.
    pub fn end_inviter(&self, inviter: Address, now: UnixTime) -> Result<bool, MempoolError> {
        let transaction = self.write()?;
        {
            let mut ended = transaction.open_table(ENDED)?;
            if ended.get(inviter.into_array())?.is_some() {
                return Ok(false);
            }
            ended.insert(inviter.into_array(), now.get())?;
        }
        transaction.commit()?;
        Ok(true)
    }

    /// Lets an ended inviter invite again, durably. Returns whether it was ended.
    ///
    /// # Errors
    /// [`MempoolError`]; after that the inviter may be ended or not.
    pub fn allow_inviter(&self, inviter: Address) -> Result<bool, MempoolError> {
        let transaction = self.write()?;
        let was_ended = transaction.open_table(ENDED)?.remove(inviter.into_array())?.is_some();
        transaction.commit()?;
        Ok(was_ended)
    }

    /// Inviters whose invitations were used today, and inviters that are ended.
    ///
    /// # Errors
    /// [`MempoolError`].
    pub fn inviters(&self, now: UnixTime) -> Result<BTreeMap<Address, Inviter>, MempoolError> {
        let transaction = self.read()?;
        let mut inviters: BTreeMap<Address, Inviter> = BTreeMap::new();
        for entry in transaction.open_table(BY_DAY)?.iter()? {
            let (day, count) = entry?;
            let (inviter, day) = day.value();
            if day == now.get() / DAY {
                inviters.entry(inviter.into()).or_default().today = count.value();
            }
        }
        for entry in transaction.open_table(ENDED)?.iter()? {
            let (inviter, since) = entry?;
            let since = UnixTime::new(since.value()).map_err(super::damaged)?;
            inviters.entry(inviter.value().into()).or_default().ended = Some(since);
        }
        Ok(inviters)
    }
}
