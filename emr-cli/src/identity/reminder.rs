//! The programs say that a lost passphrase is lost, while something can be done about it.

use emr_client::profile::Profile;
use emr_core::Role;

/// One line after `init`.
pub(crate) fn after_init(role: Role) {
    eprintln!(
        "nobody can reset the passphrase: without it, or without the file 'identity', your keys are lost. Make a backup now: `emr-{role} identity \
         backup --words -o FILE`"
    );
}

/// One line for an identity without a backup.
pub(crate) fn remind(profile: &Profile, role: Role) {
    if profile.backup_mark().is_none() {
        eprintln!("no backup of the present keys was made: `emr-{role} identity backup --help`");
    }
}
