import { defineConfig } from 'vite';

/** A running node, or the mock; `npm run dev` hands the API through to it. */
const NODE = process.env.MINER_CTRL_NODE ?? 'http://127.0.0.1:9090';

export default defineConfig({
  // Relative, so that the page works below any proxy's prefix without a setting.
  base: './',
  // Plain `tsc` checks the types; the compiler only has to know whose JSX it is.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  build: {
    target: 'es2022',
    // The polyfill fetches by itself and the browsers of the target need none.
    modulePreload: { polyfill: false },
    // A data: URL in a style or script would need a wider content security policy.
    assetsInlineLimit: 0,
  },
  server: { proxy: { '/api': { target: NODE, changeOrigin: false } } },
});
