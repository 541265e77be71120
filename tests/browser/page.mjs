// What the browser tests share: Debian's chromium, and a page that records what it says and hears.
import { existsSync, readFileSync } from 'node:fs';
import { chromium } from 'playwright-core';

import { SKIPPED } from '../protocol/lib/ocellus.mjs';

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
export const SAMPLES = 'samples/demo';
export const ANSWER_MS = 15000;

// Without a browser the test is skipped, and says so.
export async function browser_open() {
    if (!existsSync(executablePath)) {
        console.log(`skipped: no ${executablePath}`);
        process.exit(SKIPPED);
    }
    return chromium.launch({
        executablePath,
        args: [
            '--no-sandbox',
            '--disable-gpu',
            '--disable-quic',
            '--no-first-run',
            '--disable-background-networking',
            '--disable-component-update',
            '--disable-sync',
        ],
    });
}

// Returns {page, events, sent, complaints, strangers}: server events, client messages, console errors and violations
// of the content security policy, and requests to other hosts. It fills them as long as the page lives.
export async function page_open(browser, url, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options });
    const page = await context.newPage();
    const seen = { page, events: [], sent: [], complaints: [], strangers: [] };
    page.on('console', (m) => ['error', 'warning'].includes(m.type()) && seen.complaints.push(m.text()));
    page.on('pageerror', (error) => seen.complaints.push(String(error.stack)));
    page.on('request', (request) => {
        if (!request.url().startsWith(url) && !/^(data|blob):/.test(request.url())) seen.strangers.push(request.url());
    });
    page.on('websocket', (socket) => {
        const record = (list) => (frame) => {
            if (typeof frame.payload === 'string') list.push(JSON.parse(frame.payload));
        };
        socket.on('framereceived', record(seen.events));
        socket.on('framesent', record(seen.sent));
    });
    await page.addInitScript(() => {
        addEventListener('securitypolicyviolation', (e) => console.error(`CSP ${e.violatedDirective} ${e.blockedURI}`));
    });
    await page.goto(url);
    await page.waitForSelector('.connection[data-state=open]');
    return seen;
}

export function sample_file(name) {
    return { name, bytes: readFileSync(`${SAMPLES}/samples/${name}`) };
}

// Gives the page a file the way a drop or a paste does.
export function give(page, how, { name, bytes }) {
    const mime = name.endsWith('.png') ? 'image/png' : 'image/jpeg';
    return page.evaluate(
        ({ how, name, mime, base64 }) => {
            const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
            const data = new DataTransfer();
            data.items.add(new File([bytes], name, { type: mime }));
            const init = { bubbles: true, cancelable: true };
            if (how === 'paste') {
                document.querySelector('textarea').dispatchEvent(new ClipboardEvent('paste', { ...init, clipboardData: data }));
                return;
            }
            for (const type of ['dragenter', 'dragover', 'drop'])
                document.querySelector('.transcript').dispatchEvent(new DragEvent(type, { ...init, dataTransfer: data }));
        },
        { how, name, mime, base64: bytes.toString('base64') },
    );
}

export const picture_stored = (page) => page.waitForSelector('.picture[data-state=stored]', { timeout: ANSWER_MS });

// Waits for the newest reply to end in one of the phases; returns its text.
export async function reply_ended(page, ...phases) {
    const which = phases.map((phase) => `.reply:last-child[data-phase=${phase}]`).join(', ');
    const reply = await page.waitForSelector(which, { timeout: ANSWER_MS });
    return (await reply.$eval('.markdown', (e) => e.textContent)).trim();
}

export async function ask(page, question) {
    await page.fill('textarea', question);
    await page.press('textarea', 'Enter');
}
