// Log probabilities against an independent engine (npm node-llama-cpp) on the same files.
//
// logprobs.mjs [MODEL.gguf ...]   default: the demo model, the golden text models, the slow random pair's model
//
// Over 2,000 tokens a file: the mean |difference of log p| of the token that comes next is at most 0.02 nat, and the
// likeliest token is the same wherever its lead exceeds twice the largest difference seen at that position. Install the
// peer with `npm install --no-save --prefix tests node-llama-cpp`; without it the test is skipped.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const SKIPPED = 77;
const N_TOKENS = 2000;
const LIMIT_NAT = 0.02;
const binary = process.env.OCELLUS ?? 'build/release/ocellus';

const peer = await import('node-llama-cpp').catch(() => null);
if (peer === null) {
    console.log('skipped: npm node-llama-cpp is not installed');
    process.exit(SKIPPED);
}

function ocellus(...args) {
    const done = spawnSync(binary, args, { encoding: 'utf8', maxBuffer: 1 << 28 });
    if (done.status !== 0) throw new Error(`ocellus ${args[0]} ${args[1]}: ${done.stderr.trim()}`);
    return done.stdout;
}

function metadata(path) {
    const values = JSON.parse(ocellus('inspect', 'gguf', path)).metadata;
    const architecture = values['general.architecture'];
    return { n_ctx: values[`${architecture}.context_length`], n_vocab: values['tokenizer.ggml.tokens'].n };
}

// The same tokens every time: a linear congruential sequence over the ordinary ones.
function tokens(n, n_vocab) {
    let state = 12345;
    const ids = [1];
    while (ids.length < n) {
        state = (Math.imul(state, 1103515245) + 12345) >>> 0;
        const id = (state >>> 8) % n_vocab;
        if (id > 258) ids.push(id); // past the special and the byte tokens
    }
    return ids;
}

const log_softmax = (row) => {
    const max = row.reduce((a, b) => Math.max(a, b));
    const sum = row.reduce((total, x) => total + Math.exp(x - max), 0);
    return row.map((x) => x - max - Math.log(sum));
};

// [n, n_vocab] log probabilities of ours.
function ours(path, ids, folder) {
    const out = join(folder, 'logits.f32');
    ocellus('inspect', 'logits', '-m', path, '-c', String(ids.length + 8), '--tokens', ids.join(','), '--out', out);
    const bytes = readFileSync(out);
    const all = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
    const n_vocab = all.length / ids.length;
    return ids.map((_, i) => log_softmax(Array.from(all.subarray(i * n_vocab, (i + 1) * n_vocab))));
}

async function theirs(model, ids) {
    const context = await model.createContext({ contextSize: ids.length + 8, threads: 2, flashAttention: false });
    const rows = await context.getSequence().controlledEvaluate(ids.map((id) => [id, { generateNext: { probabilities: true } }]));
    await context.dispose();
    return rows.map((row) => {
        const log_p = new Array(row.next.probabilities.size);
        for (const [id, p] of row.next.probabilities) log_p[id] = Math.log(Math.max(p, 1e-38));
        return log_p;
    });
}

const best = (row) => row.reduce((at, x, i) => (x > row[at] ? i : at), 0);

// Where they differ about the likeliest token although its lead is larger than the arithmetic can explain.
function disagrees(a, b) {
    const [i, k] = [best(a), best(b)];
    if (i === k) return false;
    const error = Math.max(Math.abs(a[i] - b[i]), Math.abs(a[k] - b[k]));
    return a[i] - a[k] > 2 * error || b[k] - b[i] > 2 * error;
}

async function compare(llama, path, folder) {
    const model = await llama.loadModel({ modelPath: path });
    const { n_ctx, n_vocab } = metadata(path);
    const chunk = Math.min(n_ctx - 8, N_TOKENS);
    let sum = 0, n = 0, n_top1 = 0, n_disagreeing = 0, worst = 0;
    for (let left = N_TOKENS; left > 0; left -= chunk) {
        const ids = tokens(Math.min(left, chunk), n_vocab);
        const [a, b] = [ours(path, ids, folder), await theirs(model, ids)];
        for (let i = 0; i < ids.length; i++) {
            if (i + 1 < ids.length) {
                const difference = Math.abs(a[i][ids[i + 1]] - b[i][ids[i + 1]]);
                sum += difference;
                worst = Math.max(worst, difference);
                n++;
            }
            n_top1 += best(a[i]) === best(b[i]);
            n_disagreeing += disagrees(a[i], b[i]);
        }
    }
    await model.dispose();
    const ok = sum / n <= LIMIT_NAT && n_disagreeing === 0;
    console.log(`${ok ? 'ok     ' : 'FAILED '} ${path}: mean |d log p| ${(sum / n).toFixed(5)} nat, worst ${worst.toFixed(4)}, ` +
        `likeliest equal ${n_top1} of ${N_TOKENS}, unexplained ${n_disagreeing}`);
    return ok;
}

function default_models() {
    const golden = ['tests/golden/text', '../shared/golden/text'].filter(existsSync)
        .flatMap((folder) => readdirSync(folder).map((name) => join(folder, name, 'model.gguf')));
    const names = new Set();
    return ['samples/demo/demo-llm-f16.gguf', 'build/slow/slow-llm.gguf', ...golden].filter((path) => {
        const name = path.split('/').at(-2);
        return existsSync(path) && !names.has(name) && names.add(name);
    });
}

const llama = await peer.getLlama({ gpu: false, build: 'never', progressLogs: false, logLevel: 'error' });
const folder = mkdtempSync(join(tmpdir(), 'ocellus-peer-'));
let failed = 0;
for (const path of process.argv.length > 2 ? process.argv.slice(2) : default_models()) {
    try {
        failed += !(await compare(llama, path, folder));
    } catch (error) {
        console.log(`skipped ${path}: ${error.message}`);
    }
}
rmSync(folder, { recursive: true });
process.exit(failed ? 1 : 0);
