//! The history as plain bytes, for snapshots.

use emr_rollup::plain_bytes;

use super::{AccessSession, Delegated, Emergency, History, PatientHistory};

plain_bytes! {
    AccessSession { sequence, until, slot, version, salt }
    Delegated { slot, directory, keys }
    Emergency { patient, acknowledged }
    PatientHistory { ended, ended_by_delegates, delegated, given, replaced, written, granted, sessions }
    History { patients, emergencies }
}
