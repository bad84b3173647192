import { expect, test, vi } from 'vitest';

vi.stubGlobal('location', { protocol: 'http:', hostname: 'localhost' });
const { isExposed, session, signIn } = await import('./session');

test('plain HTTP is told of wherever it leaves the machine', () => {
  for (const host of ['192.168.1.20', 'desk.lan', '[fe80::1]', 'localhost.example', '127.example']) expect(isExposed('http:', host, undefined), host).toBe(true);
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3', '[::1]', 'rig.localhost']) expect(isExposed('http:', host, undefined), host).toBe(false);
  expect(isExposed('https:', 'desk.lan', undefined)).toBe(false);
});

test('the word of the node comes before the look of the address', () => {
  expect(isExposed('http:', 'localhost', false)).toBe(true);
  expect(isExposed('http:', 'desk.lan', true)).toBe(false);
  expect(isExposed('https:', 'desk.lan', false)).toBe(false);
});

test('a browser that keeps no cookie is told so, and is not signed in', async () => {
  const kept = { signed_in: true, password_set: false, secure: true };
  const shown = [kept, { ...kept, signed_in: false }, kept, kept];
  vi.stubGlobal('fetch', () => Promise.resolve(new Response(JSON.stringify(shown.shift()))));
  await expect(signIn({ link: 'A' })).rejects.toMatchObject({ code: 'no-cookie', hint: expect.stringContaining('new link') });
  expect(session.value).toBeNull();
  await signIn({ link: 'A' });
  expect(session.value).toEqual(kept);
});
