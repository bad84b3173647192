// What came of a command to several rigs, rig by rig.

import { jobCsv } from '../logic/csv';
import { jobSummary, jobTitle, LINE_SHOWN, reasons, toRetry, total, worstFirst } from '../logic/job';
import { plural } from '../logic/format';
import { readOnly } from '../store/live';
import { closeJob, jobInDialog, retry, sending, shownFailure, shownJob } from '../store/jobs';
import { href } from '../store/route';
import { Dialog } from './dialog';
import { Act, Skeleton, Trouble } from './parts';
import { save } from './save';
import { Shape } from './shape';

/** Rows drawn; what matters comes first, so that it is among them. */
const MAX_ROWS = 200;
/** Reasons told above them: as many are read at a glance. */
const MAX_REASONS = 5;

export function JobDialog() {
  const job = jobInDialog.value;
  if (shownJob.value === null) {
    if (sending.value === null) return null;
    return (
      <Dialog title="The order is on its way" wide onClose={closeJob}>
        <Skeleton rows={3} />
      </Dialog>
    );
  }
  if (!job) {
    return (
      <Dialog title="Results" wide onClose={closeJob}>
        {shownFailure.value ? <Trouble failure={shownFailure.value} /> : <Skeleton rows={3} />}
      </Dialog>
    );
  }
  const ended = job.ended !== null;
  const again = toRetry(job);
  const { waiting, running } = job.counts;
  const all = total(job.counts);
  const order = worstFirst(job.rigs).slice(0, MAX_ROWS);
  const why = reasons(job.rigs).slice(0, MAX_REASONS);
  return (
    <Dialog
      // Another job is another dialog: its focus begins anew.
      key={job.id}
      title={jobTitle(job)}
      wide
      onClose={closeJob}
      foot={
        <>
          {ended && again > 0 && (
            <Act why={readOnly.value} onClick={() => void retry(job.id)}>
              Retry {again} {job.counts.unknown > 0 && job.counts.failed === 0 ? 'not known' : 'failed'}
            </Act>
          )}
          <button type="button" title="The result of each rig as a table" onClick={() => save('results.csv', 'text/csv', jobCsv(job))}>
            CSV
          </button>
          <button type="button" class="primary" data-focus onClick={closeJob}>
            {ended ? 'Close' : 'Go on in the background'}
          </button>
        </>
      }
    >
      <p role="status">{ended ? jobSummary(job) : `${jobSummary(job)}…`}</p>
      <progress max={all} value={all - waiting - running} aria-label="Progress" />
      {why.length > 0 && (
        <ul class="reasons" aria-label="Why">
          {why.map(({ state, detail, hint, count, alike }) => (
            <li key={`${state} ${detail}`}>
              <Shape state={LINE_SHOWN[state].shown} /> <b>{count}</b> {state === 'failed' ? 'failed' : 'not known'}: {detail}
              {alike && ', or the like'}
              {hint && <div class="small t2">Next: {hint}</div>}
            </li>
          ))}
        </ul>
      )}
      {!ended && <p class="small t2">The node carries this out. It goes on when this page is closed.</p>}
      <div class="scrollx" tabIndex={0} role="region" aria-label="Results">
        <table class="list">
          <thead>
            <tr>
              <th scope="col">Rig</th>
              <th scope="col">Result</th>
            </tr>
          </thead>
          <tbody>
            {order.map((line) => (
              <tr key={line.id ?? line.name}>
                <th scope="row">
                  <Shape state={LINE_SHOWN[line.state].shown} /> <span class="hidden">{LINE_SHOWN[line.state].word}</span>{' '}
                  {line.id === null ? (
                    line.name
                  ) : (
                    <a href={href('rig', line.id)} onClick={closeJob}>
                      {line.name}
                    </a>
                  )}
                </th>
                <td class="wrap">
                  {line.detail ?? LINE_SHOWN[line.state].word}
                  {line.hint && <div class="small t2">Next: {line.hint}</div>}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {job.rigs.length > MAX_ROWS && <p class="t2">{plural(job.rigs.length - MAX_ROWS, 'more rig')} not listed here; the CSV has all.</p>}
    </Dialog>
  );
}
