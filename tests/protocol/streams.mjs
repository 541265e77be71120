// Four clients at once: their deltas interleave, and each text is that of its solo run.
import { Client, ask, check, dataUri, equal, file, run, samples } from './lib/ocellus.mjs';

const chosen = [0, 1, 2, 3].map((i) => samples[Math.floor((i * samples.length) / 4)]);
// The end token is made unlikely, so that all four stream for a while.
const request = (sample) => ({
    input: ask({ image_url: dataUri(file(sample.image)) }, sample.question),
    max_output_tokens: 120, logit_bias: { 2: -100 },
});

await run([], {
    async 'four clients'(server) {
        const clients = await Promise.all(chosen.map(() => Client.open(server)));
        const solo = [];
        for (const sample of chosen) solo.push((await clients[0].respond(request(sample))).text);
        const results = await Promise.all(chosen.map((sample, i) => clients[i].respond(request(sample))));
        results.forEach((result, i) => equal(result.text, solo[i], `text of client ${i}`));
        const deltas = results.flatMap((result, i) => result.events
            .filter((m) => m.delta !== undefined).map((m) => ({ at: m.at, client: i })));
        deltas.sort((a, b) => a.at - b.at);
        const turns = deltas.filter((m, i) => i > 0 && m.client !== deltas[i - 1].client).length;
        check(turns >= 20, `the clients took turns only ${turns} times in ${deltas.length} deltas`);
        await Promise.all(clients.map((client) => client.close()));
        return `${deltas.length} deltas, ${turns} turns`;
    },
    async 'eight on one connection, told apart by stream_id; a ninth is refused'(server) {
        const client = await Client.open(server);
        const ids = [...Array(9).keys()].map((i) => `s${i}`);
        for (const stream_id of ids)
            client.send({ type: 'response.create', temperature: 0, input: 'Hello', stream_id,
                max_output_tokens: 300, logit_bias: { 2: -100 } });
        const refused = await client.next('error');
        equal(refused.error.code, 'busy', 'code');
        equal(refused.stream_id, 's8', 'stream_id');
        const results = await Promise.all(ids.slice(0, 8).map((id) => client.finish(id)));
        results.forEach((result) => equal(result.text, results[0].text, 'text'));
        await client.close();
    },
});
