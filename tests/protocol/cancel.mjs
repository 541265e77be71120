// response.cancel is answered within 250 ms at every stage. Encode and prefill of the demo model are over before
// a cancel arrives: for those stages name a slow pair in OCELLUS_SLOW_MODEL and OCELLUS_SLOW_MMPROJ; and in
// OCELLUS_SLOW_TILES an mmproj that cuts a picture into many tiles.
import { Client, ask, check, dataUri, equal, file, goodSample, padJpeg, run, sleep, start } from './lib/ocellus.mjs';

const LIMIT_MS = process.env.OCELLUS_SANITIZE ? 2000 : 250; // a sanitizer makes each layer that much slower
const endless = { input: 'Hello', max_output_tokens: 2000, temperature: 0, logit_bias: { 2: -100 } };

// Sends a cancel now and tells how long response.cancelled took.
async function cancel(client, response_id) {
    const began = performance.now();
    client.send({ type: 'response.cancel', response_id });
    const last = await client.next((m) => m.response_id === response_id && /cancelled|completed|failed/.test(m.type));
    const took = performance.now() - began;
    equal(last.type, 'response.cancelled', 'last event');
    equal(last.response.status, 'cancelled', 'status');
    check(took < LIMIT_MS, `cancelled after ${took.toFixed(0)} ms`);
    return `${took.toFixed(1)} ms`;
}

async function begin(client, request) {
    client.send({ type: 'response.create', ...request });
    return (await client.next('response.created')).response.id;
}

const { OCELLUS_SLOW_MODEL, OCELLUS_SLOW_MMPROJ, OCELLUS_SLOW_TILES } = process.env;

// Waits for a stage of a request to the slow pair, then cancels.
async function cancelAt(stage, request, mmproj = OCELLUS_SLOW_MMPROJ, wait_ms = 50) {
    if (!OCELLUS_SLOW_MODEL || !mmproj) return 'skipped: OCELLUS_SLOW_MODEL and the like are not set';
    const server = await start(['-m', OCELLUS_SLOW_MODEL, '--mmproj', mmproj, '--vision-precision', 'f32']);
    try {
        const client = await Client.open(server);
        const id = await begin(client, request);
        await client.next((m) => m.type === 'response.progress' && m.stage === stage, 60000);
        await sleep(wait_ms);
        return await cancel(client, id);
    } finally {
        await server.stop();
    }
}

const picture = ask({ image_url: dataUri(file(goodSample().image)) }, 'What is this?');

await run(['--parallel', '1'], {
    async 'while decoding tokens'(server) {
        const client = await Client.open(server);
        const id = await begin(client, endless);
        await client.next('response.output_text.delta');
        const took = await cancel(client, id);
        await client.close();
        return took;
    },
    async 'in the queue, and nobody else is hurt'(server) {
        const [first, second] = await Promise.all([Client.open(server), Client.open(server)]);
        const running = await begin(first, endless);
        await first.next('response.output_text.delta');
        const waiting = await begin(second, endless);
        const took = await cancel(second, waiting);
        await first.next('response.output_text.delta');
        await cancel(first, running);
        await Promise.all([first.close(), second.close()]);
        return took;
    },
    async 'of all that runs here, by a message without response_id'(server) {
        const client = await Client.open(server);
        const ids = [await begin(client, endless), await begin(client, endless)];
        client.send({ type: 'response.cancel' });
        for (const id of ids) await client.next((m) => m.response_id === id && m.type === 'response.cancelled');
        const error = await client.refusal({ type: 'response.cancel', response_id: ids[0], event_id: 'gone' });
        equal(error.param, 'response_id', 'param');
        await client.close();
    },
    async 'by closing the socket'(server) {
        const client = await Client.open(server);
        await begin(client, endless);
        await client.next('response.output_text.delta');
        await client.close();
        const other = await Client.open(server); // with --parallel 1 it is served once the place is free
        const began = performance.now();
        await other.respond({ input: 'Hello', max_output_tokens: 1 });
        check(performance.now() - began < 1000, 'the place was not freed');
        await other.close();
    },
    async 'while a picture is being decoded'(server) {
        const client = await Client.open(server);
        const jpeg = padJpeg(file(goodSample().jpeg), 3000000);
        client.send({ type: 'response.create', input: ask({ image_url: dataUri(jpeg, 'image/jpeg') }, 'What?'),
            max_output_tokens: 2000, logit_bias: { 2: -100 } });
        const id = (await client.next('response.created')).response.id;
        const took = await cancel(client, id);
        await client.close();
        return took;
    },
    'while a picture is being encoded': () => cancelAt('encoding', { input: picture }),
    async 'while one of many tiles is being encoded'() {
        const notes = [];
        for (const wait_ms of [150, 700, 1300])
            notes.push(await cancelAt('encoding', { input: picture }, OCELLUS_SLOW_TILES, wait_ms));
        return notes.join(', ');
    },
    'during prefill': () => cancelAt('prefill', { input: 'word '.repeat(1500) }),
});
