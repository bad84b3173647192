// What a person takes along.

/** Offers text as a file. */
export function save(name: string, type: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}

/** Puts text on the clipboard; false where the browser refuses. Plain HTTP pages have the old way alone. */
export async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const box = document.createElement('textarea');
    box.value = text;
    box.className = 'hidden';
    const focus = document.activeElement;
    document.body.append(box);
    box.select();
    const did = document.execCommand('copy');
    box.remove();
    if (focus instanceof HTMLElement) focus.focus();
    return did;
  }
}
