// Every page, both themes, at the width of a desk and of a phone: screenshots to look at, and axe-core's opinion.
//
//     npm run look -- http://127.0.0.1:9099/ [page…]
//
// Shots go to shots/. Fails on a violation, an error in the console, or a request to another host.

import { mkdirSync, readFileSync } from 'node:fs';

import { chromium } from '@playwright/test';

const [base = 'http://127.0.0.1:9099/', ...only] = process.argv.slice(2);
const AXE = readFileSync(new URL('node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const RIG = process.env.RIG ?? '1a2b3c4d5e6f1eef';

/** Name, route, and what to do before looking. */
const PAGES = [
  ['overview', '#/overview'],
  ['rigs', '#/rigs'],
  ['rigs-selected', '#/rigs', async (page) => {
    if (page.viewportSize().width > 720) for (const at of [2, 3, 4]) await page.locator('tbody input[type=checkbox]').nth(at).click();
  }],
  ['rigs-peek', `#/rigs?peek=${RIG}`],
  ['rigs-none', '#/rigs?f=temp%3E800'],
  ['rig', `#/rig/${RIG}`],
  ['profiles', '#/profiles'],
  ['editor', '#/profiles/+', async (page) => {
    await page.getByRole('button', { name: 'Save' }).click();
    await page.locator('[aria-invalid=true]').first().waitFor();
  }],
  ['activity', '#/activity'],
  ['pairing', '#/pairing', async (page) => {
    await page.getByRole('button', { name: /code/i }).click();
    await page.locator('.big').waitFor();
  }],
  ['settings', '#/settings'],
  ['add', '#/rigs', async (page) => {
    await page.getByRole('button', { name: 'Add peer' }).click();
    await page.getByRole('button', { name: 'Add', exact: true }).click();
  }],
  ['start', `#/rig/${RIG}`, async (page) => void (await page.getByRole('button', { name: 'Start…' }).first().click())],
  ['remove', `#/rig/${RIG}`, async (page) => {
    await page.getByRole('button', { name: /^More for/ }).click();
    await page.getByRole('menuitem', { name: 'Remove…' }).click();
  }],
  ['palette', '#/rigs', async (page) => {
    await page.keyboard.press('Control+k');
    await page.keyboard.type('barn');
  }],
  ['keys', '#/rigs', async (page) => void (await page.keyboard.press('?'))],
  ['more', '#/more'],
];

mkdirSync(new URL('shots/', import.meta.url), { recursive: true });
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
let bad = 0;
const complain = (text) => {
  bad += 1;
  console.error(text);
};
for (const theme of ['dark', 'light']) {
  for (const [width, height] of [[1280, 800], [820, 1180], [390, 844]]) {
    // Playwright's injected axe would fall to our own content security policy; it is the page we test, not the tool.
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, hasTouch: width < 500, bypassCSP: false });
    for (const [name, route, act] of PAGES) {
      if (only.length > 0 && !only.includes(name)) continue;
      const page = await context.newPage();
      const label = `${name}-${theme}-${width}`;
      page.on('console', (message) => message.type() === 'error' && !/422/.test(message.text()) && complain(`${label}: console: ${message.text()}`));
      page.on('pageerror', (error) => complain(`${label}: ${error}`));
      page.on('request', (request) => new URL(request.url()).host !== new URL(base).host && complain(`${label}: asked ${request.url()}`));
      await page.goto(`${base}${route}`);
      await page.locator('h1').waitFor();
      await page.getByText('Live', { exact: true }).waitFor();
      await page.waitForTimeout(350);
      try {
        await act?.(page);
      } catch (error) {
        complain(`${label}: ${error}`);
      }
      await page.waitForTimeout(150);
      await page.screenshot({ path: new URL(`shots/${label}.png`, import.meta.url).pathname });
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) complain(`${label}: ${wide} px wider than the window`);
      // evaluate() goes through the debugger, which no policy stops.
      await page.evaluate(AXE);
      const { violations } = await page.evaluate((tags) => globalThis.axe.run(document, { runOnly: tags }), TAGS);
      for (const { id, help, nodes } of violations) complain(`${label}: axe ${id}: ${help}\n    ${nodes.slice(0, 3).map((node) => `${node.html.slice(0, 160)} ${node.any[0]?.message ?? ''}`).join('\n    ')}`);
      await page.close();
    }
    await context.close();
  }
}
await browser.close();
console.log(bad === 0 ? 'all is well' : `${bad} complaints`);
process.exit(bad === 0 ? 0 : 1);
