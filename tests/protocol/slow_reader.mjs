// A client that never reads: its responses rest, the server's memory stays bounded, others go on undisturbed.
import { readFileSync } from 'node:fs';
import { Client, check, equal, run, sleep } from './lib/ocellus.mjs';

const rss = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`))[1]) / 1024;
// A sanitizer keeps freed memory for a while.
const limit_mb = process.env.OCELLUS_SANITIZE ? 300 : 16;
const flood = { type: 'response.create', input: 'Hello', temperature: 0, logit_bias: { 2: -100 } };

await run([], {
    async 'refused requests by the thousand, not one answer read'(server) {
        const client = await Client.open(server);
        const other = await Client.open(server);
        await other.respond({ input: 'Hello', max_output_tokens: 5 });
        const before = rss(server.pid);
        client.socket.pause();
        const bad = JSON.stringify({ type: 'x'.repeat(100) });
        for (let i = 0; i < 30000; i++) client.send(bad);
        client.send({ ...flood, stream_id: 'mine' });
        await sleep(1000);
        const began = performance.now();
        const result = await other.respond({ input: 'Hello', max_output_tokens: 5 });
        const took = performance.now() - began;
        equal(result.last.type, 'response.incomplete', 'another client');
        check(took < 1000, `another client waited ${took.toFixed(0)} ms`);
        const grown = rss(server.pid) - before;
        check(grown < limit_mb, `memory grew by ${grown.toFixed(1)} MB`);
        client.socket.resume();
        const last = await client.next((m) => m.stream_id === 'mine' && /completed|incomplete/.test(m.type), 60000);
        const errors = client.all.filter((m) => m.type === 'error').length;
        equal(errors, 30000, 'errors received in the end');
        check(last.response.usage.output_tokens > 0, 'output');
        await Promise.all([client.close(), other.close()]);
        return `memory +${grown.toFixed(1)} MB, others ${took.toFixed(0)} ms`;
    },
});
