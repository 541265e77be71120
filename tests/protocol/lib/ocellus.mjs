// What the protocol tests share: a server of their own and a client that is nothing but npm `ws`.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

export const binary = process.env.OCELLUS ?? 'build/release/ocellus';
const SAMPLES = 'samples/demo';
export const SKIPPED = 77;

export function check(condition, message) {
    if (!condition) throw new Error(message);
}

export function equal(found, expected, what) {
    if (found !== expected)
        throw new Error(`${what}: expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`);
}

// Runs the named tests in order, each with the same server; a failure ends the program with 1.
export async function run(args, tests) {
    const server = await start(args);
    let failed = 0;
    for (const [name, test] of Object.entries(tests)) {
        const began = Date.now();
        try {
            const note = await test(server);
            console.log(`ok      ${name} (${Date.now() - began} ms)${note ? ': ' + note : ''}`);
        } catch (error) {
            failed++;
            console.log(`FAILED  ${name}: ${error.message}`);
        }
    }
    const code = await server.stop();
    if (code !== 0) {
        failed++;
        console.log(`FAILED  exit: expected 0 after SIGTERM, found ${code}`);
    }
    process.exit(failed ? 1 : 0);
}

export async function start(args = []) {
    const child = spawn(binary, ['serve', '--port', '0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let log = '';
    child.stderr.on('data', (data) => (log = (log + data).slice(-4000)));
    const exited = new Promise((resolve) => child.on('exit', (code, signal) => resolve(code ?? signal)));
    const url = await new Promise((resolve, reject) => {
        createInterface({ input: child.stdout }).once('line', (line) => resolve(JSON.parse(line).url));
        exited.then((code) => reject(new Error(`the server ended with ${code} before it was ready: ${log}`)));
        child.on('error', reject);
    });
    return {
        url,
        port: Number(new URL(url).port),
        pid: child.pid,
        exited,
        log: () => log,
        signal: (name) => child.kill(name),
        stop() {
            child.kill('SIGTERM');
            return exited;
        },
    };
}

// A connection whose messages are kept in order; next() waits for the first one left that fits.
export class Client {
    constructor(server, { path = '/ws', protocols, headers } = {}) {
        this.left = [];
        this.all = [];
        this.waiting = [];
        this.socket = new WebSocket(server.url.replace('http', 'ws') + path, protocols, {
            headers,
            perMessageDeflate: true, // offered, as openai clients do; never taken
        });
        this.closed = new Promise((resolve) =>
            this.socket.on('close', (code, reason) => resolve({ code, reason: reason.toString() })));
        this.socket.on('error', (error) => (this.error = error));
        this.socket.on('message', (data, isBinary) => {
            check(!isBinary, 'a binary message from the server');
            check(data.length < 32768, `a message of ${data.length} bytes`);
            const message = JSON.parse(data);
            message.at = performance.now();
            this.all.push(message);
            this.left.push(message);
            this.waiting.slice().forEach((wait) => wait());
        });
        this.opened = new Promise((resolve, reject) => {
            this.socket.on('open', resolve);
            this.socket.on('unexpected-response', (request, response) =>
                reject(Object.assign(new Error(`HTTP ${response.statusCode}`), { status: response.statusCode })));
            this.socket.on('error', reject);
        });
    }

    static async open(server, options) {
        const client = new Client(server, options);
        await client.opened;
        client.session = await client.next('session.created');
        return client;
    }

    send(message) {
        this.socket.send(Buffer.isBuffer(message) || typeof message === 'string' ? message
            : JSON.stringify(message));
    }

    next(fits, timeout_ms = 20000) {
        const test = typeof fits === 'string' ? (m) => m.type === fits : fits;
        return new Promise((resolve, reject) => {
            const look = () => {
                const index = this.left.findIndex(test);
                if (index < 0) return;
                clearTimeout(timer);
                this.waiting = this.waiting.filter((w) => w !== look);
                resolve(this.left.splice(index, 1)[0]);
            };
            const timer = setTimeout(() => {
                this.waiting = this.waiting.filter((w) => w !== look);
                const seen = this.left.slice(-3).map((m) => JSON.stringify(m).slice(0, 200));
                reject(new Error(`nothing came for ${fits} within ${timeout_ms} ms; last: ${seen.join(' | ')}`));
            }, timeout_ms);
            this.waiting.push(look);
            look();
        });
    }

    // The whole of one response: its events, text and last event. Options are fields of response.create.
    async respond(options) {
        this.send({ type: 'response.create', temperature: 0, ...options });
        return this.finish(options.stream_id);
    }

    async finish(stream_id) {
        const mine = (m) => m.stream_id === stream_id;
        const first = await this.next((m) => mine(m) && (m.type === 'response.created' || m.type === 'error'));
        if (first.type === 'error') throw Object.assign(new Error(first.error.message), { event: first });
        const id = first.response.id;
        const last = await this.next((m) => m.response_id === id && isLast(m), 60000);
        const events = this.all.filter((m) => m.response_id === id);
        this.left = this.left.filter((m) => m.response_id !== id);
        const text = events.filter((m) => m.type === 'response.output_text.delta').map((m) => m.delta).join('');
        return { id, events, last, text, stats: events.find((m) => m.type === 'response.stats') };
    }

    // The error that answers what was sent with this event_id.
    async refusal(message) {
        this.send(message);
        const id = message.event_id;
        return (await this.next((m) => m.type === 'error' && (id === undefined || m.error.event_id === id))).error;
    }

    close() {
        this.socket.close();
        return this.closed;
    }
}

export function isLast(message) {
    return /^response\.(completed|incomplete|failed|cancelled)$/.test(message.type);
}

export const samples = JSON.parse(readFileSync(`${SAMPLES}/samples.json`));

// A question that the demo model answers right, whatever the picture's format.
export function goodSample(from = 0) {
    return samples.slice(from).find((s) => s.correct && s.answer === s.answer_jpeg && s.answer === s.expected);
}

export function file(path) {
    return readFileSync(`${SAMPLES}/${path}`);
}

export function dataUri(bytes, mime = 'image/png') {
    return `data:${mime};base64,${bytes.toString('base64')}`;
}

export function ask(image, question) {
    return [{ role: 'user', content: [{ type: 'input_image', ...image }, { type: 'input_text', text: question }] }];
}

// The same picture in `size` bytes: comments after the start marker.
export function padJpeg(jpeg, size) {
    const parts = [jpeg.subarray(0, 2)];
    for (let missing = size - jpeg.length; missing > 0;) {
        let n = Math.min(missing, 65535 + 2);
        if (missing - n > 0 && missing - n < 4) n -= 4; // a segment is at least its own head
        const segment = Buffer.alloc(n, 0x20);
        segment.writeUInt16BE(0xfffe, 0);
        segment.writeUInt16BE(n - 2, 2);
        parts.push(segment);
        missing -= n;
    }
    parts.push(jpeg.subarray(2));
    return Buffer.concat(parts);
}

export function frame(upload_id, offset, bytes) {
    const header = Buffer.alloc(16);
    header[0] = 1;
    header[1] = 1;
    header.writeUInt32LE(upload_id, 4);
    header.writeBigUInt64LE(BigInt(offset), 8);
    return Buffer.concat([header, bytes]);
}

export async function upload(client, upload_id, bytes, piece = 65536, more = {}) {
    client.send({ type: 'image.begin', upload_id, size_bytes: bytes.length, ...more });
    const answer = await client.next((m) => m.upload_id === upload_id);
    if (answer.type !== 'image.ready') return answer;
    for (let at = 0; at < bytes.length; at += piece)
        client.send(frame(upload_id, at, bytes.subarray(at, at + piece)));
    return client.next((m) => m.upload_id === upload_id);
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
