// Who is let in: Host, Origin, the WebSocket handshake; and what plain HTTP answers. Bytes over raw sockets.
import { connect } from 'node:net';
import { gunzipSync } from 'node:zlib';
import { readFileSync } from 'node:fs';
import { Client, check, equal, run } from './lib/ocellus.mjs';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

// Sends requests on one connection and collects all that comes until the server closes it or is silent.
function raw(server, ...pieces) {
    return new Promise((resolve, reject) => {
        const socket = connect(server.port, '127.0.0.1');
        let text = '';
        const done = () => (socket.destroy(), resolve(text));
        socket.setTimeout(700, done);
        socket.on('data', (data) => {
            text += data.toString('latin1');
            if (pieces.length) socket.write(pieces.shift());
        });
        socket.on('close', done);
        socket.on('error', (error) => (error.code === 'ECONNRESET' || error.code === 'EPIPE' ? done() : reject(error)));
        socket.write(pieces.shift());
    });
}

function request(server, changes = {}, { method = 'GET', path = '/ws' } = {}) {
    const headers = {
        Host: `127.0.0.1:${server.port}`, Upgrade: 'websocket', Connection: 'Upgrade',
        'Sec-WebSocket-Key': KEY, 'Sec-WebSocket-Version': '13', ...changes,
    };
    const lines = Object.entries(headers).filter(([, value]) => value !== undefined)
        .flatMap(([name, value]) => [].concat(value).map((v) => `${name}: ${v}`));
    return `${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`;
}

const status = (text) => Number(text.slice(9, 12));
const plain = { Upgrade: undefined, Connection: undefined, 'Sec-WebSocket-Key': undefined,
    'Sec-WebSocket-Version': undefined };

const refusals = {
    'version 8': [{ 'Sec-WebSocket-Version': '8' }, 426],
    'no version': [{ 'Sec-WebSocket-Version': undefined }, 426],
    'two versions': [{ 'Sec-WebSocket-Version': ['13', '8'] }, 426],
    'a short key': [{ 'Sec-WebSocket-Key': 'abc' }, 400],
    'a key of other characters': [{ 'Sec-WebSocket-Key': '????????????????????????' }, 400],
    'no key': [{ 'Sec-WebSocket-Key': undefined }, 400],
    'Transfer-Encoding': [{ 'Transfer-Encoding': 'chunked' }, 400],
    'Content-Length': [{ 'Content-Length': '5' }, 400],
    'a foreign Host': [{ Host: 'evil.example' }, 403],
    'a Host with another port': [{ Host: '127.0.0.1:1' }, 403],
    'a Host that only begins well': [{ Host: 'localhost.evil.example' }, 403],
    'two Hosts': [{ Host: ['localhost', 'evil.example'] }, 403],
    'a foreign Origin': [{ Origin: 'http://evil.example' }, 403],
    'Origin null': [{ Origin: 'null' }, 403],
    'an Origin of another port': [{ Origin: 'http://127.0.0.1:1' }, 403],
    'an Origin that only begins well': [{ Origin: 'http://127.0.0.1.evil.example' }, 403],
};

const tests = {};
for (const [name, [changes, expected]] of Object.entries(refusals))
    tests[`refused: ${name}`] = async (server) => equal(status(await raw(server, request(server, changes))), expected, 'status');

