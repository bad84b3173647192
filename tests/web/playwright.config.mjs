import { defineConfig } from '@playwright/test';

export default defineConfig({
  testDir: '.',
  // Two cores are shared with whoever else builds here; a slow machine is no failure.
  workers: 1,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: 'line',
  use: {
    viewport: { width: 1280, height: 800 },
    launchOptions: { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] },
  },
});
