import { readFile } from 'node:fs/promises';

import { expect } from '@playwright/test';

import { mockNode, test } from './mock.mjs';

const rows = (page) => page.locator('tbody tr[data-id]');
const names = (page) => page.locator('tbody .name a').allTextContents();

test.beforeEach(async ({ page, node, faults }) => {
  void faults;
  await page.goto(`${node.url}#/rigs`);
  await expect(page.getByText('Live', { exact: true })).toBeVisible();
  // It is live before the first rigs have come.
  await expect(rows(page).first()).toBeVisible();
});

test('the table is a real one and says how it is sorted', async ({ page }) => {
  const table = page.getByRole('table', { name: 'Rigs' });
  await expect(table).toHaveAttribute('aria-rowcount', '61');
  await expect(table.getByRole('columnheader', { name: 'Peer' })).toHaveAttribute('aria-sort', 'ascending');
  await page.getByRole('button', { name: 'Score' }).click();
  await expect(table.getByRole('columnheader', { name: 'Score' })).toHaveAttribute('aria-sort', 'ascending');
  await page.getByRole('button', { name: 'Score' }).click();
  await expect(table.getByRole('columnheader', { name: 'Score' })).toHaveAttribute('aria-sort', 'descending');
  await expect(page).toHaveURL(/sort=score&down=1/);
});

test('a filter is kept in the address bar, and a link to it leads back', async ({ page }) => {
  await page.keyboard.press('/');
  await page.keyboard.type('state:offline');
  await expect(rows(page)).toHaveCount(2);
  await expect(page).toHaveURL(/f=state%3Aoffline/);
  await page.reload();
  await expect(page.getByLabel('Filter rigs')).toHaveValue('state:offline');
  await expect(rows(page)).toHaveCount(2);
  await page.getByLabel('Filter rigs').fill('temp>800');
  await expect(page.getByText('No rig matches')).toBeVisible();
  await page.getByRole('button', { name: 'Clear filter' }).click();
  await expect(page.getByRole('table', { name: 'Rigs' })).toHaveAttribute('aria-rowcount', '61');
});

const column = (page, name) => page.getByRole('table', { name: 'Rigs' }).getByRole('columnheader', { name });

test('what is sorted or filtered by is shown, and the most of it is first', async ({ page }) => {
  const cells = async (name) => {
    const at = (await column(page, /./).allTextContents()).findIndex((head) => head.includes(name)) + 1;
    return page.locator(`tbody tr[data-id] > :nth-child(${at + 1})`).allTextContents();
  };
  await expect(column(page, 'Hottest')).toBeHidden();
  await page.getByLabel('Sort by').selectOption('temp');
  await expect(column(page, 'Hottest')).toHaveAttribute('aria-sort', 'descending');
  await expect(column(page, 'Role')).toBeHidden();
  const degrees = (await cells('Hottest')).map((text) => Number.parseInt(text, 10)).filter((value) => !Number.isNaN(value));
  expect(degrees.length).toBeGreaterThan(3);
  expect(degrees).toEqual([...degrees].sort((a, b) => b - a));
  await page.getByLabel('Sort by').selectOption('name');
  await expect(column(page, 'Hottest')).toBeHidden();
  await page.getByLabel('Filter rigs').fill('rej>=0 why:pool');
  await expect(column(page, 'Rejected')).toBeVisible();
  // Why it is so stands there, and not under a pointer alone.
  await expect.poll(async () => (await cells('State')).every((text) => text.includes('lost its pool'))).toBe(true);
});

test('a state of the bar leads to its rigs', async ({ page }) => {
  const fault = page.getByRole('region', { name: 'State of all rigs' }).getByRole('link', { name: /Fault/ });
  const count = Number.parseInt(await fault.textContent(), 10);
  expect(count).toBeGreaterThan(0);
  await fault.click();
  await expect(page.getByRole('table', { name: 'Rigs' })).toHaveAttribute('aria-rowcount', String(count + 1));
});

