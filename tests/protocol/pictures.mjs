// How large pictures become, what they take of the context, and what is told of it, with a model that cuts pictures into
// tiles: OCELLUS_SLOW_MODEL and OCELLUS_SLOW_TILES.
import { Client, SKIPPED, check, equal, file, goodSample, run } from './lib/ocellus.mjs';

const { OCELLUS_SANITIZE, OCELLUS_SLOW_MODEL, OCELLUS_SLOW_TILES } = process.env;
if (OCELLUS_SANITIZE) {
    console.log('skipped: a sanitizer makes many tiles and their prefill take minutes where there is no AVX-512');
    process.exit(SKIPPED);
}
if (!OCELLUS_SLOW_MODEL || !OCELLUS_SLOW_TILES) {
    console.log('skipped: OCELLUS_SLOW_MODEL and OCELLUS_SLOW_TILES are not set');
    process.exit(SKIPPED);
}

const N_CTX = 1024;
const ROWS = 64; // of a tile
const first = file(goodSample().image);
const second = file(goodSample(20).image);

async function store(client, bytes) {
    const event_id = `put-${bytes.length}`;
    client.send({ type: 'image.put', event_id, data: bytes.toString('base64') });
    return client.next((m) => m.type === 'image.stored' && m.event_id === event_id);
}

async function respond(client, content, options = {}) {
    const { id, last, events, stats } = await client.respond({
        input: [{ role: 'user', content: [...content, { type: 'input_text', text: 'Why?' }] }], max_output_tokens: 1,
        ...options,
    });
    check(/completed|incomplete/.test(last.type), JSON.stringify(last.response.error));
    const { usage } = last.response;
    return { id, stats, n_input: usage.input_tokens, n_image: usage.input_tokens_details.image_tokens,
        told: events.filter((m) => m.type === 'response.notice'), notices: last.response.notices };
}

await run(['-m', OCELLUS_SLOW_MODEL, '--mmproj', OCELLUS_SLOW_TILES, '--ctx', `${N_CTX}`], {
    async 'what a picture takes is known before, and is what it takes'(server) {
        const client = await Client.open(server);
        const { n_tokens, image_id } = await store(client, first);
        const { image_tokens } = client.session.models[0];
        check(n_tokens > ROWS && n_tokens <= N_CTX * 3 / 4, `${n_tokens} tokens`);
        check(image_tokens > 17 * ROWS, `at most ${image_tokens} tokens`);
        const without = await respond(client, []);
        const auto = await respond(client, [{ type: 'input_image', image_id }]);
        equal(auto.n_image, n_tokens, 'image_tokens');
        // the template's line feed, and the spaces that the tokenizer begins texts with
        const seam = auto.n_input - without.n_input - n_tokens;
        check(seam >= 0 && seam <= 4, `${auto.n_input} tokens with the picture, ${without.n_input} without`);
        equal(auto.told.length, 1, 'notices');
        equal(auto.told[0].code, 'image_reduced', 'code');
        equal(auto.told[0].image_id, image_id, 'image_id');
        equal(auto.told[0].n_tokens, n_tokens, 'n_tokens');
        equal(JSON.stringify(auto.notices), '[{"code":"image_reduced","count":1}]', 'notices of the response');
        equal(JSON.stringify(without.notices), '[]', 'notices without a picture');
        await client.close();
        return `${n_tokens} of at most ${image_tokens} tokens`;
    },
    async 'low detail and max_image_tokens'(server) {
        const client = await Client.open(server);
        const { image_id, n_tokens } = await store(client, first);
        const low = await respond(client, [{ type: 'input_image', image_id, detail: 'low' }]);
        check(low.n_image >= ROWS && low.n_image < 2 * ROWS, `low: ${low.n_image} tokens`);
        equal(low.stats.cache.images_encoded, 1, 'another form is another encode');
        equal(low.told.length, 0, 'notices of what was asked for');
        const again = await respond(client, [{ type: 'input_image', image_id, detail: 'low' }]);
        equal(again.stats.cache.images_encoded, 0, 'the same form is not');
        const limit = n_tokens - 1;
        const some = await respond(client, [{ type: 'input_image', image_id }], { max_image_tokens: limit });
        check(some.n_image <= limit, `${some.n_image} tokens, at most ${limit}`);
        const both = await respond(client, [{ type: 'input_image', image_id }, { type: 'input_image', image_id }]);
        check(both.n_image <= N_CTX * 3 / 4, `two pictures: ${both.n_image} tokens`);
        const followUp = await respond(client, [], { previous_response_id: low.id });
        equal(followUp.n_image, low.n_image, 'detail of an earlier picture');
        const error = await client.refusal({ type: 'response.create', event_id: 'huge', input: [{ role: 'user',
            content: [{ type: 'input_image', image_id, detail: 'huge' }] }] });
        equal(error.param, 'input[0].content[0].detail', 'param');
        await client.close();
    },
    async 'what does not fit whatever is left out'(server) {
        const client = await Client.open(server);
        const { image_id } = await store(client, first);
        const { last } = await client.respond({ input: [{ role: 'user', content: [
            { type: 'input_image', image_id, detail: 'high' }, { type: 'input_text', text: 'Why?' }] }] });
        equal(last.type, 'response.failed', 'type');
        equal(last.response.error.code, 'context_exceeded', 'code');
        check(/prompt of \d+ tokens \(of these \d+ for 1 image\), the context holds 1024/.test(
            last.response.error.message), last.response.error.message);
        await client.close();
    },
    async 'older pictures go, and it is told'(server) {
        const client = await Client.open(server);
        const old = await store(client, first), recent = await store(client, second);
        const before = await respond(client, [{ type: 'input_image', image_id: old.image_id }]);
        const after = await respond(client, [{ type: 'input_image', image_id: recent.image_id }],
            { previous_response_id: before.id });
        const dropped = after.told.filter((m) => m.code === 'image_dropped');
        equal(dropped.length, 1, 'dropped pictures');
        equal(dropped[0].image_id, old.image_id, 'the older one');
        equal(after.n_image, recent.n_tokens, 'image_tokens');
        check(after.notices.some((n) => n.code === 'image_dropped' && n.count === 1), JSON.stringify(after.notices));
        await client.close();
        return dropped[0].message;
    },
});
