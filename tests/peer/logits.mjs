// Logits against an independent engine (npm node-llama-cpp) on the same files.
//
// A model of each architecture and of each weight type, made by make_models.py; over 2,000 tokens a random one of 20
// layers and the demo model.
//
// NMSE of all logits; the likeliest token is the same wherever its lead exceeds SIGMAS times the root mean square
// difference at that position; over 2,000 tokens the mean |difference of log p| of the token that comes next, where
// the model was taught that token: the demo model was taught answers only and finds any question impossible
// (log p -14), which makes rounding large. Install the peer with `npm install --no-save --prefix tests
// node-llama-cpp@3.22`; without it, or without numpy, the test is skipped. tests/peer/README.md has the figures.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SKIPPED = 77;
const SIGMAS = 6;
const MOST_NMSE = { f32: 1e-6, f16: 1e-4, bf16: 1e-4 }; // f32: the peer looks GELU up in a table of f16
const MOST_NMSE_QUANTISED = 1e-3;
const MOST_NAT = 0.02;
const SHORT = 160, LONG = 2001; // tokens of a prompt
const N_VOCAB = 512, N_SPECIAL = 3; // of make_models.py
const N_CTX_STEP = 256; // the peer rounds contexts up to it
const N_TURNS = 6; // of a conversation with the demo model
const SYSTEM = 'A chat between a curious user and an artificial intelligence assistant.';
const DEMO = 'samples/demo';
const QUANTISED = ['q8_0', 'q4_k_m'];
const binary = process.env.OCELLUS ?? 'build/release/ocellus';
const here = dirname(fileURLToPath(import.meta.url));

const peer = await import('node-llama-cpp').catch(() => null);
if (peer === null) {
    console.log('skipped: npm node-llama-cpp is not installed');
    process.exit(SKIPPED);
}

function run(program, ...args) {
    const done = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
    if (done.status === SKIPPED) {
        console.log(done.stdout.trim());
        process.exit(SKIPPED);
    }
    if (done.status !== 0) throw new Error(`${program} ${args.slice(0, 2).join(' ')}: ${done.stderr.trim()}`);
    return done.stdout;
}

// One Float32Array of n_vocab logits a token.
function ours(path, ids, n_ctx, folder) {
    const out = join(folder, 'logits.f32');
    run(binary, 'inspect', 'logits', '-m', path, '-c', n_ctx, '--tokens', ids.join(','), '--out', out);
    const bytes = readFileSync(out);
    const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const n_vocab = all.length / ids.length;
    return ids.map((_, i) => all.subarray(i * n_vocab, (i + 1) * n_vocab));
}

async function theirs(model, ids, n_ctx) {
    const context = await model.createContext({
        contextSize: n_ctx, threads: 2, flashAttention: false, experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32',
    });
    const rows = await context.getSequence().controlledEvaluate(ids.map((id) => [id, { generateNext: { logits: true } }]));
    await context.dispose();
    return rows.map((row) => {
        const logits = new Float32Array(row.next.logits.size);
        for (const [id, logit] of row.next.logits) logits[id] = logit;
        return logits;
    });
}

const best = (row) => row.reduce((at, x, i) => (x > row[at] ? i : at), 0);

function log_p(row, id) {
    const most = row[best(row)];
    return row[id] - most - Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0));
}

// Adds the differences of one prompt to d. a: ours, b: the peer's, [n_tokens][n_vocab]
function add_differences(d, a, b, { ids, taught }) {
    for (const i of ids.keys()) {
        let error = 0;
        for (let k = 0; k < b[i].length; k++) {
            error += (a[i][k] - b[i][k]) ** 2;
            d.size += b[i][k] ** 2;
        }
        d.error += error;
        d.n_other += b[i][best(b[i])] - b[i][best(a[i])] > SIGMAS * Math.sqrt(error / b[i].length);
        if (i + 1 < ids.length && taught(i + 1)) {
            d.nat += Math.abs(log_p(a[i], ids[i + 1]) - log_p(b[i], ids[i + 1]));
            d.n_taught++;
        }
    }
}

