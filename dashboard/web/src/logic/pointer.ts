// Which field a refusal means.

/** `#/pools/0/url` as `pools.0.url`. */
export function fieldOf(pointer: string): string {
  const steps = pointer.replace(/^#\/?/, '').split('/');
  return steps.map((step) => step.replaceAll('~1', '/').replaceAll('~0', '~')).join('.');
}

interface Refusal { fields: { pointer: string; detail: string }[] }

/** Words for each field of a form; empty when the refusal names none that the form has. */
export function fieldErrors(refusal: Refusal | null, known: string[]): Record<string, string | undefined> {
  const errors: Record<string, string | undefined> = {};
  for (const { pointer, detail } of refusal?.fields ?? []) {
    const field = fieldOf(pointer);
    if (known.includes(field)) errors[field] ??= sentence(detail);
  }
  return errors;
}

/** The node writes `has no port: write host:port`, to be read after the field's name. */
function sentence(detail: string): string {
  return detail.charAt(0).toUpperCase() + detail.slice(1);
}
