import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryFolder } from '../robustness/target.ts';

const deploy = join(import.meta.dir, '../../deploy');

/** Where Debian, and most others, have it. */
export const nginxProgram = Bun.which('nginx', { PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` });

/** nginx in front of replicas on this machine, with the configuration of `deploy`. */
export interface Nginx extends AsyncDisposable {
  readonly url: string;
  /** Its access log, a request a line. */
  accessLog(): Promise<readonly Readonly<Record<string, unknown>>[]>;
}

/** What cannot be as it is in the container: the port, the folders, and where the replicas are. */
export async function startNginx(port: number, replicaPorts: readonly number[]): Promise<Nginx> {
  if (nginxProgram === null) throw new Error('there is no nginx');
  await using cleanup = new AsyncDisposableStack();
  const folder = cleanup.use(await temporaryFolder());
  const log = join(folder.path, 'access.log');
  const configuration = await readFile(join(deploy, 'nginx.conf'), 'utf8');
  await writeFile(
    join(folder.path, 'nginx.conf'),
    configuration
      .replace('listen 8080;', `listen 127.0.0.1:${port};`)
      .replaceAll('/tmp/', `${folder.path}/`)
      .replace('/dev/stdout', log),
  );
  const replicas = await readFile(join(deploy, 'replicas.conf'), 'utf8');
  const [line, options = ''] = /^ *server classify-images:8080 resolve (.*);$/m.exec(replicas) ?? [];
  if (line === undefined) throw new Error('replicas.conf is not as expected');
  const servers = replicaPorts.map((replicaPort) => `  server 127.0.0.1:${replicaPort} ${options};`);
  await writeFile(
    join(folder.path, 'replicas.conf'),
    replicas.replace(/^resolver .*$/m, '').replace(line, servers.join('\n')),
  );

  const child = Bun.spawn(
    // Where root starts it, its workers could not enter the folder otherwise.
    [nginxProgram, '-p', folder.path, '-c', 'nginx.conf', '-e', 'stderr', '-g', 'daemon off; user root;'],
    { stdout: 'ignore', stderr: 'pipe' },
  );
  const errors = new Response(child.stderr).text();
  const url = `http://127.0.0.1:${port}`;
  const kept = cleanup.move();
  const accessLog = async () => {
    const lines = (await readFile(log, 'utf8')).split('\n').filter((line) => line !== '');
    return lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  };
  const stop = async () => {
    child.kill('SIGTERM');
    await child.exited;
    await kept.disposeAsync();
  };
  for (;;) {
    if (child.exitCode !== null) throw new Error(`nginx ended: ${await errors}`);
    const answered = await fetch(`${url}/metrics`).catch(() => undefined);
    if (answered) return { url, accessLog, [Symbol.asyncDispose]: stop };
    await Bun.sleep(20);
  }
}
