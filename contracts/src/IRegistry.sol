// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccountIndex, Role, Standing} from "./Types.sol";

/// @title Registration, endorsement, admission and suspension of participants
/// @notice An owner has one account, and registers one at most. A patient's Register entry is queued at once. That of a doctor or hospital is
/// queued when the registrar admits it.
interface IRegistry {
    /// @notice The data that an owner registers.
    /// @param role Patient, doctor or hospital.
    /// @param org A doctor's organisation: the account of an admitted hospital that endorsed the owner. 0 for a doctor without
    /// organisation, and for patients and hospitals.
    /// @param qx Abscissa of Q, the rollup key divided by 8.
    /// @param qy Ordinate of Q. The contract computes the key `A = 8Q`, so a registered key has prime order.
    /// @param encryptionCommitment A patient's commitment to their encryption key, not 0 and below 2^248. 0 for doctors and hospitals:
    /// the contract computes theirs.
    /// @param kemHash SHA-256 of a doctor's or hospital's X-Wing public key (1216 bytes), which the computed commitment covers. 0 without such a
    /// key, and for patients: their commitment covers it.
    /// @param rsaModulus A doctor's or hospital's RSA modulus, big-endian, 2048 to 4096 bits; the exponent is 65537. Empty
    /// for patients.
    /// @param rsaSignature RSASSA-PKCS1-v1_5 with SHA-256 over `possessionMessage(owner, A.x, A.y, role, kemHash)`. Empty for
    /// patients.
    struct Registration {
        Role role;
        AccountIndex org;
        uint256 qx;
        uint256 qy;
        uint256 encryptionCommitment;
        bytes32 kemHash;
        bytes rsaModulus;
        bytes rsaSignature;
    }

    /// @notice An account.
    /// @param owner The Ethereum account that owns it now.
    /// @param role Its role.
    /// @param standing How it stands.
    /// @param org A doctor's organisation, or 0.
    /// @param entry The position of its Register entry in the ordinary queue, once it is admitted.
    struct Account {
        address owner;
        Role role;
        Standing standing;
        AccountIndex org;
        uint48 entry;
    }

    /// @notice The keys of an account.
    /// @param ax Abscissa of the rollup key A.
    /// @param ay Ordinate of A.
    /// @param encryptionCommitment Commitment to the encryption key.
    struct Keys {
        uint256 ax;
        uint256 ay;
        uint256 encryptionCommitment;
    }

    /// @notice A doctor or hospital that waits for admission.
    /// @param owner The owner.
    /// @param role Doctor or hospital.
    /// @param org A doctor's organisation, or 0.
    /// @param keys The keys.
    struct Candidate {
        address owner;
        Role role;
        AccountIndex org;
        Keys keys;
    }

    /// @notice An account index was assigned.
    event Registered(AccountIndex indexed account, address indexed owner, Role role, AccountIndex org);
    /// @notice A doctor or hospital waits for the registrar.
    event Waiting(AccountIndex indexed account, Candidate candidate);
    /// @notice A hospital endorsed a doctor: the doctor may register as its member.
    event Endorsed(AccountIndex indexed hospital, address indexed doctor);
    /// @notice A hospital withdrew its endorsement.
    event EndorsementWithdrawn(AccountIndex indexed hospital, address indexed doctor);
    /// @notice The registrar admitted a doctor or hospital. Its Register entry is queued.
    event Admitted(AccountIndex indexed account);
    /// @notice The registrar suspended an account, or held a registration back.
    event Suspended(AccountIndex indexed account);
    /// @notice The registrar ended the suspension of an account, or no longer holds its registration back.
    event Reinstated(AccountIndex indexed account);

