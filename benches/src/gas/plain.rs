//! The peer: the same operations as transactions of a contract without a rollup.

use std::error::Error;

use alloy::{
    contract::CallBuilder,
    network::Ethereum,
    primitives::{Address, B256, U256, aliases::U24, aliases::U40},
    providers::DynProvider,
    signers::local::PrivateKeySigner,
    sol_types::SolCall,
};
use contract::PlainRecords;
use emr_chain::endpoint::Endpoint;
use serde::Serialize;

#[expect(clippy::too_many_arguments, reason = "they are the contract's")]
mod contract {
    alloy::sol!(
        #[sol(rpc)]
        PlainRecords,
        "../contracts/test/artifacts/PlainRecords.json"
    );
}

/// Gas of each kind of transaction, that of the transaction included.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Direct {
    /// A new record.
    pub(crate) put: u64,
    /// A new version of a record.
    pub(crate) edit: u64,
    /// A grant, with a new key directory.
    pub(crate) grant: u64,
    /// The end of a grant, with a new key directory.
    pub(crate) revoke: u64,
    /// A reader's request.
    pub(crate) request: u64,
}

impl Direct {
    /// The mean of the hospital mix: 70% records, 10% grants, 20% requests.
    pub(crate) fn mean(&self) -> u64 {
        (7 * self.put + self.grant + 2 * self.request) / 10
    }

    /// Measures each kind on the chain. Each is the second of its kind for this patient, where that is cheaper.
    pub(crate) async fn measure(
        endpoint: &Endpoint,
        patient: PrivateKeySigner,
        doctor: PrivateKeySigner,
    ) -> Result<Self, Box<dyn Error>> {
        let (owner, writer) = (patient.address(), doctor.address());
        let patient = endpoint.connect(Some(patient))?;
        let doctor = endpoint.connect(Some(doctor))?;
        let address = *PlainRecords::deploy(patient.clone()).await?.address();
        let (patient, doctor) = (PlainRecords::new(address, patient), PlainRecords::new(address, doctor));
        let digest = |byte| B256::repeat_byte(byte);
        let grant = async |slot: u64, before, after| {
            let until = U40::from((1_u64 << 40) - 1);
            used(patient.grant(U256::from(slot), writer, 3, u16::MAX, until, before, after)).await
        };
        grant(64, B256::ZERO, digest(1)).await?;
        let put = async |slot: u64, expected, byte| {
            let (slot, custodian) = (U256::from(slot), U24::from(1));
            used(doctor.put(owner, U256::from(64), slot, expected, 2, custodian, digest(byte), digest(byte + 1))).await
        };
        let request = async || used(doctor.requestAccess(owner, U256::from(64), 0x12)).await;
        request().await?;
        Ok(Self {
            put: put(0, 0, 0x21).await?,
            edit: put(0, 1, 0x31).await?,
            grant: grant(65, digest(1), digest(2)).await?,
            request: request().await?,
            revoke: used(patient.revoke(U256::from(65), digest(3))).await?,
        })
    }
}

async fn used<C: SolCall>(
    call: CallBuilder<&DynProvider, std::marker::PhantomData<C>, Ethereum>,
) -> Result<u64, Box<dyn Error>> {
    let receipt = call.send().await?.get_receipt().await?;
    if receipt.status() { Ok(receipt.gas_used) } else { Err("the plain contract refused".into()) }
}

/// An account with ether.
pub(crate) fn signer(number: u8) -> Result<PrivateKeySigner, Box<dyn Error>> {
    Ok(PrivateKeySigner::from_bytes(&B256::repeat_byte(number))?)
}

/// The addresses of the first accounts.
pub(crate) fn addresses(count: u8) -> Result<Vec<Address>, Box<dyn Error>> {
    (1..=count).map(|number| Ok(signer(number)?.address())).collect()
}
