import { defineConfig } from '@playwright/test';

import { launch } from './browser.mjs';

export default defineConfig({
  testDir: '.',
  // Most of a story is waiting for processes: two of them share two cores well.
  workers: 2,
  fullyParallel: true,
  forbidOnly: true,
  timeout: 120_000,
  // A slow machine is no failure.
  expect: { timeout: 20_000 },
  reporter: 'list',
  use: { viewport: { width: 1280, height: 800 }, launchOptions: launch, screenshot: 'only-on-failure' },
});