    /// @notice The owner has an account already, or registered one that another address owns now.
    error AlreadyRegistered(address owner, AccountIndex account);
    /// @notice All 2^24 - 1 account indices are assigned.
    error AccountsExhausted();
    /// @notice The registration names no role.
    error UnknownRole();
    /// @notice The value sent is not the registration fee.
    error WrongFee(uint256 expected, uint256 sent);
    /// @notice A coordinate of Q is not below the field's modulus.
    error CoordinateNotCanonical(uint256 coordinate);
    /// @notice Q is not on the curve.
    error PointNotOnCurve(uint256 x, uint256 y);
    /// @notice 8Q is the neutral element.
    error PointOfLowOrder(uint256 x, uint256 y);
    /// @notice A patient's commitment is 0 or not below 2^248, or a doctor's or hospital's is not 0.
    error InvalidEncryptionCommitment(uint256 commitment);
    /// @notice A patient's RSA key must not be on chain.
    error UnexpectedRsaKey();
    /// @notice A patient's commitment covers the hash of their second key, so it must not be on chain.
    error UnexpectedKemHash();
    /// @notice Only doctors have an organisation.
    error UnexpectedOrganisation(AccountIndex org);
    /// @notice The RSA modulus is not an odd number of 2048 to 4096 bits in whole bytes with its top bit set.
    error InvalidRsaModulus();
    /// @notice The RSA signature does not verify.
    error InvalidRsaSignature();
    /// @notice The account is not an admitted hospital.
    error NotAdmittedHospital(AccountIndex account);
    /// @notice The hospital has not endorsed the doctor, or has withdrawn the endorsement.
    error NotEndorsed(AccountIndex hospital, address doctor);
    /// @notice What the owner signed is past its deadline.
    error RegistrationExpired(uint256 deadline);
    /// @notice The owner withdrew a registration, or owned an account, so what they signed counts no more. They can still call `register`.
    error RelayedRegistrationUsed(address owner);
    /// @notice The owner did not sign this for this chain and contract.
    error InvalidOwnerSignature(address owner);
    /// @notice The account neither waits for admission nor is admitted.
    error NotPending(AccountIndex account, Standing standing);
    /// @notice Another registration than the one that the registrar checked is waiting under this account.
    error RegistrationChanged(AccountIndex account);
    /// @notice The account is not suspended.
    error NotSuspended(AccountIndex account, Standing standing);
    /// @notice The registrar has no say over patients.
    error PatientsAreNotSuspended(AccountIndex account);

    /// @notice Registers the caller. Send exactly `registrationFee()`.
    function register(Registration calldata registration) external payable returns (AccountIndex account);

    /// @notice Registers `owner`, who signed the registration. Anyone may relay it, and then pays the fee.
    /// @param owner The owner: an externally owned account or an ERC-1271 wallet.
    /// @param registration The registration that the owner signed.
    /// @param deadline The last second at which it is accepted.
    /// @param signature EIP-712 signature over `Registration(address owner,uint8 role,uint24 org,uint256 qx,uint256 qy,uint256
    /// encryptionCommitment,bytes32 kemHash,bytes rsaModulus,bytes rsaSignature,uint256 deadline)`, domain ("EMR Rollup", "1", chain, this).
    /// An owner registers once, so the signature cannot be used twice.
    function registerFor(
        address owner,
        Registration calldata registration,
        uint256 deadline,
        bytes calldata signature
    ) external payable returns (AccountIndex account);

    /// @notice Endorses a doctor: the caller's hospital consents that `doctor` registers as its member.
    function endorse(address doctor) external;

    /// @notice Withdraws an endorsement. It no longer counts for registration or admission. This has no effect on admitted doctors.
    function withdrawEndorsement(address doctor) external;

    /// @notice Admits a pending doctor or hospital, and so queues its Register entry. Registrar only.
    /// @param account The account.
    /// @param candidate What the registrar checked. After a reorganisation of the chain, the account index may belong to another registration.
    function admit(AccountIndex account, Candidate calldata candidate) external;

    /// @notice Suspends a doctor or hospital, or holds a pending registration back. Registrar only. After admission this queues a SetStatus
    /// entry, which costs `urgentFee()`.
    function suspend(AccountIndex account) external payable;

    /// @notice Ends the suspension of an account, or no longer holds its registration back. Registrar only. After admission this queues a
    /// SetStatus entry, which costs `urgentFee()`.
    function reinstate(AccountIndex account) external payable;

    /// @notice The fee of a registration, in wei.
    function registrationFee() external view returns (uint256);

    /// @notice The number of assigned account indices, which is also the last index.
    function accountCount() external view returns (uint24);

    /// @notice The owner's account, or 0 if the owner has no account.
    function accountOf(address owner) external view returns (AccountIndex);

    /// @notice The account's present owner, or the zero address if the index is not assigned.
    function ownerOf(AccountIndex account) external view returns (address);

    /// @notice The account, or zeros if the index is not assigned.
    function accountAt(AccountIndex account) external view returns (Account memory);

    /// @notice `keccak256(abi.encode(account, candidate))` of an account that waits for admission, or 0. The event `Waiting` has the candidate.
    function registrationHash(AccountIndex account) external view returns (bytes32);

    /// @notice Whether `hospital` currently endorses `doctor`.
    function isEndorsed(AccountIndex hospital, address doctor) external view returns (bool);

    /// @notice The bytes that an owner's RSA key signs to prove possession: seven words, `abi.encode(keccak256("emr/rsa/possession/v2"),
    /// domain, owner, A.x, A.y, role, kemHash)`.
    function possessionMessage(address owner, uint256 ax, uint256 ay, Role role, bytes32 kemHash)
        external
        view
        returns (bytes memory);
}
