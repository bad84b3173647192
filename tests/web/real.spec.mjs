// The page over real nodes, with stand-in mining programs.

import { expect } from '@playwright/test';

import { signIn, test } from './nodes.mjs';

const facts = (page) => page.locator('.facts');

/** Through the page, as a person would. */
async function addPeer(page, address, code) {
  await page.getByRole('button', { name: 'Add peer' }).first().click();
  await page.getByLabel('Address').fill(address);
  if (code) await page.getByLabel('Pairing code').fill(code);
  await page.getByRole('button', { name: 'Add', exact: true }).click();
}

async function openRig(page, base, name) {
  await page.goto(`${base}#/rigs`);
  await page.getByRole('link', { name, exact: true }).click();
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
}

async function startMining(page) {
  await page.getByRole('button', { name: 'Start…' }).first().click();
  await page.getByRole('dialog').getByRole('button', { name: 'Start', exact: true }).click();
  await expect(facts(page).getByText('Mining')).toBeVisible({ timeout: 60_000 });
}

test('from the first link to the first hashrate', async ({ page, mesh }) => {
  const desk = await mesh.desk();
  const rig = await mesh.node('rig-alpha', 'worker');
  const base = await signIn(page, desk);
  await page.getByRole('link', { name: 'Add your first rig' }).click();
  // A wrong code is told in the dialog, which stays.
  await addPeer(page, rig.address, 'AAAA-AAAA');
  await expect(page.getByRole('dialog').getByRole('alert')).toBeVisible({ timeout: 30_000 });
  await page.getByLabel('Pairing code').fill(await rig.says('pairing code'));
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(page.getByText('rig-alpha is paired')).toBeVisible({ timeout: 30_000 });

  await page.goto(`${base}#/profiles`);
  await page.getByRole('link', { name: 'New profile' }).click();
  await page.getByLabel('Name', { exact: true }).fill('monero-main');
  await page.getByLabel('Algorithm').fill('rx/0');
  await page.getByLabel('Pool 1 address').fill('pool.example');
  await page.getByLabel('Wallet or pool login').fill('44AFFq5kSiGBoZ');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByLabel('Pool 1 address')).toBeFocused();
  await page.getByLabel('Pool 1 address').fill('pool.example:3333');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('link', { name: 'monero-main', exact: true })).toBeVisible();

  await openRig(page, base, 'rig-alpha');
  await startMining(page);
  await expect(facts(page).locator('.figure').first()).toHaveText(/H\/s/, { timeout: 30_000 });
  await expect(page.getByText('Collecting. The first points come within two minutes.')).toBeVisible();
  await page.goto(`${base}#/overview`);
  await expect(page.getByRole('link', { name: /^rx\/0/ })).toBeVisible();
  await expect(page.getByRole('cell', { name: /^start/ })).toBeVisible();
  await page.goto(`${base}#/settings`);
  await expect(page.getByText('this one')).toBeVisible();
});

test('a peer is approved on its own page, after the words were compared', async ({ page, mesh, browser }) => {
  const desk = await mesh.desk();
  const barn = await mesh.node('barn', 'dual', { options: ['--dashboard', '127.0.0.1:0', '--link'] });
  const base = await signIn(page, desk);
  await page.goto(`${base}#/rigs`);
  await addPeer(page, barn.address);
  const words = page.getByRole('dialog').locator('.words');
  await expect(words).toHaveText(/^(\w+[ -]){5}\w+$/, { timeout: 30_000 });

  const there = await (await browser.newContext()).newPage();
  const other = await signIn(there, barn);
  await expect(there.getByLabel('1 request')).toBeVisible();
  await there.goto(`${other}#/pairing`);
  await expect(there.locator('.requests .words')).toHaveText(await words.textContent());
  await there.getByLabel('It may ask of this node').selectOption('control');
  await there.getByRole('button', { name: 'Approve desk' }).click();
  await expect(there.getByText('desk is admitted')).toBeVisible();
  await expect(page.getByText('barn is paired')).toBeVisible({ timeout: 30_000 });
  await expect(page.getByRole('link', { name: 'barn', exact: true })).toBeVisible();

  // Both sides may call the other as they like, and say what it may ask.
  await openRig(page, base, 'barn');
  await page.getByRole('button', { name: /^Change name and permission/ }).click();
  await page.getByLabel('Name', { exact: true }).fill('barn door');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByLabel('Name', { exact: true })).toHaveAttribute('aria-invalid', 'true');
  await page.getByLabel('Name', { exact: true }).fill('north-barn');
  await page.getByLabel('It may ask of this node').selectOption('view');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'north-barn' })).toBeVisible();
  await expect(page.getByRole('definition').filter({ hasText: 'Look: statistics and logs' })).toBeVisible();
  expect(await desk.cli('peer', 'list')).toContain('north-barn');
});

