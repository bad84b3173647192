// Small shared parts.

import type { ButtonHTMLAttributes, ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';

import type { Failure } from '../api/client';
import type { Permission } from '../api/types';
import type { State } from '../logic/rig';
import { Shape } from './shape';

interface FieldProps {
  label: string;
  value: string;
  onValue: (value: string) => void;
  error?: string | undefined;
  hint?: ComponentChildren;
  type?: 'text' | 'password';
  placeholder?: string;
  mono?: boolean;
  focus?: boolean;
  required?: boolean;
  autocomplete?: 'off' | 'current-password' | 'new-password';
  disabled?: boolean;
}

/** A labelled input; its error stands below it and belongs to it. */
export function Field({ label, value, onValue, error, hint, type = 'text', placeholder, mono, focus, required, autocomplete = 'off', disabled }: FieldProps) {
  const id = useId();
  const notes = [error ? `${id}e` : '', hint ? `${id}h` : ''].filter(Boolean).join(' ');
  return (
    <div class="field">
      <label for={id}>
        {label}
        {required === false && <span class="t3"> optional</span>}
      </label>
      <input
        id={id}
        // The types want a literal; all three are plain text boxes to us.
        type={type as 'text'}
        class={mono ? 'mono' : ''}
        value={value}
        placeholder={placeholder ?? ''}
        autocomplete={autocomplete}
        spellcheck={false}
        disabled={disabled ?? false}
        aria-invalid={error ? 'true' : undefined}
        aria-describedby={notes || undefined}
        data-focus={focus ? '' : undefined}
        onInput={(event) => onValue(event.currentTarget.value)}
      />
      {error && (
        <p class="error" id={`${id}e`}>
          {error}
        </p>
      )}
      {hint && (
        <p class="hint" id={`${id}h`}>
          {hint}
        </p>
      )}
    </div>
  );
}

interface ChoiceProps<T extends string> {
  label: string;
  value: T;
  options: readonly (readonly [T, string])[];
  onValue: (value: T) => void;
  hint?: ComponentChildren;
  error?: string | undefined;
}

export function Choice<T extends string>({ label, value, options, onValue, hint, error }: ChoiceProps<T>) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <select id={id} value={value} aria-invalid={error ? 'true' : undefined} onChange={(event) => onValue(event.currentTarget.value as T)}>
        {options.map(([key, text]) => (
          <option key={key} value={key}>
            {text}
          </option>
        ))}
      </select>
      {error && <p class="error">{error}</p>}
      {hint && <p class="hint">{hint}</p>}
    </div>
  );
}

/** What a peer may ask of this node, in words. */
export const PERMISSIONS = [
  ['none', 'Nothing but ping'], ['view', 'Look: statistics and logs'], ['control', 'Act: start, stop, deploy'],
] as const satisfies readonly (readonly [Permission, string])[];

/** The same of a new peer. */
export const GRANTS = [['', 'By the roles'], ...PERMISSIONS] as const;

/** A failure in place: the sentence, the next step, and what to quote in a report. */
export function Trouble({ failure, children }: { failure: Failure; children?: ComponentChildren }) {
  return (
    <div class="trouble" role="alert">
      <Shape state="crit" />
      <div>
        <p>{failure.detail}</p>
        {failure.hint && <p class="t2">Next: {failure.hint}</p>}
        <p class="small t3 mono">{[failure.code, failure.requestId].filter(Boolean).join(' · ')}</p>
        {children}
      </div>
    </div>
  );
}

export function Word({ state, word, title }: { state: State; word: string; title?: string | undefined }) {
  return (
    <span class={`word ${state}`} title={title}>
      <Shape state={state} /> {word}
    </span>
  );
}

/** 0 to 100; only the bar is coloured. */
export function Meter({ value }: { value: number }) {
  const level = value >= 90 ? 'ok' : value >= 50 ? 'warn' : 'crit';
  return (
    <span class="meter">
      {value}
      <svg viewBox="0 0 44 6" width="44" height="6" aria-hidden="true" class={level}>
        <rect class="track" width="44" height="6" rx="3" />
        <rect width={(44 * Math.max(0, Math.min(100, value))) / 100} height="6" rx="3" />
      </svg>
    </span>
  );
}

