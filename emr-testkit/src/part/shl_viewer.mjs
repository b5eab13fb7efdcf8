// Opens a SMART Health Link, as a viewer on a web page does. The request is JSON on stdin, the answer JSON on stdout.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const { module, link, recipient, passcode, embeddedLengthMax } = JSON.parse(readFileSync(0, 'utf8'));
const { SHLViewer } = await import(pathToFileURL(module));

let answer;
try {
  const opened = await new SHLViewer({ shlinkURI: link }).resolveSHL({ recipient, passcode, embeddedLengthMax });
  answer = { manifest: opened.manifest ?? null, resources: opened.fhirResources };
} catch (error) {
  answer = { error: error.name };
}
console.log(JSON.stringify(answer));
