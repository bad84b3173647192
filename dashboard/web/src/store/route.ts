// Where we are: all of it stands in the address bar's fragment, so that a link leads back.

import { signal } from '@preact/signals';

export interface Route { page: string; arg: string | null; query: URLSearchParams }

export function parseRoute(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  const [page = '', arg] = path.split('/', 2);
  let decoded: string | null = null;
  try {
    decoded = arg === undefined ? null : decodeURIComponent(arg);
  } catch {
    // A broken escape names nothing.
  }
  return { page: page || 'overview', arg: decoded, query: new URLSearchParams(query) };
}

export const route = signal<Route>(parseRoute(location.hash));

export function followAddressBar(): void {
  addEventListener('hashchange', () => {
    behind = null;
    route.value = parseRoute(location.hash);
  });
}

/** Firefox and Safari refuse more than 100 to 200 changes of the address bar in 10 s; fast typing is more than that. */
const WRITE_EACH_MS = 300;
let resting = 0;
/** What the address bar says while the route is ahead of it; null while they agree. */
let behind: string | null = null;

export function href(page: string, arg?: string, query?: URLSearchParams): string {
  const text = query?.toString() ?? '';
  return `#/${page}${arg === undefined ? '' : `/${encodeURIComponent(arg)}`}${text === '' ? '' : `?${text}`}`;
}

let landing = 'h1';

/** `focus` selects what the focus goes to once another page is drawn; without one, that is its title. */
export function go(to: string, focus = 'h1'): void {
  write();
  // Where we are already nothing is drawn anew.
  if (to !== location.hash) landing = focus;
  location.hash = to;
}

/** What `go` asked for, once. */
export function takeLanding(): string {
  const focus = landing;
  landing = 'h1';
  return focus;
}

/** Changes parts of the query in place: typing a filter is not a history of thirty pages. */
export function setQuery(change: Record<string, string | null>): void {
  const { page, arg } = route.value;
  const query = new URLSearchParams(route.value.query);
  for (const [key, value] of Object.entries(change)) {
    if (value === null || value === '') query.delete(key);
    else query.set(key, value);
  }
  // First: what was typed is there whatever becomes of the address bar.
  route.value = { page, arg, query };
  behind ??= location.hash;
  if (resting === 0) writeAndRest();
}

function writeAndRest(): void {
  write();
  resting = window.setTimeout(() => {
    resting = 0;
    if (behind !== null) writeAndRest();
  }, WRITE_EACH_MS);
}

/** Lets the address bar catch up with the route. */
function write(): void {
  // Somebody has gone to another page meanwhile: that is not to be taken back.
  if (behind === location.hash) {
    const { page, arg, query } = route.value;
    try {
      history.replaceState(null, '', href(page, arg ?? undefined, query));
    } catch {
      // Too many for this browser: the next one says it all.
    }
  }
  behind = null;
}
