// What came of a command to several rigs, rig by rig.

import { plural } from '../logic/format';
import type { State } from '../logic/rig';
import { job, jobOpen, runJob, type Result } from '../store/commands';
import { href } from '../store/route';
import { Dialog } from './dialog';
import { Shape } from './shape';

const SHOWN: Record<Result['state'], State> = { queued: 'idle', busy: 'wait', ok: 'ok', failed: 'crit' };
/** Rows drawn; failures come first, so that what matters is among them. */
const MAX_ROWS = 200;

export function JobDialog() {
  const { value } = job;
  if (!jobOpen.value || !value) return null;
  const close = () => (jobOpen.value = false);
  const { results, title } = value;
  const bad = results.filter((result) => result.state === 'failed');
  const good = results.filter((result) => result.state === 'ok').length;
  const order = [...bad, ...results.filter((result) => result.state !== 'failed')].slice(0, MAX_ROWS);
  const summary = `${good} of ${results.length} done${bad.length > 0 ? `, ${bad.length} failed` : ''}`;
  return (
    <Dialog
      title={title}
      wide
      onClose={close}
      foot={
        <>
          {value.done && bad.length > 0 && (
            <button type="button" onClick={() => void runJob(title, bad.map((result) => result.rig), value.run)}>
              Retry {bad.length} failed
            </button>
          )}
          <button type="button" class="primary" data-focus onClick={close}>
            {value.done ? 'Close' : 'Go on in the background'}
          </button>
        </>
      }
    >
      <p role="status">{value.done ? summary : `${summary}…`}</p>
      <progress max={results.length} value={good + bad.length} aria-label="Progress" />
      <div class="scrollx" tabIndex={0} role="region" aria-label="Results">
        <table class="list">
          <thead>
            <tr>
              <th scope="col">Rig</th>
              <th scope="col">Result</th>
            </tr>
          </thead>
          <tbody>
            {order.map((result) => (
              <tr key={result.rig.id}>
                <th scope="row">
                  <Shape state={SHOWN[result.state]} />{' '}
                  <a href={href('rig', result.rig.id)} onClick={close}>
                    {result.rig.name}
                  </a>
                </th>
                <td class="wrap">
                  {result.text}
                  {result.failure?.hint && <div class="small t2">Next: {result.failure.hint}</div>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {results.length > MAX_ROWS && <p class="t2">{plural(results.length - MAX_ROWS, 'more rig')} not listed here.</p>}
    </Dialog>
  );
}