/** How long a button says what it did. */
const SAID_MS = 2000;

/** Text to take along. Plain HTTP pages may not write the clipboard: then it is selected, ready for Ctrl+C. */
export function Copy({ text, label }: { text: string; label: string }) {
  const [said, say] = useState('Copy');
  const ref = useRef<HTMLElement>(null);
  // Of another text nothing was said yet.
  useEffect(() => {
    say('Copy');
  }, [text]);
  useEffect(() => {
    const timer = setTimeout(say, SAID_MS, 'Copy');
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      say('Copied');
    } catch {
      const range = document.createRange();
      if (ref.current) range.selectNodeContents(ref.current);
      const selection = getSelection();
      selection?.removeAllRanges();
      selection?.addRange(range);
      say('Selected');
    }
  };
  return (
    <span class="copy">
      <code ref={ref}>{text}</code>
      <button type="button" class="plain" aria-label={`Copy ${label}`} onClick={() => void copy()}>
        {said}
      </button>
    </span>
  );
}

export interface Item { label: string; run: () => void; danger?: boolean; disabled?: string | null }

/** A ⋯ button with a short list. Arrow keys move, Esc closes. */
export function Menu({ label, items, tabIndex = 0 }: { label: string; items: Item[]; tabIndex?: number }) {
  const [open, setOpen] = useState(false);
  const [up, setUp] = useState(false);
  const root = useRef<HTMLSpanElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (!open) return;
    root.current?.querySelector<HTMLElement>('[role=menuitem]')?.focus();
    const outside = (event: Event) => {
      if (event.target instanceof Node && !root.current?.contains(event.target)) setOpen(false);
    };
    document.addEventListener('pointerdown', outside);
    return () => document.removeEventListener('pointerdown', outside);
  }, [open]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (!open) return;
    event.stopPropagation();
    const all = [...(root.current?.querySelectorAll<HTMLElement>('[role=menuitem]') ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      event.preventDefault();
      all[(at + step + all.length) % all.length]?.focus();
    } else if (event.key === 'Escape' || event.key === 'Tab') {
      event.preventDefault();
      setOpen(false);
      button.current?.focus();
    }
  };
  return (
    <span class="menu" ref={root} onKeyDown={onKeyDown}>
      <button
        type="button"
        ref={button}
        class="plain"
        tabIndex={tabIndex}
        aria-label={label}
        aria-haspopup="menu"
        aria-expanded={open}
        onClick={(event) => {
          event.stopPropagation();
          // Near the foot of the window there is no room below.
          setUp(event.currentTarget.getBoundingClientRect().bottom > innerHeight - 40 * items.length - 80);
          setOpen(!open);
        }}
      >
        ⋯
      </button>
      {open && (
        <div class={up ? 'list up' : 'list'} role="menu" aria-label={label}>
          {items.map((item) => (
            <button
              key={item.label}
              type="button"
              role="menuitem"
              tabIndex={-1}
              class={item.danger ? 'danger-text' : ''}
              aria-disabled={item.disabled ? 'true' : undefined}
              title={item.disabled ?? undefined}
              onClick={(event) => {
                event.stopPropagation();
                if (item.disabled) return;
                setOpen(false);
                button.current?.focus();
                item.run();
              }}
            >
              {item.label}
            </button>
          ))}
        </div>
      )}
    </span>
  );
}

/** Shown only when something takes longer than a blink. */
export function Skeleton({ rows = 6 }: { rows?: number }) {
  return (
    <div class="skeleton" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, row) => (
        <i key={row} />
      ))}
    </div>
  );
}

/** A button that may be switched off, and then says why. The keyboard still finds it, and does not lose its place by it. */
export function Act({ why, children, onClick, ...rest }: { why: string | null; children: ComponentChildren } & ButtonHTMLAttributes<HTMLButtonElement>) {
  return (
    <button type="button" {...rest} aria-disabled={why !== null} title={why ?? rest.title} onClick={why === null ? onClick : (event) => event.preventDefault()}>
      {children}
    </button>
  );
}
