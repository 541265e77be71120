// Makes the hand-drawn test pictures: 50 drawings in a real chromium, stroke by stroke on a canvas, with a shaky mouse.
//
// usage: node draw.mjs (in the repository's tests folder, where playwright-core is: node ../samples/demo-model/draw.mjs)
//
// Writes drawings/NN.png and drawings/drawings.json: [{image, task, question, answer}]. Nothing here is shared with the
// generator of the training pictures (strokes.py): a hand that training never saw.
import { mkdirSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const { chromium } = createRequire(join(process.cwd(), 'package.json'))('playwright-core');
const OUT = join(dirname(fileURLToPath(import.meta.url)), 'drawings');
const SIZE = 400; // pixels of the canvas
const INKS = { black: '#000', red: '#f00', blue: '#00f', green: '#090', orange: '#f80', purple: '#808' };
const PLACES = [
    ['at the top left', 'at the top', 'at the top right'],
    ['on the left', 'in the center', 'on the right'],
    ['at the bottom left', 'at the bottom', 'at the bottom right'],
];
const WORDS = ['CAT', 'SUN', 'TREE', 'HELLO', 'BOAT', 'HOUSE', 'FISH', 'MOON', 'STAR', 'YES'];

// A page with a sketch pad: what the pointer draws, the canvas shows.
const PAGE = `<body style="margin:0"><canvas width=${SIZE} height=${SIZE}></canvas><script>
const canvas = document.querySelector('canvas'), pen = canvas.getContext('2d');
pen.lineCap = pen.lineJoin = 'round';
function clear(ink, width) {
    pen.fillStyle = '#fff';
    pen.fillRect(0, 0, ${SIZE}, ${SIZE});
    pen.strokeStyle = ink;
    pen.lineWidth = width;
}
let last = null;
canvas.onpointerdown = (e) => (last = [e.offsetX, e.offsetY]);
canvas.onpointerup = () => (last = null);
canvas.onpointermove = (e) => {
    if (!last) return;
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo((last[0] = e.offsetX), (last[1] = e.offsetY));
    pen.stroke();
};
</script>`;

// Numbers in [0, 1) from a seed (mulberry32).
function randoms(seed) {
    return () => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
}

const ring = (n, point) => Array.from({ length: n + 1 }, (_, i) => point((2 * Math.PI * i) / n));
const around = (...degrees) => degrees.map((d) => [Math.cos((d * Math.PI) / 180), Math.sin((d * Math.PI) / 180)]);

// Strokes of each shape in [-1, 1], as people draw them.
const SHAPES = {
    circle: [ring(24, (t) => [Math.sin(t), -Math.cos(t)])],
    square: [[[-0.8, -0.8], [0.8, -0.8], [0.8, 0.8], [-0.8, 0.8], [-0.8, -0.8]]],
    rectangle: [[[-1, -0.5], [1, -0.5], [1, 0.5], [-1, 0.5], [-1, -0.5]]],
    triangle: [[[0, -1], [0.9, 0.7], [-0.9, 0.7], [0, -1]]],
    star: [around(-90, 54, 198, -18, 126, -90)],
    cross: [[[0, -1], [0, 1]], [[-1, 0], [1, 0]]],
    heart: [ring(30, (t) => [Math.sin(t) ** 3,
        -(13 * Math.cos(t) - 5 * Math.cos(2 * t) - 2 * Math.cos(3 * t) - Math.cos(4 * t)) / 16])],
};

const o = (x, y, rx, ry, from, to) =>
    Array.from({ length: 13 }, (_, i) => {
        const t = ((from + ((to - from) * i) / 12) * Math.PI) / 180;
        return [x + rx * Math.cos(t), y + ry * Math.sin(t)];
    });
// Characters on a grid 2 wide and 3 high.
const LETTERS = {
    0: [o(1, 1.5, 0.9, 1.5, -90, 270)], 1: [[[0.5, 0.6], [1.1, 0], [1.1, 3]]],
    2: [[...o(1, 0.8, 0.85, 0.8, -170, 40), [0.1, 3], [1.9, 3]]],
    3: [[...o(0.9, 0.75, 0.8, 0.75, -150, 90), ...o(0.9, 2.2, 0.95, 0.75, -90, 150)]],
    4: [[[1.3, 0], [0.1, 1.9], [1.9, 1.9]], [[1.4, 0.9], [1.4, 3]]],
    5: [[[1.7, 0], [0.4, 0], [0.3, 1.3], ...o(0.9, 2.05, 0.95, 0.95, -110, 150)]],
    6: [[[1.5, 0], [0.5, 1.2], ...o(1, 2.1, 0.85, 0.9, 190, -170)]], 7: [[[0.1, 0], [1.9, 0], [0.7, 3]]],
    8: [[...o(1, 0.75, 0.75, 0.75, 90, -270), ...o(1, 2.25, 0.9, 0.75, -90, 270)]],
    9: [[...o(1, 0.9, 0.85, 0.9, 0, -360), [1.8, 1.6], [1.6, 3]]],
    A: [[[0, 3], [1, 0], [2, 3]], [[0.4, 2], [1.6, 2]]], B: [[[0.2, 0], [0.2, 3]],
        [[0.2, 0], ...o(0.8, 0.75, 0.9, 0.75, -90, 90), ...o(0.8, 2.25, 1.1, 0.75, -90, 90), [0.2, 3]]],
    C: [o(1.1, 1.5, 1, 1.5, -50, -310)], E: [[[1.8, 0], [0.2, 0], [0.2, 3], [1.8, 3]], [[0.2, 1.5], [1.5, 1.5]]],
    F: [[[1.8, 0], [0.2, 0], [0.2, 3]], [[0.2, 1.5], [1.5, 1.5]]], H: [[[0.2, 0], [0.2, 3]], [[1.8, 0], [1.8, 3]],
        [[0.2, 1.5], [1.8, 1.5]]],
    I: [[[1, 0], [1, 3]]], L: [[[0.3, 0], [0.3, 3], [1.8, 3]]], M: [[[0, 3], [0.2, 0], [1, 2], [1.8, 0], [2, 3]]],
    N: [[[0.2, 3], [0.2, 0], [1.8, 3], [1.8, 0]]], O: [o(1, 1.5, 1, 1.5, -90, 270)],
    R: [[[0.2, 3], [0.2, 0], ...o(0.8, 0.75, 1, 0.75, -90, 90), [0.3, 1.5], [1.8, 3]]],
    S: [[...o(1, 0.8, 0.85, 0.75, -30, -250), ...o(1, 2.25, 0.9, 0.75, -80, 160)]],
    T: [[[0, 0], [2, 0]], [[1, 0], [1, 3]]], U: [[[0.2, 0], ...o(1, 2, 0.8, 1, 180, 0), [1.8, 0]]],
    Y: [[[0, 0], [1, 1.5]], [[2, 0], [1, 1.5], [1, 3]]],
};

const an = (noun) => (/^[aeiou]/.test(noun) ? 'an ' : 'a ') + noun;

// Draws strokes with the mouse: through points between the corners, each a little off, in a slow drift.
async function draw(page, random, strokes, x, y, scale) {
    const tilt = (random() - 0.5) * 0.16;
    for (const stroke of strokes) {
        let drift = [0, 0];
        const place = ([px, py]) => {
            drift = drift.map((d) => 0.8 * d + (random() - 0.5) * 0.03 * scale[1]);
            const [cos, sin] = [Math.cos(tilt), Math.sin(tilt)];
            return [x + scale[0] * (px * cos - py * sin) + drift[0], y + scale[1] * (px * sin + py * cos) + drift[1]];
        };
        await page.mouse.move(...place(stroke[0]));
        await page.mouse.down();
        for (let i = 1; i < stroke.length; i++) {
            const [from, to] = [stroke[i - 1], stroke[i]];
            const n = Math.max(1, Math.round(Math.hypot(to[0] - from[0], to[1] - from[1]) / 0.25));
            for (let k = 1; k <= n; k++) {
                await page.mouse.move(...place([0, 1].map((c) => from[c] + ((to[c] - from[c]) * k) / n)));
            }
        }
        await page.mouse.up();
    }
}

const pick = (random, list) => list[Math.floor(random() * list.length)];

// One shape somewhere. -> [[task, question, answer]]
async function one_shape(page, random, ink) {
    const shape = pick(random, Object.keys(SHAPES));
    const [row, column] = [pick(random, [0, 1, 2]), pick(random, [0, 1, 2])];
    const r = 45 + random() * 40;
    const at = [0.25, 0.5, 0.75].map((u) => u * SIZE);
    await draw(page, random, SHAPES[shape], at[column], at[row], [r, r]);
    const place = PLACES[row][column];
    return [
        ['describe', 'What did I draw?', `I see ${an(`${ink} ${shape}`)} ${place}.`],
        pick(random, [
            ['shape', 'What shape is this?', `It is ${an(shape)}.`],
            ['color', 'What color is it?', `It is ${ink}.`],
            ['position', 'Where is it?', `It is ${place}.`],
            ['filled', `Is the ${shape} filled or outlined?`, `The ${shape} is outlined.`],
        ]),
    ];
}

// Two different shapes side by side.
async function two_shapes(page, random, ink) {
    const first = pick(random, Object.keys(SHAPES));
    const second = pick(random, Object.keys(SHAPES).filter((s) => s !== first));
    for (const [shape, x] of [[first, 0.25], [second, 0.75]]) {
        const r = 45 + random() * 25;
        await draw(page, random, SHAPES[shape], x * SIZE, 0.5 * SIZE, [r, r]);
    }
    return [
        ['describe', 'What do you see?', `I see two shapes: ${an(`${ink} ${first}`)} on the left and ${an(`${ink} ${second}`)} on the right.`],
        pick(random, [
            ['count', 'How many shapes are there?', 'There are two shapes.'],
            ['relation', `Is the ${first} left of the ${second}?`, `Yes, the ${first} is left of the ${second}.`],
            ['yesno', `Is there ${an(second)}?`, `Yes, there is ${an(second)}.`],
        ]),
    ];
}

async function text(page, random, characters) {
    const width = Math.min(110, (0.85 * SIZE) / characters.length);
    const height = width * (1.1 + random() * 0.3);
    const left = (SIZE - width * characters.length) / 2 + (random() - 0.5) * 30;
    const top = (SIZE - height) / 2 + (random() - 0.5) * 80;
    for (const [i, c] of [...characters].entries()) {
        await draw(page, random, LETTERS[c], left + width * (i + 0.12), top, [(0.76 * width) / 2, height / 3]);
    }
}

async function number(page, random) {
    const digits = String(Math.floor(10 ** (1 + random() * 2.999)));
    await text(page, random, digits);
    return [['number', 'Read the number.', `The number is ${digits}.`]];
}

async function word(page, random, _, i) {
    await text(page, random, WORDS[i]);
    return [['word', 'What does it say?', `It says "${WORDS[i]}".`]];
}

const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu'],
});
const page = await browser.newPage({ viewport: { width: SIZE, height: SIZE } });
await page.setContent(PAGE);
mkdirSync(OUT, { recursive: true });
const plan = [[one_shape, 16], [two_shapes, 10], [number, 14], [word, 10]];
const items = [];
let k = 0;
for (const [kind, n] of plan) {
    for (let i = 0; i < n; i++, k++) {
        const random = randoms(1000 + k);
        const ink = pick(random, Object.keys(INKS));
        await page.evaluate(([c, w]) => window.clear(c, w), [INKS[ink], 4 + Math.floor(random() * 7)]);
        const asked = await kind(page, random, ink, i);
        const image = `${String(k).padStart(2, '0')}.png`;
        const url = await page.evaluate(() => document.querySelector('canvas').toDataURL('image/png'));
        writeFileSync(join(OUT, image), Buffer.from(url.split(',')[1], 'base64'));
        for (const [task, question, answer] of asked) items.push({ image, task, question, answer });
    }
}
await browser.close();
writeFileSync(join(OUT, 'drawings.json'), JSON.stringify(items, null, 1) + '\n');
console.log(`${k} drawings, ${items.length} questions`);