await run(['--allow-origin', 'https://app.example', '--allow-host', 'box.example'], {
    ...tests,
    async 'refused: no Host, another path, another method, an unknown upgrade'(server) {
        check(status(await raw(server, request(server, { Host: undefined }))) !== 101, 'no Host');
        equal(status(await raw(server, request(server, {}, { path: '/other' }))), 404, 'path');
        check(status(await raw(server, request(server, {}, { method: 'POST' }))) !== 101, 'method');
        check(status(await raw(server, request(server, { Upgrade: 'h2c', 'HTTP2-Settings': '' }))) !== 101, 'h2c');
    },
    async 'let in: own and allowed origins and hosts'(server) {
        for (const changes of [{}, { Origin: `http://127.0.0.1:${server.port}` }, { Origin: 'https://app.example' },
            { Host: 'localhost' }, { Host: `localhost:${server.port}`, Origin: `http://localhost:${server.port}` },
            { Host: 'box.example', Origin: 'https://box.example' }, { Upgrade: 'WebSocket' }])
            equal(status(await raw(server, request(server, changes))), 101, JSON.stringify(changes));
    },
    async 'subprotocols: ours, none, or whatever else a client insists on'(server) {
        for (const [offered, agreed] of [[['ocellus.v1'], 'ocellus.v1'], [['other', 'ocellus.v1'], 'ocellus.v1'],
            [['realtime', 'openai-insecure-api-key.sk-1'], 'realtime'], [undefined, '']]) {
            const client = await Client.open(server, { protocols: offered });
            equal(client.socket.protocol, agreed, `agreed on of ${offered}`);
            await client.close();
        }
    },
    async 'GET, then "Upgrade: foo" on the same connection'(server) {
        const text = await raw(server, request(server, plain, { path: '/livez' }), request(server, { Upgrade: 'foo' }));
        check(!text.includes('101'), text);
        equal(status(await raw(server, request(server, plain, { path: '/livez' }))), 200, 'the server lives');
    },
    async 'no smuggling: Transfer-Encoding and bodies end the connection'(server) {
        const get = (more) => request(server, { ...plain, ...more }, { path: '/livez' });
        const smuggled = get({});
        for (const more of [{ 'Transfer-Encoding': 'chunked' }, { 'Content-Length': String(smuggled.length) },
            { 'Content-Length': '0', 'Transfer-Encoding': 'chunked' }]) {
            const text = await raw(server, get(more) + smuggled);
            equal(text.split('HTTP/1.1 ').length - 1, 1, `answers to ${JSON.stringify(more)}`);
            check(status(text) >= 400, text.slice(0, 40));
        }
    },
    async 'CONNECT and junk get nothing'(server) {
        check(status(await raw(server, `CONNECT x:1 HTTP/1.1\r\nHost: localhost\r\n\r\n`)) !== 200, 'CONNECT');
        check(!(await raw(server, '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n')).includes('200'), 'TLS hello');
        equal(status(await raw(server, request(server, plain, { path: '/livez' }))), 200, 'the server lives');
    },
    async 'a close frame of one byte is not echoed'(server) {
        const client = await Client.open(server);
        const socket = client.socket._socket;
        const heard = new Promise((resolve) => {
            let bytes = Buffer.alloc(0);
            socket.on('data', (data) => (bytes = Buffer.concat([bytes, data])));
            socket.on('close', () => resolve(bytes));
        });
        socket.write(Buffer.from([0x88, 0x81, 1, 2, 3, 4, 0]));
        const bytes = await heard;
        check(!(bytes.length === 3 && bytes[0] === 0x88 && bytes[1] === 1), 'it was');
    },
    async 'pages: type, headers, gzip, ETag, HEAD, 404, 405'(server) {
        const index = await fetch(server.url + '/');
        equal(index.status, 200, 'status');
        equal(index.headers.get('content-type'), 'text/html; charset=utf-8', 'type');
        equal(index.headers.get('content-security-policy'), "default-src 'none'; script-src 'self'; " +
            "style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'; " +
            "base-uri 'none'; form-action 'none'", 'CSP');
        equal(index.headers.get('x-content-type-options'), 'nosniff', 'nosniff');
        equal(index.headers.get('server'), null, 'Server');
        equal(await index.text(), readFileSync('static/index.html', 'utf8'), 'index.html');
        const again = await fetch(server.url + '/', { headers: { 'if-none-match': index.headers.get('etag') } });
        equal(again.status, 304, 'with the ETag');
        const head = await raw(server, request(server, { ...plain, Connection: 'close', 'Accept-Encoding': 'gzip' },
            { path: '/style.css', method: 'HEAD' }));
        equal(head.split('\r\n\r\n')[1], '', 'body of HEAD');
        check(/Content-Encoding: gzip/.test(head) && /Vary: Accept-Encoding/.test(head), head);
        const zipped = await raw(server, request(server, { ...plain, Connection: 'close', 'Accept-Encoding': 'gzip' },
            { path: '/style.css' }));
        const body = Buffer.from(zipped.slice(zipped.indexOf('\r\n\r\n') + 4), 'latin1');
        equal(gunzipSync(body).toString(), readFileSync('static/style.css', 'utf8'), 'style.css');
        equal((await fetch(server.url + '/nothing')).status, 404, 'unknown path');
        equal((await fetch(server.url + '/..%2f..%2fetc/passwd')).status, 404, 'a path out of the folder');
        equal((await fetch(server.url + '/', { method: 'POST', body: 'x' })).status, 405, 'POST');
        equal((await fetch(server.url + '/ws')).status, 426, '/ws without Upgrade');
        for (const path of ['/livez', '/readyz', '/health'])
            equal((await (await fetch(server.url + path)).json()).status, 'ok', path);
    },
    async 'at most 64 sockets of one address'(server) {
        const sockets = [...Array(70)].map(() => connect(server.port, '127.0.0.1'));
        let open = 0;
        await Promise.all(sockets.map((socket) => new Promise((resolve) => {
            socket.on('error', resolve);
            socket.on('close', resolve);
            socket.once('data', () => (open++, resolve()));
            socket.write(request(server, plain, { path: '/livez' }));
        })));
        check(open > 0 && open <= 64, `${open} sockets were served`);
        sockets.forEach((socket) => socket.destroy());
        return `${open} served`;
    },
});
