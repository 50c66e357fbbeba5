import { createCompanions } from '../files/companions.ts';
import { findFiles } from '../files/find-files.ts';
import { cleanSidecar, findSidecar, SidecarError } from '../keywords/sidecar.ts';
import { lineFormats, type Table } from '../output/line-format.ts';
import { openStandardOutput } from '../output/output.ts';
import type { TaskParts } from './task.ts';

const table: Table = { columns: ['sidecar', 'keywords'], words: ['keywords', 'sidecar'] };

/** Removes the keywords of earlier runs from all sidecars in folders, and from those of photos that are named. */
export async function removeKeywordsOfFiles({ command, terminal, tally, signal }: TaskParts): Promise<void> {
  tally.verb = command.isDry ? 'sidecars would change' : 'sidecars changed';
  const found = await findFiles(command.paths, { followLinks: false, signal });
  for (const { path, error } of found.unreadable) tally.fault(path, error, 'file_unreadable');
  const companions = createCompanions();
  await using output = await openStandardOutput(terminal.print, lineFormats[command.format], table);
  const seen = new Set<string>();
  for (const { path, isNamed } of found.files) {
    signal.throwIfAborted();
    const isSidecar = /\.xmp$/i.test(path);
    const sidecar = isSidecar ? path : isNamed ? await findSidecar(path, companions) : undefined;
    if (sidecar === undefined || seen.has(sidecar)) continue;
    seen.add(sidecar);
    try {
      const keywords = await cleanSidecar(sidecar, command.isDry);
      if (!keywords) continue;
      tally.answered += 1;
      await output.write({ sidecar, keywords });
    } catch (fault) {
      if (!(fault instanceof SidecarError)) throw fault;
      tally.fault(sidecar, fault.message, 'sidecar');
    }
  }
}
