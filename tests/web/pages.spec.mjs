import { expect } from '@playwright/test';

import { test } from './mock.mjs';

const LIVE = (page) => expect(page.getByText('Live', { exact: true })).toBeVisible();
const ALPHA = '1a2b3c4d5e6f1eef';

test.describe('signed in', () => {
  test.beforeEach(({ faults }) => void faults);

  test('a rig is stopped and started, and its console follows', async ({ page, node }) => {
    await page.goto(`${node.url}#/rig/${ALPHA}`);
    await LIVE(page);
    const console = page.getByRole('region', { name: 'Console of xmrig-1' });
    // Markup in a line is text: nothing of it becomes an element.
    await expect(console.getByText('low difficulty <b>share</b>').first()).toBeAttached();
    expect(await console.locator('b').count()).toBe(0);
    const text = await console.textContent();
    await expect.poll(() => console.textContent()).not.toBe(text);
    await page.getByRole('button', { name: 'Stop', exact: true }).click();
    await expect(page.locator('.facts').getByText('Stopped')).toBeVisible();
    await page.getByRole('button', { name: 'Start again' }).click();
    await expect(page.locator('.facts').getByText('Mining')).toBeVisible();
  });

  test('a filter shows what it names and nothing of the one before', async ({ page, node }) => {
    const lines = ['x alpha beta', 'only alpha', 'only beta', 'y alpha beta'].map((text, at) => ({ number: at + 1, text }));
    await page.route('**/logs/xmrig-1?*', (route) => {
      // One that waits for more waits on.
      if (!route.request().url().includes('after=')) void route.fulfill({ json: { miner: 'xmrig-1', lines, newest: lines.length, lost: 0 } });
    });
    await page.goto(`${node.url}#/rig/${ALPHA}`);
    const console = page.getByRole('region', { name: 'Console of xmrig-1' });
    const shown = () => console.locator('.chunk > div').allTextContents();
    const filter = page.getByLabel('Filter lines');
    await filter.fill('alpha');
    await expect.poll(shown).toEqual(['x alpha beta', 'only alpha', 'y alpha beta']);
    await filter.fill('beta');
    await expect.poll(shown).toEqual(['x alpha beta', 'only beta', 'y alpha beta']);
  });

  test('a dialog goes with the page that it was opened on', async ({ page, node }) => {
    await page.goto(`${node.url}#/rigs`);
    await LIVE(page);
    await page.goto(`${node.url}#/rig/${ALPHA}`);
    await page.getByRole('button', { name: 'Start…' }).click();
    await expect(page.getByRole('dialog')).toBeVisible();
    await page.goBack();
    await expect(page.getByRole('dialog')).toHaveCount(0);
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Rigs');
  });

  test('a console that is scrolled up stays, and one click leads to the newest', async ({ page, node }) => {
    await page.goto(`${node.url}#/rig/${ALPHA}`);
    const console = page.getByRole('region', { name: 'Console of xmrig-1' });
    await expect(console.getByText('speed').first()).toBeAttached();
    await console.evaluate((element) => element.scrollTo(0, 0));
    const jump = page.getByRole('button', { name: /^Jump to newest/ });
    await expect(jump).toBeVisible();
    await expect(jump).toHaveText(/· \d+/);
    expect(await console.evaluate((element) => element.scrollTop)).toBe(0);
    await jump.click();
    await expect(jump).toBeHidden();
  });

  test('a refused profile tells at its field, and a good one is saved', async ({ page, node }) => {
    await page.goto(`${node.url}#/profiles/+`);
    await LIVE(page);
    await page.getByLabel('Name', { exact: true }).fill('kas');
    await page.getByLabel('Pool 1 address').fill('pool.example');
    await page.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByLabel('Pool 1 address')).toBeFocused();
    await expect(page.getByText(/^Is not host:port/)).toBeVisible();
    await page.getByLabel('Pool 1 address').fill('pool.example:3333');
    await page.getByLabel('Wallet or pool login').fill('kaspa:abc');
    await page.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByRole('link', { name: 'kas', exact: true })).toBeVisible();
  });

  test('what was typed into a profile is there after a look at another page', async ({ page, node }) => {
    await page.goto(`${node.url}#/profiles/+`);
    await LIVE(page);
    await page.getByLabel('Wallet or pool login').fill('kaspa:abc');
    await page.getByRole('link', { name: /^Rigs/ }).click();
    await expect(page.getByRole('heading', { level: 1 })).toHaveText('Rigs');
    await page.goBack();
    await expect(page.getByLabel('Wallet or pool login')).toHaveValue('kaspa:abc');
    await expect(page.getByText('it is not saved yet')).toBeVisible();
    page.once('dialog', (dialog) => dialog.dismiss());
    await page.evaluate(() => location.reload());
    await expect(page.getByLabel('Wallet or pool login')).toHaveValue('kaspa:abc');
    await page.getByRole('link', { name: 'Discard changes' }).click();
    await page.goto(`${node.url}#/profiles/+`);
    await expect(page.getByLabel('Wallet or pool login')).toHaveValue('');
  });

  test('with a filter, what is new comes on top of what was asked for, and is not asked for with each entry', async ({ page, node }) => {
    let newest = 250;
    let asked = 0;
    await page.route('**/activity?*', (route) => {
      const query = new URL(route.request().url()).searchParams;
      asked += 1;
      const first = Math.min(newest, Number(query.get('before') ?? newest + 1) - 1);
      const entries = Array.from({ length: Math.min(100, first) }, (_, at) => ({ id: first - at, at: 1_796_000_000, by: 'local', who: null, from: null, action: 'start', target: `rig-${first - at}`, detail: null, result: 'ok' }));
      return route.fulfill({ json: { entries, next: first > 100 ? first - 99 : null } });
    });
    await page.goto(`${node.url}#/activity?action=start`);
    await LIVE(page);
    const rows = page.locator('.list tbody tr');
    await expect(rows).toHaveCount(100);
    await page.getByRole('button', { name: 'Older' }).click();
    await expect(rows).toHaveCount(200);
    newest = 260;
    const before = asked;
    const written = 20;
    await page.evaluate((written) => Promise.all(Array.from({ length: written }, () => fetch('/api/v1/mining/remote/rig-alpha/stop', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{}' }))), written);
    await expect(rows).toHaveCount(210);
    await expect(rows.first()).toContainText('rig-260');
    await page.getByRole('button', { name: 'Older' }).click();
    await expect(rows).toHaveCount(260);
    expect(asked - before).toBeLessThan(written / 2);
  });

  test('a profile that was changed elsewhere while one wrote is not put back without a word', async ({ page, node }) => {
    const elsewhere = (wallet) => page.evaluate(async (wallet) => {
      const at = '/api/v1/mining/profiles/raven';
      const there = await (await fetch(at)).json();
      await fetch(at, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ ...there, wallet }) });
    }, wallet);
    const there = () => page.evaluate(() => fetch('/api/v1/mining/profiles/raven').then((answer) => answer.json()));
    await page.goto(`${node.url}#/profiles/raven`);
    await LIVE(page);
    await page.getByLabel('Worker name at the pool').fill('mine');
    await elsewhere('RBelsewhere');
    await page.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByText('it was changed elsewhere: wallet.')).toBeVisible();
    expect((await there()).wallet).toBe('RBelsewhere');
    await page.getByRole('button', { name: 'Take what is there' }).click();
    await expect(page.getByLabel('Wallet or pool login')).toHaveValue('RBelsewhere');
    await expect(page.getByLabel('Worker name at the pool')).toHaveValue('');
    await page.getByLabel('Worker name at the pool').fill('mine');
    await elsewhere('RCelsewhere');
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByRole('button', { name: 'Save mine over it' }).click();
    await expect(page.getByText('Profile raven is saved')).toBeVisible();
    expect(await there()).toMatchObject({ wallet: 'RBelsewhere', rig_name: 'mine' });
  });

  test('an offline rig does not look as if it mined', async ({ page, node }) => {
    await page.goto(`${node.url}#/rigs?f=state%3Amining`);
    await LIVE(page);
    // What it told last, as the node keeps it.
    const mining = await page.locator('tbody tr[data-id]').first().getAttribute('data-id');
    const { stats } = await page.evaluate((id) => fetch(`/api/v1/mining/remote/${id}/stats`).then((answer) => answer.json()), mining);
    await page.route('**/remote/*/stats', async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ json: { ...(await answer.json()), stats } });
    });
    await page.getByLabel('Filter rigs').fill('state:offline');
    await expect(page.locator('tbody tr[data-id]')).toHaveCount(2);
    await page.locator('tbody .name a').first().click();
    const miners = page.getByRole('region', { name: 'Miners', exact: true });
    await expect(miners.getByText('Offline', { exact: true })).toBeVisible();
    await expect(miners.getByText('was: Mining')).toBeVisible();
    await expect(miners.getByText('H/s')).toHaveCount(0);
    await expect(page.getByText('It cannot be reached: connection refused')).toBeVisible();
    await page.goBack();
    await page.locator('tbody tr[data-id]').first().getByRole('button', { name: /^Stats/ }).click();
    for (const measured of ['Hashrate', 'Hottest', 'Power']) await expect(page.locator(`.peek dt:has-text("${measured}") + dd`)).toHaveText(/^– ?/);
    // The panel asks once more, and the node ends with the test.
    await page.unrouteAll({ behavior: 'wait' });
  });

  test('a request is approved by its words', async ({ page, node }) => {
    await page.goto(`${node.url}#/pairing`);
    await LIVE(page);
    await expect(page.locator('.requests').getByText('amber birch cedar delta ember fjord')).toBeVisible();
    await page.getByRole('button', { name: 'Approve rig-new' }).click();
    await expect(page.getByText('rig-new is admitted')).toBeVisible();
    await expect(page.getByText('Nobody waits.')).toBeVisible();
    await expect(page.getByRole('heading', { name: 'Requests' })).toBeFocused();
  });

  test('a pairing code that is used up is not shown any longer', async ({ page, node }) => {
    let spent = false;
    await page.route('**/node/info', async (route) => {
      const info = await (await route.fetch()).json();
      if (spent) delete info.pairing_code;
      await route.fulfill({ json: info });
    });
    await page.clock.install();
    await page.goto(`${node.url}#/pairing`);
    await LIVE(page);
    await page.getByRole('button', { name: 'Show a code' }).click();
    await expect(page.getByText('7KQ2-M9XD', { exact: true })).toBeVisible();
    spent = true;
    await page.clock.runFor(60_000);
    await expect(page.getByRole('button', { name: 'Show a code' })).toBeVisible();
    await expect(page.getByText('7KQ2-M9XD')).toHaveCount(0);
  });

  test('a page that is opened behind others takes no stream until it is seen', async ({ page, node }) => {
    await page.addInitScript(() => {
      window.seen = false;
      Object.defineProperty(document, 'hidden', { get: () => !window.seen });
    });
    const streams = [];
    page.on('request', (request) => request.url().endsWith('/events') && streams.push(request.url()));
    await page.goto(`${node.url}#/rig/${ALPHA}`);
    await expect(page.getByText('Paused', { exact: true })).toBeVisible();
    expect(streams).toEqual([]);
    await page.evaluate(() => {
      window.seen = true;
      document.dispatchEvent(new Event('visibilitychange'));
    });
    await LIVE(page);
  });

  test('a token is shown once', async ({ page, node }) => {
    await page.goto(`${node.url}#/settings`);
    await LIVE(page);
    await page.getByLabel('Token name').fill('script');
    await page.getByRole('button', { name: 'Make token' }).click();
    await expect(page.getByText(/^mc_k2_/)).toBeVisible();
    await page.reload();
    await LIVE(page);
    await expect(page.getByRole('rowheader', { name: 'script' })).toBeVisible();
    await expect(page.getByText(/^mc_k2_/)).toBeHidden();
  });

  test('a token is shown no longer than it is good, and its button does not go on saying what it did', async ({ page, node }) => {
    await page.goto(`${node.url}#/settings`);
    await LIVE(page);
    const make = async (name) => {
      await page.getByLabel('Token name').fill(name);
      await page.getByRole('button', { name: 'Make token' }).click();
    };
    await make('one');
    const copy = page.getByRole('button', { name: 'Copy token' });
    await copy.click();
    await expect(copy).toHaveText(/^(Copied|Selected)$/);
    await expect(copy).toHaveText('Copy');
    await make('two');
    await expect(page.getByText(/^mc_k3_/)).toBeVisible();
    await page.getByRole('button', { name: 'Revoke token two' }).click();
    await expect(page.getByText(/^mc_k/)).toHaveCount(0);
  });

  test('who revokes or deletes with the keyboard goes on at the next, and at the heading after the last', async ({ page, node }) => {
    await page.goto(`${node.url}#/settings`);
    await LIVE(page);
    for (const name of ['one', 'two', 'three']) {
      await page.getByLabel('Token name').fill(name);
      await page.getByRole('button', { name: 'Make token' }).click();
      await expect(page.getByRole('button', { name: `Revoke token ${name}` })).toBeVisible();
    }
    const tokens = page.getByRole('button', { name: /^Revoke token / });
    const names = (await tokens.evaluateAll((all) => all.map((button) => button.getAttribute('aria-label')))).map((label) => label.slice(13));
    await tokens.first().focus();
    for (const next of names.slice(1)) {
      await page.keyboard.press('Enter');
      await expect(page.getByRole('button', { name: `Revoke token ${next}` })).toBeFocused();
    }
    await page.keyboard.press('Enter');
    await expect(page.getByRole('heading', { name: 'Access' })).toBeFocused();
    await page.goto(`${node.url}#/profiles`);
    const deletes = page.getByRole('button', { name: /^Delete / });
    const [gone, next] = await deletes.evaluateAll((all) => all.map((button) => button.getAttribute('aria-label')));
    await deletes.first().focus();
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).press('Enter');
    await expect(page.getByRole('button', { name: gone })).toHaveCount(0);
    await expect(page.getByRole('button', { name: next })).toBeFocused();
  });

  test('on a phone a long press selects and the actions come up from below', async ({ page, node }) => {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(`${node.url}#/rigs`);
    await LIVE(page);
    const row = page.locator('tbody tr[data-id]').first();
    await row.hover();
    await page.mouse.down();
    await expect(page.getByText('1 selected')).toBeVisible();
    await page.mouse.up();
    await page.locator('tbody tr[data-id]').nth(2).click();
    await expect(page.getByText('2 selected')).toBeVisible();
    const every = page.getByRole('button', { name: /^Select all \d+$/ });
    const count = /\d+/.exec(await every.textContent())[0];
    await every.click();
    await expect(page.getByText(`${count} selected`)).toBeVisible();
    await expect(every).toHaveCount(0);
    const sheet = await page.getByRole('group', { name: 'Selected rigs' }).boundingBox();
    expect(sheet.y + sheet.height).toBeLessThanOrEqual(844 - 60 + 1);
    // The list ends above it.
    const table = page.locator('.tablebox');
    await table.evaluate((element) => element.scrollTo(0, element.scrollHeight));
    const last = await table.boundingBox();
    expect(last.y + last.height).toBeLessThanOrEqual(sheet.y + 1);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390);
  });

  for (const width of [320, 721, 820, 1023, 1180]) {
    test(`nothing is wider than a window of ${width}, and no table needs to be scrolled sideways`, async ({ page, node }) => {
      await page.setViewportSize({ width, height: 800 });
      // Each route, and what it shows when all that it asked for is there.
      const routes = { overview: '.sums .spark', rigs: 'tbody tr[data-id]', [`rig/${ALPHA}`]: '.list', profiles: '.list', 'profiles/+': 'form', activity: '.list', pairing: '.requests li', settings: '.list', more: '.more' };
      if (width > 720) routes[`rigs?peek=${ALPHA}`] = '.peek .minerlist';
      for (const [route, content] of Object.entries(routes)) {
        await page.goto(`${node.url}#/${route}`);
        await expect(page.locator(content).first()).toBeAttached();
        const wide = () => page.evaluate(() => [document.documentElement, ...document.querySelectorAll('#main, .tablebox, .scrollx')].filter((box) => box.scrollWidth > box.clientWidth).map((box) => `${box.className || box.id || box.tagName} ${box.scrollWidth}`));
        await expect.poll(wide, { message: route }).toEqual([]);
      }
    });
  }

  test('a chart says in words what it draws, keeps gaps, and is a table at a click', async ({ page, node }) => {
    await page.goto(`${node.url}#/rig/${ALPHA}`);
    const chart = page.getByRole('img', { name: /^Hashrate over the last 24 hours\. xmrig-1: minimum .* mean .* maximum .*H\/s/ });
    await expect(chart).toBeVisible();
    await expect(chart.locator('canvas')).toBeVisible();
    await page.getByRole('button', { name: 'Show as table' }).click();
    const numbers = page.getByRole('region', { name: 'Hashrate as numbers' });
    expect(await numbers.getByRole('row').count()).toBeGreaterThan(20);
    // The mock's fleet was away for three hours.
    expect(await numbers.getByRole('cell', { name: '–' }).count()).toBeGreaterThan(1);
    await page.getByRole('button', { name: '7 d', exact: true }).click();
    await expect(page).toHaveURL(/range=7d/);
    await page.reload();
    await expect(page.getByRole('img', { name: /^Hashrate over the last 7 days/ })).toBeVisible();
  });

  for (const hours of [-3, 3]) {
    test(`a browser whose clock is off by ${hours} h shows ages and charts by the node's`, async ({ page, node }) => {
      await page.clock.install({ time: Date.now() + hours * 3_600_000 });
      const asked = page.waitForRequest(/\/history\?since=\d+$/);
      await page.goto(`${node.url}#/overview`);
      await LIVE(page);
      const since = Number(new URL((await asked).url()).searchParams.get('since'));
      expect(Math.abs(Date.now() / 1000 - 86_400 - since)).toBeLessThan(60);
      await expect(page.getByRole('table').locator('td[data-label=When]').last()).toHaveText(/^\d+ min$/);
    });
  }

  test('a chart is drawn where the browser says that its language is none', async ({ page, node }) => {
    await page.addInitScript(() => Object.defineProperty(Navigator.prototype, 'language', { get: () => 'C', configurable: true }));
    await page.goto(`${node.url}#/overview`);
    await LIVE(page);
    await expect(page.locator('.plot canvas').first()).toBeVisible();
  });

  test('two tabs of a browser agree about how it shows the page', async ({ page, context, node }) => {
    await page.goto(`${node.url}#/settings`);
    await LIVE(page);
    const other = await context.newPage();
    await other.goto(`${node.url}#/settings`);
    await other.getByLabel('Rows').selectOption('comfortable');
    await expect(page.getByLabel('Rows')).toHaveValue('comfortable');
    await page.getByLabel('Single-key shortcuts').uncheck();
    await expect(other.getByLabel('Single-key shortcuts')).not.toBeChecked();
    await page.reload();
    await expect(page.getByLabel('Rows')).toHaveValue('comfortable');
    await expect(page.getByLabel('Single-key shortcuts')).not.toBeChecked();
  });

  test('lines of very different sizes have axes of their own, and one cursor', async ({ page, node }) => {
    await page.goto(`${node.url}#/overview`);
    const charts = page.getByRole('img', { name: /^Hashrate over/ });
    await expect(charts).toHaveCount(2);
    await expect(page.locator('.spark .below').first()).toBeAttached();
    // A pointer that rests on a chart from before it is drawn is not told of to it.
    await expect(charts.locator('canvas')).toHaveCount(2);
    await charts.first().hover();
    await expect(page.locator('.readout')).toHaveText(/\d/);
    for (const chart of await charts.all()) await expect(chart.locator('.u-cursor-x')).not.toHaveClass(/u-off/);
    // It is drawn anew with what came since, and the pointer rests.
    await charts.first().locator('canvas').evaluate((canvas) => canvas.setAttribute('data-before', ''));
    await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
    await expect(charts.locator('canvas[data-before]')).toHaveCount(0);
    await expect(page.locator('.readout')).toHaveText(/\d/);
  });

  for (const [what, file] of [['code', 'js'], ['style', 'css']]) {
    test(`a chart whose ${what} is gone says so`, async ({ page, node }) => {
      await page.route(`**/plot-*.${file}`, (route) => route.abort());
      await page.goto(`${node.url}#/rig/${ALPHA}`);
      await expect(page.getByText('The chart could not be loaded.')).toBeVisible();
      await page.getByRole('button', { name: 'Show as table' }).click();
      await expect(page.getByRole('region', { name: 'Hashrate as numbers' })).toBeVisible();
    });
  }

  test('what is printed is all of a page, not what was in sight', async ({ page, node }) => {
    await page.goto(`${node.url}#/settings`);
    await LIVE(page);
    await expect(page.getByRole('heading', { name: 'This node' })).toBeAttached();
    await page.emulateMedia({ media: 'print' });
    const cut = () => page.evaluate(() => ['html', 'body', '#page', '.app', '#main'].filter((selector) => {
      const box = document.querySelector(selector);
      return box.scrollHeight > box.clientHeight && getComputedStyle(box).overflow !== 'visible';
    }));
    expect(await cut()).toEqual([]);
    expect(await page.evaluate(() => document.body.clientHeight)).toBeGreaterThan(800);
  });

  test('what is chosen can be seen in forced colours', async ({ page, node }) => {
    await page.emulateMedia({ forcedColors: 'active' });
    await page.goto(`${node.url}#/rigs?show=online`);
    await LIVE(page);
    const outline = (name) => page.getByRole('button', { name }).evaluate((chip) => getComputedStyle(chip).outlineStyle);
    expect([await outline(/^Online/), await outline(/^Offline/)]).toEqual(['solid', 'none']);
  });

  const problem = (status, code, detail) => ({ status, contentType: 'application/problem+json', json: { type: `urn:miner-ctrl:problem:${code}`, title: detail, status, code, detail, hint: 'do that', request_id: '7f-1' } });

  test('with the session its dialogs end, and none is there after the next sign-in', async ({ page, node }) => {
    await page.goto(`${node.url}#/rigs`);
    await LIVE(page);
    await page.getByRole('button', { name: 'Add peer' }).click();
    await page.getByLabel('Address').fill('192.0.2.7');
    await page.request.delete(`${node.url}api/v1/mining/session`);
    await page.getByRole('dialog').getByRole('button', { name: 'Add' }).click();
    await expect(page.getByRole('heading', { name: 'Sign in to miner-ctrl' })).toBeVisible();
    await expect(page.getByRole('dialog')).toHaveCount(0);
    await page.getByLabel('Password').fill('correct horse');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await LIVE(page);
    await expect(page.getByRole('dialog')).toHaveCount(0);
  });

  test('of a rig that was removed elsewhere its page shows nothing any more, and says why', async ({ page, node }) => {
    await page.goto(`${node.url}#/rig/${ALPHA}`);
    await LIVE(page);
    await expect(page.getByRole('heading', { name: 'Miners' })).toBeVisible();
    await page.request.delete(`${node.url}api/v1/mining/peers/${ALPHA}`);
    await expect(page.getByRole('heading', { name: 'Miners' })).toBeHidden();
    await expect(page.locator('main')).toContainText(/no peer|no such peer/);
    await expect(page.locator('main').getByRole('button', { name: /^(Start|Stop)/ })).toHaveCount(0);
  });

  test('what is refused in a dialog is told in it, not below it', async ({ page, node }) => {
    await page.goto(`${node.url}#/rig/${ALPHA}`);
    await LIVE(page);
    await page.route('**/remote/*/profiles', (route) => route.fulfill({ json: [{ name: 'monero-main', program: 'xmrig', algorithm: 'rx/0', pools: ['pool.example:3333'] }] }));
    await page.route('**/remote/*/undeploy', (route) => route.fulfill(problem(403, 'not-allowed', 'rig-alpha refused: it is not granted')));
    await page.getByRole('button', { name: 'More for rig-alpha' }).click();
    await page.getByRole('menuitem', { name: 'Profiles on it…' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByRole('button', { name: /^Remove / }).first().click();
    await dialog.getByRole('button', { name: /for good$/ }).click();
    await expect(dialog.getByText('rig-alpha refused: it is not granted')).toBeVisible();
  });

  test.describe('a node that takes a request and never answers it', () => {
    // A hundred times as impatient: 70 s become 0.7 s.
    test.beforeEach(async ({ page }) => {
      await page.addInitScript(() => {
        const timeout = AbortSignal.timeout.bind(AbortSignal);
        AbortSignal.timeout = (ms) => timeout(ms / 100);
      });
    });

    test('is not waited for without an end by whoever gave an order', async ({ page, node }) => {
      await page.goto(`${node.url}#/rig/${ALPHA}`);
      await LIVE(page);
      await page.route('**/remote/*/stop', () => undefined);
      await page.getByRole('button', { name: 'Stop', exact: true }).first().click();
      await expect(page.getByText('Stop rig-alpha: not known whether it was done. The node does not answer.')).toBeVisible();
    });

    test('is said to be out of reach by a page that has just begun', async ({ page, node }) => {
      await page.route('**/session', () => undefined);
      await page.goto(node.url);
      await expect(page.getByRole('heading', { name: 'The node cannot be reached' })).toBeVisible();
    });
  });

  test('a peer gets another name and another permission; a refused name stands at its field', async ({ page, node }) => {
    await page.goto(`${node.url}#/rig/${ALPHA}`);
    await page.getByRole('button', { name: 'Change name and permission of rig-alpha' }).click();
    await page.getByLabel('Name', { exact: true }).fill('no good');
    await page.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByLabel('Name', { exact: true })).toHaveAttribute('aria-invalid', 'true');
    await page.getByLabel('Name', { exact: true }).fill('desk');
    await page.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByText('a peer is called `desk` already')).toBeVisible();
    await page.getByLabel('Name', { exact: true }).fill('barn-door');
    await page.getByLabel('It may ask of this node').selectOption('view');
    await page.getByRole('button', { name: 'Save' }).click();
    await expect(page.getByRole('heading', { level: 1, name: 'barn-door' })).toBeVisible();
    await expect(page.getByRole('definition').filter({ hasText: 'Look: statistics and logs' })).toBeVisible();
  });
});

