// Real nodes with stand-in mining programs, each a process in a home of its own. Needs a built program:
// MINER_CTRL=…/miner-ctrl.

import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { expect, test as base } from '@playwright/test';

const PROGRAM = process.env.MINER_CTRL;
const run = promisify(execFile);

/** Nodes started at once. Two cores are shared with the browser. */
const AT_ONCE = 4;
/** A node stops its miners first; one that has not ended by then never will. */
const STOP_MS = 30_000;
/** A debug build on a busy machine takes its time. */
const START_MS = 60_000;

/** What Linux counts processor time in. */
const TICKS_A_SECOND = 100;

class ServingNode {
  #child;
  #text = '';

  constructor(home, name, role) {
    Object.assign(this, { home, name, role });
  }

  /** A command at this node's own command line. */
  async cli(...words) {
    const { stdout } = await run(PROGRAM, ['--home', this.home, ...words]);
    return stdout;
  }

  /** A command that goes on. */
  start(...words) {
    this.#text = '';
    this.#child = spawn(PROGRAM, ['--home', this.home, ...words], { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const pipe of [this.#child.stdout, this.#child.stderr]) pipe.on('data', (piece) => (this.#text += piece));
  }

  async serve({ listen = '127.0.0.1:0', options = [] } = {}) {
    this.start('node', 'serve', '--listen', listen, '--simulate', ...options);
    const url = await this.says('listening');
    this.address = url.replace(/^.*\/tcp\/(\d+)\/.*$/, '127.0.0.1:$1');
  }

  /** Waits for a line `word: …` of the greeting; gives what stands behind it. */
  async says(word) {
    const line = new RegExp(`^\\s*${word}: +(\\S.*)$`, 'm');
    const late = AbortSignal.timeout(START_MS);
    for (;;) {
      const found = line.exec(this.#text)?.[1];
      if (found) return found;
      if (this.#child.exitCode !== null) throw new Error(`${this.name} ended: ${this.#text}`);
      await Promise.race([once(this.#child.stdout, 'data', { signal: late }), once(this.#child.stderr, 'data', { signal: late }), once(this.#child, 'exit', { signal: late })]).catch(() => {
        throw new Error(`${this.name} did not say ${word}: ${this.#text}`);
      });
    }
  }

  /** Processor time since its start, seconds, and resident memory, MB. */
  async usage() {
    const [stat, status] = await Promise.all(['stat', 'status'].map((name) => readFile(`/proc/${this.#child.pid}/${name}`, 'utf8')));
    const [user, system] = stat.slice(stat.lastIndexOf(')')).split(' ').slice(12, 14).map(Number);
    return { seconds: (user + system) / TICKS_A_SECOND, megabytes: Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1000 };
  }

  async stop() {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(late);
  }
}

/** Where a test's nodes live, and what it does with many of them. */
export class Mesh {
  nodes = [];

  constructor(directory) {
    this.directory = directory;
  }

  /** A serving node of its own. `policy` is what its `policy.json` says. */
  async node(name, role, { policy, ...serving } = {}) {
    const node = new ServingNode(join(this.directory, name), name, role);
    this.nodes.push(node);
    await node.cli('node', 'init', '--name', name, '--role', role);
    if (policy) await this.policy(node, policy);
    await node.serve(serving);
    return node;
  }

  /** A controller with a page. */
  desk(options = {}) {
    return this.node('desk', 'controller', { options: ['--dashboard', '127.0.0.1:0', '--link'], ...options });
  }

  /** A controller and many rigs in one process, each a node of its own with a made-up miner. */
  fleet(rigs, ...options) {
    const node = new ServingNode(join(this.directory, 'fleet'), 'fleet', 'controller');
    this.nodes.push(node);
    node.start('simulate', 'fleet', '--rigs', String(rigs), '--dashboard', '127.0.0.1:0', ...options);
    return node;
  }

  async policy({ home }, policy) {
    const directory = join(home, '.config', 'lethean-desktop');
    await mkdir(directory, { recursive: true });
    await writeFile(join(directory, 'policy.json'), JSON.stringify(policy));
  }

  /** Rigs that are paired with the desk by code. */
  async rigs(desk, names, of = () => ({})) {
    const waiting = [...names];
    const worker = async () => {
      for (let name = waiting.shift(); name; name = waiting.shift()) {
        const rig = await this.node(name, 'worker', of(name));
        await desk.cli('peer', 'add', '--address', rig.address, '--name', name, '--code', await rig.says('pairing code'));
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    return names.map((name) => this.nodes.find((node) => node.name === name));
  }

  profile(desk, name) {
    return desk.cli('profile', 'add', name, '--program', 'xmrig', '--algorithm', 'rx/0', '--pool', 'pool.example:3333', '--wallet', 'WALLET');
  }

  async end() {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await rm(this.directory, { recursive: true, force: true });
  }
}

/** Signs a page in with the node's one-time link; gives the page's address without a route. */
export async function signIn(page, node) {
  await page.goto(await node.says('sign in once'));
  await expect(page.getByText('Live', { exact: true })).toBeVisible();
  expect(page.url()).not.toContain('link');
  return page.url().split('#')[0];
}

/** A test with real nodes; an error in the console that it did not expect fails it. */
export const test = base.extend({
  mesh: async ({}, use, info) => {
    info.skip(!PROGRAM, 'MINER_CTRL names no program');
    info.setTimeout(180_000);
    const mesh = new Mesh(await mkdtemp(join(tmpdir(), 'page-')));
    try {
      await use(mesh);
    } finally {
      await mesh.end();
    }
  },
  // It names the mesh so that its errors are read before the nodes are stopped: what a page then says of them is no fault.
  page: async ({ page, mesh }, use) => {
    void mesh;
    const faults = [];
    // The browser itself reports each answer of 400 and above, which the page handles.
    page.on('console', (message) => message.type() === 'error' && !message.text().startsWith('Failed to load resource') && faults.push(message.text()));
    page.on('pageerror', (error) => faults.push(String(error)));
    await use(page);
    expect(faults, 'errors in the console').toEqual([]);
  },
});
