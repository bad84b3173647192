// A day in the size of a word.

import { sparkPaths } from '../logic/history';

const WIDTH = 200;
const HEIGHT = 28;

/** From zero up, gaps as gaps. Drawn for the eye alone: its numbers stand beside it. */
export function Spark({ values, colour }: { values: readonly (number | null)[]; colour: number }) {
  const { line, below } = sparkPaths(values, WIDTH, HEIGHT);
  const ink = `var(--s${colour})`;
  return (
    <svg class="spark" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <path class="below" d={below} fill={ink} />
      <path d={line} stroke={ink} />
    </svg>
  );
}
