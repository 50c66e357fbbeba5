import type { ServiceState } from '../service/service-state.ts';
import { find, setText } from './dom.ts';
import { bytes, duration } from './numbers.ts';

/** Says which model answers, and what keeps the service from it. */
export interface ServiceBanner {
  show(state: ServiceState): void;
}

const stages = {
  searching: 'The model is being looked for',
  downloading: 'The model is being downloaded',
  verifying: 'The model is being checked',
  compiling: 'The model is being prepared, which happens once',
  warming_up: 'The model is being loaded',
} as const;

export function createServiceBanner(): ServiceBanner {
  const banner = find('banner', HTMLElement);
  const text = find('banner-text', HTMLElement);
  const progress = find('banner-progress', HTMLProgressElement);
  const model = find('model', HTMLElement);
  return {
    show(state) {
      const ready = state.state === 'ready' ? state.model : null;
      const isDemo = ready?.name === 'demo';
      banner.hidden = ready !== null && !isDemo;
      banner.classList.toggle('demo', isDemo);
      banner.classList.toggle('fault', state.state === 'unavailable' || state.state === 'unreachable');
      setText(
        model,
        ready ? `Model: ${isDemo ? 'demo, not CLIP' : `CLIP ${ready.name} (${ready.precision})`}` : '',
      );
      setText(text, isDemo ? demoText : sentenceOf(state));
      const share = shareOf(state);
      progress.hidden = state.state !== 'loading';
      if (share === undefined) progress.removeAttribute('value');
      else progress.value = share;
    },
  };
}

const demoText =
  'The demo model answers, not CLIP: it only knows colours and brightness. Try “something red” or “a dark picture”.';

function sentenceOf(state: ServiceState): string {
  switch (state.state) {
    case 'ready':
      return '';
    case 'loading': {
      if (!state.progress) return 'The service is starting.';
      const { stage, bytes_done: done, bytes_total: total, seconds_left: left } = state.progress;
      const much = done !== undefined && total !== undefined ? `: ${bytes(done)} of ${bytes(total)}` : '';
      return `${stages[stage]}${much}${left === undefined ? '' : `, about ${duration(left)} left`}.`;
    }
    case 'unavailable':
      return state.message ?? 'The model cannot be had.';
    case 'shutting_down':
      return 'The service is about to stop.';
    case 'unreachable':
      return 'The service cannot be reached. This page tries again.';
  }
}

function shareOf(state: ServiceState): number | undefined {
  if (state.state !== 'loading') return undefined;
  const { bytes_done: done, bytes_total: total } = state.progress ?? {};
  return done === undefined || !total ? undefined : done / total;
}
