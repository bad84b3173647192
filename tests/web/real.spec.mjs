// The page over real nodes, with stand-in mining programs. Needs a built program: MINER_CTRL=…/miner-ctrl.

import { spawn, execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { expect, test } from '@playwright/test';

const PROGRAM = process.env.MINER_CTRL;
const run = promisify(execFile);

/** One serving node in a directory of its own; `says` waits for a line and gives what stands behind its word. */
async function serve(home, name, role, ...options) {
  await run(PROGRAM, ['--home', home, 'node', 'init', '--name', name, '--role', role]);
  const child = spawn(PROGRAM, ['--home', home, 'node', 'serve', '--listen', '127.0.0.1:0', '--simulate', ...options], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  child.stdout.on('data', (piece) => (text += piece));
  child.stderr.on('data', (piece) => (text += piece));
  return {
    async says(word) {
      const line = new RegExp(`^\\s*${word}: +(\\S.*)$`, 'm');
      await expect.poll(() => line.exec(text)?.[1], { message: `${name} says ${word}`, timeout: 30_000 }).toBeTruthy();
      return line.exec(text)[1];
    },
    async stop() {
      child.kill('SIGTERM');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

test('from the link to the first hashrate, the console, and nodes that go away', async ({ page }) => {
  test.skip(!PROGRAM, 'MINER_CTRL names no program');
  test.setTimeout(180_000);
  const faults = [];
  page.on('console', (message) => message.type() === 'error' && !message.text().startsWith('Failed to load resource') && faults.push(message.text()));
  page.on('pageerror', (error) => faults.push(String(error)));
  const dir = await mkdtemp(join(tmpdir(), 'page-'));
  const nodes = [];
  try {
    const desk = await serve(join(dir, 'desk'), 'desk', 'controller', '--dashboard', '127.0.0.1:0', '--link');
    nodes.push(desk);
    const rig = await serve(join(dir, 'rig'), 'rig-alpha', 'worker');
    nodes.push(rig);
    const address = (await rig.says('listening')).replace(/^.*\/tcp\/(\d+)\/.*$/, '127.0.0.1:$1');

    await page.goto(await desk.says('sign in once'));
    await expect(page.getByText('Live', { exact: true })).toBeVisible();
    expect(page.url()).not.toContain('link');
    const base = page.url().split('#')[0];

    await page.goto(`${base}#/rigs`);
    await page.getByRole('button', { name: 'Add peer' }).first().click();
    await page.getByLabel('Address').fill(address);
    await page.getByLabel('Pairing code').fill(await rig.says('pairing code'));
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await expect(page.getByText('rig-alpha is paired')).toBeVisible({ timeout: 30_000 });
    await expect(page.getByRole('link', { name: 'rig-alpha' })).toBeVisible();

    await page.goto(`${base}#/profiles/+`);
    await page.getByLabel('Name', { exact: true }).fill('monero-main');
    await page.getByLabel('Algorithm').fill('rx/0');
    await page.getByLabel('Pool 1 address').fill('pool.example');
    await page.getByLabel('Wallet or pool login').fill('44AFFq5kSiGBoZ');
    await page.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByLabel('Pool 1 address')).toBeFocused();
    await page.getByLabel('Pool 1 address').fill('pool.example:3333');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('link', { name: 'monero-main', exact: true }).waitFor();

    await page.goto(`${base}#/rigs`);
    await page.getByRole('link', { name: 'rig-alpha' }).click();
    await page.getByRole('button', { name: 'Start…' }).first().click();
    await page.getByRole('dialog').getByRole('button', { name: 'Start', exact: true }).click();
    await expect(page.locator('.facts').getByText('Mining')).toBeVisible({ timeout: 60_000 });
    await expect(page.locator('.facts .figure').first()).toHaveText(/H\/s/, { timeout: 30_000 });
    const console = page.getByRole('region', { name: /^Console of/ });
    await expect(console.locator('.chunk > div').first()).toBeAttached();
    if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/real-rig.png` });

    await page.goto(`${base}#/overview`);
    await expect(page.getByText('rx/0')).toBeVisible();
    await expect(page.getByRole('cell', { name: /^start/ })).toBeVisible();
    if (process.env.SHOTS) await page.screenshot({ path: `${process.env.SHOTS}/real-overview.png` });

    await page.goto(`${base}#/settings`);
    await expect(page.getByText('this one')).toBeVisible();
    await page.goto(`${base}#/rigs`);
    await page.getByRole('link', { name: 'rig-alpha' }).click();
    await page.getByRole('button', { name: 'Stop', exact: true }).click();
    await expect(page.locator('.facts').getByText('Stopped')).toBeVisible({ timeout: 30_000 });

    await rig.stop();
    await expect(page.locator('.facts').getByText('Offline')).toBeVisible({ timeout: 60_000 });
    await desk.stop();
    await expect(page.getByText(/Reconnecting|Offline since/)).toBeVisible({ timeout: 40_000 });
    expect(faults).toEqual([]);
  } finally {
    for (const node of nodes) await node.stop();
    await rm(dir, { recursive: true, force: true });
  }
});
