// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title The cheatcodes of forge that these tests use
/// @notice forge's own library is only on GitHub, and these tests need few of its functions.
interface Vm {
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function prank(address sender, address origin) external;
    function warp(uint256 time) external;
    function deal(address account, uint256 balance) external;
    function chainId(uint256 id) external;
    function etch(address account, bytes calldata code) external;
    function load(address account, bytes32 slot) external view returns (bytes32);
    function store(address account, bytes32 slot, bytes32 word) external;
    function snapshotState() external returns (uint256 id);
    function revertToState(uint256 id) external returns (bool);
    function revertToStateAndDelete(uint256 id) external returns (bool);

    function getCode(string calldata artifact) external view returns (bytes memory);
    function readFile(string calldata path) external view returns (string memory);
    function parseJsonString(string calldata json, string calldata key) external pure returns (string memory);
    function parseJsonUint(string calldata json, string calldata key) external pure returns (uint256);
    function parseJsonAddress(string calldata json, string calldata key) external pure returns (address);
    function parseJsonBytes(string calldata json, string calldata key) external pure returns (bytes memory);
    function parseJsonBytes32(string calldata json, string calldata key) external pure returns (bytes32);
    function parseJsonBytes32Array(string calldata json, string calldata key) external pure returns (bytes32[] memory);
    function parseBytes(string calldata hexadecimal) external pure returns (bytes memory);

    function assertTrue(bool condition, string calldata what) external pure;
    function assertEq(uint256 left, uint256 right, string calldata what) external pure;
    function assertEq(address left, address right, string calldata what) external pure;
    function assertEq(bytes32 left, bytes32 right, string calldata what) external pure;
}

Vm constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

uint256 constant FIELD = 21888242871839275222246405745257275088548364400416034343698204186575808495617;

/// @dev A number from `low` to `high` that depends on a random one.
function between(uint256 random, uint256 low, uint256 high) pure returns (uint256) {
    return low + random % (high - low + 1);
}

/// @dev A random number that depends on another one.
function hashed(uint256 random, uint256 purpose) pure returns (uint256) {
    return uint256(keccak256(abi.encode(random, purpose)));
}

function least(uint256 a, uint256 b) pure returns (uint256) {
    return a < b ? a : b;
}
