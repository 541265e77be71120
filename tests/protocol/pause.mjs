// While a picture of one client is encoded and its prompt read, the streams of others go on: no pause of more than
// twice --step-ms. The demo pair is too quick to show it: name a slow pair in OCELLUS_SLOW_MODEL and OCELLUS_SLOW_MMPROJ.
import { Client, SKIPPED, ask, check, dataUri, file, goodSample, run } from './lib/ocellus.mjs';

const STEP_MS = 120;
const { OCELLUS_SLOW_MODEL: model, OCELLUS_SLOW_MMPROJ: mmproj, OCELLUS_SANITIZE: sanitizer } = process.env;
if (!model || !mmproj || sanitizer) {
    console.log(sanitizer ? 'skipped: a sanitizer slows the machine down too much'
        : 'skipped: OCELLUS_SLOW_MODEL and OCELLUS_SLOW_MMPROJ are not set');
    process.exit(SKIPPED);
}

await run(['-m', model, '--mmproj', mmproj, '--vision-precision', 'f32', '--step-ms', String(STEP_MS)], {
    async 'a stream beside an encode and a prefill'(server) {
        const [reader, other] = await Promise.all([Client.open(server), Client.open(server)]);
        reader.send({ type: 'response.create', input: 'Hello', temperature: 0, max_output_tokens: 2000,
            logit_bias: { 2: -100 } });
        await reader.next('response.output_text.delta');
        const { last, events } = await other.respond({
            input: ask({ image_url: dataUri(file(goodSample().image)) }, 'What is this?'), max_output_tokens: 5 });
        const began = events[0].at;
        const deltas = reader.all.filter((m) => m.type === 'response.output_text.delta' && m.at > began).map((m) => m.at);
        check(last.response.usage.output_tokens > 0, 'the other client got no answer');
        const encoding = events.filter((m) => m.stage === 'encoding');
        const encode_ms = encoding.at(-1).at - encoding[0].at;
        check(encode_ms > 2 * STEP_MS, `the encode took only ${encode_ms.toFixed(0)} ms: nothing is shown`);
        const gaps = deltas.slice(1).map((at, i) => at - deltas[i]);
        const worst = Math.max(...gaps);
        check(deltas.length > 4, `only ${deltas.length} deltas meanwhile`);
        check(worst <= 2 * STEP_MS, `a pause of ${worst.toFixed(0)} ms, want at most ${2 * STEP_MS}`);
        await reader.close();
        return `${deltas.length} deltas in ${(events.at(-1).at - began).toFixed(0)} ms, longest pause ${worst.toFixed(0)} ms`;
    },
});
