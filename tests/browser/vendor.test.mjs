// The vendored browser libraries are what VENDOR.lock says, and nothing else lies beside them.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';

const FOLDER = 'static/vendor';
const failures = [];
const names = new Set();
for (const line of readFileSync(`${FOLDER}/VENDOR.lock`, 'utf8').split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [name, version, file, sha256, licence] = line.split(' ');
    names.add(file);
    const text = readFileSync(`${FOLDER}/${file}`);
    const found = createHash('sha256').update(text).digest('hex');
    if (found !== sha256) failures.push(`${file} (${name} ${version}): sha256 expected ${sha256}, found ${found}`);
    for (const [, from] of text.toString().matchAll(/\bfrom ?["']([^"']+)["']/g))
        if (!from.startsWith('./')) failures.push(`${file}: bare import of ${from}`);
    if (!readFileSync(`${FOLDER}/LICENSES.txt`, 'utf8').includes(`==== ${name} ${version} (${licence}) ====`))
        failures.push(`LICENSES.txt: nothing for ${name} ${version} (${licence})`);
}
for (const file of readdirSync(FOLDER))
    if (file.endsWith('.mjs') && !names.has(file)) failures.push(`${file} is not in VENDOR.lock`);
if (names.size === 0) failures.push('VENDOR.lock is empty');
for (const failure of failures) console.log(`FAILED  ${failure}`);
console.log(`${names.size} files checked`);
process.exit(failures.length ? 1 : 0);
