// Encodes that several requests share, or that lose their client halfway. What an answer must be is what a server says
// that has nothing else to do. Some need a model that takes a while and cuts pictures into tiles (OCELLUS_SLOW_MODEL,
// OCELLUS_SLOW_TILES) or one trained on one picture a conversation (OCELLUS_SLOW_MMPROJ): not under a sanitizer, where
// their prefills take minutes.
import { createHash } from 'node:crypto';

import { Client, ask, check, dataUri, equal, file, frame, goodSample, run, start } from './lib/ocellus.mjs';

const { OCELLUS_SANITIZE, OCELLUS_SLOW_MODEL, OCELLUS_SLOW_MMPROJ, OCELLUS_SLOW_TILES } = process.env;
const TILES = ['-m', OCELLUS_SLOW_MODEL, '--mmproj', OCELLUS_SLOW_TILES, '--ctx', '1024'];
const ONE_PICTURE = ['-m', OCELLUS_SLOW_MODEL, '--mmproj', OCELLUS_SLOW_MMPROJ, '--ctx', '2048'];
const images = [0, 20, 40, 60].map((at) => dataUri(file(goodSample(at).image)));
check(new Set(images).size === images.length, 'the same sample twice');
const request = (image_url, more = {}) => ({
    input: ask({ image_url, ...more }, 'What is this?'), max_output_tokens: 6, logit_bias: { 2: -100 },
});
const open = (server, n) => Promise.all([...Array(n)].map(() => Client.open(server)));
const close = (clients) => Promise.all(clients.map((client) => client.close()));
const n_encoded = (results) => results.reduce((sum, r) => sum + r.stats.cache.images_encoded, 0);

async function with_server(args, test) {
    const server = await start(args);
    try {
        await test(server);
    } finally {
        equal(await server.stop(), 0, 'exit');
    }
}

// The texts of these requests, one after the other, to a server of their own.
async function alone(args, requests) {
    const texts = [];
    await with_server(args, async (server) => {
        const client = await Client.open(server);
        for (const one of requests) texts.push((await client.respond(one)).text);
        await client.close();
    });
    return texts;
}

// All requests at once, each from a client of its own; their answers are those of `alone`.
async function together(server, args, requests, encodes) {
    const clients = await open(server, requests.length);
    const results = await Promise.all(requests.map((one, i) => clients[i].respond(one)));
    equal(n_encoded(results), encodes, 'encodes');
    const texts = await alone(args, requests);
    results.forEach((result, i) => equal(result.text, texts[i], `text of client ${i}`));
    await close(clients);
    return new Set(texts).size;
}

// Sends the request, and waits until its picture is being encoded, or until it waits for another's encode of it.
async function begin(client, one) {
    client.send({ type: 'response.create', temperature: 0, ...one });
    await client.next((m) => m.type === 'response.progress' && m.stage === 'encoding');
}

const small = {
    async 'four clients send the same picture at once: it is encoded once'(server) {
        await together(server, [], Array(4).fill(request(images[0])), 1);
    },
    async 'two pictures at once, twice each'(server) {
        const requests = [1, 2, 1, 2].map((i) => request(images[i]));
        equal(await together(server, [], requests, 2), 2, 'different answers');
    },
    async 'a picture twice in a message is encoded once'(server) {
        const client = await Client.open(server);
        const part = { type: 'input_image', image_url: images[3] };
        const { stats, last } = await client.respond({ input: [{ role: 'user', content: [part, part] }],
            max_output_tokens: 1 });
        equal(stats.cache.images_encoded, 1, 'encodes');
        equal(last.response.usage.input_tokens_details.image_tokens % 2, 0, 'tokens of both');
        await client.close();
    },
    async 'two uploads whose messages alternate'(server) {
        const client = await Client.open(server);
        const files = [0, 20].map((at) => file(goodSample(at).image)), piece = 1000;
        for (const i of [0, 1]) {
            client.send({ type: 'image.begin', upload_id: i, size_bytes: files[i].length });
            await client.next((m) => m.type === 'image.ready' && m.upload_id === i);
        }
        for (let at = 0; at < Math.max(...files.map((bytes) => bytes.length)); at += piece)
            files.forEach((bytes, i) => at < bytes.length && client.send(frame(i, at, bytes.subarray(at, at + piece))));
        for (const i of [0, 1]) {
            const { image_id } = await client.next((m) => m.type === 'image.stored' && m.upload_id === i);
            equal(image_id, createHash('sha256').update(files[i]).digest('hex'), 'image_id');
        }
        await client.close();
    },
};

const slow = {
    'a picture in two forms at once': () => with_server(TILES, async (server) => {
        const requests = [request(images[0]), request(images[0], { detail: 'low' })];
        equal(await together(server, TILES, requests, 2), 2, 'different answers');
    }),
    'a client that goes halfway: who waits for the same picture gets it': () => with_server(TILES, async (server) => {
        const [first, second] = await open(server, 2);
        await begin(first, request(images[0]));
        await begin(second, request(images[0]));
        first.socket.terminate();
        await first.closed;
        const result = await second.finish();
        equal(n_encoded([result]), 1, 'encodes');
        const [text] = await alone(TILES, [request(images[0])]);
        equal(result.text, text, 'text');
        await second.close();
    }),
    'more than one picture for a model trained on one: it is told': () => with_server(ONE_PICTURE, async (server) => {
        const client = await Client.open(server);
        const first = await client.respond({ ...request(images[0]), max_output_tokens: 1 });
        equal(JSON.stringify(first.last.response.notices), '[]', 'notices of one picture');
        const { last, events } = await client.respond({ ...request(images[1]), max_output_tokens: 1,
            previous_response_id: first.id });
        equal(JSON.stringify(last.response.notices), '[{"code":"several_images","count":1}]', 'notices of two');
        const { message } = events.find((m) => m.type === 'response.notice');
        check(/trained on one picture a conversation and sees 2/.test(message), message);
        await client.close();
    }),
};

await run([], { ...small, ...(OCELLUS_SLOW_MODEL && !OCELLUS_SANITIZE ? slow : {}) });
