// Who did what to which rig, with what result.

import type { Activity } from '../api/types';
import { exactTime, span, UNKNOWN } from '../logic/format';
import { now } from '../store/live';
import { Shape } from './shape';

export function ActivityTable({ entries, brief }: { entries: Activity[]; brief?: boolean }) {
  return (
    <div class="scrollx" tabIndex={0} role="region" aria-label="Activity">
      <table class="list">
        <thead>
          <tr>
            <th scope="col">When</th>
            {!brief && <th scope="col">Who</th>}
            <th scope="col">What</th>
            <th scope="col">Target</th>
            <th scope="col">Result</th>
          </tr>
        </thead>
        <tbody>
          {entries.map((entry) => (
            <tr key={entry.id}>
              <td title={exactTime(entry.at)}>{brief ? span(now.value - entry.at) : exactTime(entry.at)}</td>
              {!brief && (
                <td>
                  {entry.by === 'local' ? 'command line' : `${entry.by} ${entry.who ?? ''}`}
                  {entry.from && <div class="small t2 mono">{entry.from}</div>}
                </td>
              )}
              <td>
                {entry.action}
                {entry.detail && <div class="small t2 wrap">{entry.detail}</div>}
              </td>
              <td>{entry.target ?? UNKNOWN}</td>
              <td>
                <Shape state={entry.result === 'ok' ? 'ok' : 'crit'} /> {entry.result}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
