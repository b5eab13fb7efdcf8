//! The exit code for a node that does not start. It tells whether trying again may help.

use std::io::ErrorKind;

use emr_chain::submitter::SubmitError;
use emr_client::ClientError;
use emr_node::{DerivationError, FollowError, StartError, mempool::MempoolError};

use crate::failure::{Exit, Failure, one_line};

/// The failure of `serve` or `dev` when the node does not start.
pub(super) fn failure(error: StartError) -> Failure {
    let exit = match error {
        StartError::Endpoint(error) => return ClientError::from(error).into(),
        StartError::Rollup(error) | StartError::Follow(FollowError::Rollup(error)) => return error.into(),
        ref other => exit(other),
    };
    Failure::new(exit, one_line(&error))
}

fn exit(error: &StartError) -> Exit {
    match error {
        StartError::OtherCircuit { .. } | StartError::OtherVerifiers { .. } => Exit::Usage,
        StartError::NotSequencer { .. } => Exit::Identity,
        StartError::Mempool(error) => mempool(error),
        StartError::Follow(FollowError::Derive(error)) => derive(error),
        StartError::Submit(SubmitError::Another { .. }) => Exit::Usage,
        // The record of the account's transactions cannot be read, or is damaged.
        StartError::Submit(_) => Exit::Storage,
        // The Ethereum node is catching up.
        StartError::Follow(FollowError::Block(_) | FollowError::Incomplete { .. } | FollowError::Stopping) => {
            Exit::Unavailable
        }
        // The Ethereum node shows an impossible state. Waiting does not help.
        StartError::Follow(_) => Exit::Unverified,
        StartError::Listen { source, .. } if source.kind() == ErrorKind::AddrInUse => Exit::Unavailable,
        StartError::Listen { .. } => Exit::Usage,
        _ => Exit::Internal,
    }
}

fn mempool(error: &MempoolError) -> Exit {
    match error {
        MempoolError::Busy => Exit::Unavailable,
        MempoolError::OtherChain { .. } => Exit::Usage,
        MempoolError::Format { .. } => Exit::Input,
        // The disk failed, or its data are damaged.
        _ => Exit::Storage,
    }
}

fn derive(error: &DerivationError) -> Exit {
    match error {
        // L1 changed while it was read.
        DerivationError::Fork(_) => Exit::Unavailable,
        DerivationError::UnknownOperations(_) => Exit::Input,
        DerivationError::Mempool(error) => mempool(error),
        _ => Exit::Unverified,
    }
}

#[cfg(test)]
mod tests {
    use emr_chain::{RollupError, endpoint::EndpointError};
    use emr_node::mempool::Anchor;

    use super::*;

    /// Only errors that may end without a change by a person get the code for "try again".
    #[test]
    fn trying_again_is_advised_only_where_it_may_help() {
        let anchor = |chain_id| {
            let (contract, block_hash) = (String::new(), String::new());
            Box::new(Anchor { chain_id, contract, deployed_at: 0, block_hash })
        };
        let listen = |kind: ErrorKind| StartError::Listen { address: ([127, 0, 0, 1], 1).into(), source: kind.into() };
        let unreachable = || EndpointError::Unreachable { endpoint: "here".into(), reason: "refused".into() };
        let other_chain = EndpointError::ChainId { endpoint: "here".into(), expected: 1, actual: 2 };
        let damaged = || SubmitError::Damaged { path: "file".into(), reason: "cut".into() }.into();
        let (account, path) = (Default::default(), "file".into());
        let other_record = || SubmitError::Another { path, account, chain_id: 1 }.into();
        let derived = |error: DerivationError| StartError::Follow(error.into());
        let cases: [(StartError, Exit); 20] = [
            (unreachable().into(), Exit::Unavailable),
            (MempoolError::Busy.into(), Exit::Unavailable),
            (FollowError::Block(7).into(), Exit::Unavailable),
            (FollowError::Incomplete { shown: 1, settled: 2 }.into(), Exit::Unavailable),
            (derived(DerivationError::Fork(1)), Exit::Unavailable),
            (FollowError::from(RollupError::Unreachable("down".into())).into(), Exit::Unavailable),
            (listen(ErrorKind::AddrInUse), Exit::Unavailable),
            (listen(ErrorKind::PermissionDenied), Exit::Usage),
            (other_chain.into(), Exit::Usage),
            (RollupError::NoContract { address: Default::default(), chain_id: 1 }.into(), Exit::Usage),
            (MempoolError::OtherChain { stored: anchor(1), found: anchor(2) }.into(), Exit::Usage),
            (MempoolError::Format { found: 3 }.into(), Exit::Input),
            (derived(DerivationError::UnknownOperations(3)), Exit::Input),
            (MempoolError::Damaged("bytes".into()).into(), Exit::Storage),
            (derived(MempoolError::Disk("full".into()).into()), Exit::Storage),
            (damaged(), Exit::Storage),
            (other_record(), Exit::Usage),
            (FollowError::StateRoot(3).into(), Exit::Unverified),
            (StartError::NotSequencer { sequencer: Default::default(), hospital: Default::default() }, Exit::Identity),
            (StartError::Stopped, Exit::Internal),
        ];
        for (error, expected) in cases {
            let said = error.to_string();
            let failure = failure(error);
            assert_eq!(failure.exit(), expected, "{said}");
            assert_eq!(failure.line(true).contains("\"temporary\":true"), expected == Exit::Unavailable, "{said}");
            assert!(failure.to_string().contains(&said), "{failure}");
        }
    }
}
