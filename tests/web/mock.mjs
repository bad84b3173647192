// A mock node as a process of its own, on a port of its own.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { test as base } from '@playwright/test';

const SERVER = fileURLToPath(new URL('../../dashboard/web/mock/server.mjs', import.meta.url));

export async function mockNode(...options) {
  const child = spawn(process.execPath, [SERVER, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const url = /http:\S+/.exec(line)[0];
  return {
    url,
    port: new URL(url).port,
    /** It is there and says nothing more. */
    hang: () => child.kill('SIGSTOP'),
    async stop() {
      child.kill('SIGKILL');
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    },
  };
}

/** A test with a mock node; an error in the console that it did not expect fails it. */
export const test = base.extend({
  options: [['--rigs', '60', '--port', '0'], { option: true }],
  node: async ({ options }, use) => {
    const node = await mockNode(...options);
    await use(node);
    await node.stop();
  },
  // It names the node so that it is read before the node is taken away: what a page then says of a lost node is no fault.
  faults: async ({ page, node }, use) => {
    void node;
    const faults = [];
    // The browser itself reports each answer of 400 and above, which the page handles.
    page.on('console', (message) => message.type() === 'error' && !message.text().startsWith('Failed to load resource') && faults.push(message.text()));
    page.on('pageerror', (error) => faults.push(String(error)));
    await use(faults);
    if (faults.length > 0) throw new Error(`the console had errors:\n${faults.join('\n')}`);
  },
});