test('totals follow filter and selection, and the list can be taken along', async ({ page, context, node }) => {
  await context.grantPermissions(['clipboard-read', 'clipboard-write'], { origin: new URL(node.url).origin });
  const totals = page.getByRole('group', { name: 'Totals' });
  await expect(totals).toContainText(/60 rigs · .*H\/s.*kW measured/);
  await page.getByLabel('Filter rigs').fill('algo:kawpow');
  await expect(totals).toContainText(/of 60 rigs · kawpow/);
  await expect(totals).not.toContainText('rx/0');
  await page.locator('tbody input').nth(0).click();
  await page.locator('tbody input').nth(1).click();
  await expect(totals).toContainText('2 chosen');
  const [first, second] = await names(page);
  await totals.getByRole('button', { name: 'Copy names' }).click();
  await expect(page.getByText('2 names copied')).toBeVisible();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied.trim().split('\n').sort()).toEqual([first, second].sort());
  const [file] = await Promise.all([page.waitForEvent('download'), totals.getByRole('button', { name: 'CSV' }).click()]);
  expect(file.suggestedFilename()).toBe('rigs.csv');
  const lines = (await readFile(await file.path(), 'utf8')).trim().split('\r\n');
  expect(lines).toHaveLength(3);
  expect(lines[0]).toMatch(/^name,id,state,why/);
});

test('restarting more than ten asks for the number', async ({ page }) => {
  await page.getByLabel('Filter rigs').fill('state:mining');
  await page.getByLabel(/^Select all/).click();
  await page.getByRole('button', { name: /^Restart \d+/ }).click();
  const dialog = page.getByRole('dialog');
  const restart = dialog.getByRole('button', { name: /^Restart \d+/ });
  const number = /\d+/.exec(await restart.textContent())[0];
  await restart.click();
  await expect(dialog.getByRole('textbox')).toBeFocused();
  await dialog.getByRole('textbox').fill(number);
  await restart.click();
  await expect(page.getByRole('dialog', { name: `Restart ${number} rigs` }).getByText(`${number} of ${number} done`)).toBeVisible();
});

test('on a phone, what is wrong stands in the row', async ({ page }) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByLabel('Sort by').selectOption('state');
  await expect(rows(page).first()).toContainText('ended with code 1');
});

test('the slash leads to the filter from any page', async ({ page, node }) => {
  await page.goto(`${node.url}#/profiles`);
  await expect(page.getByRole('heading', { level: 1 })).toHaveText('Profiles');
  await page.keyboard.press('/');
  await expect(page.getByLabel('Filter rigs')).toBeFocused();
});

test('a fleet that is not drawn yet is never shown as an empty one', async ({ page }) => {
  await page.addInitScript(() => {
    const frame = window.requestAnimationFrame.bind(window);
    window.requestAnimationFrame = (run) => setTimeout(() => frame(run), 300);
    window.seen = new Set();
    new MutationObserver(() => document.querySelectorAll('main h2').forEach((h2) => window.seen.add(h2.textContent))).observe(document, { childList: true, subtree: true });
  });
  await page.reload();
  await expect(rows(page).first()).toBeVisible();
  expect(await page.evaluate(() => [...window.seen])).not.toContain('Add your first rig');
});

