// The budgets of the page: the build fails above them, so that nobody has to remember.
import { readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';

/** Gzipped: what a phone on a slow link waits for at first, and what it fetches when it first shows a chart. */
const BUDGETS_KB = { script: 60, style: 10, 'chart script': 26, 'chart style': 2 };

const root = new URL('dist/', import.meta.url);
const html = readFileSync(new URL('index.html', root), 'utf8');
const sizes = Object.fromEntries(Object.keys(BUDGETS_KB).map((name) => [name, 0]));
for (const name of readdirSync(new URL('assets/', root))) {
  const kind = { js: 'script', css: 'style' }[name.split('.').pop()];
  if (!kind) continue;
  const bytes = readFileSync(new URL(`assets/${name}`, root));
  // What index.html does not name is loaded later, and charts are all that is.
  sizes[html.includes(name) ? kind : `chart ${kind}`] += gzipSync(bytes, { level: 9 }).length / 1024;
}
console.log(Object.entries(sizes).map(([name, size]) => `${name} ${size.toFixed(1)} of ${BUDGETS_KB[name]} KB gz`).join(', '));
const inline = /<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/i.test(html);
const outside = /(?:src|href)="(?:https?:)?\/\//i.test(html);
if (inline) console.error('index.html has inline script or style, which the content security policy forbids');
if (outside) console.error('index.html names another host');
if (Object.entries(sizes).some(([name, size]) => size > BUDGETS_KB[name]) || inline || outside) process.exit(1);
