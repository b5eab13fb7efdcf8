//! Keeps the cards that a participant was given in the data folder, so that later a record's name is enough.
//!
//! A card is kept under the Ethereum address of its owner. An account number can get another owner when L1 reorganises,
//! and then the card of the earlier owner is not used for it.

use std::path::Path;

use emr_client::{ClientError, client::Client, verify::card::Card};
use emr_core::{AccountIndex, Role};
use emr_durable::Disk;

use crate::{
    account::read_card,
    failure::{Exit, Failure, OrExit},
};

/// The card of a patient: the given one, which is checked and kept, or the one that was kept for this account.
///
/// # Errors
/// Fails if no card is known, or if the given one does not agree with the state.
pub async fn patient(client: &Client, account: Option<AccountIndex>, given: Option<&Path>) -> Result<Card, Failure> {
    let folder = client.profile().folder().join("cards");
    let card = match (given, account) {
        (Some(file), _) => read_card(file)?,
        (None, Some(account)) if client.account().ok() == Some(account) => return Ok(client.card()),
        (None, Some(account)) => {
            let owner = client.rollup().account(account).await.map_err(ClientError::from)?;
            return kept(&folder, account, owner.map(|account| file_name(account.owner)));
        }
        (None, None) => return Err(Failure::new(Exit::Usage, "whose? give --patient CARD")),
    };
    if card.role != Role::Patient {
        return Err(Failure::new(Exit::Input, format!("the card is a {}'s; --patient takes a patient's", card.role)));
    }
    let registered = card.registered().or_exit(Exit::Input)?;
    if account.is_some_and(|account| account != registered) {
        let message = format!("the card is that of account {registered}, the record is another patient's");
        return Err(Failure::new(Exit::Input, message));
    }
    client.check_card(&card).await?;
    keep(&folder, &card).or_exit(Exit::Storage)?;
    Ok(card)
}

fn file_name(owner: impl std::fmt::LowerHex) -> String {
    format!("{owner:#x}.json")
}

fn keep(folder: &Path, card: &Card) -> std::io::Result<()> {
    let disk = Disk::default();
    disk.add_folder(folder)?;
    disk.replace(&folder.join(file_name(card.ethereum)), card.to_json().as_bytes())
}

/// The card in the file of the account's owner. `file` is that file's name, or `None` if nobody has the account.
fn kept(folder: &Path, account: AccountIndex, file: Option<String>) -> Result<Card, Failure> {
    let file = file.map(|name| folder.join(name)).filter(|file| file.exists());
    let card = file.map(|file| read_card(&file)).transpose()?;
    // The owner had another number when the card was made.
    card.filter(|card| card.account == Some(account)).ok_or_else(|| {
        let message = format!("no card of patient {account} is known here: give it once with --patient CARD");
        Failure::new(Exit::Input, message)
    })
}

#[cfg(test)]
mod tests {
    use emr_chain::RollupInstance;
    use emr_testkit::people::people;

    use super::*;

    /// L1 reorganises, and the number of a patient goes to somebody else, and later back.
    #[test]
    fn a_card_belongs_to_an_owner_and_not_to_a_number() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let folder = folder.path().join("cards");
        let instance =
            RollupInstance { chain_id: 31337, contract: "0x0707070707070707070707070707070707070707".parse()? };
        let number = AccountIndex::new(5)?;
        let card = |person: &emr_testkit::people::Person, number| Card::of(&person.identity, &instance, Some(number));
        let (first, second) = (card(&people().patient, number), card(&people().other, number));
        let owner = |card: &Card| Some(file_name(card.ethereum));
        keep(&folder, &first)?;
        assert_eq!(kept(&folder, number, owner(&first))?, first);
        let refused = kept(&folder, number, owner(&second)).expect_err("the card is another person's");
        assert!(refused.to_string().contains("no card of patient 5"), "{refused}");
        keep(&folder, &second)?;
        assert_eq!(kept(&folder, number, owner(&second))?, second);
        assert_eq!(kept(&folder, number, owner(&first))?, first, "it was not overwritten");
        assert!(kept(&folder, number, None).is_err(), "nobody has the number");
        // The same person under another number: their card names the old one.
        assert!(kept(&folder, AccountIndex::new(6)?, owner(&first)).is_err());
        Ok(())
    }
}
