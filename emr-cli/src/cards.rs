//! Keeps the cards that a participant was given in the data folder, so that later a record's name is enough.

use std::path::Path;

use emr_client::{client::Client, verify::card::Card};
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
            let file = folder.join(format!("{account}.json"));
            if !file.exists() {
                let message = format!("no card of patient {account} is known here: give it once with --patient CARD");
                return Err(Failure::new(Exit::Input, message));
            }
            return read_card(&file);
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
    keep(&folder, registered, &card).or_exit(Exit::Storage)?;
    Ok(card)
}

fn keep(folder: &Path, account: AccountIndex, card: &Card) -> std::io::Result<()> {
    let disk = Disk::default();
    disk.add_folder(folder)?;
    disk.replace(&folder.join(format!("{account}.json")), card.to_json().as_bytes())
}