test('the keyboard alone moves, ticks, opens and comes back', async ({ page }) => {
  await rows(page).first().focus();
  const [, second, third, fourth] = await names(page);
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Space');
  await expect(page.getByText('1 selected')).toBeVisible();
  await page.keyboard.press('Shift+ArrowDown');
  await page.keyboard.press('Shift+ArrowDown');
  await expect(page.getByText('3 selected')).toBeVisible();
  for (const name of [second, third, fourth]) await expect(page.getByLabel(`Select ${name}`, { exact: true })).toBeChecked();
  await page.keyboard.press('Escape');
  await expect(page.getByText('3 selected')).toBeHidden();
  await page.keyboard.press('End');
  await expect(rows(page).last()).toBeFocused();
  await page.keyboard.press('Home');
  await expect(rows(page).first()).toBeFocused();
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('ArrowRight');
  await page.keyboard.press('Enter');
  await expect(page).toHaveURL(/#\/rig\//);
  await expect(page.getByRole('heading', { level: 1 })).toBeFocused();
});

test('the side panel takes the focus, gives it back to its row, and Escape closes it from both', async ({ page }) => {
  const [, second] = await names(page);
  const row = page.locator('tbody tr[data-id]').nth(1);
  const panel = page.getByRole('complementary', { name: `Stats of ${second}` });
  const open = async () => {
    await row.getByRole('button', { name: `Stats of ${second}` }).click();
    await expect(panel.getByRole('heading', { name: second })).toBeFocused();
  };
  await open();
  await page.keyboard.press('Escape');
  await expect(panel).toBeHidden();
  await expect(row).toBeFocused();
  await open();
  await panel.getByRole('button', { name: 'Close stats' }).click();
  await expect(row).toBeFocused();
  await open();
  await row.focus();
  await page.keyboard.press('Escape');
  await expect(panel).toBeHidden();
});

test('who comes back to the list finds it where it was left, with another filter from its beginning', async ({ page }) => {
  const box = page.locator('.tablebox');
  await box.evaluate((element) => element.scrollTo(0, 700));
  await expect(rows(page).first()).not.toHaveAttribute('aria-rowindex', '2');
  const name = await rows(page).nth(8).getByRole('link').textContent();
  await page.getByRole('link', { name, exact: true }).click();
  await expect(page.getByRole('heading', { name })).toBeVisible();
  await page.goBack();
  await expect(page.getByRole('link', { name, exact: true })).toBeInViewport();
  expect(await box.evaluate((element) => element.scrollTop)).toBe(700);
  await page.getByRole('link', { name, exact: true }).click();
  await page.goto(`${page.url().split('#')[0]}#/rigs?sort=hash`);
  await expect(box).toBeVisible();
  expect(await box.evaluate((element) => element.scrollTop)).toBe(0);
});

test('a shift-click ticks a range, and a selection outlives a filter', async ({ page }) => {
  await page.locator('tbody input').nth(1).click();
  await page.locator('tbody input').nth(4).click({ modifiers: ['Shift'] });
  await expect(page.getByText('4 selected')).toBeVisible();
  await page.goto(`${page.url().split('#')[0]}#/rigs?show=offline`);
  await expect(page.getByText('4 selected')).toBeVisible();
});

test('all rigs are printed, not those in sight, and then the table is as it was', async ({ page }) => {
  const inSight = await rows(page).count();
  expect(inSight).toBeLessThan(60);
  await page.evaluate(() => dispatchEvent(new Event('beforeprint')));
  await expect(rows(page)).toHaveCount(60);
  await page.emulateMedia({ media: 'print' });
  const [last, totals] = await Promise.all([rows(page).last().boundingBox(), page.getByRole('group', { name: 'Totals' }).boundingBox()]);
  expect(totals.y).toBeGreaterThanOrEqual(last.y + last.height - 1);
  await page.emulateMedia({ media: 'screen' });
  await page.evaluate(() => dispatchEvent(new Event('afterprint')));
  await expect(rows(page)).toHaveCount(inSight);
});

test('rows do not jump under the pointer', async ({ page }) => {
  await page.getByRole('button', { name: 'Hashrate' }).click();
  const body = page.locator('tbody');
  await body.hover({ position: { x: 300, y: 100 } });
  await expect(page.getByText('order updated · apply')).toBeVisible({ timeout: 20_000 });
  const before = await names(page);
  await page.waitForResponse(() => true, { timeout: 1500 }).catch(() => undefined);
  expect(await names(page)).toEqual(before);
  await page.getByText('order updated · apply').click();
  await expect(page.getByText('order updated · apply')).toBeHidden();
});

test('a rig that begins to match comes in below those under the pointer', async ({ page }) => {
  const filter = page.getByLabel('Filter rigs');
  await filter.fill('state:mining');
  await expect(rows(page).first()).toContainText(/mining/i);
  const [mining] = await names(page);
  await filter.fill('state:stopped');
  await expect(rows(page).first()).toContainText(/stopped/i);
  await rows(page).first().hover();
  const before = await names(page);
  const answer = await page.evaluate(
    (name) => fetch(`api/v1/mining/remote/${name}/stop`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }).then(({ status }) => status),
    mining,
  );
  expect(answer).toBe(200);
  await expect.poll(() => names(page)).toEqual([...before, mining]);
});

