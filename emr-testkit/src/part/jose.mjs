// Makes or opens a JWE in JSON. The request is JSON on stdin, the answer JSON on stdout.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const request = JSON.parse(readFileSync(0, 'utf8'));
const jose = await import(pathToFileURL(request.module));
const ALG = 'RSA-OAEP-256';

async function open() {
  const key = await jose.importPKCS8(request.key, ALG);
  const options = { keyManagementAlgorithms: [ALG], contentEncryptionAlgorithms: ['A256GCM'] };
  const jwe = JSON.parse(request.jwe);
  const opened = jwe.recipients ? await jose.generalDecrypt(jwe, key, options) : await jose.flattenedDecrypt(jwe, key, options);
  return new TextDecoder().decode(opened.plaintext);
}

async function seal() {
  const jwe = new jose.GeneralEncrypt(new TextEncoder().encode(request.text))
    .setProtectedHeader({ enc: 'A256GCM', cty: request.cty });
  for (const pem of request.keys) {
    jwe.addRecipient(await jose.importSPKI(pem, ALG)).setUnprotectedHeader({ alg: ALG });
  }
  return JSON.stringify(await jwe.encrypt());
}

let answer;
try {
  answer = { done: await (request.do === 'open' ? open() : seal()) };
} catch (error) {
  if (request.do === 'seal') throw error;
  answer = { error: error.code ?? error.name };
}
console.log(JSON.stringify(answer));
