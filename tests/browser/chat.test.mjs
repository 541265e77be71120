// The browser chat against the real server and the demo model: what a visitor does, and what must not happen to them.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';

import { check, equal, run, start } from '../protocol/lib/ocellus.mjs';
import {
    ANSWER_MS,
    ask,
    browser_open,
    give,
    page_open,
    picture_stored,
    reply_ended,
    sample_file,
    SAMPLES,
} from './page.mjs';

const recorded = JSON.parse(readFileSync(`${SAMPLES}/samples.json`));
const PICTURE = 'blue-ring';
const QUESTION = 'What is shown in the picture?';
const FOLLOW_UP = 'What colour is this shape?';
const LONG_PICTURE = '4-shapes-ring-heart.png'; // its answer is the longest: many frames even when they are merged
const LONG_QUESTION = 'Describe the picture.';
const WIDE_PICTURE = 'purple-heart-and-black-triangle.jpg'; // 448x392

const browser = await browser_open();
let seen; // the page that most of the tests go on with

const of_type = (type) => seen.events.filter((event) => event.type === type);
const recorded_answer = (name, question) =>
    recorded.find((r) => r.image === `samples/${name}` && r.question === question).answer;

// A JPEG whose first block says that the camera was turned: EXIF orientation 6.
function turned_jpeg(bytes) {
    const exif = Buffer.from('ffe1002245786966000049492a0008000000010012010300010000000600000000000000', 'hex');
    return Buffer.concat([bytes.subarray(0, 2), exif, bytes.subarray(2)]);
}

async function asks_about_a_dropped_picture(server) {
    seen = await page_open(browser, server.url);
    const { page } = seen;
    const file = sample_file(LONG_PICTURE);
    await give(page, 'drop', file);
    await picture_stored(page);
    const id = createHash('sha256').update(file.bytes).digest('hex');
    equal(of_type('image.stored').at(-1).image_id.replace(/^.*[:_]/, ''), id, 'image id of the untouched file');
    await ask(page, LONG_QUESTION);
    const text = await reply_ended(page, 'done');
    for (const word of ['brown heart', 'green heart']) check(text.includes(word), `no "${word}" in "${text}"`);
    equal(text, recorded_answer(LONG_PICTURE, LONG_QUESTION), 'answer');
    const n_deltas = of_type('response.output_text.delta').length;
    check(n_deltas > 1, `the answer came in ${n_deltas} frame`);
    equal(of_type('response.stats').at(-1).cache.images_encoded, 1, 'images encoded');
    return `${n_deltas} deltas, stats line: ${await page.textContent('.reply:last-child .stats')}`;
}

async function asks_about_a_pasted_picture() {
    const { page } = seen;
    await page.click('.new-chat');
    await give(page, 'paste', sample_file(`${PICTURE}.jpg`));
    await picture_stored(page);
    await ask(page, QUESTION);
    const text = await reply_ended(page, 'done');
    check(text.includes('blue ring'), `no "blue ring" in "${text}"`);
}

async function follows_up_without_a_second_encode() {
    const { page } = seen;
    await ask(page, FOLLOW_UP);
    const text = await reply_ended(page, 'done');
    check(text.includes('blue'), `no "blue" in "${text}"`);
    const first = of_type('response.created').at(-2);
    equal(
        seen.sent.filter((m) => m.type === 'response.create').at(-1).previous_response_id,
        first.response_id ?? first.response.id,
        'previous_response_id',
    );
    equal(of_type('response.stats').at(-1).cache.images_encoded, 0, 'images encoded');
}

// Presses Stop, or Escape, in the moment in which the newest reply gets into a phase.
function stop_at(page, phase, how) {
    return page.evaluate(
        ({ phase, how }) => {
            new MutationObserver((_, observer) => {
                if (document.querySelector('.reply:last-child')?.dataset.phase !== phase) return;
                observer.disconnect();
                if (how === 'button') document.querySelector('.stop').click();
                else dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape' }));
            }).observe(document.body, { subtree: true, childList: true, attributes: true });
        },
        { phase, how },
    );
}

// The demo model may end before a stop arrives; a pair of bigger models with random weights babbles on.
async function stops_while_it_looks_and_while_it_writes() {
    const folder = 'build/slow';
    execFileSync('python3', ['tests/tools/make_slow_pair.py', folder]);
    const slow = await start(['-m', `${folder}/slow-llm.gguf`, '--mmproj', `${folder}/slow-mmproj.gguf`]);
    const { page, events, complaints } = await page_open(browser, slow.url);
    const n_of_type = (type) => events.filter((event) => event.type === type).length;
    await give(page, 'drop', sample_file(LONG_PICTURE));
    await picture_stored(page);
    await stop_at(page, 'waiting', 'button');
    await ask(page, LONG_QUESTION);
    equal(await reply_ended(page, 'stopped'), '', 'text of a reply stopped before its first word');
    equal(n_of_type('response.cancelled'), 1, 'response.cancelled events');
    check((await page.textContent('.reply:last-child .stats')).startsWith('Stopped'), 'the reply does not say Stopped');

    await stop_at(page, 'writing', 'Escape');
    await page.click('.retry');
    const text = await reply_ended(page, 'stopped');
    equal(n_of_type('response.cancelled'), 2, 'response.cancelled events');
    equal(await page.locator('.send').count(), 1, 'send buttons after the stop');

    await stop_at(page, 'writing', 'button');
    await ask(page, 'And now?');
    check((await reply_ended(page, 'stopped')) !== '', 'no text after the stop');
    equal(n_of_type('response.cancelled'), 3, 'response.cancelled events');
    equal(n_of_type('response.completed') + n_of_type('response.failed'), 0, 'other ends');
    equal(complaints.join('; '), '', 'console');
    await page.context().close();
    equal(await slow.stop(), 0, 'exit code');
    return `${text.length} characters before the second stop`;
}

