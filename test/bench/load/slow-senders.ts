/** Clients that send slowly: by the hundred in one process, with one timer and bodies that they share. */
import { Buffer } from 'node:buffer';
import type { Socket } from 'bun';
import { isAnswerComplete, parseAnswer } from './form-request.ts';

export interface SlowSending {
  readonly url: string;
  /** Whole requests, given to the clients in turn. */
  readonly requests: readonly Uint8Array[];
  /** Where the body goes on when it is at its end; undefined: it ends. */
  readonly repeatFrom?: number | undefined;
  readonly clients: number;
  /** Of each client. */
  readonly bytesPerSecond: number;
  /** Whether a client whose request was answered begins another one. One that was refused always begins again. */
  readonly isEndless: boolean;
}

/** One answer, or the end of a connection. Times are those of the machine's clock, in ms. */
export interface SlowAnswer {
  readonly client: number;
  readonly startedAt: number;
  readonly sentBytes: number;
  readonly endedAt: number;
  /** `left`: it was still under way in the end. */
  readonly status: number | 'closed' | 'left';
  readonly body: string;
}

export interface SlowSenders {
  readonly answers: readonly SlowAnswer[];
  readonly sentBytes: number;
  /** Whether each client has what it wanted. */
  readonly isDone: boolean;
  stop(): void;
}

interface Client {
  readonly index: number;
  readonly request: Uint8Array;
  socket: Socket | undefined;
  sent: number;
  position: number;
  startedAt: number;
  restartAt: number;
  received: Buffer[];
  isDone: boolean;
}

const TICK_MS = 50;
/** Each client writes every so many ticks, so that few system calls are needed; at each tick others do. */
const TURNS = 10;
const PAUSE_MS = 1000;

const clockMs = () => performance.timeOrigin + performance.now();

export function startSlowSenders(sending: SlowSending): SlowSenders {
  const { url, requests, repeatFrom, bytesPerSecond, isEndless } = sending;
  const { hostname, port } = new URL(url);
  const answers: SlowAnswer[] = [];
  let sentBytes = 0;
  const clients = Array.from(
    { length: sending.clients },
    (_, index): Client => ({
      index,
      request: requests[index % requests.length] as Uint8Array,
      socket: undefined,
      sent: 0,
      position: 0,
      startedAt: 0,
      restartAt: 0,
      received: [],
      isDone: false,
    }),
  );

  const settle = (client: Client) => {
    const parsed = parseAnswer(Buffer.concat(client.received));
    const answer = parsed instanceof Error ? ({ status: 'closed', body: '' } as const) : parsed;
    const { index, startedAt, sent } = client;
    answers.push({ client: index, startedAt, sentBytes: sent, endedAt: clockMs(), ...answer });
    client.socket = undefined;
    client.isDone = answer.status === 200 && !isEndless;
    client.restartAt = clockMs() + PAUSE_MS;
  };
  const begin = (client: Client) => {
    client.sent = 0;
    client.position = 0;
    client.received = [];
    client.startedAt = clockMs();
    client.restartAt = Number.POSITIVE_INFINITY;
    const isCurrent = (socket: Socket) => client.socket === socket;
    Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        open(socket) {
          client.socket = socket;
        },
        data(socket, chunk) {
          if (!isCurrent(socket)) return;
          client.received.push(Buffer.from(chunk));
          if (!isAnswerComplete(client.received)) return;
          settle(client);
          socket.terminate();
        },
        close(socket) {
          if (isCurrent(socket)) settle(client);
        },
        error(socket) {
          if (isCurrent(socket)) settle(client);
        },
      },
    }).catch(() => settle(client));
  };
  const write = (client: Client, socket: Socket) => {
    const { request } = client;
    // What the socket did not take in time is not made up for in one go.
    const due = ((clockMs() - client.startedAt) / 1000) * bytesPerSecond - client.sent;
    let left = Math.min(Math.floor(due), Math.ceil((4 * bytesPerSecond * TICK_MS * TURNS) / 1000));
    while (left > 0 && client.position < request.length) {
      const written = socket.write(request.subarray(client.position, client.position + left));
      if (written <= 0) return;
      client.position += written;
      client.sent += written;
      sentBytes += written;
      left -= written;
      if (client.position === request.length && repeatFrom !== undefined) client.position = repeatFrom;
    }
  };
  let turn = 0;
  const timer = setInterval(() => {
    for (let index = turn % TURNS; index < clients.length; index += TURNS) {
      const client = clients[index] as Client;
      if (client.isDone) continue;
      if (client.socket) write(client, client.socket);
      else if (client.restartAt <= clockMs()) begin(client);
    }
    turn += 1;
  }, TICK_MS);

  return {
    answers,
    get sentBytes() {
      return sentBytes;
    },
    get isDone() {
      return clients.every(({ isDone }) => isDone);
    },
    stop() {
      clearInterval(timer);
      for (const client of clients) {
        const { socket, index, startedAt, sent } = client;
        if (!socket) continue;
        client.socket = undefined;
        answers.push({
          client: index,
          startedAt,
          sentBytes: sent,
          endedAt: clockMs(),
          status: 'left',
          body: '',
        });
        socket.terminate();
      }
    },
  };
}

/** What a process of senders has done. */
export interface SlowFindings {
  readonly answers: readonly SlowAnswer[];
  readonly sentBytes: number;
  readonly cpuSeconds: number;
}

export interface SlowProcess extends Disposable {
  /** Resolves when all clients are done, or when the time is over. */
  done(withinMs: number): Promise<void>;
  stop(): Promise<SlowFindings>;
}

interface PlainSending extends Omit<SlowSending, 'requests'> {
  readonly requests: readonly string[];
}
type Message = PlainSending | 'stop';
type Reply = { readonly isDone: true } | { readonly findings: SlowFindings };

/** Starts the senders in a process of their own. */
export function slowProcess(sending: SlowSending): SlowProcess {
  const done = Promise.withResolvers<void>();
  const found = Promise.withResolvers<SlowFindings>();
  found.promise.catch(() => undefined);
  const child = Bun.spawn([process.execPath, import.meta.path], {
    stdout: 'inherit',
    stderr: 'inherit',
    ipc(reply: Reply) {
      if ('findings' in reply) found.resolve(reply.findings);
      else done.resolve();
    },
    onExit: (_, code) => found.reject(new Error(`The slow senders ended with ${code}.`)),
  });
  const requests = sending.requests.map((request) => Buffer.from(request).toString('base64'));
  child.send({ ...sending, requests } satisfies Message);
  return {
    done: (withinMs) => Promise.race([done.promise, Bun.sleep(withinMs)]),
    async stop() {
      child.send('stop' satisfies Message);
      const findings = await found.promise;
      await child.exited;
      return findings;
    },
    [Symbol.dispose]: () => child.kill(),
  };
}

if (import.meta.main) {
  let senders: SlowSenders | undefined;
  process.on('message', (message: Message) => {
    if (message !== 'stop') {
      const requests = message.requests.map((request) => Buffer.from(request, 'base64'));
      senders = startSlowSenders({ ...message, requests });
      const timer = setInterval(() => {
        if (!senders?.isDone) return;
        clearInterval(timer);
        process.send?.({ isDone: true } satisfies Reply);
      }, 200);
      return;
    }
    senders?.stop();
    const { user, system } = process.cpuUsage();
    const findings: SlowFindings = {
      answers: senders?.answers ?? [],
      sentBytes: senders?.sentBytes ?? 0,
      cpuSeconds: (user + system) / 1e6,
    };
    process.send?.({ findings } satisfies Reply, undefined, undefined, () => process.exit());
  });
}
