// The budgets of the page: the build fails above them, so that nobody has to remember.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

/** First-load script, gzipped: what a phone on a slow link waits for. */
const SCRIPT_KB = 60;
/** Style, gzipped. */
const STYLE_KB = 10;

const sizes = { js: 0, css: 0 };
const root = new URL('dist/', import.meta.url);
for (const name of readdirSync(new URL('assets/', root))) {
  const bytes = readFileSync(new URL(`assets/${name}`, root));
  const kind = name.split('.').pop();
  if (kind in sizes) sizes[kind] += gzipSync(bytes, { level: 9 }).length / 1024;
}
console.log(`script ${sizes.js.toFixed(1)} of ${SCRIPT_KB} KB gz, style ${sizes.css.toFixed(1)} of ${STYLE_KB} KB gz`);
const html = readFileSync(new URL('index.html', root), 'utf8');
const inline = /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/i.test(html);
const outside = /(?:src|href)="(?:https?:)?\/\//i.test(html);
if (inline) console.error('index.html has inline script or style, which the content security policy forbids');
if (outside) console.error('index.html names another host');
if (sizes.js > SCRIPT_KB || sizes.css > STYLE_KB || inline || outside) process.exit(1);