test.describe('signed out', () => {
  test.use({ options: ['--rigs', '5', '--port', '0', '--login'] });

  test('a password lets in, a wrong one does not', async ({ page, node, faults }) => {
    void faults;
    await page.goto(node.url);
    await page.getByLabel('Password').fill('wrong wrong');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await expect(page.getByText('Not the password of this node')).toBeVisible();
    await page.getByLabel('Password').fill('correct horse');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await LIVE(page);
    await page.goto(`${node.url}#/settings`);
    await page.getByRole('button', { name: 'Sign out' }).click();
    await expect(page.getByRole('heading', { name: 'Sign in to miner-ctrl' })).toBeVisible();
  });

  test('a tab at the sign-in page goes on when another has signed in', async ({ page, node, faults }) => {
    void faults;
    await page.goto(node.url);
    await expect(page.getByLabel('Password')).toBeVisible();
    await page.evaluate(() => fetch('/api/v1/mining/session', { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"password": "correct horse"}' }));
    await expect(page.getByLabel('Password')).toBeVisible();
    await page.evaluate(() => dispatchEvent(new Event('focus')));
    await LIVE(page);
  });

  test('a link lets in and leaves the address bar; a spent one says so', async ({ page, node, faults }) => {
    void faults;
    await page.goto(`${node.url}#/link/${'B'.repeat(43)}`);
    await expect(page.getByText('This link was used already')).toBeVisible();
    expect(page.url()).not.toContain('link');
    await page.goto(`${node.url}#/link/${'A'.repeat(43)}`);
    await LIVE(page);
    expect(page.url()).not.toContain('link');
  });

  test('a node that is not there is not a sign-in page', async ({ page, node }) => {
    await page.route('**/session', (route) => route.abort());
    await page.goto(node.url);
    await expect(page.getByRole('heading', { name: 'The node cannot be reached' })).toBeVisible();
    await page.unroute('**/session');
    await page.getByRole('button', { name: 'Retry' }).click();
    await expect(page.getByRole('heading', { name: 'Sign in to miner-ctrl' })).toBeVisible();
  });
});

test('what wants a person is told by its cause, above the charts, and leads to the rigs it hits', async ({ page, node }) => {
  await page.goto(`${node.url}#/overview`);
  const attention = page.getByRole('region', { name: 'Needs attention' });
  const pool = attention.getByRole('listitem').filter({ hasText: 'lost its pool' });
  await expect(pool).toHaveCount(1);
  const count = Number.parseInt(await pool.textContent(), 10);
  expect(count).toBeGreaterThan(1);
  const [above, below] = await Promise.all([attention.boundingBox(), page.getByRole('region', { name: 'Hashrate of all rigs' }).boundingBox()]);
  expect(above.y).toBeLessThan(below.y);
  await pool.getByRole('link', { name: `Show ${count} rigs: Degraded` }).click();
  await expect(page.getByRole('table', { name: 'Rigs' })).toHaveAttribute('aria-rowcount', String(count + 1));
  await expect(page.getByLabel('Filter rigs')).toHaveValue(/^state:degraded why:"/);
});
