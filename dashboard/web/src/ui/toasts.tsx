// Toasts: at most three, five seconds, errors stay.

import { useEffect, useRef } from 'preact/hooks';

import { announced, dismiss, toasts, type Toast } from '../store/toast';
import { Shape } from './shape';

const SHOWN_MS = 5000;

export function Toasts() {
  return (
    <>
      <div class="toasts">
        {toasts.value.map((toast) => (
          <One key={toast.id} toast={toast} />
        ))}
      </div>
      <p class="hidden" role="status" aria-live="polite">
        {announced.value}
      </p>
    </>
  );
}

function One({ toast }: { toast: Toast }) {
  const timer = useRef(0);
  const hold = () => clearTimeout(timer.current);
  const release = () => {
    hold();
    if (toast.kind === 'ok') timer.current = window.setTimeout(() => dismiss(toast.id), SHOWN_MS);
  };
  useEffect(() => {
    release();
    return hold;
  }, []);
  return (
    <div class="toast" role={toast.kind === 'ok' ? 'status' : 'alert'} onMouseEnter={hold} onMouseLeave={release} onFocusCapture={hold} onBlurCapture={release}>
      <Shape state={toast.kind} />
      <div>
        <p>{toast.text}</p>
        {toast.hint && <p class="small t2">Next: {toast.hint}</p>}
        {toast.small && <p class="small t3 mono">{toast.small}</p>}
      </div>
      {toast.action && (
        <button
          type="button"
          class="plain"
          onClick={() => {
            dismiss(toast.id);
            toast.action?.run();
          }}
        >
          {toast.action.label}
        </button>
      )}
      <button type="button" class="plain" aria-label="Dismiss" onClick={() => dismiss(toast.id)}>
        ✕
      </button>
    </div>
  );
}
