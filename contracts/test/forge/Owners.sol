// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

import {IAccountChanges} from "../../src/IAccountChanges.sol";
import {IRegistry} from "../../src/IRegistry.sol";
import {AccountIndex, Role} from "../../src/Types.sol";
import {World} from "./World.sol";
import {vm} from "./Vm.sol";

/// @title Owners of accounts: what they register and sign, and the entries that follow from it
abstract contract Owners is World {
    // Points Q of Baby Jubjub, and 8Q, computed outside of this project's code. The first Q generates the curve.
    uint256 internal constant Q1X = 0x23343e3445b673d38bcba38f25645adb494b1255b1162bb40f41a59f4d4b45e;
    uint256 internal constant Q1Y = 0xc19139cb84c680a6e14116da06056174a0cfa121e6e5c2450f87d64fc000001;
    uint256 internal constant A1X = 0xbb77a6ad63e739b4eacb2e09d6277c12ab8d8010534e0b62893f3f6bb957051;
    uint256 internal constant A1Y = 0x25797203f7a0b24925572e1cd16bf9edfce0051fb9e133774b3c257a872d7d8b;
    uint256 internal constant Q2X = 0x3b4d18b8801b12c784c95e319fb43588e55207574ab4bb046e484d5dab02db9;
    uint256 internal constant Q2Y = 0x1990f0c54f32b2d188cb36e43d585714b1954cce117adaa425990bcfcf4a055a;
    uint256 internal constant A2X = 0x162d7e417903fa1c82f2d227e35b846b1133cfca4f558b5feb9fdcd5f81dd902;
    uint256 internal constant A2Y = 0x1666cafbf0a30da8b9ebeaf848a1da067a892296f1043188e1705402b6d6853;

    uint256 internal constant REGISTER = 16;
    uint256 internal constant SET_STATUS = 17;
    uint256 internal constant ROTATE_KEY = 18;
    uint256 internal constant FORCED_REVOKE = 19;

    bytes32 internal constant REGISTRATION = keccak256(
        "Registration(address owner,uint8 role,uint24 org,uint256 qx,uint256 qy,uint256 encryptionCommitment,"
        "bytes32 kemHash,bytes rsaModulus,bytes rsaSignature,uint256 deadline)"
    );
    bytes32 internal constant REVOKE =
        keccak256("ForcedRevoke(address owner,bool all,uint16 slot,bool replaceDirectory,uint256 directory,uint256 nonce,uint256 deadline)");
    bytes32 internal constant ROTATION = keccak256(
        "KeyRotation(address owner,uint256 qx,uint256 qy,uint256 encryptionCommitment,bytes32 kemHash,bytes rsaModulus,"
        "bytes rsaSignature,uint256 nonce,uint256 deadline)"
    );
    bytes32 internal constant CLOSING = keccak256("AccountClosing(address owner,uint256 nonce,uint256 deadline)");

    bytes32 internal constant OWNER_CHANGE =
        keccak256("OwnerChange(uint24 account,address owner,address newOwner,uint256 nonce,uint256 deadline)");
    bytes32 private constant GUARDIANS_CHANGE = keccak256(
        "GuardiansChange(address owner,address[] guardians,uint8 needed,uint256 nonce,uint256 deadline)"
    );
    bytes32 private constant RECOVERY =
        keccak256("Recovery(uint24 account,address newOwner,uint256 round,uint256 deadline)");

    /// A deadline that never passes.
    uint256 internal constant FAR = type(uint256).max;

    bytes private _modulus;
    bytes private _exponent;

    /// @dev Reads the RSA key that doctors and hospitals share here.
    function _readRsaKey() internal {
        string memory json = vm.readFile("../emr-chain/tests/contracts/rsa.json");
        _modulus = vm.parseBytes(string.concat("0x", vm.parseJsonString(json, ".keys[0].modulus")));
        _exponent = vm.parseBytes(string.concat("0x", vm.parseJsonString(json, ".keys[0].private_exponent")));
    }

    /// @dev The registration of an owner with the first or the second key.
    function _registration(address owner, Role role, bool second)
        internal
        view
        returns (IRegistry.Registration memory registration)
    {
        registration.role = role;
        (registration.qx, registration.qy) = second ? (Q2X, Q2Y) : (Q1X, Q1Y);
        if (role == Role.Patient) {
            registration.encryptionCommitment = _patientCommitment(owner, second);
        } else {
            registration.kemHash = _kemHash(owner, second);
            registration.rsaModulus = _modulus;
            registration.rsaSignature = _possession(owner, role, second, registration.kemHash);
        }
    }

    /// @dev The proof of possession of the RSA key, for any second key.
    function _possession(address owner, Role role, bool second, bytes32 kemHash) internal view returns (bytes memory) {
        IRegistry.Keys memory keys = _keys(owner, role, second);
        uint256 domain = uint256(keccak256(abi.encode(block.chainid, address(rollup)))) >> 8;
        return _rsaSign(
            abi.encode(keccak256("emr/rsa/possession/v2"), domain, owner, keys.ax, keys.ay, role, kemHash)
        );
    }

    /// @dev The hash of a doctor's or hospital's second key. The first keys have an RSA key alone.
    function _kemHash(address owner, bool second) internal pure returns (bytes32) {
        return second ? keccak256(abi.encode(owner)) : bytes32(0);
    }

    /// @dev The keys that the contract must derive from it.
    function _keys(address owner, Role role, bool second) internal view returns (IRegistry.Keys memory keys) {
        (keys.ax, keys.ay) = second ? (A2X, A2Y) : (A1X, A1Y);
        keys.encryptionCommitment = role == Role.Patient
            ? _patientCommitment(owner, second)
            : _committed(_kemHash(owner, second));
    }

    /// @dev The commitment to the RSA key and a second one.
    function _committed(bytes32 kemHash) internal view returns (uint256) {
        return uint256(sha256(abi.encodePacked(uint16(3), hex"010001", uint16(_modulus.length), _modulus, kemHash))) >> 8;
    }

    function _registerEntry(uint24 account, Role role, uint24 org, IRegistry.Keys memory keys)
        internal
        pure
        returns (uint256[4] memory)
    {
        uint256 packed = REGISTER << 83 | uint256(account) << 59 | uint256(role) << 51 | uint256(1) << 43;
        packed |= uint256(org) << 19;
        return [packed, keys.ax, keys.ay, keys.encryptionCommitment];
    }

    function _rotateEntry(uint24 account, IRegistry.Keys memory keys) internal pure returns (uint256[4] memory) {
        return [ROTATE_KEY << 83 | uint256(account) << 59, keys.ax, keys.ay, keys.encryptionCommitment];
    }

    function _statusEntry(uint24 account, uint256 status) internal pure returns (uint256[4] memory) {
        return [SET_STATUS << 83 | uint256(account) << 59 | status << 43, 0, 0, 0];
    }

    function _revokeEntry(uint24 account, IAccountChanges.Revocation memory revocation)
        internal
        pure
        returns (uint256[4] memory)
    {
        uint256 packed = FORCED_REVOKE << 83 | uint256(account) << 59;
        if (!revocation.all) packed |= uint256(1) << 17 | uint256(revocation.slot) << 1;
        if (revocation.replaceDirectory) packed |= 1;
        return [packed, 0, 0, revocation.directory];
    }

    function _candidate(address owner, Role role, uint24 org, IRegistry.Keys memory keys)
        internal
        pure
        returns (IRegistry.Candidate memory)
    {
        return IRegistry.Candidate({owner: owner, role: role, org: AccountIndex.wrap(org), keys: keys});
    }

    function _registrationStruct(address owner, IRegistry.Registration memory it, uint256 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes memory head = abi.encode(REGISTRATION, owner, it.role, it.org, it.qx, it.qy, it.encryptionCommitment);
        return keccak256(
            bytes.concat(
                head, abi.encode(it.kemHash, keccak256(it.rsaModulus), keccak256(it.rsaSignature), deadline)
            )
        );
    }

    function _rotationStruct(address owner, IRegistry.Registration memory it, uint256 nonce, uint256 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes memory head = abi.encode(ROTATION, owner, it.qx, it.qy, it.encryptionCommitment);
        return keccak256(
            bytes.concat(
                head, abi.encode(it.kemHash, keccak256(it.rsaModulus), keccak256(it.rsaSignature), nonce, deadline)
            )
        );
    }

    function _revocationStruct(address owner, IAccountChanges.Revocation memory it, uint256 nonce, uint256 deadline)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(
            abi.encode(REVOKE, owner, it.all, it.slot, it.replaceDirectory, it.directory, nonce, deadline)
        );
    }

    function _closingStruct(address owner, uint256 nonce, uint256 deadline) internal pure returns (bytes32) {
        return keccak256(abi.encode(CLOSING, owner, nonce, deadline));
    }

    function _changeStruct(AccountIndex account, address owner, address newOwner, uint256 nonce, uint256 deadline)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(OWNER_CHANGE, account, owner, newOwner, nonce, deadline));
    }

    function _guardiansStruct(address owner, address[] memory guardians, uint8 needed, uint256 nonce)
        internal
        pure
        returns (bytes32)
    {
        bytes memory words;
        for (uint256 i = 0; i < guardians.length; ++i) words = bytes.concat(words, abi.encode(guardians[i]));
        return keccak256(abi.encode(GUARDIANS_CHANGE, owner, keccak256(words), needed, nonce, FAR));
    }

    function _recoveryStruct(AccountIndex account, address newOwner, uint256 round, uint256 deadline)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(RECOVERY, account, newOwner, round, deadline));
    }

    /// @dev The EIP-712 hash of typed data.
    function _typed(bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("EMR Rollup"),
                keccak256("1"),
                block.chainid,
                address(rollup)
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function _signed(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, _typed(structHash));
        return abi.encodePacked(r, s, v);
    }

    /// @dev The addresses of people in ascending order.
    function _ascending(uint256[] memory people) internal pure returns (address[] memory guardians, uint256[] memory keys) {
        guardians = new address[](people.length);
        keys = new uint256[](people.length);
        for (uint256 i = 0; i < people.length; ++i) {
            uint256 place = i;
            for (; place != 0 && guardians[place - 1] > vm.addr(people[i]); --place) {
                (guardians[place], keys[place]) = (guardians[place - 1], keys[place - 1]);
            }
            (guardians[place], keys[place]) = (vm.addr(people[i]), people[i]);
        }
    }

    /// @dev `count` people from this number on.
    function _people(uint256 from, uint256 count) internal pure returns (address[] memory, uint256[] memory) {
        uint256[] memory people = new uint256[](count);
        for (uint256 i = 0; i < count; ++i) people[i] = from + i;
        return _ascending(people);
    }

    function _patientCommitment(address owner, bool second) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(owner, second))) >> 8;
    }

    /// @dev RSASSA-PKCS1-v1_5 with SHA-256.
    function _rsaSign(bytes memory message) private view returns (bytes memory signature) {
        uint256 length = _modulus.length;
        bytes memory padding = new bytes(length - 54);
        for (uint256 i = 0; i < padding.length; ++i) padding[i] = 0xff;
        bytes memory padded = abi.encodePacked(
            hex"0001", padding, hex"003031300d060960864801650304020105000420", sha256(message)
        );
        bytes memory input = abi.encodePacked(length, _exponent.length, length, padded, _exponent, _modulus);
        (, signature) = address(5).staticcall(input);
    }
}
