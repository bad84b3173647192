// The whole fleet as one bar, with its counts in words.

import type { Counts, State } from '../logic/rig';
import { href } from '../store/route';
import { Shape } from './shape';

/** State, its word, and how the filter calls it. */
const PARTS: [State, string, string][] = [
  ['ok', 'OK', 'ok'], ['wait', 'Starting', 'starting'], ['idle', 'Stopped', 'stopped'], ['warn', 'Degraded', 'degraded'], ['crit', 'Fault', 'fault'], ['off', 'Offline', 'offline'],
];

export function Bar({ counts }: { counts: Counts }) {
  return (
    <section class="statebar" aria-label="State of all rigs">
      <div class="bar" aria-hidden="true">
        {PARTS.map(([state]) => counts[state] > 0 && <i key={state} class={state} style={{ flexGrow: counts[state] }} />)}
      </div>
      <ul>
        {PARTS.map(([state, word, key]) => (
          <li key={state} class={counts[state] === 0 ? 't3' : ''}>
            <a href={href('rigs', undefined, new URLSearchParams({ f: `state:${key}` }))} title="Show these rigs">
              <Shape state={state} /> <b>{counts[state]}</b> {word}
            </a>
          </li>
        ))}
      </ul>
    </section>
  );
}
