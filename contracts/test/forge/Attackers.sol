// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.37;

/// @title An account that calls back into the rollup when it gets ether
contract Reentrant {
    address private _target;
    bytes[] private _calls;
    uint256 private _value;
    uint256 public received;
    uint256 public callsDone;
    bytes4 public lastError;

    /// @notice What it will call, in order, once. Each call carries this value.
    function prepare(address target, bytes[] calldata calls, uint256 value) external {
        (_target, _value) = (target, value);
        delete _calls;
        for (uint256 i = 0; i < calls.length; ++i) _calls.push(calls[i]);
    }

    function execute(uint256 value, bytes calldata data) external returns (bool done, bytes memory answer) {
        (done, answer) = _target.call{value: value}(data);
    }

    receive() external payable {
        received += msg.value;
        bytes[] memory calls = _calls;
        delete _calls;
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool done, bytes memory reason) = _target.call{value: _value}(calls[i]);
            if (done) ++callsDone;
            else lastError = bytes4(reason);
        }
    }
}

/// @title A wallet whose answer about a signature is what a test chose
contract OddWallet {
    enum Answer {
        Yes,
        No,
        // The right four bytes, and then others than zeros.
        YesAndMore,
        // Four bytes instead of a word.
        Short,
        Empty,
        // Half a megabyte that begins like a yes.
        Endless,
        // All gas that it gets.
        BurnGas,
        Revert,
        // Half a megabyte of a reason.
        RevertEndless,
        // It writes to its storage first.
        Write,
        // It calls the rollup first, and says yes if that call was done.
        CallBack
    }

    Answer private _answer;
    uint256 private _written;
    address private _target;
    bytes private _call;

    function choose(Answer answer) external {
        _answer = answer;
    }

    function prepare(address target, bytes calldata call) external {
        (_target, _call) = (target, call);
    }

    function isValidSignature(bytes32, bytes calldata) external returns (bytes4) {
        Answer answer = _answer;
        bytes32 yes = bytes32(this.isValidSignature.selector);
        if (answer == Answer.BurnGas) for (uint256 i = 0;; ++i) i ^= 1;
        if (answer == Answer.Write) _written = 1;
        if (answer == Answer.CallBack) {
            (bool done,) = _target.call(_call);
            if (!done) return 0;
        }
        uint256 length = answer == Answer.Short ? 4 : answer == Answer.Empty ? 0 : 32;
        if (answer == Answer.Endless || answer == Answer.RevertEndless) length = 1 << 19;
        if (answer == Answer.No) yes = 0;
        if (answer == Answer.YesAndMore) yes |= bytes32(uint256(1));
        bool reverts = answer == Answer.Revert || answer == Answer.RevertEndless;
        assembly ("memory-safe") {
            mstore(0, yes)
            if reverts { revert(0, length) }
            return(0, length)
        }
    }
}
