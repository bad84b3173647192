// Which rigs are ticked. By id: a selection outlives filters and sorting.

export function toggled(selected: ReadonlySet<string>, id: string): Set<string> {
  const next = new Set(selected);
  if (!next.delete(id)) next.add(id);
  return next;
}

/** All ids from one row to another, in the order shown, added; without a start, the one row. */
export function extended(selected: ReadonlySet<string>, order: string[], from: string | null, to: string): Set<string> {
  const next = new Set(selected);
  const end = order.indexOf(to);
  const start = from === null ? end : order.indexOf(from);
  if (end < 0) return next;
  const [low, high] = start < 0 ? [end, end] : start < end ? [start, end] : [end, start];
  for (let index = low; index <= high; index += 1) next.add(order[index] ?? to);
  return next;
}

/** The box in the head: everything that matches, or nothing of it when all is ticked already. */
export function allToggled(selected: ReadonlySet<string>, matching: string[]): Set<string> {
  const next = new Set(selected);
  const all = matching.length > 0 && matching.every((id) => next.has(id));
  for (const id of matching) {
    if (all) next.delete(id);
    else next.add(id);
  }
  return next;
}