async function names_a_broken_file() {
    const { page } = seen;
    const buffer = Buffer.concat([sample_file(`${PICTURE}.png`).bytes.subarray(0, 16), Buffer.alloc(500, 7)]);
    await page.setInputFiles('input[type=file]', { name: 'holiday.png', mimeType: 'image/png', buffer });
    const note = await page.waitForSelector('.note.warn[role=alert]');
    check((await note.textContent()).includes('holiday.png'), 'the note does not name the file');
    equal(await page.locator('.picture').count(), 0, 'pictures in the composer');
    await page.setInputFiles('input[type=file]', { name: 'notes.txt', mimeType: 'text/plain', buffer: Buffer.from('hi') });
    await page.waitForFunction(() => document.querySelector('.note.warn')?.textContent.includes('notes.txt'));
    await page.click('.note.warn button');
}

async function turns_a_picture_upright() {
    const { page } = seen;
    await page.click('.new-chat');
    await give(page, 'drop', { name: 'turned.jpg', bytes: turned_jpeg(sample_file(WIDE_PICTURE).bytes) });
    await picture_stored(page);
    const { width_px, height_px } = of_type('image.stored').at(-1);
    equal(`${width_px}x${height_px}`, '392x448', 'size of the picture that the camera turned');
    const thumb = await page.$eval('.picture img', (e) => `${e.naturalWidth < e.naturalHeight}`);
    equal(thumb, 'true', 'thumbnail upright');
    await page.click('.picture .remove');
}

async function shrinks_to_the_announced_limit() {
    const small = await start(['--max-pixels', '50000']);
    const { page, events, complaints } = await page_open(browser, small.url);
    await give(page, 'drop', sample_file(`${PICTURE}.png`));
    await picture_stored(page);
    const { width_px, height_px } = events.filter((event) => event.type === 'image.stored').at(-1);
    check(width_px * height_px <= 50000, `${width_px}x${height_px} is over 50000 pixels`);
    check(width_px * height_px > 48000, `${width_px}x${height_px} is far below 50000 pixels`);
    check((await page.textContent('.picture')).includes('reduced to'), 'the picture does not say that it was reduced');
    equal(complaints.join('; '), '', 'console');
    await page.context().close();
    equal(await small.stop(), 0, 'exit code');
}

// A server that went away and came back knows neither the pictures nor the conversation: the page sends both again.
async function goes_on_after_a_restart() {
    let server = await start();
    const { page, sent } = await page_open(browser, server.url);
    await give(page, 'drop', sample_file(`${PICTURE}.png`));
    await picture_stored(page);
    await ask(page, QUESTION);
    await reply_ended(page, 'done');
    await server.stop();
    await page.waitForSelector('.connection[data-state=lost]');
    await page.fill('textarea', FOLLOW_UP);
    server = await start(['--port', String(server.port)]);
    await page.waitForSelector('.connection[data-state=open]', { timeout: ANSWER_MS });
    equal(await page.inputValue('textarea'), FOLLOW_UP, 'what was not sent yet');
    await page.press('textarea', 'Enter');
    const text = await reply_ended(page, 'done');
    check(text.includes('blue'), `no "blue" in "${text}"`);
    equal(sent.at(-1).input.length, 3, 'turns sent again');
    await page.context().close();
    await server.stop();
}

async function fits_a_phone(server) {
    const phone = await page_open(browser, server.url, { viewport: { width: 360, height: 740 }, hasTouch: true });
    const { page } = phone;
    const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
    equal(await overflow(), 0, 'pixels beyond the right edge, empty');
    await page.click('.sample >> nth=0');
    const text = await reply_ended(page, 'done');
    check(text.includes('brown heart'), `no "brown heart" in "${text}"`);
    equal(await overflow(), 0, 'pixels beyond the right edge, with a reply');
    equal(phone.complaints.join('; '), '', 'console');
    await page.context().close();
}

