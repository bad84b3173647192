// What a page costs while thousands of rigs change.

/** The table in the order of what changes most: the dearest view there is. */
export async function openTable(page, url) {
  await page.goto(`${url}#/rigs?sort=hash&down=1`);
  await page.locator('table[aria-rowcount="5001"] tbody tr[data-id]').first().waitFor();
}

/** Milliseconds of the main thread per second, and in what. Time on the processor: who else works here is not our cost. */
export async function cost(page, seconds) {
  const client = await page.context().newCDPSession(page);
  await client.send('Performance.enable', { timeDomain: 'threadTicks' });
  const metrics = async () => Object.fromEntries((await client.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value]));
  const before = await metrics();
  // Measuring takes a stretch of time: this is no wait for a state.
  await page.waitForTimeout(seconds * 1000);
  const after = await metrics();
  const each = (name) => ((after[name] - before[name]) * 1000) / seconds;
  await client.detach();
  return { main: each('TaskDuration'), script: each('ScriptDuration'), style: each('LayoutDuration') + each('RecalcStyleDuration') };
}

/** What is alive on the heap, MB. */
export async function heap(page) {
  const client = await page.context().newCDPSession(page);
  await client.send('HeapProfiler.enable');
  await client.send('HeapProfiler.collectGarbage');
  const { usedSize } = await client.send('Runtime.getHeapUsage');
  await client.detach();
  return usedSize / 1e6;
}
