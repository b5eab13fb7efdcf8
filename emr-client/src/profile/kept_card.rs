//! The participant's own card, kept so that it can be shown without the keys.

use super::{MAX_FILE_BYTES, Profile, durable};
use crate::{profile::FileError, verify::card::Card};

impl Profile {
    /// The card that the last command with keys kept. `None` if there is none, or if it is not of this profile's rollup and account.
    ///
    /// Like the addresses in `profile.json`, it is as trustworthy as the folder. Who gets the card compares it with the state.
    pub fn kept_card(&self) -> Option<Card> {
        let card: Card = durable::read_json(&self.folder.join("card.json"), MAX_FILE_BYTES).ok().flatten()?;
        let known = self.settings().ok()?;
        (card.account.is_some() && card.account == known.account && card.check_instance(&known.instance()).is_ok())
            .then_some(card)
    }

    /// Keeps the card of a registered participant durably.
    ///
    /// # Errors
    /// [`FileError`] if the file cannot be written.
    pub fn keep_card(&self, card: &Card) -> Result<(), FileError> {
        if card.account.is_none() || self.kept_card().as_ref() == Some(card) {
            return Ok(());
        }
        durable::replace_json(&self.disk, &self.folder.join("card.json"), card)
    }
}