test('a deploy to many tells the true result of each, and only the failed are tried again', async ({ page }) => {
  await page.getByLabel('Filter rigs').fill('-state:offline role:worker');
  await page.getByLabel(/^Select all/).click();
  await page.getByRole('button', { name: 'Deploy profile…' }).click();
  await page.getByRole('button', { name: /^Deploy to/ }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByRole('button', { name: /^Retry \d+ failed/ })).toBeVisible({ timeout: 40_000 });
  const failed = dialog.getByRole('region', { name: 'Results' }).getByText("the rig's policy forbids it: wallet");
  const count = await failed.count();
  expect(count).toBeGreaterThan(0);
  await expect(dialog.getByText(/^profile /).first()).toBeVisible();
  await expect(dialog.getByRole('list', { name: 'Why' }).getByText(`${count} failed: It refused: the rig's policy forbids it: wallet`)).toBeVisible();
  await dialog.getByRole('button', { name: /^Retry/ }).click();
  await expect(dialog.getByText(`0 of ${count} done, ${count} failed`)).toBeVisible({ timeout: 20_000 });
});

test('stopping more than ten asks for the number', async ({ page }) => {
  await page.getByLabel('Filter rigs').fill('state:mining');
  await page.getByLabel(/^Select all/).click();
  await page.getByRole('button', { name: /^Stop \d+/ }).click();
  const dialog = page.getByRole('dialog');
  const stop = dialog.getByRole('button', { name: /^Stop \d+/ });
  const number = /\d+/.exec(await stop.textContent())[0];
  await stop.click();
  await expect(dialog.getByRole('textbox')).toBeFocused();
  await dialog.getByRole('textbox').fill(number);
  await stop.click();
  await expect(page.getByRole('dialog').getByText(`${number} of ${number} done`)).toBeVisible();
});

test('a job goes on without the page, and is found again', async ({ page, context, node }) => {
  await page.getByLabel('Filter rigs').fill('-state:offline role:worker');
  await page.getByLabel(/^Select all/).click();
  await page.getByRole('button', { name: 'Deploy profile…' }).click();
  await page.getByRole('button', { name: /^Deploy to/ }).click();
  await expect(page.getByRole('dialog').getByText('It goes on when this page is closed.', { exact: false })).toBeVisible();
  await page.close();
  const other = await context.newPage();
  await other.goto(`${node.url}#/overview`);
  const chip = other.getByRole('button', { name: /^Deploy .* of \d+ done/ });
  await expect(chip).toBeVisible();
  await chip.click();
  await expect(other.getByRole('dialog').getByRole('button', { name: /^Retry \d+ failed/ })).toBeVisible({ timeout: 60_000 });
  await other.keyboard.press('Escape');
  await expect(chip).toBeHidden();
  await other.goto(`${node.url}#/activity`);
  await other.getByRole('button', { name: /^Results of Deploy/ }).click();
  await expect(other.getByRole('dialog').getByText("the rig's policy forbids it: wallet").first()).toBeVisible();
});

test('what a restarted node forgot is not known, and is not called failed', async ({ page, node }) => {
  await page.getByLabel('Filter rigs').fill('-state:offline role:worker');
  await page.getByLabel(/^Select all/).click();
  await page.getByRole('button', { name: 'Deploy profile…' }).click();
  await page.getByRole('button', { name: /^Deploy to/ }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog.getByText('Under way…').first()).toBeVisible();
  await node.stop();
  const again = await mockNode('--rigs', '60', '--port', node.port);
  try {
    await expect(dialog.getByText(/of \d+ done.*, \d+ not known$/)).toBeVisible({ timeout: 60_000 });
    await expect(dialog.getByText('The node was started anew before it told what became of this').first()).toBeVisible();
  } finally {
    await again.stop();
  }
});

test('removing one names it, and Cancel has the focus', async ({ page }) => {
  const [first] = await names(page);
  await page.getByRole('button', { name: `Remove ${first}`, exact: true }).click();
  await expect(page.getByRole('dialog', { name: `Remove ${first}?` })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Cancel' })).toBeFocused();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove', exact: true }).click();
  await expect(page.getByText(`${first} is removed`)).toBeVisible();
  await expect(page.getByRole('link', { name: first, exact: true })).toBeHidden();
});

