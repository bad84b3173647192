// Every page, dialog and bad day, in both themes, at the width of a desk, a tablet and a phone: screenshots to look at,
// and axe-core's opinion.
//
//     npm run look -- [--shots] [--width 390]… [view…]
//
// With --shots, pictures go to shots/. Fails on a violation, an error in the console, a request to another host, or a
// page that is wider than its window.

import { mkdirSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

import { chromium } from '@playwright/test';

import { launch } from './browser.mjs';
import { mockNode } from './mock.mjs';

const { values: options, positionals: only } = parseArgs({ options: { shots: { type: 'boolean', default: false }, width: { type: 'string', multiple: true } }, allowPositionals: true });
const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const ALPHA = '1a2b3c4d5e6f1eef';
const SIZES = [[1280, 800], [820, 1180], [390, 844]];
const WIDTHS = SIZES.filter(([width]) => !options.width || options.width.includes(String(width)));
const THEMES = ['dark', 'light'];

const dialog = (page) => page.getByRole('dialog');
const desk = (page) => page.viewportSize().width > 720;
/** Ticks the online rigs of a filter: on a phone there are no boxes, and a long press selects one. */
async function select(page, filter) {
  await page.getByLabel('Filter rigs').fill(filter);
  if (desk(page)) return page.getByLabel(/^Select all/).click();
  const row = page.locator('tbody tr[data-id]').first();
  await row.hover();
  await page.mouse.down();
  await page.getByText('1 selected').waitFor();
  await page.mouse.up();
}

const MOCKS = {
  fleet: ['--rigs', '60', '--port', '0'],
  empty: ['--rigs', '0', '--port', '0'],
  login: ['--rigs', '5', '--port', '0', '--login'],
  doomed: ['--rigs', '60', '--port', '0'],
};

/** Name, mock, route, and what to do before looking. */
const VIEWS = [
  ['overview', 'fleet', 'overview'],
  ['overview-table', 'fleet', 'overview', async (page) => void (await page.getByRole('button', { name: 'Show as table' }).click())],
  ['overview-empty', 'empty', 'overview'],
  ['rigs', 'fleet', 'rigs'],
  ['rigs-selected', 'fleet', 'rigs', (page) => select(page, 'state:mining')],
  ['rigs-peek', 'fleet', `rigs?peek=${ALPHA}`],
  ['rigs-none', 'fleet', 'rigs?f=temp%3E800'],
  ['rigs-wrong', 'fleet', 'rigs?f=temp%3Ewarm', (page) => page.locator('.error').waitFor()],
  ['rigs-empty', 'empty', 'rigs'],
  ['rig', 'fleet', `rig/${ALPHA}`],
  ['rig-gpu', 'fleet', 'rigs?f=algo%3Akawpow%20state%3Amining', async (page) => {
    await page.locator('tbody .name a, tbody .two a').first().click();
    const power = page.getByRole('img', { name: /^Power over/ });
    await power.scrollIntoViewIfNeeded();
    await power.locator('canvas').waitFor();
  }],
  ['rig-gone', 'fleet', 'rig/0000000000000000', (page) => page.getByRole('alert').waitFor()],
  ['rig-offline', 'fleet', 'rigs?show=offline', async (page) => {
    await page.locator('tbody .name a, tbody .two a').first().click();
    await page.locator('.facts').waitFor();
  }],
  ['rig-change', 'fleet', `rig/${ALPHA}`, async (page) => {
    await page.getByRole('button', { name: /^Change name and permission/ }).click();
    await page.getByLabel('Name', { exact: true }).fill('no good');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.locator('[aria-invalid=true]').waitFor();
  }],
  ['rig-stopped', 'fleet', `rig/${ALPHA}`, async (page) => {
    await page.getByRole('button', { name: 'Stop', exact: true }).first().click();
    await page.getByRole('button', { name: 'Start again' }).click();
    await page.locator('.facts').getByText('Mining').waitFor();
  }],
  ['profiles', 'fleet', 'profiles'],
  ['profiles-empty', 'empty', 'profiles'],
  ['editor', 'fleet', 'profiles/+', async (page) => {
    await page.getByRole('button', { name: 'Save' }).click();
    await page.locator('[aria-invalid=true]').first().waitFor();
  }],
  ['activity', 'fleet', 'activity'],
  ['activity-empty', 'empty', 'activity'],
  ['pairing', 'fleet', 'pairing', async (page) => {
    await page.getByRole('button', { name: /code/i }).click();
    await page.locator('.big').waitFor();
  }],
  ['settings', 'fleet', 'settings', (page) => page.getByText('this one').waitFor()],
  ['more', 'fleet', 'more'],
  ['no-such-page', 'fleet', 'nowhere'],
  ['add', 'fleet', 'rigs', async (page) => {
    await page.getByRole('button', { name: 'Add peer' }).click();
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.locator('[aria-invalid=true]').waitFor();
  }],
  ['add-words', 'fleet', 'rigs', async (page) => {
    await page.getByRole('button', { name: 'Add peer' }).click();
    await page.getByLabel('Address').fill('192.168.1.21');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await dialog(page).locator('.words').waitFor();
  }],
  ['start', 'fleet', `rig/${ALPHA}`, async (page) => void (await page.getByRole('button', { name: 'Start…' }).first().click())],
  ['remove', 'fleet', `rig/${ALPHA}`, async (page) => {
    await page.getByRole('button', { name: /^More for/ }).click();
    await page.getByRole('menuitem', { name: 'Remove…' }).click();
  }],
  ['menu', 'fleet', `rig/${ALPHA}`, async (page) => void (await page.getByRole('button', { name: /^More for/ }).click())],
  ['deploy', 'fleet', 'rigs', async (page) => {
    await select(page, 'role:worker -state:offline');
    await page.getByRole('button', { name: 'Deploy profile…' }).click();
  }],
  ['job', 'fleet', 'rigs', async (page) => {
    // Names that end in 3 refuse, in the mock.
    await select(page, 'north role:worker -state:offline');
    await page.getByRole('button', { name: 'Deploy profile…' }).click();
    await dialog(page).getByRole('button', { name: /^Deploy to/ }).click();
    await dialog(page).getByText(/of \d+ done(, \d+ failed)?$/).waitFor();
  }],
  ['stop-many', 'fleet', 'rigs', async (page) => {
    await select(page, 'state:mining');
    await page.getByRole('button', { name: /^Stop \d+/ }).click();
  }],
  ['palette', 'fleet', 'rigs', async (page) => {
    await page.keyboard.press('Control+k');
    await page.keyboard.type('barn');
  }],
  ['keys', 'fleet', 'rigs', async (page) => void (await page.keyboard.press('?'))],
  ['exposed', 'fleet', 'overview', undefined, { exposed: true }],
  ['lost', 'doomed', 'rigs', async (page, mock) => {
    await mock.stop();
    await page.getByText('The node does not answer.').waitFor();
  }],
  ['login', 'login', '', undefined, { out: true }],
  ['login-wrong', 'login', '', async (page) => {
    await page.getByLabel('Password').fill('wrong wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.locator('[aria-invalid=true]').waitFor();
  }, { out: true }],
  ['login-exposed', 'login', '', undefined, { out: true, exposed: true }],
  ['login-spent', 'login', `link/${'B'.repeat(43)}`, (page) => page.getByRole('alert').waitFor(), { out: true }],
  ['no-server', 'fleet', '', undefined, { out: true, away: true }],
].filter(([name]) => only.length === 0 || only.includes(name));

let bad = 0;
function complain(text) {
  bad += 1;
  console.error(text);
}

/** What the page asked for is there, and drawn. */
async function settled(page, out) {
  await page.locator('h1').waitFor();
  if (!out) await page.locator('.live.ok').waitFor();
  await page.waitForFunction(() => document.querySelector('.skeleton') === null && [...document.querySelectorAll('.canvas')].every((box) => box.querySelector('canvas')));
  await drawn(page);
}

function drawn(page) {
  return page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
}

async function look(page, mock, [name, , route, act, { out = false, exposed = false, away = false } = {}], width) {
  const base = mock.url;
  const label = `${name}-${width}`;
  const listeners = {
    // The browser itself reports each answer of 400 and above, which the page handles.
    console: (message) => message.type() === 'error' && !message.text().startsWith('Failed to load resource') && complain(`${label}: console: ${message.text()}`),
    pageerror: (error) => complain(`${label}: ${error}`),
    request: (request) => new URL(request.url()).host !== new URL(base).host && complain(`${label}: asked ${request.url()}`),
  };
  for (const [event, listener] of Object.entries(listeners)) page.on(event, listener);
  if (away) await page.route('**/session', (request) => request.abort());
  if (exposed) {
    await page.route('**/session', async (request) => {
      const response = await request.fetch();
      await request.fulfill({ response, json: { ...(await response.json()), secure: false } });
    });
  }
  try {
    await page.emulateMedia({ colorScheme: THEMES[0] });
    await page.goto(route === '' ? base : `${base}#/${route}`);
    await settled(page, out);
    await act?.(page, mock);
    await drawn(page);
    // evaluate() goes through the debugger, which no content security policy stops.
    await page.evaluate(AXE);
    for (const theme of THEMES) {
      await page.emulateMedia({ colorScheme: theme });
      await drawn(page);
      if (options.shots) await page.screenshot({ path: new URL(`shots/${name}-${theme}-${width}.png`, import.meta.url).pathname });
      // The second theme has other colours and nothing else.
      const runOnly = theme === THEMES[0] ? { type: 'tag', values: TAGS } : { type: 'rule', values: ['color-contrast'] };
      const { violations } = await page.evaluate((which) => globalThis.axe.run(document, { runOnly: which, resultTypes: ['violations'] }), runOnly);
      for (const { id, help, nodes } of violations) complain(`${label}-${theme}: axe ${id}: ${help}\n    ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ''}`).join('\n    ')}`);
    }
    const wide = await page.evaluate(() => Math.max(document.documentElement.scrollWidth, document.getElementById('main')?.scrollWidth ?? 0) - innerWidth);
    if (wide > 0) complain(`${label}: ${wide} px wider than the window`);
  } catch (error) {
    complain(`${label}: ${error}`);
  }
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  for (const [event, listener] of Object.entries(listeners)) page.off(event, listener);
  // The next view begins anew: the same address with another fragment would be the same page.
  await page.goto('about:blank');
}

/** Some pages at once: most of the time is waiting. Each has nodes of its own, for views change what they show. */
const AT_ONCE = 3;

async function lookAtAll(browser, waiting) {
  const mocks = new Map();
  const pages = new Map();
  for (let next = waiting.shift(); next; next = waiting.shift()) {
    const { view, size: [width, height] } = next;
    const kind = view[1];
    const doomed = kind === 'doomed';
    if (doomed || !mocks.has(kind)) mocks.set(kind, await mockNode(...MOCKS[kind]));
    if (!pages.has(width)) pages.set(width, await (await browser.newContext({ viewport: { width, height }, hasTouch: width < 500, reducedMotion: 'reduce' })).newPage());
    await look(pages.get(width), mocks.get(kind), view, width);
  }
  for (const mock of mocks.values()) await mock.stop();
}

mkdirSync(new URL('shots/', import.meta.url), { recursive: true });
const browser = await chromium.launch(launch);
const waiting = WIDTHS.flatMap((size) => VIEWS.map((view) => ({ view, size })));
await Promise.all(Array.from({ length: AT_ONCE }, () => lookAtAll(browser, waiting)));
await browser.close();
console.log(`${VIEWS.length} views, ${WIDTHS.length} widths, ${THEMES.length} themes: ${bad === 0 ? 'all is well' : `${bad} complaints`}`);
process.exit(bad === 0 ? 0 : 1);
