// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;
contract Probe {
    mapping(uint256 => uint256) private values;
    uint256 public count;
    event Stored(uint256 indexed key, uint256 value);
    error Refused(uint256 key);
    constructor(uint256 start) { count = start; }
    function store(uint256 key, uint256 value) external { values[key] = value; count++; emit Stored(key, value); }
    function storeMany(uint256 first, uint256 n) external { for (uint256 i = 0; i < n; i++) values[first + i] = i + 1; }
    function load(uint256 key) external view returns (uint256) { return values[key]; }
    function refuse(uint256 key) external pure { revert Refused(key); }
    function refuseInWords() external pure { revert("not today"); }
    function time() external view returns (uint256) { return block.timestamp; }
    function hashOf(uint256 number) external view returns (bytes32) { return blockhash(number); }
    function spin() external { while (true) { count++; } }
    function createAndDestroy() external payable { new Brief{value: msg.value}(payable(msg.sender)); }
}
contract Brief { uint256 private word = 7; constructor(address payable to) payable { selfdestruct(to); } }
