// The REST API. Paths are relative to the page, so that any proxy's prefix works.

import { onDate } from './clock';
import type { Problem } from './types';

export const API = 'api/v1/mining';

/** A failure with the words to show for it. `code` is what to decide by. */
export class Failure extends Error {
  constructor(
    readonly code: string,
    readonly detail: string,
    readonly hint: string,
    readonly requestId: string | null,
    readonly fields: { pointer: string; detail: string }[],
    readonly status: number,
    readonly retryAfter: number | null,
  ) {
    super(detail);
  }
}

/** Told when a request finds that nobody is signed in. */
let onSignedOut: () => void = () => undefined;
export function whenSignedOut(tell: () => void): void {
  onSignedOut = tell;
}

/** The node answers each request within 65 s, be it by a refusal. Whoever is silent for longer is not there. */
const PATIENCE_MS = 70_000;

type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export async function ask<T>(method: Method, path: string, body?: unknown, signal?: AbortSignal, patience = PATIENCE_MS): Promise<T> {
  const late = AbortSignal.timeout(patience);
  const request: RequestInit = { method, credentials: 'same-origin', cache: 'no-store', signal: signal ? AbortSignal.any([signal, late]) : late };
  if (body !== undefined) {
    request.body = JSON.stringify(body);
    request.headers = { 'Content-Type': 'application/json' };
  }
  let response: Response;
  try {
    response = await fetch(`${API}${path}`, request);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw noServer();
  }
  onDate(response.headers.get('Date'));
  if (!response.ok) {
    const failure = await failureOf(response);
    if (failure.status === 401 && failure.code === 'sign-in-needed') onSignedOut();
    throw failure;
  }
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (signal?.aborted) throw error;
    if (late.aborted) throw noServer();
    throw new Failure('not-json', 'The answer cannot be read.', 'Something between this page and the node changed it.', null, [], response.status, null);
  }
}

function noServer(): Failure {
  return new Failure('no-server', 'The node does not answer.', 'Check that `miner-ctrl node serve` is running and that this machine can reach it.', null, [], 0, null);
}

export async function failureOf(response: Response): Promise<Failure> {
  const after = Number(response.headers.get('Retry-After'));
  const retryAfter = Number.isFinite(after) && after > 0 ? after : null;
  try {
    const problem = (await response.json()) as Partial<Problem>;
    return new Failure(
      problem.code ?? String(response.status),
      problem.detail ?? problem.title ?? response.statusText,
      problem.hint ?? '',
      problem.request_id ?? null,
      problem.errors ?? [],
      response.status,
      retryAfter,
    );
  } catch {
    // A proxy's own page, most likely.
    return new Failure(String(response.status), `The answer was ${response.status} ${response.statusText}.`, 'Something between this page and the node answered in its place.', null, [], response.status, retryAfter);
  }
}

/** Any thrown thing as words. */
export function failure(thrown: unknown): Failure {
  if (thrown instanceof Failure) return thrown;
  return new Failure('page', thrown instanceof Error ? thrown.message : String(thrown), 'This is a fault of the page: reload it.', null, [], 0, null);
}

/** One part of a path. */
export function part(text: string): string {
  return encodeURIComponent(text);
}
