import { expect, test } from 'vitest';

import { agentText } from './agent';

test('a browser is told by its own name and its system', () => {
  const said = {
    'Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0': 'Firefox 153 · Linux',
    'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36': 'Chrome 156 · Linux',
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0': 'Edge 156 · Windows',
    'Mozilla/5.0 (Linux; Android 16; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Mobile Safari/537.36': 'Chrome 156 · Android',
    'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1': 'Safari 19 · iPhone',
    'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.1 Safari/605.1.15': 'Safari 19 · macOS',
    'curl/8.9.1': 'curl 8',
  };
  for (const [agent, text] of Object.entries(said)) expect(agentText(agent)).toBe(text);
});

test('one that nobody knows is shown as it calls itself', () => {
  for (const agent of ['my-script/1', '']) expect(agentText(agent)).toBe(agent);
});
