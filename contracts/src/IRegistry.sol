// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {AccountIndex, Role, Standing} from "./Types.sol";

/// @title Registration, consent and admission of participants
/// @notice One account per owner, for good. A patient's Register entry is queued at once; a doctor's or hospital's when a
/// registrar admits it.
interface IRegistry {
    /// @notice What an owner registers.
    /// @param role Patient, doctor or hospital.
    /// @param org A doctor's organisation: the account of an admitted hospital that endorsed the owner. 0 for none, and for
    /// patients and hospitals.
    /// @param qx Abscissa of Q, the rollup key divided by 8.
    /// @param qy Ordinate of Q. The contract computes the key `A = 8Q`, so a registered key has prime order.
    /// @param encryptionCommitment A patient's commitment to her encryption key, not 0 and below 2^248. 0 for the others: the
    /// contract computes theirs.
    /// @param rsaModulus A doctor's or hospital's RSA modulus, big-endian, 2048 to 4096 bits; the exponent is 65537. Empty
    /// for patients.
    /// @param rsaSignature RSASSA-PKCS1-v1_5 with SHA-256 over `possessionMessage(owner, A.x, A.y, role)`. Empty for patients.
    struct Registration {
        Role role;
        AccountIndex org;
        uint256 qx;
        uint256 qy;
        uint256 encryptionCommitment;
        bytes rsaModulus;
        bytes rsaSignature;
    }

    /// @notice An account.
    /// @param owner Who registered it.
    /// @param role What it is.
    /// @param standing Where it stands.
    /// @param org A doctor's organisation, or 0.
    struct Account {
        address owner;
        Role role;
        Standing standing;
        AccountIndex org;
    }

    /// @notice The keys of an account that waits for admission.
    /// @param ax Abscissa of the rollup key A.
    /// @param ay Ordinate of A.
    /// @param encryptionCommitment Commitment to the encryption key.
    struct Keys {
        uint256 ax;
        uint256 ay;
        uint256 encryptionCommitment;
    }

    /// @notice An account index was given out.
    event Registered(AccountIndex indexed account, address indexed owner, Role role, AccountIndex org);
    /// @notice A hospital consents that a doctor registers as belonging to it.
    event Endorsed(AccountIndex indexed hospital, address indexed doctor);
    /// @notice A hospital took its consent back.
    event EndorsementWithdrawn(AccountIndex indexed hospital, address indexed doctor);
    /// @notice A registrar admitted a doctor or hospital: its Register entry is queued.
    event Admitted(AccountIndex indexed account);
    /// @notice A registrar holds a registration back.
    event Suspended(AccountIndex indexed account);
    /// @notice A registrar lets a held registration wait for admission again.
    event Reinstated(AccountIndex indexed account);

    /// @notice The owner has an account already.
    error AlreadyRegistered(address owner, AccountIndex account);
    /// @notice All 2^24 - 1 account indices are given out.
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
    /// @notice Only doctors have an organisation.
    error UnexpectedOrganisation(AccountIndex org);
    /// @notice The RSA modulus is not 2048 to 4096 bits in whole bytes, its top bit set, and odd.
    error InvalidRsaModulus();
    /// @notice The RSA signature does not verify.
    error InvalidRsaSignature();
    /// @notice The account is not an admitted hospital.
    error NotAdmittedHospital(AccountIndex account);
    /// @notice The hospital has not endorsed the doctor, or took it back.
    error NotEndorsed(AccountIndex hospital, address doctor);
    /// @notice The signed registration is past its deadline.
    error RegistrationExpired(uint256 deadline);
    /// @notice The signature is not the owner's over this registration on this chain and contract.
    error InvalidOwnerSignature(address owner);
    /// @notice The account does not wait for admission.
    error NotPending(AccountIndex account, Standing standing);
    /// @notice What waits under this account is not what the registrar looked at.
    error RegistrationChanged(AccountIndex account);
    /// @notice The account is not held back.
    error NotSuspended(AccountIndex account, Standing standing);
    /// @notice Circuit version 1 cannot change the status of an account that is admitted.
    error SuspensionAfterAdmission(AccountIndex account);
    /// @notice The registrar's place cannot be left empty.
    error RegistrarRequired();

    /// @notice Registers the caller. Send exactly `registrationFee()`.
    function register(Registration calldata registration) external payable returns (AccountIndex account);

    /// @notice Registers `owner`, who signed; anyone may relay it and pays the fee.
    /// @param owner Who registers: an externally owned account or an ERC-1271 wallet.
    /// @param registration What the owner signed.
    /// @param deadline Last second at which it is accepted.
    /// @param signature EIP-712 signature over `Registration(address owner,uint8 role,uint24 org,uint256 qx,uint256 qy,uint256
    /// encryptionCommitment,bytes rsaModulus,bytes rsaSignature,uint256 deadline)`, domain ("EMR Rollup", "1", chain, this).
    /// An owner registers once, so the signature cannot be used twice.
    function registerFor(
        address owner,
        Registration calldata registration,
        uint256 deadline,
        bytes calldata signature
    ) external payable returns (AccountIndex account);

    /// @notice The caller's hospital consents that `doctor` registers as belonging to it.
    function endorse(address doctor) external;

    /// @notice Takes an endorsement back; it no longer counts for registration or admission. No effect on admitted doctors.
    function withdrawEndorsement(address doctor) external;

    /// @notice Admits a pending doctor or hospital: queues its Register entry. Registrar only.
    /// @param account The account.
    /// @param registrationHash `keccak256(abi.encode(account, owner, role, org, A.x, A.y, encryption commitment))` of what the registrar
    /// looked at. After a reorganisation of the chain the account may be another's.
    function admit(AccountIndex account, bytes32 registrationHash) external;

    /// @notice Holds a pending registration back. Registrar only. An admitted account cannot be suspended in circuit version 1.
    function suspend(AccountIndex account) external;

    /// @notice Puts a held registration back to pending. Registrar only.
    function reinstate(AccountIndex account) external;

    /// @notice What a registration costs, in wei.
    function registrationFee() external view returns (uint256);

    /// @notice How many account indices were given out; the last one.
    function accountCount() external view returns (uint24);

    /// @notice The owner's account, 0 for none.
    function accountOf(address owner) external view returns (AccountIndex);

    /// @notice The account's owner, the zero address for an index that was not given out.
    function ownerOf(AccountIndex account) external view returns (address);

    /// @notice The account, all zero for an index that was not given out.
    function accountAt(AccountIndex account) external view returns (Account memory);

    /// @notice The keys of an account that waits for admission, zeros for any other.
    function pendingKeys(AccountIndex account) external view returns (Keys memory);

    /// @notice Whether `hospital` endorses `doctor` at present.
    function isEndorsed(AccountIndex hospital, address doctor) external view returns (bool);

    /// @notice The bytes that an owner's RSA key signs to prove possession: six words, `abi.encode(keccak256("emr/rsa/possession/v1"),
    /// domain, owner, A.x, A.y, role)`.
    function possessionMessage(address owner, uint256 ax, uint256 ay, Role role) external view returns (bytes memory);
}