test('a rig is started, its console read, stopped, and goes away', async ({ page, mesh }) => {
  const desk = await mesh.desk();
  const [rig] = await mesh.rigs(desk, ['rig-alpha']);
  await mesh.profile(desk, 'monero-main');
  const base = await signIn(page, desk);
  await openRig(page, base, 'rig-alpha');
  await startMining(page);
  const lines = page.getByRole('region', { name: /^Console of/ }).locator('.chunk > div');
  await expect(lines.filter({ hasText: 'started as process' })).toBeAttached();
  const before = await lines.count();
  await expect.poll(() => lines.count(), { timeout: 60_000 }).toBeGreaterThan(before);
  await page.getByRole('button', { name: 'Stop', exact: true }).first().click();
  await expect(facts(page).getByText('Stopped')).toBeVisible({ timeout: 30_000 });
  expect(await desk.cli('remote', 'status')).toContain('stopped');
  await page.getByRole('button', { name: 'Start again' }).click();
  await expect(facts(page).getByText('Mining')).toBeVisible({ timeout: 60_000 });
  await rig.stop();
  await expect(facts(page).getByText('Offline')).toBeVisible({ timeout: 60_000 });
  // Nothing of an offline rig is shown as if it were so now.
  await expect(facts(page).locator('.figure').first()).toHaveText('–');
  await expect(page.getByRole('button', { name: 'Start…' }).first()).toBeDisabled();
});

test('what a rig has stored is listed and taken back, and what runs of it runs on', async ({ page, mesh }) => {
  const desk = await mesh.desk();
  await mesh.rigs(desk, ['rig-alpha']);
  await mesh.profile(desk, 'monero-main');
  await desk.cli('remote', 'deploy', 'rig-alpha', '--profile', 'monero-main');
  await desk.cli('remote', 'start', 'rig-alpha', '--profile', 'monero-main');
  const base = await signIn(page, desk);
  await openRig(page, base, 'rig-alpha');
  // What it has is offered where it is started with a profile of its own.
  await page.getByRole('button', { name: 'Start…' }).first().click();
  await page.getByLabel('Whose profile').selectOption('rig');
  await expect(page.getByLabel('Profile', { exact: true })).toHaveValue('monero-main');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'More for rig-alpha' }).click();
  await page.getByRole('menuitem', { name: 'Profiles on it…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Profiles on rig-alpha' });
  await expect(dialog.getByText('monero-main')).toBeVisible();
  await dialog.getByRole('button', { name: 'Remove monero-main' }).click();
  await dialog.getByRole('button', { name: 'Remove monero-main for good' }).click();
  await expect(dialog.getByText('It has stored none.')).toBeVisible();
  await expect(dialog.getByText('Close', { exact: true })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(facts(page).getByText('Mining')).toBeVisible({ timeout: 60_000 });
  expect(await desk.cli('remote', 'profiles', 'rig-alpha')).toContain('no profiles there');
});

