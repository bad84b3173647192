// One chart on a canvas: the only place that knows the library. Loaded when a chart is first shown.

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

import type { HistorySeries } from '../api/types';
import { alone, timeMarks, type Measure } from '../logic/history';

export interface Plot {
  measure: Measure;
  t0: number;
  step: number;
  /** The whole span, Unix seconds: where nothing is known yet stays empty. */
  from: number;
  to: number;
  series: readonly HistorySeries[];
  colours: ReadonlyMap<string, number>;
  /** Told which column the pointer is at. */
  onColumn: (column: number | null) => void;
}

/** All charts of a page share one cursor: what happened to one is looked up in the others. */
const CURSOR = 'time';
const FONT = '12px system-ui, sans-serif';
/** From a label to the plot, px. */
const AXIS_GAP = 8;
/** A line of text and its gap, px. */
const TIME_AXIS = 28;
/** Room above the highest value, as a share of it. */
const HEADROOM = 0.08;

/** Where the pointer rests in a box: a chart that is drawn anew reads there, too. */
const rests = new WeakMap<HTMLElement, { left: number; top: number }>();

/** Draws into `box` and follows its size; the answer takes it away. */
export function plot(box: HTMLElement, wanted: Plot): () => void {
  const { measure, t0, step, series, colours } = wanted;
  const style = getComputedStyle(document.documentElement);
  const token = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const length = Math.max(0, ...series.map(({ v }) => v.length));
  const times = Array.from({ length }, (_, at) => t0 + at * step);
  const axis: uPlot.Axis = { stroke: token('text2'), font: FONT, grid: { stroke: token('line'), width: 1 }, ticks: { show: false }, gap: AXIS_GAP };
  const options: uPlot.Options = {
    width: box.clientWidth,
    height: box.clientHeight,
    padding: [AXIS_GAP, AXIS_GAP, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, sync: { key: CURSOR }, points: { size: 7 } },
    scales: {
      x: { range: () => [wanted.from, wanted.to] },
      y: { range: (_, low, high) => span(measure, low, high) },
    },
    axes: [
      { ...axis, space: 72, size: TIME_AXIS, values: (_, marks) => timeMarks(marks) },
      { ...axis, values: (_, marks) => measure.axis(marks), size: (chart, labels) => widest(chart.ctx, labels) },
    ],
    series: [
      {},
      ...series.map(({ id, v }) => {
        const stroke = token(`s${colours.get(id) ?? 0}`);
        const dots = alone(v);
        return { stroke, width: 1.5, points: { show: dots.length > 0, size: 4, fill: stroke, filter: () => dots } };
      }),
    ],
    hooks: { setCursor: [(chart) => wanted.onColumn(chart.cursor.idx ?? null)] },
  };
  const chart = new uPlot(options, [times, ...series.map(({ v }) => v)], box);
  const sized = new ResizeObserver(() => chart.setSize({ width: box.clientWidth, height: box.clientHeight }));
  sized.observe(box);
  const rest = rests.get(box);
  if (rest) chart.setCursor(rest);
  return () => {
    sized.disconnect();
    const { left = -1, top = -1 } = chart.cursor;
    if (left < 0) rests.delete(box);
    else rests.set(box, { left, top });
    chart.destroy();
  };
}

function span({ fromZero }: Measure, low: number | null, high: number | null): [number, number] {
  if (low === null || high === null) return [0, 1];
  if (fromZero) return [0, high > 0 ? high * (1 + HEADROOM) : 1];
  const room = Math.max(1, (high - low) * HEADROOM);
  return [low - room, high + room];
}

/** A fixed width cuts off what is longer. */
function widest(context: CanvasRenderingContext2D, labels: string[] | null): number {
  context.save();
  context.font = FONT;
  const width = Math.max(0, ...(labels ?? []).map((label) => context.measureText(label).width));
  context.restore();
  return Math.ceil(width) + 2 * AXIS_GAP;
}