const ATTACKS = [
    '[a](javascript:hit())',
    '[a](JaVaScRiPt:hit())',
    '[a](java\tscript:hit())',
    '[a](&#106;avascript:hit())',
    '[a](data:text/html,<script>hit()</script>)',
    '[a](vbscript:hit())',
    '![a](https://attacker.invalid/pixel.png)',
    '![a"onerror="hit()](x)',
    '<img src=x onerror=hit()>',
    '<img src="https://attacker.invalid/p.png">',
    '<svg onload=hit()><script>hit()</script></svg>',
    '<script>hit()</script>',
    '<style>@import url(https://attacker.invalid/s.css);</style>',
    '<iframe src="javascript:parent.hit()"></iframe>',
    '<object data="https://attacker.invalid/o"></object>',
    '<form action="https://attacker.invalid/"><input autofocus onfocus=hit()></form>',
    '<a href="javascript:hit()" style="position:fixed;inset:0">a</a>',
    '<math><mtext></p><img src=x onerror=hit()></mtext></math>',
    '<details open ontoggle=hit()>a</details>',
    '<video><source onerror=hit() src=x></video>',
    '<link rel=stylesheet href=https://attacker.invalid/l.css>',
    '<meta http-equiv=refresh content="0;url=https://attacker.invalid/">',
    '<base href=https://attacker.invalid/>',
    '<b onclick=hit() id=app>a</b><br onmouseover=hit()>',
    '```x" onmouseover="hit()\na\n```',
    '| a |\n|---|\n| <img src=x onerror=hit()> |',
    '[a]: javascript:hit()\n\n[a]',
    '<https://attacker.invalid/"onclick="hit()>',
];

async function survives_hostile_markdown() {
    const { page } = seen;
    const n_strangers = seen.strangers.length;
    const found = await page.evaluate(async (attacks) => {
        window.hits = 0;
        window.hit = () => window.hits++;
        const { markdown_render, MarkdownStream } = await import('/markdown.js');
        const bad = [];
        for (const attack of attacks) {
            const whole = document.createElement('div');
            const streamed = document.createElement('div');
            document.body.append(whole, streamed);
            whole.append(markdown_render(attack));
            const stream = new MarkdownStream(streamed);
            for (let i = 1; i <= attack.length; i++) stream.update(attack.slice(0, i));
            for (const box of [whole, streamed]) {
                for (const e of box.querySelectorAll('*')) {
                    const href = e.getAttribute('href');
                    if (href !== null && !/^(https?|mailto):/.test(href)) bad.push(`${attack}: href ${href}`);
                    if (e.matches('img, script, style, svg, iframe, object, form, input, link, meta, base, video, math'))
                        bad.push(`${attack}: <${e.localName}>`);
                    for (const { name } of e.attributes)
                        if (name.startsWith('on') || ['style', 'id', 'src'].includes(name)) bad.push(`${attack}: ${name}=`);
                }
                for (const e of box.querySelectorAll('a[href^="javascript"], b, summary')) e.click();
            }
            whole.remove();
            streamed.remove();
        }
        await new Promise((resolve) => setTimeout(resolve, 200));
        return { bad, hits: window.hits };
    }, ATTACKS);
    equal(found.bad.join('\n'), '', 'what got through the sanitiser');
    equal(found.hits, 0, 'scripts that ran');
    equal(seen.strangers.slice(n_strangers).join(' '), '', 'requests to other hosts');
    return `${ATTACKS.length} attacks`;
}

// However the text is cut, the end looks as if it had come at once.
async function streams_markdown_to_the_same_end() {
    const differences = await seen.page.evaluate(async () => {
        const { markdown_render, MarkdownStream } = await import('/markdown.js');
        const text =
            '# One\n\nText with **bold** and [a link][1].\n\n- a\n- b\n\n  c\n\n1. x\n2. y\n\n```js\nlet a;\n```\n\n' +
            '| a | b |\n|---|:-:|\n| 1 | 2 |\n\n> quote\nmore\n\nTitle\n===\n\n- [x] done\n\r\nlast  \nline\n\n[1]: https://a.example/\n';
        const whole = document.createElement('div');
        whole.append(markdown_render(text));
        const differing = [];
        for (const step of [1, 3, 17]) {
            const box = document.createElement('div');
            const stream = new MarkdownStream(box);
            for (let i = step; i < text.length; i += step) stream.update(text.slice(0, i));
            stream.update(text);
            const words = (e) => e.textContent.replace(/\[|\]|1(?=\])/g, '').replace(/\s+/g, ' ');
            if (words(box) !== words(whole)) differing.push(`step ${step} before the end`);
            stream.finish(text);
            if (box.innerHTML !== whole.innerHTML) differing.push(`step ${step} at the end`);
        }
        return differing;
    });
    equal(differences.join(', '), '', 'streamed and whole rendering');
}

async function stayed_quiet() {
    equal(seen.complaints.join('; '), '', 'console errors and policy violations');
    equal(seen.strangers.join(' '), '', 'requests to other hosts');
    await browser.close();
}

await run([], {
    asks_about_a_dropped_picture,
    asks_about_a_pasted_picture,
    follows_up_without_a_second_encode,
    stops_while_it_looks_and_while_it_writes,
    names_a_broken_file,
    turns_a_picture_upright,
    shrinks_to_the_announced_limit,
    goes_on_after_a_restart,
    fits_a_phone,
    survives_hostile_markdown,
    streams_markdown_to_the_same_end,
    stayed_quiet,
});
