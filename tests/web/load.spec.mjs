import { expect } from '@playwright/test';

import { test } from './mock.mjs';

/** Processor time of the main thread that a second of a fleet's life may cost; a frame of a 60 Hz screen has 17. */
const BUDGET_MS = 40;
/** With every rig changed in every second and the table in the order of what changes: the worst there is. */
const WORST_MS = 120;
const SECONDS = 10;

for (const [share, budget] of [['0.1', BUDGET_MS], ['1', WORST_MS]]) {
  test.describe(`${Number(share) * 100} % change each second`, () => {
    test.use({ options: ['--rigs', '5000', '--port', '0', '--share', share] });

    test('5000 rigs stay within the budget', async ({ page, node, faults }) => {
      void faults;
      await page.goto(`${node.url}#/rigs?sort=hash&down=1`);
      await expect(page.getByRole('table', { name: 'Rigs' })).toHaveAttribute('aria-rowcount', '5001');
      expect(await page.locator('tbody tr[data-id]').count()).toBeLessThan(60);
      const client = await page.context().newCDPSession(page);
      // Time on the processor, not on the wall: who else works on this machine is not our cost.
      await client.send('Performance.enable', { timeDomain: 'threadTicks' });
      const metrics = async () => Object.fromEntries((await client.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value]));
      const before = await metrics();
      // Measuring takes a stretch of time: this is no wait for a state.
      await page.waitForTimeout(SECONDS * 1000);
      const after = await metrics();
      const each = (name) => ((after[name] - before[name]) * 1000) / SECONDS;
      const parts = ['ScriptDuration', 'LayoutDuration', 'RecalcStyleDuration'].map((name) => `${name} ${each(name).toFixed(1)}`).join(', ');
      console.log(`main thread ${each('TaskDuration').toFixed(1)} ms a second (${parts}), heap ${(after.JSHeapUsedSize / 1e6).toFixed(1)} MB`);
      expect(each('TaskDuration')).toBeLessThan(budget);
    });
  });
}
