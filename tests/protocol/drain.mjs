// SIGTERM: no new work, running responses end, sockets close with 1001, exit 0. A second signal ends at once.
import { Client, check, equal, isLast, start } from './lib/ocellus.mjs';

const long = { type: 'response.create', input: 'Hello', temperature: 0, max_output_tokens: 1500,
    logit_bias: { 2: -100 } };

async function drains() {
    const server = await start();
    const [busy, idle] = [await Client.open(server), await Client.open(server)];
    busy.send(long);
    await busy.next('response.output_text.delta');
    server.signal('SIGTERM');
    equal((await idle.closed).code, 1001, 'close code of an idle socket');
    equal((await fetch(server.url + '/readyz')).status, 503, '/readyz');
    equal((await fetch(server.url + '/livez')).status, 200, '/livez');
    const refused = await new Client(server).opened.then(() => 101, (error) => error.status);
    equal(refused, 503, 'a new socket');
    busy.send({ ...long, event_id: 'late' });
    const error = await busy.next((m) => m.type === 'error');
    equal(error.error.code, 'busy', 'a new response');
    const last = await busy.next(isLast, 30000);
    equal(last.type, 'response.incomplete', 'the running response');
    equal((await busy.closed).code, 1001, 'close code');
    equal(await server.exited, 0, 'exit status');
}

async function endsAtOnce() {
    const server = await start();
    const client = await Client.open(server);
    client.send(long);
    await client.next('response.output_text.delta');
    server.signal('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const began = performance.now();
    server.signal('SIGINT');
    equal(await server.exited, 0, 'exit status');
    check(performance.now() - began < 2000, 'it took more than two seconds');
}

async function portInUse() {
    const server = await start();
    const other = await start(['--port', String(server.port)]).then(() => null, (error) => error);
    check(other && other.message.includes(String(server.port)) && /in use/.test(other.message), `${other?.message}`);
    equal(await server.stop(), 0, 'exit status');
}

for (const test of [drains, endsAtOnce, portInUse]) {
    try {
        await test();
        console.log(`ok      ${test.name}`);
    } catch (error) {
        console.log(`FAILED  ${test.name}: ${error.message}`);
        process.exitCode = 1;
    }
}
process.exit();