test('a deploy to twenty rigs tells each one’s result, and only what failed is tried again', async ({ page, mesh }) => {
  test.setTimeout(300_000);
  const desk = await mesh.desk();
  const names = Array.from({ length: 20 }, (_, at) => `rig-${at + 1}`);
  const refusing = { policy: { pools: ['other.example'] } };
  const rigs = await mesh.rigs(desk, names, (name) => (name === 'rig-7' ? refusing : {}));
  await mesh.profile(desk, 'monero-main');
  const base = await signIn(page, desk);
  await page.goto(`${base}#/rigs?show=online`);
  await expect(page.getByRole('table', { name: 'Rigs' })).toHaveAttribute('aria-rowcount', '21', { timeout: 60_000 });
  await page.getByLabel('Select all 20').click();
  await page.getByRole('button', { name: 'Deploy profile…' }).click();
  await page.getByRole('button', { name: 'Deploy to 20' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByText('19 of 20 done, 1 failed')).toBeVisible({ timeout: 60_000 });
  const failed = dialog.getByRole('row').filter({ hasText: 'policy' });
  await expect(failed).toHaveCount(1);
  await expect(failed.getByRole('link')).toHaveText('rig-7');
  await expect(dialog.getByRole('cell', { name: 'profile monero-main', exact: true })).toHaveCount(19);

  // Its operator changes its mind. A policy is read at the start.
  const rig = rigs[6];
  await rig.stop();
  await mesh.policy(rig, {});
  await rig.serve({ listen: rig.address });
  await expect.poll(async () => JSON.parse(await desk.cli('-o', 'json', 'peer', 'list')).every(({ online }) => online), { timeout: 60_000 }).toBe(true);
  await dialog.getByRole('button', { name: 'Retry 1 failed' }).click();
  await expect(dialog.getByText('1 of 1 done')).toBeVisible({ timeout: 30_000 });
});

test('a node that is restarted is told of and found again, without a new sign-in', async ({ page, mesh }) => {
  const desk = await mesh.desk();
  await mesh.rigs(desk, ['rig-alpha']);
  await mesh.profile(desk, 'monero-main');
  const base = await signIn(page, desk);
  await openRig(page, base, 'rig-alpha');
  await startMining(page);
  await desk.stop();
  await expect(page.getByText('The node does not answer.')).toBeVisible({ timeout: 40_000 });
  await expect(page.getByText(/Reconnecting|Offline since/)).toBeVisible();
  await expect(page.getByRole('button', { name: 'Stop', exact: true }).first()).toBeDisabled();
  await expect(page.getByRole('heading', { level: 1, name: 'rig-alpha' })).toBeVisible();
  await desk.serve({ listen: desk.address, options: ['--dashboard', new URL(base).host] });
  await expect(page.getByText('Live', { exact: true })).toBeVisible({ timeout: 60_000 });
  await expect(page.getByText('The node does not answer.')).toBeHidden();
  // The rig went on mining, and is seen to.
  await expect(facts(page).getByText('Mining')).toBeVisible({ timeout: 60_000 });
  await expect(page.getByRole('button', { name: 'Stop', exact: true }).first()).toBeEnabled();
});

/** A debug build on two shared cores connects some tens of rigs a second; a release build is worth thousands. */
const FLEET = Number(process.env.MINER_CTRL_FLEET ?? 100);

test('a fleet of hundreds fills the table, and one command reaches all of it', async ({ page, mesh }) => {
  test.setTimeout(300_000);
  const fleet = mesh.fleet(FLEET, '--fail-starts', '5');
  const base = await signIn(page, fleet);
  await page.goto(`${base}#/rigs?show=online`);
  await expect(page.getByRole('table', { name: 'Rigs' })).toHaveAttribute('aria-rowcount', String(FLEET + 1), { timeout: 180_000 });
  await expect(page.getByRole('region', { name: 'This node' })).toContainText(`${FLEET} peers, ${FLEET} online`);
  await page.getByLabel(`Select all ${FLEET}`).click();
  await page.getByRole('button', { name: /^Stop \d+/ }).click();
  const confirm = page.getByRole('dialog');
  const stop = confirm.getByRole('button', { name: /^Stop \d+/ });
  const count = /\d+/.exec(await stop.textContent())[0];
  await confirm.getByRole('textbox').fill(count);
  await stop.click();
  await expect(page.getByRole('dialog').getByText(`${count} of ${count} done`)).toBeVisible({ timeout: 120_000 });
  await page.getByRole('button', { name: 'Close', exact: true }).last().click();
  await page.goto(`${base}#/rigs?f=state%3Astopped`);
  await expect(page.getByRole('table', { name: 'Rigs' })).toHaveAttribute('aria-rowcount', String(Number(count) + 1), { timeout: 60_000 });
});
