import type { Refusal } from '../contract/client.ts';
import { countsByKind, type FoundFiles, sortFound, type UnusedFile } from './intake/found-files.ts';
import { createRequests } from './service/requests.ts';
import { type ServiceState, watchService } from './service/service-state.ts';
import { createSession } from './session.ts';
import { create, find, setText, throttled } from './view/dom.ts';
import { createDropZone } from './view/drop-zone.ts';
import { createKeyForm } from './view/key-form.ts';
import { bytes, count } from './view/numbers.ts';
import { createPhotoResults } from './view/photo-results.ts';
import { createQuestionForm } from './view/question-form.ts';
import { createLiveRegion, createProgress, createServiceBanner } from './view/status.ts';
import { createVideoResults } from './view/video-results.ts';

const live = createLiveRegion(find('live', HTMLElement));
const requests = createRequests();
const watch = watchService(showState);
const session = createSession({ requests, untilReady: watch.untilReady, changed: throttled(draw) });
const banner = createServiceBanner();
const progress = createProgress(live);
const photoResults = createPhotoResults(() => {
  session.forgetFaults();
  void classify();
});
const videoResults = createVideoResults();
const keyForm = createKeyForm((key) => {
  requests.setKey(key);
  void classify();
});
const question = createQuestionForm({
  onChange: throttled(draw),
  onSubmit: () => void classify(),
  onStop: () => session.stop(),
});
const runFault = find('run-fault', HTMLElement);
const summary = find('files-summary', HTMLElement);
const filesNote = find('files-note', HTMLElement);
const clear = find('clear', HTMLButtonElement);

createDropZone((found) => void takeFiles(found));
clear.addEventListener('click', () => {
  session.clear();
  setText(filesNote, '');
  showUnused([]);
  setText(runFault, '');
  find('choose-files', HTMLButtonElement).focus();
});

watch.check();

// A run is lost with the page.
addEventListener('beforeunload', (event) => {
  if (session.progress) event.preventDefault();
});

let serviceState: ServiceState['state'] | undefined;

function showState(state: ServiceState): void {
  banner.show(state);
  if (state.state === serviceState) return;
  serviceState = state.state;
  live.say(find('banner-text', HTMLElement).textContent ?? '');
}

/** Adds photos and a video to the session, and reads categories from other files. */
async function takeFiles(found: FoundFiles): Promise<void> {
  const { photos, video, documents, unused, others } = sortFound(found);
  for (const document of documents) await question.readDocument(document);
  if (video) session.setVideo(video);
  const added = await session.addPhotos(photos);
  const kinds = countsByKind(unused).map(([what, number]) => count(number, what));
  setText(
    filesNote,
    [
      ...(added > 0 ? [`${count(added, 'photo')} added.`] : []),
      ...(photos.length > added ? [`${count(photos.length - added, 'photo')} already added.`] : []),
      ...(video ? [`Video ${video.name} added.`] : []),
      ...(kinds.length > 0 ? [`${count(unused.length, 'file')} not used: ${kinds.join(', ')}.`] : []),
      ...(others > 0 ? [`${count(others, 'other file')} in the folder left out.`] : []),
    ].join(' '),
  );
  showUnused(unused);
}

/** Names each file that is not used, with the reason. */
function showUnused(unused: readonly UnusedFile[]): void {
  find('files-unused', HTMLDetailsElement).hidden = unused.length === 0;
  find('files-unused-list', HTMLUListElement).replaceChildren(
    ...unused.map(({ path, reason }) =>
      create('li', {}, create('strong', { text: path }), create('span', { text: ` ${reason}` })),
    ),
  );
}

async function classify(): Promise<void> {
  if (session.progress) return;
  const { labels, template, thorough } = question;
  const { fault } = labels;
  if (session.photos.length === 0 && !session.video) {
    question.complain('files', 'Choose photos or a video first.');
    return;
  }
  if (fault !== undefined || labels.labels.length === 0) {
    question.complain('labels', fault ?? 'Enter at least one category.');
    return;
  }
  setText(runFault, '');
  live.say('Classifying.');
  const refusal = await session.run({ labels: labels.labels, template, thorough });
  if (refusal) explain(refusal);
  else live.say(outcomeText());
  watch.check();
}

/** Shows why a run ended early, beside the field that can be corrected. */
function explain({ code, sentence }: Refusal): void {
  if (code === 'unauthorized') keyForm.ask(requests.hasKey ? sentence : 'This service needs an API key.');
  else if (/^(?:categories_|label_|multipart_too_large)/.test(code)) question.complain('labels', sentence);
  else if (code === 'option_invalid') question.complain('template', sentence);
  else setText(runFault, `${sentence} Results so far are kept. Press Classify to continue.`);
}

function outcomeText(): string {
  const broken = session.photos.filter(({ fault }) => fault).length;
  const answered = session.photos.filter(({ answer, fault }) => answer && !fault).length;
  return [
    ...(session.photos.length > 0 ? [`${count(answered, 'photo')} classified.`] : []),
    ...(broken > 0 ? [`${count(broken, 'file')} could not be used.`] : []),
    ...(session.video?.details ? ['The video was searched.'] : []),
    ...(session.video?.fault ? [session.video.fault.sentence] : []),
  ].join(' ');
}

function draw(): void {
  const { photos, video } = session;
  const size = photos.reduce((sum, { bytes }) => sum + bytes, 0);
  setText(
    summary,
    [
      ...(photos.length > 0 ? [`${count(photos.length, 'photo')}, ${bytes(size)}`] : []),
      ...(video ? [`a video of ${bytes(video.file.size)}`] : []),
    ].join(' and '),
  );
  clear.hidden = photos.length === 0 && !video;
  question.show({
    plan: planText(),
    isRunning: session.progress !== undefined,
    hasVideo: video !== undefined,
  });
  progress.show(session.progress);
  photoResults.render(session);
  videoResults.render(video);
  runFault.hidden = runFault.textContent === '';
}

/** What the button will do. */
function planText(): string {
  if (session.progress || (session.photos.length === 0 && !session.video)) return '';
  const { photos, video, isNewQuestion } = session.outstanding({
    labels: question.labels.labels,
    template: question.template,
    thorough: question.thorough,
  });
  const what = [...(photos > 0 ? [count(photos, 'photo')] : []), ...(video ? ['the video'] : [])].join(
    ' and ',
  );
  if (what === '') return 'Up to date.';
  if (!isNewQuestion) return `${what.replace(/^t/, 'T')} will be sent.`;
  const changed = session.question?.template === question.template ? 'categories' : 'template';
  return `The ${changed} changed: ${photos > 1 ? 'all ' : ''}${what} will be sent again.`;
}
