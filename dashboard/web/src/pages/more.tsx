// What does not fit at the foot of a phone.

import { node, pending } from '../store/live';
import { href } from '../store/route';
import { Head } from '../ui/frame';
import { Icon } from '../ui/shape';

export function More() {
  return (
    <>
      <Head title="More" />
      <ul class="more card">
        <li>
          <a href={href('pairing')}>
            <Icon name="pairing" /> Pairing {pending.value.length > 0 && <span class="badge">{pending.value.length}</span>}
          </a>
        </li>
        <li>
          <a href={href('settings')}>
            <Icon name="settings" /> Settings
          </a>
        </li>
      </ul>
      {node.value && (
        <p class="t2 pad">
          {node.value.name} · {node.value.role} · {node.value.version}
        </p>
      )}
    </>
  );
}
