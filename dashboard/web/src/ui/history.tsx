// A chart with everything it owes to whoever cannot see it or wants the numbers.

import { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks';

import type { History, HistorySeries } from '../api/types';
import { clock, exactTime } from '../logic/format';
import { colours, current, facts, lines, panels, RANGES, rangeOf, rows, sentence, type Measure, type Range } from '../logic/history';
import { useHistory } from '../store/history';
import { stale } from '../store/live';
import { darkSystem, prefs } from '../store/prefs';
import { route, setQuery } from '../store/route';
import { Trouble } from './parts';

interface Props {
  title: string;
  path: string;
  measure: Measure;
  ranges: readonly Range[];
  /** Shown where nothing is known yet. */
  empty: string;
  /** Drawn below, where the node has them; the span is the same. */
  also?: readonly Measure[];
}

export function HistoryCard({ title, path, measure, ranges, empty, also = [] }: Props) {
  const id = useId();
  const range = rangeOf(route.value.query.get('range'));
  const { history, at, failure } = useHistory(path, range, measure);
  const [table, setTable] = useState(false);
  const some = history !== null && history.series.length > 0;
  // Kept while another span is on its way, so that nothing below jumps.
  const others = useRef<readonly Measure[]>([]);
  if (history) others.current = also.filter(({ key }) => history.measures.includes(key));
  return (
    <>
      <section class="card" aria-labelledby={id}>
        <div class="row">
          <h2 id={id}>{title}</h2>
          {some && (
            <button type="button" class="plain" aria-pressed={table} onClick={() => setTable(!table)}>
              {table ? 'Show as chart' : 'Show as table'}
            </button>
          )}
          {ranges.length > 0 && (
            <div class="chips ranges" role="group" aria-label={`Span of ${title.toLowerCase()}`}>
              {ranges.map(({ key }) => (
                <button key={key} type="button" class="chip" aria-pressed={range.key === key} onClick={() => setQuery({ range: key === '24h' ? null : key })}>
                  {key.replace(/(\d+)/, '$1 ')}
                </button>
              ))}
            </div>
          )}
        </div>
        {/* A node that is gone is told once, above. */}
        {failure && !(stale.value && history) && <Trouble failure={failure} />}
        {table && some ? <Numbers history={history} range={range} measure={measure} /> : <Chart history={history} at={at} range={range} measure={measure} empty={failure ? '' : empty} />}
      </section>
      {others.current.map((other) => (
        <HistoryCard key={other.key} title={other.title} path={path} measure={other} ranges={[]} empty={empty} />
      ))}
    </>
  );
}

interface ChartProps { history: History | null; at: number; range: Range; measure: Measure; empty: string }

function Chart({ history, at, range, measure, empty }: ChartProps) {
  const [column, setColumn] = useState<number | null>(null);
  const drawn = useMemo(() => lines(history?.series ?? []), [history]);
  const given = useMemo(() => colours(drawn.map(({ id }) => id)), [drawn]);
  const groups = useMemo(() => panels(drawn), [drawn]);
  useEffect(() => setColumn(null), [history]);
  const left = (history?.series.length ?? 0) - drawn.length;
  const when = column === null || !history ? null : history.t0 + column * history.step;
  return (
    <>
      {history && groups.map((group) => (
        <Canvas key={group[0]?.id} tall={groups.length === 1} label={sentence(measure, range, group)} history={history} at={at} range={range} measure={measure} series={group} given={given} onColumn={setColumn} />
      ))}
      {groups.length === 0 && <div class="plot">{history && <p class="t2">{empty}</p>}</div>}
      <p class="small t2 readout" aria-hidden="true">
        {when === null ? '' : exactTime(when)}
      </p>
      <ul class="lines">
        {drawn.map((one) => (
          <Line key={one.id} series={one} step={history?.step ?? 1} colour={given.get(one.id) ?? 0} measure={measure} column={column} />
        ))}
      </ul>
      {left > 0 && <p class="small t2">{left} more in the table.</p>}
    </>
  );
}

type Library = typeof import('./plot');

// Apart from its `.then`: the bundler takes one that follows at once into what it waits for styles with, and then a style
// that cannot be had is told to nobody.
const load = (): Promise<Library> => {
  speak();
  return import('./plot');
};

/** A browser of a bare system may say that its language is "C": the library takes it for one, and could not be loaded. */
function speak(): void {
  try {
    new Intl.NumberFormat(navigator.language);
  } catch {
    Object.defineProperty(navigator, 'language', { value: 'en', configurable: true });
  }
}

interface CanvasProps extends Omit<ChartProps, 'empty' | 'history'> {
  history: History;
  series: HistorySeries[];
  tall: boolean;
  label: string;
  given: ReadonlyMap<string, number>;
  onColumn: (column: number | null) => void;
}

function Canvas({ history: { t0, step }, at, range, measure, series, tall, label, given, onColumn }: CanvasProps) {
  const box = useRef<HTMLDivElement>(null);
  const [library, setLibrary] = useState<Library | null>(null);
  const [broken, setBroken] = useState(false);
  const { theme } = prefs.value;
  const dark = darkSystem.value;
  useEffect(() => {
    load().then(setLibrary, () => setBroken(true));
  }, []);
  useEffect(() => {
    if (!library || !box.current) return;
    return library.plot(box.current, { measure, t0, step, from: at - range.seconds, to: at, series, colours: given, onColumn });
    // A canvas does not follow the theme by itself.
  }, [library, series, given, theme, dark]);
  return (
    <div class={tall ? 'plot' : 'plot several'}>
      <div class="canvas" ref={box} role="img" aria-label={label} />
      {broken && <p class="t2">The chart could not be loaded. Reload the page, or take the table.</p>}
    </div>
  );
}

interface LineProps { series: HistorySeries; step: number; colour: number; measure: Measure; column: number | null }

function Line({ series: { id, v }, step, colour, measure, column }: LineProps) {
  const found = facts(v);
  if (!found) return null;
  return (
    <li>
      <i class="swatch" style={{ background: `var(--s${colour})` }} />
      <span class="clip">{id}</span>
      <b>{measure.text(column === null ? current(v, step) : (v[column] ?? null))}</b>
      <span class="small t2">
        {measure.text(found.min)} to {measure.text(found.max)}, mean {measure.text(found.mean)}
      </span>
    </li>
  );
}

function eachText(seconds: number): string {
  if (seconds < 3600) return `${seconds / 60} minutes`;
  if (seconds === 3600) return 'hour';
  return seconds < 86_400 ? `${seconds / 3600} hours` : 'day';
}

function Numbers({ history: { t0, step, series }, range, measure }: { history: History; range: Range; measure: Measure }) {
  const each = RANGES.find(({ key }) => key === range.key)?.row ?? range.row;
  return (
    <>
      <p class="small t2">Means of each {eachText(each)}, newest first.</p>
      <div class="scrollx numbers" tabIndex={0} role="region" aria-label={`${measure.title} as numbers`}>
        <table class="list">
          <thead>
            <tr>
              <th scope="col">From</th>
              {series.map(({ id }) => (
                <th key={id} scope="col" class="right">
                  {id}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows(t0, step, series, each).map(({ at, means }) => (
              <tr key={at}>
                <th scope="row">{range.seconds < 86_400 ? clock(at) : exactTime(at)}</th>
                {means.map((mean, which) => (
                  <td key={which} class="right">
                    {measure.text(mean)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </>
  );
}
