// The whole fleet as one bar, with its counts in words.

import type { Counts, State } from '../logic/rig';
import { Shape } from './shape';

export const PARTS: [State, string][] = [
  ['ok', 'OK'], ['wait', 'Starting'], ['idle', 'Stopped'], ['warn', 'Degraded'], ['crit', 'Fault'], ['off', 'Offline'],
];

export function Bar({ counts }: { counts: Counts }) {
  return (
    <section class="statebar" aria-label="State of all rigs">
      <div class="bar" aria-hidden="true">
        {PARTS.map(([state]) => counts[state] > 0 && <i key={state} class={state} style={{ flexGrow: counts[state] }} />)}
      </div>
      <ul>
        {PARTS.map(([state, word]) => (
          <li key={state} class={counts[state] === 0 ? 't3' : ''}>
            <Shape state={state} /> <b>{counts[state]}</b> {word}
          </li>
        ))}
      </ul>
    </section>
  );
}
