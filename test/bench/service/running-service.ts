import { type Service, startService } from '../../service/service.ts';
import type { Bench } from '../bench.ts';
import { modelEnvironment } from '../model/compiled.ts';
import { createMemoryCgroup } from '../process/memory-cgroup.ts';
import { residentMemory } from '../process/process-usage.ts';

/** The real service, ready, in a process of its own. */
export interface RunningService {
  readonly url: string;
  readonly pid: number;
  /** Resident memory when it was ready and had answered nothing yet. */
  readonly idleBytes: number;
}

/** What its control group saw; undefined where none was asked for. */
export interface CgroupFindings {
  /** Page cache included. */
  readonly cgroupPeakBytes?: number;
  readonly kills?: number;
}

/** Starts the service afresh, uses it, stops it. */
export async function withService<Result extends object>(
  bench: Bench,
  use: (service: RunningService) => Promise<Result>,
): Promise<Result & CgroupFindings> {
  const { memoryLimit } = bench.options;
  const environment = modelEnvironment(bench.precision, bench.model);
  if (memoryLimit === undefined) {
    await using service = await startService(environment);
    return { ...(await useReady(service, use)) };
  }
  await using cgroup = createMemoryCgroup(memoryLimit);
  await using service = await cgroup.enclose(() => startService(environment));
  const result: Result = await useReady(service, use);
  return { ...result, cgroupPeakBytes: cgroup.peakBytes, kills: cgroup.kills };
}

async function useReady<Result>(
  service: Service,
  use: (service: RunningService) => Promise<Result>,
): Promise<Result> {
  await service.ready();
  const { url, pid } = service;
  return await use({ url, pid, idleBytes: residentMemory(pid).nowBytes });
}
