#!/usr/bin/env node
// The pinned compiler behind the command line that forge expects of solc. EMR_SOLC names the folder of the npm package.
"use strict";

const fs = require("fs");
const solc = require(process.env.EMR_SOLC);

if (process.argv.includes("--version")) {
    process.stdout.write(`Version: ${solc.version()}\n`);
} else {
    // forge sends all sources, so no import is left to resolve.
    process.stdout.write(solc.compile(fs.readFileSync(0, "utf8")));
}
