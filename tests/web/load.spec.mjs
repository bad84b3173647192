import { expect } from '@playwright/test';

import { test } from './mock.mjs';

/** Main-thread milliseconds that a second of a fleet's life may cost; room is left on a 60 Hz screen. */
const BUDGET_MS = 40;
const SECONDS = 10;

test.use({ options: ['--rigs', '5000', '--port', '0', '--share', '1'] });

test('5000 rigs that all change each second stay within the budget', async ({ page, node, faults }) => {
  void faults;
  await page.goto(`${node.url}#/rigs?sort=hash&down=1`);
  await expect(page.getByRole('table', { name: 'Rigs' })).toHaveAttribute('aria-rowcount', '5001');
  expect(await page.locator('tbody tr[data-id]').count()).toBeLessThan(60);
  const client = await page.context().newCDPSession(page);
  await client.send('Performance.enable');
  const busy = async () => {
    const { metrics } = await client.send('Performance.getMetrics');
    return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
  };
  const before = await busy();
  // Measuring takes a stretch of time: this is no wait for a state.
  await page.waitForTimeout(SECONDS * 1000);
  const after = await busy();
  const each = ((after.TaskDuration - before.TaskDuration) * 1000) / SECONDS;
  const share = (name) => (((after[name] - before[name]) * 1000) / SECONDS).toFixed(1);
  console.log(`${each.toFixed(1)} ms of main thread a second, script ${share('ScriptDuration')}, layout ${share('LayoutDuration')}, style ${share('RecalcStyleDuration')}, heap ${(after.JSHeapUsedSize / 1e6).toFixed(1)} MB`);
  expect(each).toBeLessThan(BUDGET_MS);
});
