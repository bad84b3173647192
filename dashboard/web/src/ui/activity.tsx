// Who did what to which rig, with what result.

import type { Activity } from '../api/types';
import { exactTime, span, UNKNOWN } from '../logic/format';
import { now } from '../store/live';
import { Shape } from './shape';
import { TableBox } from './tablebox';

export function ActivityTable({ entries, brief }: { entries: readonly Activity[]; brief?: boolean }) {
  return (
    <TableBox label="Activity">
      <table class="list" role="table">
        <thead role="rowgroup">
          <tr role="row">
            <th scope="col" role="columnheader">When</th>
            {!brief && <th scope="col" role="columnheader">Who</th>}
            <th scope="col" role="columnheader">What</th>
            <th scope="col" role="columnheader">Target</th>
            <th scope="col" role="columnheader">Result</th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {entries.map((entry) => (
            <tr key={entry.id} role="row">
              <td role="cell" data-label="When" title={exactTime(entry.at)}>{brief ? span(now.value - entry.at) : exactTime(entry.at)}</td>
              {!brief && (
                <td role="cell" data-label="Who">
                  {entry.by === 'local' ? 'command line' : `${entry.by} ${entry.who ?? ''}`}
                  {entry.from && <div class="small t2 mono">{entry.from}</div>}
                </td>
              )}
              <td role="cell" data-label="What">
                {entry.action}
                {entry.detail && <div class="small t2 wrap">{entry.detail}</div>}
              </td>
              <td role="cell" data-label="Target">{entry.target ?? UNKNOWN}</td>
              <td role="cell" data-label="Result">
                <Shape state={entry.result === 'ok' ? 'ok' : 'crit'} /> {entry.result}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </TableBox>
  );
}
