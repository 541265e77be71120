// Pictures of sizes that break others, to a server of each family of vision models, uploaded and as data URLs: an answer
// whose tokens were told before, or an error that says why not, the same both ways; and bounded memory. Skipped without
// numpy, which makes the language models (tests/peer/make_vision_models.py).
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';

import { binary, Client, SKIPPED, ask, check, dataUri, equal, isLast, start, upload } from './lib/ocellus.mjs';

const SIZES = [[1, 1], [14, 14], [20000, 1], [1, 20000], [65500, 10], [10, 65500], [65535, 1], [3000, 40], [7, 2000]];
const MOST_MB = process.env.OCELLUS_SANITIZE ? 1500 : 60; // more than the server has before the first picture
const WHY = /^image: \d+x\d+, want sides of at most \d+ to 1$/;

function crc(bytes) {
    let sum = -1;
    for (const byte of bytes) {
        sum ^= byte;
        for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
    }
    return ~sum >>> 0;
}

function chunk(kind, data) {
    const out = Buffer.alloc(data.length + 12);
    out.writeUInt32BE(data.length);
    out.write(kind, 4, 'latin1');
    data.copy(out, 8);
    out.writeUInt32BE(crc(out.subarray(4, data.length + 8)), data.length + 8);
    return out;
}

// No two neighbouring pixels alike.
function png(width, height) {
    const lines = Buffer.alloc((3 * width + 1) * height);
    for (let i = 0; i < lines.length; i++) lines[i] = i % (3 * width + 1) ? (i * 37) % 251 : 0;
    const header = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]);
    header.writeUInt32BE(width);
    header.writeUInt32BE(height, 4);
    return Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header),
        chunk('IDAT', deflateSync(lines)), chunk('IEND', Buffer.alloc(0))]);
}

const most_kb = (pid) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))[1]);

// Its tokens, or undefined where it was refused.
async function uploaded(client, bytes) {
    const answer = await upload(client, 1, bytes);
    if (answer.type === 'image.stored') return answer.n_tokens;
    equal(answer.error.code, 'image_unsupported', answer.error.message);
    check(WHY.test(answer.error.message), answer.error.message);
}

async function asked(client, bytes) {
    const event_id = 'ask';
    client.send({ type: 'response.create', event_id, input: ask({ image_url: dataUri(bytes) }, 'What?'),
        max_output_tokens: 1, temperature: 0 });
    const end = await client.next((m) => m.type === 'error' || isLast(m), 60000);
    client.left = [];
    if (end.type === 'error') {
        equal(end.error.code, 'image_unsupported', end.error.message);
        equal(end.error.param, 'input[0].content[0].image_url', 'param');
        return undefined;
    }
    check(/completed|incomplete/.test(end.type), JSON.stringify(end.response.error));
    return end.response.usage.input_tokens_details.image_tokens;
}

async function check_family(folder, name, mmproj) {
    const server = await start(['-m', join(folder, `${name}.gguf`), '--mmproj', mmproj, '--ctx', '1024']);
    const before_kb = most_kb(server.pid);
    const client = await Client.open(server);
    const notes = [];
    for (const [width, height] of SIZES) {
        const bytes = png(width, height);
        const n_tokens = await uploaded(client, bytes);
        equal(await asked(client, bytes), n_tokens, `${width}x${height}: tokens`);
        notes.push(n_tokens ?? 'refused');
    }
    const more_mb = (most_kb(server.pid) - before_kb) / 1000;
    await client.close();
    equal(await server.stop(), 0, 'exit');
    check(more_mb <= MOST_MB, `${more_mb.toFixed(0)} MB more, at most ${MOST_MB}`);
    return `tokens ${notes.join(' ')}; ${more_mb.toFixed(0)} MB`;
}

const folder = mkdtempSync(join(tmpdir(), 'ocellus-sizes-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
const made = spawnSync(process.env.OCELLUS_PYTHON ?? 'python3', ['tests/peer/make_vision_models.py', folder, binary],
    { encoding: 'utf8' });
if (made.status === SKIPPED) {
    console.log('skipped: no numpy');
    process.exit(SKIPPED);
}
check(made.status === 0, made.stderr);
const { models } = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8'));
let failed = 0;
for (const [name, { mmproj }] of Object.entries(models)) {
    try {
        console.log(`ok      ${name}: ${await check_family(folder, name, mmproj)}`);
    } catch (error) {
        failed++;
        console.log(`FAILED  ${name}: ${error.message}`);
    }
}
console.log(`${Object.keys(models).length} families, ${failed} failed`);
process.exit(failed ? 1 : 0);
