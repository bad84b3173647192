// State as shape and colour; the word stands beside it.

import type { State } from '../logic/rig';

export function Shape({ state }: { state: State }) {
  return (
    <svg class={`shape ${state}`} viewBox="0 0 12 12" width="12" height="12" aria-hidden="true">
      {state === 'ok' && <circle cx="6" cy="6" r="5" />}
      {state === 'warn' && <path d="M6 .8 11.6 11H.4z" />}
      {state === 'crit' && <rect x="1" y="1" width="10" height="10" rx="1" />}
      {state === 'off' && <circle class="hollow" cx="6" cy="6" r="4.2" />}
      {state === 'idle' && <circle class="hollow" cx="6" cy="6" r="4.2" stroke-dasharray="2.4 2" />}
      {state === 'wait' && (
        <>
          <circle class="hollow" cx="6" cy="6" r="4.2" />
          <path d="M6 1a5 5 0 0 0 0 10z" />
        </>
      )}
    </svg>
  );
}

const ICONS: Record<string, string> = {
  overview: 'M3 13h4V8H3zm6 0h4V3H9zM3 6h4V3H3z',
  rigs: 'M2 3h12v4H2zm0 6h12v4H2zM4.5 5h.01M4.5 11h.01',
  profiles: 'M3.5 2h6l3 3v9h-9zM9 2v4h3.5M6 9h4M6 11.5h4',
  activity: 'M1.5 8.5h3l2-5.5 3 10 2-4.5h3',
  pairing: 'M6.5 9.5l3-3M7.5 4.5l1.3-1.3a2.8 2.8 0 0 1 4 4L11.5 8.5M8.5 11.5l-1.3 1.3a2.8 2.8 0 0 1-4-4L4.5 7.5',
  settings: 'M2 4.5h7M12 4.5h2M2 11.5h2M7 11.5h7M10.5 3v3M5.5 10v3',
};

export function Icon({ name }: { name: string }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" width="18" height="18" aria-hidden="true">
      <path d={ICONS[name] ?? ''} />
    </svg>
  );
}
