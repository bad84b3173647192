// A rig's miners in brief.

import { hashrate } from '../logic/format';
import { minerShown, type untold } from '../logic/rig';
import type { MinerStatus } from '../api/types';
import { Word } from './parts';

/** `away`: to be shown in place of what it said last, which is not what it does. */
export function MinerList({ miners, problem, away }: { miners: MinerStatus[] | null; problem: string | null; away: ReturnType<typeof untold> }) {
  if (miners === null) return <p class="t2">{problem ?? 'It tells no statistics.'}</p>;
  if (miners.length === 0) return <p class="t2">No miner yet.</p>;
  return (
    <ul class="minerlist">
      {miners.map((miner) => {
        const { shown, word } = away ?? minerShown(miner.state);
        return (
          <li key={miner.name}>
            <b>{miner.name}</b>
            <Word state={shown} word={word} title={miner.problem ?? undefined} />
            <span class="right">{hashrate(away ? null : miner.hashrate)}</span>
            <span class="t2 sub">
              {[miner.algorithm, miner.profile, miner.pool].filter(Boolean).join(' · ')}
              {miner.problem && <span class="crit"> {miner.problem}</span>}
            </span>
          </li>
        );
      })}
    </ul>
  );
}
