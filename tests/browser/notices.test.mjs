// What the page tells about pictures beside the answer: made smaller, left out of the context, more of them than the
// model was trained on; and a page that is loaded anew in the middle of an encode. With the slow pairs of
// tests/tools/make_slow_pair.py.
import { execFileSync } from 'node:child_process';

import { check, equal, start } from '../protocol/lib/ocellus.mjs';
import { ANSWER_MS, ask, browser_open, give, page_open, picture_stored, sample_file } from './page.mjs';

const FIRST = sample_file('blue-ring.png');
const SECOND = sample_file('4-shapes-ring-heart.png');
const N_CTX = '1024'; // room for one picture of five tiles, not for two
const folder = 'build/slow';
const browser = await browser_open();
execFileSync('python3', ['tests/tools/make_slow_pair.py', folder]);

const serve = (mmproj, ...more) =>
    start(['-m', `${folder}/slow-llm.gguf`, '--mmproj', `${folder}/${mmproj}.gguf`, ...more]);

// Asks about a picture and stops the answer at its first words, which the server keeps. Returns the notes shown.
async function ask_about(page, file) {
    await give(page, 'drop', file);
    await picture_stored(page);
    await ask(page, 'Why?');
    await page.waitForSelector('.reply:last-child[data-phase=writing]', { timeout: 4 * ANSWER_MS });
    await page.click('.stop');
    await page.waitForSelector('.reply:last-child[data-phase=stopped]', { timeout: ANSWER_MS });
    return page.locator('.reply:last-child .note').allTextContents();
}

async function tells_what_becomes_of_pictures() {
    const server = await serve('slow-tiles', '--ctx', N_CTX);
    const { page, events, complaints } = await page_open(browser, server.url);
    const first = await ask_about(page, FIRST);
    equal(first.length, 1, 'notes of the first answer');
    equal(await page.locator('.thumbnail.unseen').count(), 0, 'pictures marked after the first answer');
    check(/sees a smaller version of a picture, of \d+ tokens instead of \d+/.test(first[0]), first[0]);
    const second = await ask_about(page, SECOND);
    equal(second.length, 2, 'notes of the second answer');
    check(second.some((note) => /no longer sees an earlier picture of \d+ tokens/.test(note)), second.join('; '));
    equal(await page.locator('.thumbnail.unseen').count(), 1, 'pictures marked as no longer seen');
    equal(await page.locator('.thumbnail').first().getAttribute('title'), 'no longer seen by the model', 'its title');
    const told = events.filter((event) => event.type === 'response.notice').map((event) => event.code);
    equal(told.sort().join(' '), 'image_dropped image_reduced image_reduced', 'notices');
    equal(complaints.join('; '), '', 'console');
    await page.context().close();
    equal(await server.stop(), 0, 'exit code');
    return second.join(' ').replace(/\s+/g, ' ');
}

async function tells_that_a_model_was_trained_on_one_picture() {
    const server = await serve('slow-mmproj', '--ctx', '2048');
    const { page } = await page_open(browser, server.url);
    equal((await ask_about(page, FIRST)).length, 0, 'notes of one picture');
    const notes = await ask_about(page, SECOND);
    equal(notes.length, 1, 'notes of two pictures');
    check(notes[0].includes('trained on one picture a conversation and sees 2'), notes[0]);
    await page.context().close();
    equal(await server.stop(), 0, 'exit code');
}

// The old page's answer is cancelled with its socket; the new page finds a server that has nothing else to do.
async function is_loaded_anew_during_an_encode() {
    const server = await serve('slow-tiles', '--ctx', N_CTX, '--parallel', '1');
    const { page, events, complaints } = await page_open(browser, server.url);
    await give(page, 'drop', FIRST);
    await picture_stored(page);
    const encoding = page.waitForFunction(() =>
        document.querySelector('.reply:last-child')?.textContent.includes('Encoding image'));
    await ask(page, 'Why?');
    await encoding;
    await page.reload();
    await page.waitForSelector('.connection[data-state=open]');
    equal(await page.locator('.reply').count(), 0, 'replies after the reload');
    equal((await ask_about(page, FIRST)).length, 1, 'notes');
    equal(events.filter((event) => event.type === 'image.stored').at(-1).known, true, 'the picture is known');
    equal(complaints.join('; '), '', 'console');
    await page.context().close();
    equal(await server.stop(), 0, 'exit code');
}

let failed = 0;
for (const test of [tells_what_becomes_of_pictures, tells_that_a_model_was_trained_on_one_picture,
    is_loaded_anew_during_an_encode]) {
    try {
        const note = await test();
        console.log(`ok      ${test.name}${note ? ': ' + note : ''}`);
    } catch (error) {
        failed++;
        console.log(`FAILED  ${test.name}: ${error.message}`);
    }
}
await browser.close();
process.exit(failed ? 1 : 0);
