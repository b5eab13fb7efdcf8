// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {BabyJubjub} from "./BabyJubjub.sol";
import {Entry} from "./Entry.sol";
import {FIELD_MODULUS} from "./Field.sol";
import {IGoverned} from "./governance/IGoverned.sol";
import {IRegistry} from "./IRegistry.sol";
import {Queue} from "./Queue.sol";
import {RsaKey} from "./RsaKey.sol";
import {AccountIndex, Role, STATUS_ACTIVE, STATUS_SUSPENDED, Standing} from "./Types.sol";

/// @title Registration, endorsement, admission and suspension of participants
/// @notice Governance says who is a registrar, and hears which hospitals are active.
abstract contract Registry is IRegistry, Queue, EIP712, Nonces {
    bytes32 private constant REGISTRATION_TYPEHASH = keccak256(
        "Registration(address owner,uint8 role,uint24 org,uint256 qx,uint256 qy,uint256 encryptionCommitment,"
        "bytes32 kemHash,bytes rsaModulus,bytes rsaSignature,uint256 deadline)"
    );
    bytes32 private constant POSSESSION_TAG = keccak256("emr/rsa/possession/v2");

    AccountIndex internal constant NO_ACCOUNT = AccountIndex.wrap(0);

    /// The account that an address owns, and the one that it registered and another address then got; 0 if there is none.
    struct Holding {
        AccountIndex account;
        AccountIndex givenAway;
    }

    /// @inheritdoc IRegistry
    uint256 public registrationFee;

    AccountIndex private _lastAccount;
    mapping(AccountIndex account => Account) internal _accounts;
    /// One word for each address, because every registration reads both.
    mapping(address owner => Holding) internal _holdings;
    mapping(AccountIndex account => bytes32) internal _registrationHashes;
    mapping(AccountIndex hospital => mapping(address doctor => bool)) private _endorsed;

    constructor(uint256 fee) EIP712("EMR Rollup", "1") {
        registrationFee = fee;
    }

    /// @inheritdoc IGoverned
    function setRegistrationFee(uint256 fee) external onlyGovernance {
        registrationFee = fee;
        emit RegistrationFeeChanged(fee);
    }

    /// @inheritdoc IRegistry
    function register(Registration calldata registration) external payable returns (AccountIndex) {
        return _register(msg.sender, registration);
    }

    /// @inheritdoc IRegistry
    function registerFor(
        address owner,
        Registration calldata registration,
        uint256 deadline,
        bytes calldata signature
    ) external payable returns (AccountIndex) {
        if (nonces(owner) != 0) revert RelayedRegistrationUsed(owner);
        _requireSigned(owner, _structHash(owner, registration, deadline), deadline, signature);
        return _register(owner, registration);
    }

    /// @inheritdoc IRegistry
    function endorse(address doctor) external {
        AccountIndex hospital = _callersHospital();
        _endorsed[hospital][doctor] = true;
        emit Endorsed(hospital, doctor);
    }

    /// @inheritdoc IRegistry
    function withdrawEndorsement(address doctor) external {
        AccountIndex hospital = _callersHospital();
        _endorsed[hospital][doctor] = false;
        emit EndorsementWithdrawn(hospital, doctor);
    }

    /// @inheritdoc IRegistry
    function admit(AccountIndex account, Candidate calldata candidate) external onlyRegistrar {
        Account storage stored = _accounts[account];
        if (stored.standing != Standing.Pending) revert NotPending(account, stored.standing);
        if (keccak256(abi.encode(account, candidate)) != _registrationHashes[account]) {
            revert RegistrationChanged(account);
        }
        if (!(candidate.org == NO_ACCOUNT)) _requireConsent(candidate.org, candidate.owner);
        delete _registrationHashes[account];
        _admit(account, candidate);
        emit Admitted(account);
    }

    /// @inheritdoc IRegistry
    function suspend(AccountIndex account) external payable onlyRegistrar {
        Account storage stored = _accounts[account];
        if (stored.standing == Standing.Pending) {
            if (msg.value != 0) revert WrongFee(0, msg.value);
            stored.standing = Standing.Withheld;
        } else {
            if (stored.role == Role.Patient) revert PatientsAreNotSuspended(account);
            if (stored.standing != Standing.Admitted) revert NotPending(account, stored.standing);
            stored.standing = Standing.Suspended;
            _tellGovernance(account, stored);
            _enqueueChange(account, stored.entry, Entry.setStatus(account, STATUS_SUSPENDED));
        }
        emit Suspended(account);
    }

    /// @inheritdoc IRegistry
    function reinstate(AccountIndex account) external payable onlyRegistrar {
        Account storage stored = _accounts[account];
        if (stored.standing == Standing.Withheld) {
            if (msg.value != 0) revert WrongFee(0, msg.value);
            stored.standing = Standing.Pending;
        } else {
            if (stored.standing != Standing.Suspended) revert NotSuspended(account, stored.standing);
            stored.standing = Standing.Admitted;
            _tellGovernance(account, stored);
            _enqueueChange(account, stored.entry, Entry.setStatus(account, STATUS_ACTIVE));
        }
        emit Reinstated(account);
    }

    /// @inheritdoc IRegistry
    function accountCount() external view returns (uint24) {
        return AccountIndex.unwrap(_lastAccount);
    }

    /// @inheritdoc IRegistry
    function accountOf(address owner) external view returns (AccountIndex) {
        return _holdings[owner].account;
    }

    /// @inheritdoc IRegistry
    function ownerOf(AccountIndex account) external view returns (address) {
        return _accounts[account].owner;
    }

    /// @inheritdoc IRegistry
    function accountAt(AccountIndex account) external view returns (Account memory) {
        return _accounts[account];
    }

    /// @inheritdoc IRegistry
    function registrationHash(AccountIndex account) external view returns (bytes32) {
        return _registrationHashes[account];
    }

    /// @inheritdoc IRegistry
    function isEndorsed(AccountIndex hospital, address doctor) external view returns (bool) {
        return _endorsed[hospital][doctor];
    }

    /// @inheritdoc IRegistry
    function possessionMessage(address owner, uint256 ax, uint256 ay, Role role, bytes32 kemHash)
        public
        view
        returns (bytes memory)
    {
        return abi.encode(POSSESSION_TAG, _domain(), owner, ax, ay, role, kemHash);
    }

    /// @dev Checks a registration, assigns an account index, and queues the entry of a patient.
    function _register(address owner, Registration calldata registration) private returns (AccountIndex account) {
        if (msg.value != registrationFee) revert WrongFee(registrationFee, msg.value);
        if (AccountIndex.unwrap(_lastAccount) == type(uint24).max) revert AccountsExhausted();
        account = _lastAccount.nextAccount();
        _requireFree(owner, account);

        Role role = registration.role;
        AccountIndex org = registration.org;
        if (role == Role.None) revert UnknownRole();
        if (!(org == NO_ACCOUNT)) {
            if (role != Role.Doctor) revert UnexpectedOrganisation(org);
            _requireConsent(org, owner);
        }
        Candidate memory candidate =
            Candidate({owner: owner, role: role, org: org, keys: _checkedKeys(owner, registration)});

        _lastAccount = account;
        _holdings[owner].account = account;
        Account storage stored = _accounts[account];
        (stored.owner, stored.role, stored.org) = (owner, role, org);
        emit Registered(account, owner, role, org);
        if (role == Role.Patient) {
            _admit(account, candidate);
        } else {
            stored.standing = Standing.Pending;
            _registrationHashes[account] = keccak256(abi.encode(account, candidate));
            emit Waiting(account, candidate);
        }
    }

    /// @dev Queues the Register entry of an account.
    function _admit(AccountIndex account, Candidate memory candidate) private {
        Keys memory keys = candidate.keys;
        uint256 entry = _enqueueRegistration(
            Entry.register(account, candidate.role, candidate.org, keys.ax, keys.ay, keys.encryptionCommitment)
        );
        Account storage stored = _accounts[account];
        stored.standing = Standing.Admitted;
        stored.entry = uint48(entry);
        _tellGovernance(account, stored);
    }

    /// @dev Governance knows which hospitals are admitted and not suspended: they vote.
    function _tellGovernance(AccountIndex account, Account storage stored) internal {
        if (stored.role == Role.Hospital) governance.hospitalChanged(account, stored.standing == Standing.Admitted);
    }

    /// @dev Checks the keys of a registration or of a rotation, and what proves that the owner holds them.
    function _checkedKeys(address owner, Registration calldata registration) internal view returns (Keys memory keys) {
        (keys.ax, keys.ay) = _rollupKey(registration.qx, registration.qy);
        keys.encryptionCommitment = registration.role == Role.Patient
            ? _patientCommitment(registration)
            : _provenCommitment(owner, keys.ax, keys.ay, registration);
    }

    /// @dev Requires that the owner signed the typed data, and that the deadline has not passed.
    function _requireSigned(address owner, bytes32 structHash, uint256 deadline, bytes calldata signature)
        internal
        view
    {
        if (block.timestamp > deadline) revert RegistrationExpired(deadline);
        if (!SignatureChecker.isValidSignatureNowCalldata(owner, _hashTypedDataV4(structHash), signature)) {
            revert InvalidOwnerSignature(owner);
        }
    }

    /// @dev Requires that `owner` can become the owner of `account`. Who registered an account owns no other one later: others know
    /// the account by this address, for ever.
    function _requireFree(address owner, AccountIndex account) internal view {
        Holding memory held = _holdings[owner];
        AccountIndex other = held.account;
        if (other == NO_ACCOUNT) {
            other = held.givenAway;
            if (other == account) return;
        }
        if (!(other == NO_ACCOUNT)) revert AlreadyRegistered(owner, other);
    }

    /// @dev Computes the rollup key `A = 8Q`, which has prime order.
    function _rollupKey(uint256 qx, uint256 qy) private view returns (uint256 ax, uint256 ay) {
        if (qx >= FIELD_MODULUS) revert CoordinateNotCanonical(qx);
        if (qy >= FIELD_MODULUS) revert CoordinateNotCanonical(qy);
        if (!BabyJubjub.isOnCurve(qx, qy)) revert PointNotOnCurve(qx, qy);
        (ax, ay) = BabyJubjub.timesEight(qx, qy);
        if (ax == 0 && ay == 1) revert PointOfLowOrder(qx, qy);
    }

    /// @dev Checks a patient's commitment. It is opaque, because an RSA key on chain would identify the patient elsewhere.
    function _patientCommitment(Registration calldata registration) private pure returns (uint256 commitment) {
        if (registration.rsaModulus.length != 0 || registration.rsaSignature.length != 0) revert UnexpectedRsaKey();
        if (registration.kemHash != 0) revert UnexpectedKemHash();
        commitment = registration.encryptionCommitment;
        if (commitment == 0 || commitment >> 248 != 0) revert InvalidEncryptionCommitment(commitment);
    }

    /// @dev Computes a doctor's or hospital's commitment from an RSA key and the hash of a second key, after checking the proof of possession.
    function _provenCommitment(address owner, uint256 ax, uint256 ay, Registration calldata registration)
        private
        view
        returns (uint256)
    {
        if (registration.encryptionCommitment != 0) {
            revert InvalidEncryptionCommitment(registration.encryptionCommitment);
        }
        bytes memory modulus = registration.rsaModulus;
        if (!RsaKey.isWellFormed(modulus)) revert InvalidRsaModulus();
        bytes memory message = possessionMessage(owner, ax, ay, registration.role, registration.kemHash);
        if (!RsaKey.verifies(modulus, message, registration.rsaSignature)) revert InvalidRsaSignature();
        return RsaKey.commitment(modulus, registration.kemHash);
    }

    /// @dev The EIP-712 hash of all fields of a registration, with the owner and the deadline.
    function _structHash(address owner, Registration calldata registration, uint256 deadline)
        private
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(
                REGISTRATION_TYPEHASH,
                owner,
                registration.role,
                registration.org,
                registration.qx,
                registration.qy,
                registration.encryptionCommitment,
                registration.kemHash,
                keccak256(registration.rsaModulus),
                keccak256(registration.rsaSignature),
                deadline
            )
        );
    }

    /// @dev Requires that `hospital` is an admitted hospital and endorses `doctor`.
    function _requireConsent(AccountIndex hospital, address doctor) private view {
        _requireHospital(hospital);
        if (!_endorsed[hospital][doctor]) revert NotEndorsed(hospital, doctor);
    }

    function _requireHospital(AccountIndex account) private view {
        Account storage stored = _accounts[account];
        if (stored.role != Role.Hospital || stored.standing != Standing.Admitted) revert NotAdmittedHospital(account);
    }

    /// @dev Returns the caller's account, which must be an admitted hospital.
    function _callersHospital() private view returns (AccountIndex account) {
        account = _holdings[msg.sender].account;
        _requireHospital(account);
    }
}
