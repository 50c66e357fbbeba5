import { totalmem } from 'node:os';

/**
 * The memory that this process may fill: what the cgroup grants, or what the machine has where it grants more than
 * that, or where there is no cgroup.
 * @param grantedBytes 0, or larger than any memory, where there is no limit
 */
export function memoryLimitBytes(
  grantedBytes: number = process.constrainedMemory(),
  machineBytes: number = totalmem(),
): number {
  return grantedBytes > 0 ? Math.min(grantedBytes, machineBytes) : machineBytes;
}
