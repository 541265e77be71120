// A server that has just started answers while its weights come in: who asks then is told so, and waits for no more
// than that; who cancels is let go. OCELLUS_SLOW_LOADING: the model of tests/tools/make_slow_pair.py with that name.
import { check, Client, equal, run, SKIPPED, start } from './lib/ocellus.mjs';

const model = process.env.OCELLUS_SLOW_LOADING;
if (!model) {
    console.log('skipped: OCELLUS_SLOW_LOADING is not set');
    process.exit(SKIPPED);
}

// Asks a server of its own at once. Returns its last event and how many times it told of the loading.
async function early(act) {
    const server = await start(['-m', model]);
    try {
        const client = await Client.open(server);
        client.send({ type: 'response.create', input: 'Hello', max_output_tokens: 3, temperature: 0 });
        act(client);
        const ended = (m) => /^response\.(completed|incomplete|cancelled|failed)$/.test(m.type);
        const last = await client.next(ended, 100000);
        const stages = client.all.filter((m) => m.type === 'response.progress');
        const loading = stages.filter((m) => m.stage === 'loading');
        check(stages.slice(0, loading.length).every((m) => m.stage === 'loading'), 'loading comes first');
        check(loading.every((m, i) => m.total > 0 && m.done < m.total && (i === 0 || m.done > loading[i - 1].done)),
            `loading goes on: ${JSON.stringify(loading.map((m) => [m.done, m.total]))}`);
        equal(await server.stop(), 0, 'exit code');
        return { last, n_told: loading.length };
    } finally {
        await server.stop();
    }
}

await run([], {
    async 'a question meets the loading'() {
        let n_told = 0;
        for (let i = 0; i < (process.env.OCELLUS_SANITIZE ? 1 : 3); i++) { // repacking takes 20 s there
            const answer = await early(() => {});
            check(/completed|incomplete/.test(answer.last.type), JSON.stringify(answer.last));
            n_told += answer.n_told;
        }
        return `told ${n_told} times`;
    },
    async 'a cancel meets it'() {
        const answer = await early((client) => client.send({ type: 'response.cancel' }));
        equal(answer.last.type, 'response.cancelled', 'last event');
        return `told ${answer.n_told} times`;
    },
});
