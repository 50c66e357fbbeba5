import { Gauge, type Registry } from 'prom-client';
import { version } from '../../../package.json';
import type { EngineState } from '../../classify/engine-state.ts';
import type { Admission } from '../admission.ts';
import type { Resource, Resources } from '../resources.ts';

/** What can be seen of a running service. */
export interface ServiceView {
  /** By what they are for. */
  readonly queues: Readonly<Record<'pictures' | 'videos', Admission>>;
  readonly resources: Pick<Resources, 'used'>;
  readonly engine: () => EngineState;
  readonly isReady: () => boolean;
}

/** How the service stands at the moment, read when it is asked for. */
export function addServiceMetrics(
  registry: Registry,
  { queues, resources, engine, isReady }: ServiceView,
): void {
  const registers = [registry];
  const ofQueues = (name: string, help: string, read: (queue: Admission) => number) =>
    new Gauge({
      name,
      help,
      labelNames: ['queue'],
      registers,
      collect() {
        for (const [queue, admission] of Object.entries(queues)) this.set({ queue }, read(admission));
      },
    });
  const ofResources = (
    name: string,
    help: string,
    label: 'queue' | 'use' | 'place',
    read: Readonly<Record<string, Resource>>,
  ) =>
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers,
      collect() {
        for (const [value, resource] of Object.entries(read)) {
          this.set({ [label]: value }, resources.used(resource));
        }
      },
    });
  const flag = (name: string, help: string, read: () => boolean) =>
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read() ? 1 : 0);
      },
    });

  ofQueues(
    'classify_images_requests_running',
    'Requests of which a picture or a video is worked on.',
    ({ running }) => running,
  );
  ofQueues(
    'classify_images_requests_waiting',
    'Requests of which something complete waits for the engine.',
    ({ waiting }) => waiting,
  );
  ofQueues(
    'classify_images_requests_waiting_limit',
    'When so many wait, newcomers are refused.',
    ({ limits }) => limits.waiting,
  );
  ofResources(
    'classify_images_uploads_running',
    'Requests that are let in, and whose bodies are not complete.',
    'queue',
    { pictures: 'pictureUploads', videos: 'videoUploads' },
  );
  ofResources('classify_images_upload_bytes', 'Bytes of uploads, by where they lie.', 'place', {
    memory: 'partBytes',
    temporary_folder: 'temporaryBytes',
  });
  ofResources('classify_images_request_memory_bytes', 'Memory that requests hold beside uploads.', 'use', {
    kept: 'keptBytes',
    labels: 'labelBytes',
    answers: 'answerBytes',
  });
  flag('classify_images_model_ready', '1 when the model is loaded.', () => engine().state === 'ready');
  flag('classify_images_ready', '1 when /ready answers 200.', isReady);
  new Gauge({
    name: 'classify_images_build_info',
    help: 'Always 1; what runs here. The model is empty until it is loaded.',
    labelNames: ['version', 'bun', 'model', 'precision', 'sha256'],
    registers,
    collect() {
      const state = engine();
      const { name, precision, sha256 } =
        state.state === 'ready' ? state.classifier.model : { name: '', precision: '', sha256: '' };
      this.reset();
      this.set({ version, bun: Bun.version, model: name, precision, sha256 }, 1);
    },
  });
}
