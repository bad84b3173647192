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
  addEventListener('hashchange', () => (route.value = parseRoute(location.hash)));
}

export function href(page: string, arg?: string, query?: URLSearchParams): string {
  const text = query?.toString() ?? '';
  return `#/${page}${arg === undefined ? '' : `/${encodeURIComponent(arg)}`}${text === '' ? '' : `?${text}`}`;
}

let landing = 'h1';

/** `focus` selects what the focus goes to once another page is drawn; without one, that is its title. */
export function go(to: string, focus = 'h1'): void {
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
  history.replaceState(null, '', href(page, arg ?? undefined, query));
  route.value = { page, arg, query };
}
