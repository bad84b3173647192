// A native modal dialog: the browser keeps the focus in, Esc closes, the focus goes back to the opener.

import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef, useState } from 'preact/hooks';

interface Props {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
  /** Buttons, the main one last. */
  foot?: ComponentChildren;
  /** Makes it a form: Enter sends. */
  onSubmit?: () => void;
  wide?: boolean;
}

export function Dialog({ title, onClose, children, foot, onSubmit, wide }: Props) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const opener = document.activeElement;
    const dialog = ref.current;
    dialog?.showModal();
    if (dialog) first(dialog)?.focus();
    return () => {
      dialog?.close();
      if (opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);
  const inner = (
    <>
      <header>
        <h2 id={id}>{title}</h2>
        <button type="button" class="plain close" aria-label="Close" onClick={onClose}>
          ✕
        </button>
      </header>
      <div class="body">{children}</div>
      {foot && <footer>{foot}</footer>}
    </>
  );
  return (
    <dialog
      ref={ref}
      class={wide ? 'wide' : ''}
      aria-labelledby={id}
      onCancel={(event) => {
        // Removal from the page closes it; closing first would leave a page that still says "open".
        event.preventDefault();
        onClose();
      }}
    >
      {onSubmit ? (
        <form
          noValidate
          onSubmit={(event) => {
            event.preventDefault();
            onSubmit();
            // What is wrong by its form alone is known at once; the person is led there.
            const form = event.currentTarget;
            requestAnimationFrame(() => form.querySelector<HTMLElement>('[aria-invalid=true]')?.focus());
          }}
        >
          {inner}
        </form>
      ) : (
        <div class="form">{inner}</div>
      )}
    </dialog>
  );
}

/** Where the focus begins: what the dialog says, else its first field, else its main button. On "Close" Enter would undo all. */
function first(dialog: HTMLElement): HTMLElement | undefined {
  const all = (selector: string) => [...dialog.querySelectorAll<HTMLElement>(selector)];
  return all('[data-focus]')[0] ?? all('.body :is(input, select, textarea, button):enabled')[0] ?? all('footer button:enabled').at(-1);
}

/** The buttons of a dialog that sends: the way out, and what it is for. */
export function Foot({ verb, onClose, out = 'Cancel', disabled = false }: { verb: string; onClose: () => void; out?: string; disabled?: boolean }) {
  return (
    <>
      <button type="button" onClick={onClose}>
        {out}
      </button>
      <button type="submit" class="primary" disabled={disabled}>
        {verb}
      </button>
    </>
  );
}

interface ConfirmProps {
  title: string;
  children: ComponentChildren;
  verb: string;
  /** Must be typed before the button works; for what hits many. */
  typed?: string | undefined;
  onYes: () => void;
  onClose: () => void;
}

/** "Are you sure", with the focus on Cancel. */
export function Confirm({ title, children, verb, typed, onYes, onClose }: ConfirmProps) {
  const entered = useRef<HTMLInputElement>(null);
  const [wrong, setWrong] = useState(false);
  const id = useId();
  const yes = () => {
    if (typed !== undefined && entered.current?.value.trim() !== typed) {
      setWrong(true);
      entered.current?.focus();
      return;
    }
    onClose();
    onYes();
  };
  return (
    <Dialog
      title={title}
      onClose={onClose}
      onSubmit={yes}
      foot={
        <>
          <button type="button" data-focus onClick={onClose}>
            Cancel
          </button>
          <button type="submit" class="danger">
            {verb}
          </button>
        </>
      }
    >
      {children}
      {typed !== undefined && (
        <div class="field">
          <label for={id}>
            Type <b>{typed}</b> to go on
          </label>
          <input id={id} ref={entered} autocomplete="off" aria-invalid={wrong} aria-describedby={wrong ? `${id}-wrong` : undefined} />
          {wrong && (
            <p class="error" id={`${id}-wrong`} role="alert">
              Not done: type {typed}
            </p>
          )}
        </div>
      )}
    </Dialog>
  );
}
