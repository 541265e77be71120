// The next token behind a picture, against an independent engine (npm @fugood/llama.node, llama.cpp with mtmd).
//
// The tiny vision models of tests/golden, and a random language model and a picture for each from make_vision_models.py.
// log p of the whole vocabulary behind the prompt of one picture and a question: NMSE beside its mean, and the likeliest
// token is the same unless its lead is below SIGMAS times the root mean square difference. Then two pictures, to a server:
// the log p of the likeliest tokens that it tells. LLaVA 1.6 is left out: the
// peer lays its tiles out differently. Install it with `npm install --no-save --prefix tests @fugood/llama.node@1.7.15`;
// without it, or without numpy, the test is skipped. tests/peer/README.md has the figures.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Client, binary, dataUri, start } from '../protocol/lib/ocellus.mjs';

const SKIPPED = 77;
const SIGMAS = 6;
const MOST_NMSE = 1e-6;
const MOST_NMSE_RESIZED = 5e-6; // idefics3: its overview is resized, and by another filter
const MOST_NAT = 0.004; // of the likeliest tokens behind two pictures
const N_CTX = 1024;
const QUESTION = 'what is on the left?';
const here = dirname(fileURLToPath(import.meta.url));

function run(program, ...args) {
    const done = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 26 });
    if (done.status === SKIPPED) {
        console.log(done.stdout.trim());
        process.exit(SKIPPED);
    }
    if (done.status !== 0) throw new Error(`${program} ${args.slice(0, 2).join(' ')}: ${done.stderr.trim()}`);
    return done.stdout;
}

// Float32Array [n_vocab] of the last row.
function ours(folder, name, { mmproj, images }) {
    const out = join(folder, 'logits.f32');
    run(binary, 'inspect', 'logits', '-m', join(folder, `${name}.gguf`), '--mmproj', mmproj,
        '--image', join(folder, images[0]), '--text', QUESTION, '-c', N_CTX, '--last', '--out', out);
    const bytes = readFileSync(out);
    return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}

// What the peer writes for a token in its list of probabilities.
function spelling(bytes) {
    return bytes.length === 1 && bytes[0] >= 0x80 ? `byte: \\x${bytes[0].toString(16)}` : bytes.toString();
}

// Map of a token's spelling to its log p.
function theirs(folder, name, { peer_mmproj, peer_images, head, tail, peer }, n_images) {
    const out = join(folder, 'peer.json');
    const places = [0, 1].slice(0, n_images).map((i) => peer.replace('*', '<__media__>').replace('>0<', `>${i}<`));
    run(process.execPath, join(here, 'vision_peer.mjs'), join(folder, `${name}.gguf`), peer_mmproj,
        head + places.join('') + QUESTION + tail, N_CTX, out,
        ...peer_images.slice(0, n_images).map((file) => join(folder, file)));
    return new Map(JSON.parse(readFileSync(out, 'utf8')));
}

// Both as their differences from the mean, by token.
function centred(row) {
    const mean = row.reduce((sum, x) => sum + x, 0) / row.length;
    return row.map((x) => x - mean);
}

const best = (row) => row.reduce((at, x, i) => (x > row[at] ? i : at), 0);

function compare(name, logits, log_p_of) {
    const log_p = pieces.map((hex) => log_p_of.get(spelling(Buffer.from(hex, 'hex'))));
    const missing = log_p.findIndex((x) => x === undefined);
    if (missing >= 0 || log_p_of.size !== logits.length)
        throw new Error(`${name}: the peer gives ${log_p_of.size} tokens of ${logits.length}, none is token ${missing}`);
    const a = centred(Array.from(logits)), b = centred(log_p);
    const error = a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0), size = b.reduce((sum, x) => sum + x * x, 0);
    const other = b[best(b)] - b[best(a)] > SIGMAS * Math.sqrt(error / b.length);
    const most = name === 'idefics3' ? MOST_NMSE_RESIZED : MOST_NMSE, nmse = error / size;
    const ok = nmse <= most && !other;
    const nat = a.reduce((sum, x, i) => sum + Math.abs(x - b[i]), 0) / a.length;
    console.log(`${ok ? 'ok     ' : 'FAILED '} ${name.padEnd(20)} NMSE ${nmse.toExponential(1)} of ${most}, ` +
        `mean |d log p| ${nat.toFixed(5)} nat${other ? ', another token is the likeliest' : ''}`);
    return ok;
}

// The likeliest tokens that a server tells, behind two pictures: [{id, logprob}].
async function served(folder, name, { mmproj, images }) {
    const server = await start(['-m', join(folder, `${name}.gguf`), '--mmproj', mmproj, '--ctx', `${N_CTX}`,
        '--kv-type', 'f32', '--vision-precision', 'f32']);
    const client = await Client.open(server);
    const content = images.map((file) => ({ type: 'input_image', image_url: dataUri(readFileSync(join(folder, file))) }));
    const { events } = await client.respond({ input: [{ role: 'user', content: [...content, { type: 'input_text',
        text: QUESTION }] }], max_output_tokens: 1, top_logprobs: 20, logit_bias: { 2: -100 } });
    await client.close();
    await server.stop();
    return events.find((m) => m.delta !== undefined).logprobs[0].top_logprobs;
}

function compare_served(name, told, log_p_of) {
    const nat = Math.max(...told.map(({ id, logprob }) =>
        Math.abs(logprob - log_p_of.get(spelling(Buffer.from(pieces[id], 'hex'))))));
    const ok = nat <= MOST_NAT; // false for NaN, too
    console.log(`${ok ? 'ok     ' : 'FAILED '} ${name.padEnd(20)} two pictures: |d log p| <= ${nat.toFixed(5)} nat of ` +
        `${MOST_NAT} in the ${told.length} likeliest tokens`);
    return ok;
}

try {
    createRequire(import.meta.url).resolve('@fugood/llama.node');
} catch {
    console.log('skipped: npm @fugood/llama.node is not installed');
    process.exit(SKIPPED);
}
const folder = mkdtempSync(join(tmpdir(), 'ocellus-peer-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
run(process.env.OCELLUS_PYTHON ?? 'python3', join(here, 'make_vision_models.py'), folder, binary);
const { pieces, models } = JSON.parse(readFileSync(join(folder, 'cases.json'), 'utf8'));
let failed = 0;
for (const [name, one] of Object.entries(models)) {
    if (one.peer === null) continue;
    failed += !compare(name, ours(folder, name, one), theirs(folder, name, one, 1));
    if (!name.startsWith('qwen')) // two pictures of M-RoPE: README.md
        failed += !compare_served(name, await served(folder, name, one), theirs(folder, name, one, 2));
}
process.exit(failed ? 1 : 0);
