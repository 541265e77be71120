// Bad input: each kind gets its error event, and the socket goes on.
import { deflateSync } from 'node:zlib';
import { Client, ask, check, dataUri, equal, file, frame, goodSample, isLast, run, upload } from './lib/ocellus.mjs';

const sample = goodSample();
const png = file(sample.image);
const jpeg = file(sample.jpeg);

function pngHeader(width, height) {
    const chunk = (type, data) => {
        const out = Buffer.alloc(12 + data.length);
        out.writeUInt32BE(data.length, 0);
        out.write(type, 4, 'latin1');
        data.copy(out, 8);
        out.writeUInt32BE(crc32(out.subarray(4, 8 + data.length)), 8 + data.length);
        return out;
    };
    const ihdr = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 8, 2, 0, 0, 0]);
    ihdr.writeUInt32BE(width, 0);
    ihdr.writeUInt32BE(height, 4);
    return Buffer.concat([Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]), chunk('IHDR', ihdr),
        chunk('IDAT', deflateSync(Buffer.alloc(100))), chunk('IEND', Buffer.alloc(0))]);
}

function crc32(bytes) {
    let crc = ~0;
    for (const byte of bytes) {
        crc ^= byte;
        for (let k = 0; k < 8; k++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
    }
    return ~crc >>> 0;
}

const gif = Buffer.from('GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00' +
    '\x00\x02\x02D\x01\x00;', 'latin1');
const nested = '{"type":"response.create","input":' + '['.repeat(10000) + ']'.repeat(10000) + '}';
const badBase64 = dataUri(png).replace(/.{20}$/, (end) => '*' + end.slice(1));

// The error of a request, whether it was refused or failed.
async function failure(client, message) {
    client.send(message);
    const last = await client.next((m) => m.type === 'error' || isLast(m));
    client.left = [];
    return last.type === 'error' ? last.error : last.response.error;
}

const create = (input, more = {}) => ({ type: 'response.create', temperature: 0, input, ...more });
const see = (bytes, mime) => create(ask({ image_url: dataUri(bytes, mime) }, 'What is this?'));

const cases = {
    'truncated JPEG': [see(jpeg.subarray(0, jpeg.length >> 1), 'image/jpeg'), 'image_truncated'],
    'PNG of 65500x65500': [see(pngHeader(65500, 65500)), 'image_too_large'],
    'GIF renamed .jpg': [see(gif, 'image/jpeg'), 'image_unsupported'],
    'bad character in base64': [create(ask({ image_url: badBase64 }, 'What?')), 'invalid_base64', /content\[0\]/],
    'broken JSON': ['{"type":"response.create",', 'invalid_json'],
    'JSON that is no object': ['[1]', 'invalid_json'],
    'empty message': ['', 'invalid_json'],
    'JSON nested 10,000 deep': [nested, 'json_too_deep'],
    'unknown image_id': [create(ask({ image_id: 'f'.repeat(64) }, 'What?')), 'image_unknown', /content\[0\]/],
    'three images where the limit is two': [create([{ role: 'user', content: [1, 2, 3].map(() =>
        ({ type: 'input_image', image_url: dataUri(png) })) }]), 'too_many_images'],
    'a prompt longer than the context': [create('word '.repeat(20000)), 'context_exceeded'],
    'unknown type': [{ type: 'response.explode' }, 'unknown_type', /^type$/],
    'no type': [{ input: 'x' }, 'invalid_value', /^type$/],
    'no input': [{ type: 'response.create' }, 'invalid_value', /^input$/],
    'unknown model': [create('x', { model: 'gpt-9' }), 'model_not_found', /^model$/],
    'an http image_url': [create(ask({ image_url: 'http://127.0.0.1/x.png' }, 'What?')), 'invalid_value', /image_url/],
    'tools': [create('x', { tools: [{ type: 'function', name: 'f' }] }), 'invalid_value', /^tools$/],
    'a JSON schema': [create('x', { text: { format: { type: 'json_schema' } } }), 'invalid_value', /^text.format.schema$/],
    'a grammar that is none': [create('x', { grammar: 'root ::= ("a"' }), 'invalid_value', /^grammar$/],
    'an unknown sampler': [create('x', { samplers: ['top_k', 'magic'] }), 'invalid_value', /^samplers.1.$/],
    'unknown role': [create([{ role: 'wizard', content: 'x' }]), 'invalid_value', /^input\[0\].role$/],
    'unknown part': [create([{ role: 'user', content: [{ type: 'input_audio' }] }]), 'invalid_value',
        /^input\[0\].content\[0\].type$/],
    'unknown previous response': [create('x', { previous_response_id: 'resp_0' }), 'invalid_value',
        /^previous_response_id$/],
    'an image in base64 that is no image': [{ type: 'image.put', data: 'AAAA' }, 'image_unsupported'],
    'a truncated picture put': [{ type: 'image.put', data: jpeg.subarray(0, 3000).toString('base64') },
        'image_truncated'],
    'an upload beyond the limit': [{ type: 'image.begin', upload_id: 1, size_bytes: 1e9 }, 'image_too_large'],
    'an upload of nothing': [{ type: 'image.begin', upload_id: 1, size_bytes: 0 }, 'invalid_value', /^size_bytes$/],
    'a binary frame for an unknown upload': [frame(99, 0, png), 'upload_unknown'],
    'a binary frame without a header': [Buffer.from('short'), 'invalid_value'],
};
for (const [name, values] of Object.entries({
    temperature: [-0.1, 2.1, '1', true, [], {}], top_p: [-1, 1.5], min_p: [2], top_k: [-1, 1.5, 2 ** 53],
    max_output_tokens: [0, -1, 2 ** 31, 1.5, 'x'], seed: [0.5, '7'], repeat_penalty: [0, 11],
    presence_penalty: [3], frequency_penalty: [-3], repeat_last_n: [-1, 1e6], stop: [1, [1], ['']],
    logit_bias: [3, [[1]], { x: 'y' }, { 1: 101 }, { '-1': 0 }], metadata: [1, { a: 1 }], instructions: [1],
    previous_response_id: [1, ''],
}))
    for (const value of values)
        cases[`${name}: ${JSON.stringify(value)}`] =
            [create('x', { [name]: value }), 'invalid_value', new RegExp(`^${name}(\\[|$)`)];

let client;
const tests = {
    async connect(server) {
        client = await Client.open(server);
    },
};
for (const [name, [message, code, param]] of Object.entries(cases))
    tests[name] = async () => {
        const error = await failure(client, message);
        equal(error.code, code, 'code');
        check(error.message.length > 8, 'a message for people');
        if (param) check(param.test(error.param), `param ${error.param}`);
    };

await run(['--max-images', '2'], {
    ...tests,
    async 'an event_id and a stream_id come back with the error'() {
        client.send({ type: 'response.create', event_id: 'e9', stream_id: 's9', top_p: 7 });
        const event = await client.next('error');
        equal(event.error.event_id, 'e9', 'event_id');
        equal(event.stream_id, 's9', 'stream_id');
        equal(event.error.type, 'invalid_request_error', 'type');
    },
    async 'upload: wrong offset, wrong id, past the end, then right'() {
        client.send({ type: 'image.begin', upload_id: 5, size_bytes: png.length });
        await client.next('image.ready');
        equal((await failure(client, frame(5, 1, png))).code, 'upload_out_of_order', 'gap');
        equal((await failure(client, frame(5, 0, Buffer.concat([png, png])))).code, 'upload_out_of_order', 'end');
        equal((await failure(client, { type: 'image.begin', upload_id: 5, size_bytes: 9 })).code, 'invalid_value', 'id');
        client.send(frame(5, 0, png));
        equal((await client.next('image.stored')).upload_id, 5, 'upload_id');
    },
    async 'upload: the announced sha256 is wrong'() {
        const answer = await upload(client, 6, png, 65536, { sha256: '0'.repeat(64) });
        equal(answer.error.code, 'invalid_value', 'code');
        equal(answer.error.param, 'sha256', 'param');
    },
    async 'upload: more than four at once'() {
        for (let id = 100; id < 104; id++) {
            client.send({ type: 'image.begin', upload_id: id, size_bytes: 100 });
            await client.next('image.ready');
        }
        equal((await failure(client, { type: 'image.begin', upload_id: 104, size_bytes: 100 })).code, 'busy', 'code');
    },
    async 'the same socket still answers'() {
        const { text } = await client.respond({ input: ask({ image_url: dataUri(png) }, sample.question) });
        equal(text, sample.answer, 'answer');
        await client.close();
    },
    async 'a message too big: an error, then 1009'(server) {
        const big = await Client.open(server);
        big.send('"' + 'x'.repeat(big.session.limits.max_message_bytes + 1000) + '"');
        equal((await big.next('error')).error.code, 'message_too_big', 'code');
        equal((await big.closed).code, 1009, 'close code');
    },
    async 'text that is not UTF-8: 1007'(server) {
        for (const bytes of [[0xff], [0xce], [0xed, 0xa0, 0x80]]) {
            const bad = await Client.open(server);
            bad.socket.send(Buffer.from(bytes), { binary: false });
            equal((await bad.closed).code, 1007, `close code of ${bytes}`);
        }
        const split = await Client.open(server); // valid so far at the fragment's end, cut short at the message's
        split.socket.send(Buffer.from([0x22, 0xce]), { binary: false, fin: false });
        split.socket.send(Buffer.from([]), { binary: false, fin: true });
        equal((await split.closed).code, 1007, 'close code of a sequence cut short');
    },
});
