/**
 * Appends every change of state to a file, once each.
 * A delivery may come twice (a crash between the write and its acknowledgement); the offset of the event tells, because
 * it only grows. A line that a crash cut short is dropped at the next start, and its event comes again.
 */
import { join } from 'node:path';
import { TextEncoder } from 'node:util';

export default {
  type: 'LISTENER',
  purpose: 'Writes down who changed state.',
  category: 'example',
  subscribes: ['DAEMON_STATUS_CHANGED'],

  create({ dataDir, files, own }) {
    const encoder = new TextEncoder();
    const path = join(dataDir, 'changes.log');
    const text = files.exists(path) ? files.readText(path) : '';
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    const book = own(files.openAppend(path), 'changes.log');
    book.truncate(encoder.encode(whole).length);
    let written = Number(/(?:^|\n)(\d+) [^\n]*\n$/.exec(whole)?.[1] ?? -1);

    return {
      on: {
        DAEMON_STATUS_CHANGED(event) {
          if (event.offset <= written) return;
          const { daemon, from, to } = event.body;
          book.append(encoder.encode(`${event.offset} ${daemon} ${from} ${to}\n`));
          book.dataSync();
          written = event.offset;
        },
      },
    };
  },
};
