// The page's budgets, measured and printed. Nothing is asserted here: machines differ.
//
//     MINER_CTRL=…/miner-ctrl npm run budgets
//
// Needs a built page (`npm run build` in dashboard/web). Without MINER_CTRL the gateway's row is left out.

import { execFile } from 'node:child_process';
import { mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { chromium } from '@playwright/test';

import { launch } from './browser.mjs';
import { cost, heap, openTable } from './load.mjs';
import { mockNode } from './mock.mjs';

const WEB = fileURLToPath(new URL('../../dashboard/web/', import.meta.url));
const run = promisify(execFile);
const rows = [];
const row = (what, measured, budget = '') => rows.push([what, measured, budget]);

/** Ten minutes of seconds, told faster than they pass: what is kept depends on how many there were. */
const TICKS = 600;
const TICKS_EACH_SECOND = 20;
const STREAMS = 200;
/** The gateway gives no session or token more. */
const STREAMS_OF_A_TOKEN = 16;
const GATEWAY_SECONDS = 20;
const ASKED_SECONDS = 100;
const RIGS = Number(process.env.MINER_CTRL_FLEET ?? 1000);

async function withMock(options, use) {
  const mock = await mockNode('--port', '0', ...options);
  const browser = await chromium.launch(launch);
  try {
    await use(await browser.newPage({ viewport: { width: 1280, height: 800 } }), mock.url);
  } finally {
    await browser.close();
    await mock.stop();
  }
}

async function sizes() {
  const { stdout } = await run(process.execPath, ['budget.mjs'], { cwd: WEB });
  for (const [, what, size, budget] of stdout.matchAll(/([a-z][a-z ]*?) ([\d.]+) of (\d+) KB gz/g)) row(`${what}, gzipped`, `${size} KB`, `${budget} KB`);
}

async function firstPaint(rigs) {
  await withMock(['--rigs', String(rigs)], async (page, url) => {
    await page.goto(`${url}#/rigs`);
    await page.locator('tbody tr[data-id]').first().waitFor();
    const [paint, shown] = await page.evaluate(() => [performance.getEntriesByName('first-contentful-paint')[0]?.startTime, performance.now()]);
    row(`first paint, ${rigs} rigs, nothing cached`, `${Math.round(paint)} ms`);
    row(`rows of ${rigs} rigs on the screen`, `${Math.round(shown)} ms`);
  });
}

async function processor(share) {
  await withMock(['--rigs', '5000', '--share', String(share)], async (page, url) => {
    await openTable(page, url);
    const { main, script, style } = await cost(page, 10);
    row(`5000 rigs, ${share * 100} % change each second: main thread per second`, `${main.toFixed(0)} ms (script ${script.toFixed(0)}, style ${style.toFixed(0)})`, share < 1 ? '40 ms' : '');
  });
}

async function memory() {
  await withMock(['--rigs', '5000', '--share', '1', '--hz', String(TICKS_EACH_SECOND)], async (page, url) => {
    await openTable(page, url);
    const before = await heap(page);
    await page.waitForTimeout((TICKS / TICKS_EACH_SECOND) * 1000);
    row(`heap, 5000 rigs, after ${TICKS} seconds' changes in ${TICKS / TICKS_EACH_SECOND} s`, `${(await heap(page)).toFixed(1)} MB (at first ${before.toFixed(1)})`, '20 MB');
  });
}

/** Readers of the stream at a real gateway; a debug build costs more than a release. */
async function gateway() {
  if (!process.env.MINER_CTRL) return;
  const { Mesh } = await import('./nodes.mjs');
  const mesh = new Mesh(await mkdtemp(join(tmpdir(), 'budgets-')));
  const streams = new AbortController();
  try {
    const desk = mesh.fleet(RIGS);
    const share = async () => {
      const before = await desk.usage();
      await new Promise((over) => setTimeout(over, GATEWAY_SECONDS * 1000));
      return (100 * ((await desk.usage()).seconds - before.seconds)) / GATEWAY_SECONDS;
    };
    const url = new URL(await desk.says('sign in once'));
    const tokens = [];
    let heard = 0;
    for (let made = 0; made * STREAMS_OF_A_TOKEN < STREAMS; made += 1) tokens.push(JSON.parse(await desk.cli('-o', 'json', 'token', 'add', `reader-${made}`, '--scope', 'read')).token);
    // The rigs share the node's process: by how much more it works is what the streams cost.
    for (;;) {
      const online = JSON.parse(await desk.cli('-o', 'json', 'peer', 'list')).filter((peer) => peer.online).length;
      if (online === RIGS) break;
      await new Promise((again) => setTimeout(again, 500));
    }
    // A controller asks rigs that came for what it missed of their numbers, at once and when the minute is over.
    await new Promise((over) => setTimeout(over, ASKED_SECONDS * 1000));
    const alone = await share();
    const opened = await Promise.all(Array.from({ length: STREAMS }, (_, at) => fetch(`${url.origin}/api/v1/mining/events`, { headers: { Authorization: `Bearer ${tokens[Math.floor(at / STREAMS_OF_A_TOKEN)]}` }, signal: streams.signal })));
    const refused = opened.find(({ status }) => status !== 200);
    if (refused) throw new Error(`a stream was refused: ${refused.status}`);
    for (const { body } of opened) (async () => { for await (const piece of body) heard += piece.length; })().catch(() => undefined);
    await share();
    heard = 0;
    const read = await share();
    const each = heard / STREAMS / GATEWAY_SECONDS / 1000;
    row(`${STREAMS} streams of a fleet of ${RIGS}: the node with its simulated rigs`, `${read.toFixed(1)} % of a core, ${alone.toFixed(1)} % without the streams; each hears ${each.toFixed(1)} KB a second`, '10 %');
  } finally {
    streams.abort();
    await mesh.end();
  }
}

await sizes();
for (const rigs of [60, 5000]) await firstPaint(rigs);
for (const share of [0.1, 1]) await processor(share);
await memory();
await gateway();
const model = /model name\s*: (.*)/.exec(await readFile('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown processor';
console.log(`\n${model}, ${(await chromium.launch(launch).then(async (browser) => { const version = browser.version(); await browser.close(); return version; }))}\n`);
for (const [what, measured, budget] of [['', 'measured', 'budget'], ['---', '---', '---'], ...rows]) console.log(`| ${what} | ${measured} | ${budget} |`);