async function compare(llama, { path, prompts, most_nmse, most_nat, most_other = 0 }, folder) {
    const model = await llama.loadModel({ modelPath: path });
    const d = { error: 0, size: 0, nat: 0, n_other: 0, n_taught: 0 };
    for (const prompt of prompts) {
        const n_ctx = Math.ceil(prompt.ids.length / N_CTX_STEP) * N_CTX_STEP;
        add_differences(d, ours(path, prompt.ids, n_ctx, folder), await theirs(model, prompt.ids, n_ctx), prompt);
    }
    await model.dispose();
    const [nmse, nat] = [d.error / d.size, d.nat / d.n_taught];
    const ok = nmse <= most_nmse && nat <= most_nat && d.n_other <= most_other;
    console.log(`${ok ? 'ok     ' : 'FAILED '} ${basename(path).padEnd(28)} NMSE ${nmse.toExponential(1)} of ${most_nmse}, ` +
        `likeliest token other ${d.n_other} times, mean |d log p| ${nat.toFixed(5)} nat over ${d.n_taught} tokens`);
    return ok;
}

// A linear congruential sequence.
function random_prompt(n) {
    let state = 12345;
    const ids = Array.from({ length: n }, () => {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        return N_SPECIAL + ((state >>> 8) % (N_VOCAB - N_SPECIAL));
    });
    return { ids, taught: () => true };
}

// Prompts say which of their tokens, from the second on, the model was taught to say.
//
// The questions of the demo's pictures with their answers, as conversations no longer than those it learned from. Twice:
// neighbours ask about the same picture, then strangers follow each other.
function demo_prompts() {
    const samples = JSON.parse(readFileSync(join(DEMO, 'samples.json'), 'utf8'));
    const n = Math.ceil(samples.length / N_TURNS);
    const neighbours = Array.from({ length: n }, (_, i) => samples.slice(i * N_TURNS, (i + 1) * N_TURNS));
    const strangers = Array.from({ length: n }, (_, i) => samples.filter((_, k) => k % n === i));
    const encode = (text, bos) =>
        JSON.parse(run(binary, 'inspect', 'tokens', '-m', join(DEMO, 'demo-llm-f16.gguf'), bos, '--special', '--text', text)).ids;
    const begin = encode('ASSISTANT:', '--no-bos').at(-1), end = encode('</s>', '--no-bos').at(-1);
    return [...neighbours, ...strangers].map((turns) => {
        const text = turns.map((turn) => `USER: ${turn.question} ASSISTANT: ${turn.expected}</s>`).join('');
        const ids = encode(`${SYSTEM} ${text}`, '--bos');
        return { ids, taught: (i) => ids.lastIndexOf(begin, i - 1) > ids.lastIndexOf(end, i - 1) };
    });
}

// NAME-f16.gguf itself and what `ocellus quantize` makes of it.
function* with_quantised(path, prompts, most_nat, folder) {
    yield { path, prompts, most_nmse: MOST_NMSE.f16, most_nat };
    for (const type of QUANTISED) {
        const out = join(folder, basename(path).replace('f16.gguf', `${type}.gguf`));
        run(binary, 'quantize', path, out, type);
        yield { path: out, prompts, most_nmse: MOST_NMSE_QUANTISED, most_nat };
        rmSync(out);
    }
}

function* cases(folder) {
    run(process.env.OCELLUS_PYTHON ?? 'python3', join(here, 'make_models.py'), folder);
    const short = [random_prompt(SHORT)];
    for (const name of readdirSync(join(folder, 'short')).sort()) {
        const path = join(folder, 'short', name), type = name.match(/-(\w+)\.gguf$/)[1];
        if (type === 'f16') yield* with_quantised(path, short, Infinity, folder);
        else yield { path, prompts: short, most_nmse: MOST_NMSE[type] ?? MOST_NMSE_QUANTISED, most_nat: Infinity };
    }
    yield* with_quantised(join(folder, 'deep-f16.gguf'), [random_prompt(LONG)], MOST_NAT, folder);
    // Rounding moves a trained model's logits together, not each by chance: no rule for its likeliest token.
    for (const one of with_quantised(join(DEMO, 'demo-llm-f16.gguf'), demo_prompts(), MOST_NAT, folder))
        yield { ...one, most_other: Infinity };
}

const llama = await peer.getLlama({ gpu: false, build: 'never', progressLogs: false, logLevel: 'error' });
const folder = mkdtempSync(join(tmpdir(), 'ocellus-peer-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
let failed = 0;
for (const one of cases(folder)) failed += !(await compare(llama, one, folder));
process.exit(failed ? 1 : 0);
