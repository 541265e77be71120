// Log probabilities of an answer's tokens: their form, that they fit the text, and their values against inspect.
import { execFileSync } from 'node:child_process';
import { Client, check, equal, run } from './lib/ocellus.mjs';

const binary = process.env.OCELLUS ?? 'build/release/ocellus';
const MODEL = 'samples/demo/demo-llm-f16.gguf';
const question = { instructions: 'Be brief.', input: 'What is 2+3?', max_output_tokens: 12 };
const PROMPT = 'Be brief. USER: What is 2+3? ASSISTANT:';
const include = ['message.output_text.logprobs'];

const tokensOf = (events) =>
    events.filter((m) => m.type === 'response.output_text.delta').flatMap((m) => m.logprobs);
const textOf = (tokens) => Buffer.concat(tokens.map((t) => Buffer.from(t.bytes))).toString();

function logSoftmax(row) {
    const most = Math.max(...row);
    const total = Math.log(row.reduce((sum, x) => sum + Math.exp(x - most), 0)) + most;
    return row.map((x) => x - total);
}

// The prompt's ids are not told, so it is found from outside: the template's text, tokenised.
function inspect(ids) {
    const output = execFileSync(binary, ['inspect', 'logits', '-m', MODEL, '--kv-type', 'f16', '--tokens', ids.join(',')],
        { maxBuffer: 1 << 28 });
    const { shape, data } = JSON.parse(output);
    return Array.from({ length: shape[0] }, (_, i) => data.slice(i * shape[1], (i + 1) * shape[1]));
}

function tokens(text) {
    const output = execFileSync(binary, ['inspect', 'tokens', '-m', MODEL, '--special', '--text', text]);
    return JSON.parse(output).ids;
}

await run([], {
    async 'values and form'(server) {
        const client = await Client.open(server);
        const { events, last, text } = await client.respond({ ...question, include, top_logprobs: 3 });
        const told = tokensOf(events);
        equal(textOf(told), text, 'bytes of the tokens');
        equal(told.map((t) => t.token).join(''), text, 'tokens');
        equal(told.length, last.response.usage.output_tokens - (last.type === 'response.completed' ? 1 : 0), 'tokens');
        equal(last.response.top_logprobs, 3, 'top_logprobs of the response');
        const done = events.find((m) => m.type === 'response.output_text.done');
        equal(JSON.stringify(done.logprobs), JSON.stringify(told), 'logprobs of output_text.done');
        equal(JSON.stringify(last.response.output[0].content[0].logprobs), JSON.stringify(told), 'logprobs of the part');
        const prompt = tokens(PROMPT);
        equal(prompt.length, last.response.usage.input_tokens, 'tokens of the prompt');
        const rows = inspect([...prompt, ...told.map((t) => t.id)]).slice(prompt.length - 1).map(logSoftmax);
        told.forEach((t, i) => {
            const best = [...rows[i].keys()].sort((a, b) => rows[i][b] - rows[i][a] || a - b).slice(0, 3);
            equal(t.top_logprobs.map((x) => x.id).join(), best.join(), `likeliest of token ${i}`);
            equal(t.id, best[0], `token ${i}, chosen greedily`);
            for (const x of [t, ...t.top_logprobs])
                check(Math.abs(x.logprob - rows[i][x.id]) < 0.002, `token ${i}: ${x.logprob}, inspect ${rows[i][x.id]}`);
        });
        await client.close();
    },
    async 'nothing unless asked for; n_probs asks'(server) {
        const client = await Client.open(server);
        const plain = await client.respond(question);
        equal(tokensOf(plain.events).length, 0, 'logprobs of a request that names none');
        equal(plain.last.response.output[0].content[0].logprobs, undefined, 'logprobs of the part');
        const asked = await client.respond({ ...question, n_probs: 2 });
        equal(asked.text, plain.text, 'text');
        check(tokensOf(asked.events).every((t) => t.top_logprobs.length === 2), 'two each');
        const bare = await client.respond({ ...question, include });
        check(tokensOf(bare.events).every((t) => t.top_logprobs.length === 0 && t.logprob <= 0), 'none each');
        const { error } = await client.respond({ ...question, top_logprobs: 21 }).catch((e) => e.event);
        equal(error.param, 'top_logprobs', 'param');
        await client.close();
    },
    async 'a stop string takes its tokens along'(server) {
        const client = await Client.open(server);
        const whole = await client.respond({ ...question, include });
        const all = tokensOf(whole.events);
        for (let cut = 2; cut + 3 < whole.text.length; cut += 2) {
            const stop = whole.text.slice(cut, cut + 3);
            const { text, events } = await client.respond({ ...question, include, stop });
            equal(text, whole.text.slice(0, whole.text.indexOf(stop)), `text before ${JSON.stringify(stop)}`);
            const told = tokensOf(events);
            equal(JSON.stringify(told), JSON.stringify(all.slice(0, told.length)), 'tokens');
            const shown = textOf(told.slice(0, -1));
            check(told.length === 0 ? text === '' : shown.length < text.length && textOf(told).startsWith(text),
                `tokens ${JSON.stringify(textOf(told))} of ${JSON.stringify(text)}`);
        }
        await client.close();
    },
    async 'long answers: every message stays small, tokens and text go together'(server) {
        const client = await Client.open(server);
        const { events, last, text } = await client.respond({
            input: 'Hello', temperature: 2, top_k: 0, top_p: 1, min_p: 0, seed: 5, ignore_eos: true, max_output_tokens: 300,
            top_logprobs: 20, stop: ['a'.repeat(128)], // nothing of it comes; it holds back each a
        });
        const told = tokensOf(events);
        equal(told.length, 300, 'tokens');
        let at = 0;
        for (const m of events.filter((e) => e.delta !== undefined)) {
            at += m.delta.length;
            check(m.delta === '' || m.logprobs.length > 0 || at < text.length, 'text without tokens');
        }
        const part = last.response.output[0].content[0];
        equal(part.logprobs.length, 0, 'logprobs of the part');
        equal(part.logprobs_truncated, true, 'logprobs_truncated');
        equal(part.text, text, 'text of the part');
        await client.close();
    },
});
