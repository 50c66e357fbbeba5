import type { VideoDetails } from '../../http/schemas.ts';
import { type Moment, marksOf, momentsOf } from '../results/moments.ts';
import type { ShownVideo } from '../results/shown-video.ts';
import { videoCsv, videoJson } from '../results/video-export.ts';
import { create, createButton, find, setText } from './dom.ts';
import { createFrameAddresses, type FrameAddresses } from './frame-addresses.ts';
import { count, percent, timecode } from './numbers.ts';
import { createResultControls } from './result-controls.ts';
import { saveText } from './save.ts';
import { createTimeline } from './timeline.ts';

/** The video on the page, its time line and its best frames. */
export interface VideoResultsView {
  render(shown: ShownVideo | undefined): void;
}

export function createVideoResults(): VideoResultsView {
  const section = find('video-results', HTMLElement);
  const player = find('player', HTMLVideoElement);
  const unplayable = find('unplayable', HTMLElement);
  const name = find('video-name', HTMLElement);
  const facts = find('video-facts', HTMLElement);
  const fault = find('video-fault', HTMLElement);
  const warnings = find('video-warnings', HTMLUListElement);
  const answer = find('video-answer', HTMLElement);
  const moments = find('moments', HTMLOListElement);
  let shown: ShownVideo | undefined;
  let addresses: FrameAddresses | undefined;

  const seek = (seconds: number) => {
    // A hair later: rounding must not end up in the frame before.
    player.currentTime = seconds + 0.001;
    player.scrollIntoView({ block: 'nearest' });
  };
  const timeline = createTimeline(find('timeline', HTMLElement), seek);
  player.addEventListener('timeupdate', () => timeline.setPosition(player.currentTime));
  player.addEventListener('error', () => {
    // Also told when the source is taken away.
    unplayable.hidden = !player.hasAttribute('src');
  });

  const draw = () => {
    const { details } = shown ?? {};
    answer.hidden = !details || !addresses;
    if (!details || !addresses) return;
    const found = momentsOf(details, controls.threshold, controls.topK);
    timeline.show(marksOf(found), details.video.duration, addresses);
    moments.replaceChildren(...found.map((moment) => momentElement(moment, addresses, seek)));
    const missing = details.results.length - found.length;
    if (missing > 0) {
      moments.append(
        create('li', {
          class: 'hint',
          text: `${count(missing, 'category', 'categories')} below ${percent(controls.threshold)}.`,
        }),
      );
    }
  };

  const controls = createResultControls({
    name: 'video',
    topK: 3,
    onChange: draw,
    onSave(format) {
      if (!shown?.details) return;
      const { threshold, topK } = controls;
      const results = { name: shown.file.name, details: shown.details, threshold, topK };
      saveText('video', format, format === 'json' ? videoJson(results) : videoCsv(results));
    },
  });
  controls.setUnit('per category');
  find('video-controls', HTMLElement).append(controls.element);

  const play = (file: File | undefined) => {
    if (player.src) URL.revokeObjectURL(player.src);
    unplayable.hidden = true;
    if (file) player.src = URL.createObjectURL(file);
    else player.removeAttribute('src');
    player.load();
  };

  return {
    render(next) {
      if (next?.file !== shown?.file) play(next?.file);
      if (next?.details !== shown?.details) {
        addresses?.release();
        addresses = next?.pictures && createFrameAddresses(next.pictures);
      }
      shown = next;
      section.hidden = !next;
      setText(name, next?.file.name ?? '');
      setText(facts, next?.details ? factsText(next.details) : '');
      setText(fault, next?.fault?.sentence ?? '');
      fault.hidden = !next?.fault;
      warnings.replaceChildren(...(next?.details?.warnings ?? []).map((text) => create('li', { text })));
      draw();
    },
  };
}

function factsText({ video, model }: VideoDetails): string {
  const { width, height, duration, framesConsidered, scenes } = video;
  return `${width} × ${height}, ${timecode(duration)}; ${count(scenes, 'scene')}, ${count(framesConsidered, 'frame')} looked at by ${model.name}`;
}

function momentElement(
  { category, timestamp, score, similarity, others }: Moment,
  addresses: FrameAddresses | undefined,
  seek: (seconds: number) => void,
): HTMLLIElement {
  const picture = addresses?.at(timestamp);
  const go = (seconds: number, text: string) => {
    const button = createButton(text, () => seek(seconds), 'button quiet time');
    button.setAttribute('aria-label', `Go to ${text}`);
    return button;
  };
  const heading = create('h3', { text: category });
  const standing = create('p', {
    class: 'hint',
    text: `${percent(score)} · similarity ${similarity.toFixed(3)}`,
  });
  const times = create('div', { class: 'row' }, go(timestamp, timecode(timestamp)));
  for (const other of others) {
    times.append(go(other.timestamp, `${timecode(other.timestamp)} · ${percent(other.score)}`));
  }
  const text = create('div', { class: 'about' }, heading, standing, times);
  if (picture === undefined) return create('li', { class: 'moment' }, text);
  const image = create('img', {
    attributes: { src: picture, alt: `${category}, the frame at ${timecode(timestamp)}`, loading: 'lazy' },
  });
  return create('li', { class: 'moment' }, image, text);
}
