// Pictures by every way in, the answer by every field of the stream, and follow-up questions.
import { createHash } from 'node:crypto';
import { Client, ask, check, dataUri, equal, file, goodSample, padJpeg, run, upload } from './lib/ocellus.mjs';

const sample = goodSample();
const png = file(sample.image);
const jpeg = file(sample.jpeg);

function checkStream({ events, last, text }) {
    events.forEach((m, i) => equal(m.sequence_number, i, `sequence_number of ${m.type}`));
    const order = events.map((m) => m.type).filter((t, i, all) => t !== 'response.progress' && t !== all[i - 1]);
    equal(order.join(' '), 'response.created response.in_progress response.output_item.added ' +
        'response.content_part.added response.output_text.delta response.output_text.done ' +
        'response.content_part.done response.output_item.done response.stats response.completed', 'order');
    equal(events.find((m) => m.type === 'response.output_text.done').text, text, 'output_text.done');
    const { response } = last;
    equal(response.output[0].content[0].text, text, 'output of response.completed');
    equal(response.output[0].id, events.find((m) => m.delta !== undefined).item_id, 'item id');
    equal(response.usage.total_tokens, response.usage.input_tokens + response.usage.output_tokens, 'total_tokens');
}

await run([], {
    async 'session.created names limits and model'(server) {
        const client = await Client.open(server, { protocols: ['ocellus.v1'] });
        const { limits, models, sequence_number } = client.session;
        equal(sequence_number, 0, 'sequence_number');
        check(limits.max_message_bytes > 0 && limits.max_images > 0 && limits.n_ctx > 0, JSON.stringify(limits));
        check(models[0].modalities.includes('image') && models[0].image_tokens > 0, JSON.stringify(models));
        equal(client.socket.protocol, 'ocellus.v1', 'subprotocol');
        equal(client.socket.extensions, '', 'extensions');
        await client.close();
    },
    async 'base64 picture'(server) {
        const client = await Client.open(server, { path: '/v1/responses' });
        const result = await client.respond({
            input: ask({ image_url: dataUri(png) }, sample.question), stream_id: 's1', metadata: { a: '"1"' },
        });
        equal(result.text, sample.answer, 'answer');
        check(result.events.filter((m) => m.delta !== undefined).length > 1, 'the answer came in one piece');
        checkStream(result);
        equal(result.last.response.metadata.a, '"1"', 'metadata');
        check(result.last.response.usage.input_tokens_details.image_tokens > 0, 'image_tokens');
        await client.close();
    },
    async 'chat-style parts'(server) {
        const client = await Client.open(server);
        const { text } = await client.respond({
            model: 'default', store: false, include: [], stream: true,
            input: [{ type: 'message', role: 'user', content: [
                { type: 'image_url', image_url: { url: dataUri(png), detail: 'auto' } },
                { type: 'text', text: sample.question }] }],
        });
        equal(text, sample.answer, 'answer');
        await client.close();
    },
    async 'image.put, image_id, and a follow-up without a second encode'(server) {
        const client = await Client.open(server);
        client.send({ type: 'image.put', event_id: 'e1', data: png.toString('base64') });
        const stored = await client.next((m) => m.type === 'image.stored' && m.event_id === 'e1');
        equal(stored.image_id, createHash('sha256').update(png).digest('hex'), 'image_id');
        const first = await client.respond({ input: ask({ image_id: stored.image_id }, sample.question) });
        equal(first.text, sample.answer, 'answer');
        const second = await client.respond({ input: sample.question, previous_response_id: first.id });
        equal(second.last.type, 'response.completed', 'follow-up');
        equal(second.stats.cache.images_encoded, 0, 'images_encoded of the follow-up');
        check(second.stats.cache.prefix_tokens > stored.n_tokens, `prefix of ${second.stats.cache.prefix_tokens}`);
        await client.close();
    },
    async 'binary upload of a 5 MB JPEG in 64 KiB frames'(server) {
        const client = await Client.open(server);
        const big = padJpeg(jpeg, 5000000);
        equal(big.length, 5000000, 'size of the test picture');
        const began = performance.now();
        const stored = await upload(client, 7, big, 65536, { event_id: 'up' });
        const took = performance.now() - began;
        equal(stored.type, 'image.stored', `answer ${JSON.stringify(stored)}`);
        equal(stored.known, false, 'known');
        const sha256 = createHash('sha256').update(big).digest('hex');
        equal(stored.image_id, sha256, 'image_id');
        const { text } = await client.respond({ input: ask({ image_id: stored.image_id }, sample.question) });
        equal(text, sample.answer_jpeg, 'answer');
        const again = await upload(client, 7, big, 65536, { sha256 });
        equal(again.type, 'image.stored', 'announced again');
        equal(again.known, true, 'known');
        await client.close();
        return `${took.toFixed(0)} ms`;
    },
    async 'a stop string, a token limit and a fixed seed'(server) {
        const client = await Client.open(server);
        const whole = (await client.respond({ input: ask({ image_url: dataUri(png) }, sample.question) })).text;
        const word = whole.split(' ')[1];
        const stopped = await client.respond({ input: ask({ image_url: dataUri(png) }, sample.question), stop: word });
        equal(stopped.text, whole.slice(0, whole.indexOf(word)), 'text before the stop string');
        const short = await client.respond({ input: 'Hello', max_output_tokens: 1 });
        equal(short.last.type, 'response.incomplete', 'end');
        equal(short.last.response.incomplete_details.reason, 'max_output_tokens', 'reason');
        const seeded = { input: 'Hello', temperature: 1.5, seed: 11, max_output_tokens: 20 };
        equal((await client.respond(seeded)).text, (await client.respond(seeded)).text, 'same seed');
        await client.close();
    },
});
