import { type Service, type ServiceEnvironment, startService } from '../../service/service.ts';
import type { MemoryCgroup } from '../process/memory-cgroup.ts';

/** Starts the service of a checkout on a free port. The shell that changes the folder gives its place up. */
export async function startFrom(root: string, environment: ServiceEnvironment): Promise<Service> {
  return await startService(environment, ['/bin/sh', '-c', 'cd "$0" && exec "$@"', root]);
}

/** As `startFrom`, under a limit of memory. */
export async function startWithin(
  cgroup: MemoryCgroup,
  root: string,
  environment: ServiceEnvironment,
): Promise<Service> {
  return await cgroup.enclose(() => startFrom(root, environment));
}
