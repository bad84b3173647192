// Who did what to which rig, with what result.

import type { Activity } from '../api/types';
import { exactTime, span, UNKNOWN } from '../logic/format';
import { now } from '../store/live';
import { Shape } from './shape';
import { TableBox } from './tablebox';

export function ActivityTable({ entries, brief }: { entries: readonly Activity[]; brief?: boolean }) {
  return (
    <TableBox label="Activity" heads={['When', ...(brief ? [] : ['Who']), 'What', 'Target', 'Result']}>
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
    </TableBox>
  );
}