test('a dialog begins at its first field, and never at what closes it', async ({ page }) => {
  await page.getByLabel('Filter rigs').fill('state:mining role:worker');
  await page.locator('tbody input').first().click();
  const dialog = page.getByRole('dialog');
  for (const [opener, field] of [['Start 1…', 'Whose profile'], ['Deploy profile…', 'Profile']]) {
    await page.getByRole('button', { name: opener }).click();
    await expect(dialog.getByLabel(field)).toBeFocused();
    await page.keyboard.press('Escape');
    await expect(dialog).toBeHidden();
  }
});

test('after many are removed, what was not removed and what was ticked meanwhile is still ticked', async ({ page }) => {
  let goOn;
  const ticked = new Promise((tell) => (goOn = tell));
  const refused = await rows(page).nth(1).getAttribute('data-id');
  await page.route('**/peers/*', async (route) => {
    if (route.request().method() !== 'DELETE') return route.continue();
    await ticked;
    if (!route.request().url().endsWith(refused)) return route.continue();
    await route.fulfill({ status: 404, json: { code: 'unknown-peer', detail: 'no such peer', hint: '' } });
  });
  const boxes = page.locator('tbody input');
  await boxes.nth(1).click();
  await boxes.nth(2).click();
  const [, kept, gone, other] = await names(page);
  await page.getByRole('button', { name: 'Remove…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove 2' }).click();
  await boxes.nth(3).click();
  await expect(page.getByText('3 selected')).toBeVisible();
  await expect(page.getByText('Removing 2 rigs, 0 done')).toBeVisible();
  const asks = () => page.evaluate(() => !window.dispatchEvent(new Event('beforeunload', { cancelable: true })));
  expect(await asks()).toBe(true);
  goOn();
  await expect(page.getByText('1 rig is not removed')).toBeVisible();
  await expect(page.getByText(/^Removing/)).toHaveCount(0);
  expect(await asks()).toBe(false);
  await expect(page.getByText('2 selected')).toBeVisible();
  expect(await names(page)).not.toContain(gone);
  for (const name of [kept, other]) await expect(page.getByLabel(`Select ${name}`, { exact: true })).toBeChecked();
});

test('adding with a code pairs; without one it waits and shows words; a refusal stands at its field', async ({ page }) => {
  const add = async (address, code) => {
    await page.getByRole('button', { name: 'Add peer' }).click();
    await page.getByLabel('Address').fill(address);
    if (code) await page.getByLabel('Pairing code').fill(code);
    await page.getByRole('button', { name: 'Add', exact: true }).click();
  };
  await add('nonsense');
  await expect(page.getByLabel('Address')).toHaveAttribute('aria-invalid', 'true');
  await page.keyboard.press('Escape');
  await add('192.168.1.20', '7KQ2-M9XD');
  await expect(page.getByText('rig-new is paired')).toBeVisible();
  await add('192.168.1.21');
  await expect(page.getByText('gravel harbor indigo jacket kettle lemon')).toBeVisible();
});

test('a server that goes away is told, dims what is shown, and is found again', async ({ page, node }) => {
  await node.stop();
  await expect(page.getByText(/Reconnecting/)).toBeVisible();
  await expect(page.getByRole('button', { name: 'Add peer' })).toBeDisabled();
  await expect(page.getByText('The node does not answer.')).toBeVisible();
  await expect(rows(page).first()).toBeVisible();
  const again = await mockNode('--rigs', '60', '--port', node.port);
  try {
    await expect(page.getByText('Live', { exact: true })).toBeVisible({ timeout: 30_000 });
    await expect(page.getByRole('button', { name: 'Add peer' })).toBeEnabled();
  } finally {
    await again.stop();
  }
});

test('a node that falls silent is not called live until the stream is given up', async ({ page, node }) => {
  node.hang();
  await expect(page.getByText(/^Nothing heard for \d+ s$/)).toBeVisible({ timeout: 32_000 });
});

test('a page that is not of its node says so, and a reload mends it', async ({ page, node }) => {
  await node.stop();
  const next = await mockNode('--rigs', '60', '--port', node.port, '--version', '0.2.0');
  try {
    await expect(page.getByText('The node is version 0.2.0 now, and this page came with another.')).toBeVisible({ timeout: 30_000 });
    await page.getByRole('button', { name: 'Reload' }).click();
    await expect(page.getByText('Live', { exact: true })).toBeVisible();
    await expect(page.getByText('The node is version')).toBeHidden();
  } finally {
    await next.stop();
  }
});
