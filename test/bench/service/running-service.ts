import type { Service } from '../../service/service.ts';
import type { Bench } from '../bench.ts';
import { ownRoot } from '../cache-folder.ts';
import { modelEnvironment } from '../model/compiled.ts';
import { createMemoryCgroup } from '../process/memory-cgroup.ts';
import { residentMemory, residentTreeBytes } from '../process/process-usage.ts';
import { startFrom, startWithin } from './start.ts';

/** The real service, ready, in a process of its own. */
export interface RunningService {
  readonly url: string;
  readonly pid: number;
  /** Resident memory when it was ready and had answered nothing yet. */
  readonly idleBytes: number;
  /** As `idleBytes`, with its children. */
  readonly idleTreeBytes: number;
}

/** What its control group saw; undefined where none was asked for. */
export interface CgroupFindings {
  /** Page cache included. */
  readonly cgroupPeakBytes?: number;
  readonly kills?: number;
}

/**
 * Starts the service afresh, uses it, stops it.
 * @param root the checkout that is started
 */
export async function withService<Result extends object>(
  bench: Bench,
  use: (service: RunningService) => Promise<Result>,
  root = ownRoot,
): Promise<Result & CgroupFindings> {
  const { memoryLimit } = bench.options;
  const environment = await modelEnvironment(bench.precision, bench.model, root);
  if (memoryLimit === undefined) {
    await using service = await startFrom(root, environment);
    return { ...(await useReady(service, use)) };
  }
  await using cgroup = createMemoryCgroup(memoryLimit);
  await using service = await startWithin(cgroup, root, environment);
  const result: Result = await useReady(service, use);
  return { ...result, cgroupPeakBytes: cgroup.peakBytes, kills: cgroup.kills };
}

async function useReady<Result>(
  service: Service,
  use: (service: RunningService) => Promise<Result>,
): Promise<Result> {
  await service.ready();
  const { url, pid } = service;
  return await use({
    url,
    pid,
    idleBytes: residentMemory(pid).nowBytes,
    idleTreeBytes: residentTreeBytes(pid),
  });
}
