// Takes the README's picture: node tests/browser/screenshot.mjs OUT.png [--dark]
const [out, colour] = process.argv.splice(2); // taken out: the modules below read their own arguments there
if (!out?.endsWith('.png')) {
    console.error('usage: node tests/browser/screenshot.mjs OUT.png [--dark]');
    process.exit(2);
}
const { start } = await import('../protocol/lib/ocellus.mjs');
const { ask, browser_open, give, page_open, picture_stored, reply_ended, sample_file } = await import('./page.mjs');

const server = await start();
const browser = await browser_open();
const { page } = await page_open(browser, server.url, { colorScheme: colour === '--dark' ? 'dark' : 'light' });
await give(page, 'drop', sample_file('4-shapes-ring-heart.png'));
await picture_stored(page);
await ask(page, 'Describe the picture.');
await reply_ended(page, 'done');
await ask(page, 'What shape is brown?');
await reply_ended(page, 'done');
await page.waitForTimeout(300); // the scroll comes to rest
await page.screenshot({ path: out });
await browser.close();
await server.stop();
