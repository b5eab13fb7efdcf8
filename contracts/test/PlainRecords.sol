// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title The same facts without a rollup
/// @notice The peer of the gas measurements (`benches`): who may read and write, and what each record and key directory is, in the
/// storage of one contract, with one transaction for each change. The transaction's signature says who acts. Events take the place of the audit chain. It hides nothing: everybody sees
/// who gave whom what, and who read when. Never deployed outside measurements.
contract PlainRecords {
    /// Three storage slots.
    struct Record {
        bytes32 authored;
        bytes32 stored;
        address author;
        uint32 version;
        uint24 custodian;
        uint8 class;
        bool live;
    }

    /// One storage slot.
    struct Grant {
        address grantee;
        uint8 rights;
        uint16 scope;
        uint40 notAfter;
        uint32 uses;
    }

    uint8 private constant READ = 1;
    uint8 private constant WRITE = 2;

    mapping(address patient => mapping(uint256 slot => Record)) private _records;
    mapping(address patient => mapping(uint256 slot => Grant)) private _grants;
    mapping(address patient => bytes32) private _directories;

    event Put(address indexed patient, uint256 slot, address author, uint32 version);
    event Granted(address indexed patient, uint256 slot, address grantee, uint8 rights, uint16 scope, uint40 notAfter);
    event Revoked(address indexed patient, uint256 slot);
    event Requested(address indexed patient, uint256 slot, address grantee, uint8 purpose);

    error NotGranted();
    error Changed();

    /// @notice A doctor's record under a grant.
    function put(
        address patient,
        uint256 grantSlot,
        uint256 slot,
        uint32 expected,
        uint8 class,
        uint24 custodian,
        bytes32 authored,
        bytes32 stored
    ) external {
        _requireLive(_grants[patient][grantSlot], WRITE, class);
        Record storage record = _records[patient][slot];
        if (record.version != expected) revert Changed();
        record.authored = authored;
        record.stored = stored;
        (record.author, record.version, record.custodian) = (msg.sender, expected + 1, custodian);
        (record.class, record.live) = (class, true);
        emit Put(patient, slot, msg.sender, expected + 1);
    }

    /// @notice A patient's grant, with the directory that holds the keys for its reader.
    function grant(
        uint256 slot,
        address grantee,
        uint8 rights,
        uint16 scope,
        uint40 notAfter,
        bytes32 before,
        bytes32 directory
    ) external {
        if (_directories[msg.sender] != before) revert Changed();
        Grant storage given = _grants[msg.sender][slot];
        (given.grantee, given.rights, given.scope, given.notAfter) = (grantee, rights, scope, notAfter);
        _directories[msg.sender] = directory;
        emit Granted(msg.sender, slot, grantee, rights, scope, notAfter);
    }

    /// @notice Ends a grant of the sender, with a new directory.
    function revoke(uint256 slot, bytes32 directory) external {
        _grants[msg.sender][slot].rights = 0;
        _directories[msg.sender] = directory;
        emit Revoked(msg.sender, slot);
    }

    /// @notice A reader's request for access, which everybody can count.
    function requestAccess(address patient, uint256 slot, uint8 purpose) external {
        Grant storage given = _grants[patient][slot];
        _requireLive(given, READ, purpose & 15);
        given.uses += 1;
        emit Requested(patient, slot, msg.sender, purpose);
    }

    function _requireLive(Grant storage given, uint8 right, uint8 class) private view {
        bool live = given.grantee == msg.sender && block.timestamp <= given.notAfter;
        if (!live || given.rights & right == 0 || given.scope >> class & 1 == 0) revert NotGranted();
    }
}
