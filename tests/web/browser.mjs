// The browser: Debian's Chromium, or the one that CHROMIUM names.

/** Root has no sandbox to give, and nothing but the tests' own nodes shall be asked. */
export const launch = {
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--no-first-run'],
};
