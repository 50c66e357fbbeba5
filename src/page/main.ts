import type { Refusal } from '../contract/client.ts';
import { createExamples } from './examples/examples.ts';
import { countsByKind, type FoundFiles, sortFound, type UnusedFile } from './intake/found-files.ts';
import { synonymsOf } from './results/photo.ts';
import { rulesOf } from './results/rules.ts';
import { createSaveMenu } from './save/save-menu.ts';
import { postForm } from './service/post-form.ts';
import { createRequests } from './service/requests.ts';
import { type ServiceState, watchService } from './service/service-state.ts';
import { createSession } from './session.ts';
import { readSettings, writeSettings } from './settings.ts';
import { create, find, saveText, setText, throttled, useMenus } from './view/dom.ts';
import { createDropZone } from './view/drop-zone.ts';
import { createKeyForm } from './view/key-form.ts';
import { bytes, count } from './view/numbers.ts';
import { createPhotoResults } from './view/photo-results.ts';
import { createQuestionForm } from './view/question-form.ts';
import {
  continueText,
  createLiveRegion,
  createProgress,
  createServiceBanner,
  stoppedText,
} from './view/status.ts';
import type { VideoResults } from './view/video-results.ts';

const live = createLiveRegion(find('live', HTMLElement));
const requests = createRequests(postForm);
const watch = watchService(showState);
const drawSoon = throttled(draw);
const session = createSession({ requests, untilReady: watch.untilReady, changed: drawSoon });
const banner = createServiceBanner();
const progress = createProgress(live);
/** Loaded with the first video. */
let videoResults: VideoResults | undefined;
let isVideoLoading = false;
const runFault = find('run-fault', HTMLElement);
const summary = find('files-summary', HTMLElement);
const submit = find('classify', HTMLButtonElement);
const stop = find('stop', HTMLButtonElement);
/** Whether photos have moved or have other answers than those that were saved last. */
let isUnsaved = false;
/** A run that a person stopped, or that failed, goes on only if a person says so. */
let isStopped = false;
let templateFault: string | undefined;
/** Files that are being read. */
let taking = 0;
let isDrawPlanned = false;
/** Whether the results are still changing. */
let isBusy = false;

const photoResults = createPhotoResults({
  onMove(photo, target) {
    if (target === undefined) delete photo.moved;
    else photo.moved = target;
    isUnsaved = true;
    draw();
  },
  onRemove(photo) {
    session.removePhoto(photo);
    draw();
  },
  onTryAgain(photos) {
    session.forgetFaults(photos);
    void send();
  },
  say: live.say,
});
const keyForm = createKeyForm((key) => {
  requests.setKey(key);
  isKeyMissing = false;
  isStopped = false;
  ask();
  void send();
});
const question = createQuestionForm({
  onChange() {
    templateFault = undefined;
    writeSettings(question.settings);
    ask();
    setBusy(true);
    drawNext();
  },
  onSubmit() {
    isStopped = false;
    if (session.unsent > 0) void send();
    else void search();
  },
  onStop() {
    isStopped = true;
    session.stop();
  },
  say: live.say,
});
const saveMenu = createSaveMenu({
  groups: () => photoResults.groups,
  current: () => photoResults.current,
  async onExport(format) {
    const { asked, photos, model } = session;
    if (!asked) return;
    const results = { photos, asked, model, rules: rulesOf(question.settings) };
    const { photosCsv, photosJson } = await import('./results/export.ts');
    saveText('photos', format, format === 'json' ? photosJson(results) : photosCsv(results));
  },
  onSaved() {
    isUnsaved = false;
  },
});
find('save', HTMLElement).append(saveMenu.element);
/** The categories of the last example. */
let exampleLabels: readonly string[] = [];
const examples = createExamples({
  onPhotos: (files) =>
    void takeFiles({
      files: files.map((file) => ({ file, path: file.name, inFolder: false })),
      unreadable: [],
    }),
  onLabels(labels) {
    question.replaceCategories(exampleLabels, labels);
    exampleLabels = labels;
  },
});
find('examples', HTMLElement).append(examples.element);

useMenus();
createDropZone((found) => void takeFiles(found));
find('clear', HTMLButtonElement).addEventListener('click', () => {
  session.clear();
  showUnused([], []);
  setText(runFault, '');
  draw();
  find('choose-files', HTMLButtonElement).focus();
});
question.restore(readSettings());
watch.check();

// A run and unsaved answers are lost with the page.
addEventListener('beforeunload', (event) => {
  if (session.progress || (isUnsaved && session.asked && session.photos.length > 0)) event.preventDefault();
});

let serviceState: ServiceState['state'] | undefined;
/** Whether nothing can be sent before a person has given the key. */
let isKeyMissing = false;

function showState(state: ServiceState): void {
  banner.show(state);
  if (state.state === 'ready') examples.setDemo(state.model?.name === 'demo');
  isKeyMissing = state.state !== 'unreachable' && state.needs_key && !requests.hasKey;
  if (isKeyMissing) keyForm.need();
  if (state.state === serviceState) return;
  serviceState = state.state;
  live.say(find('banner-text', HTMLElement).textContent ?? '');
}

/** Adds photos and a video to the session, and reads categories from other files. */
async function takeFiles(found: FoundFiles): Promise<void> {
  taking += 1;
  setBusy(true);
  try {
    await useFiles(found);
  } finally {
    taking -= 1;
    drawSoon();
  }
}

async function useFiles(found: FoundFiles): Promise<void> {
  const { photos, video, documents, unused } = sortFound(found);
  for (const document of documents) await question.readDocument(document);
  if (video) session.setVideo(video);
  const added = await session.addPhotos(photos);
  const kinds = countsByKind(unused).map(([what, number]) => count(number, what));
  const notes = [
    ...(photos.length > added ? [`${count(photos.length - added, 'photo')} already added.`] : []),
    ...(unused.length > 0 ? [`${count(unused.length, 'file')} left out: ${kinds.join(', ')}.`] : []),
  ];
  showUnused(notes, unused);
  live.say(
    [
      ...(added > 0 ? [`${count(added, 'photo')} added.`] : []),
      ...(video ? [`Video ${video.name} added.`] : []),
      ...notes,
    ].join(' '),
  );
  if (added === 0) return;
  isStopped = false;
  if (question.question.categories.length === 0) question.focusCategories();
  void send();
}

/** More files are not named. */
const MAX_NAMED = 200;

/** Names each file that is not used, with the reason. */
function showUnused(notes: readonly string[], unused: readonly UnusedFile[]): void {
  const box = find('files-unused', HTMLDetailsElement);
  box.hidden = notes.length === 0;
  box.classList.toggle('empty', unused.length === 0);
  setText(find('files-note', HTMLElement), notes.join(' '));
  const further = unused.length - MAX_NAMED;
  find('files-unused-list', HTMLUListElement).replaceChildren(
    ...unused
      .slice(0, MAX_NAMED)
      .map(({ path, reason }) =>
        create('li', {}, create('strong', { text: path }), create('span', { text: ` ${reason}` })),
      ),
    ...(further > 0 ? [create('li', { text: `and ${count(further, 'more file')}` })] : []),
  );
}

/** Sorts the photos by the words as they are now. */
function ask(): void {
  const { fit } = question.settings;
  session.setFit(fit);
  // With the key, all is asked again.
  if (isKeyMissing) return;
  void session.ask(question.question).then(() => {
    const { refusal } = session.words;
    if (refusal) explain(refusal);
    // Files that are being read are sent together.
    if (taking === 0 && !isStopped) void send();
  });
}

/** Sends the photos that were not sent yet. */
async function send(): Promise<void> {
  if (session.progress || session.unsent === 0) return;
  if (asksForKey()) return;
  setText(runFault, '');
  const refusal = await session.sendPhotos();
  isUnsaved = true;
  if (refusal) {
    isStopped = true;
    explain(refusal);
  }
  if (session.words.refusal) ask();
  watch.check();
}

/** Leads to the key if it is missing: nothing is sent before. */
function asksForKey(): boolean {
  if (isKeyMissing) keyForm.focus();
  return isKeyMissing;
}

async function search(): Promise<void> {
  if (session.progress || !session.video || asksForKey()) return;
  if (question.question.categories.length === 0) {
    question.focusCategories();
    return;
  }
  setText(runFault, '');
  live.say('Searching the video.');
  const refusal = await session.searchVideo(question.question, question.video);
  if (refusal) explain(refusal);
  else live.say(session.video?.fault?.sentence ?? 'The video was searched.');
  watch.check();
}

/** Shows why something ended early, beside the field that can be corrected. */
function explain({ code, sentence }: Refusal): void {
  if (code === 'unauthorized' && requests.hasKey) keyForm.complain(sentence);
  else if (code === 'unauthorized') keyForm.need();
  else if (code === 'option_invalid') templateFault = sentence;
  else setText(runFault, sentence);
  draw();
}

function outcomeText(): string {
  const { broken, groups } = photoResults;
  const groupsText = groups
    .filter(({ photos }) => photos.length > 0)
    .map(({ name, photos }) => `${name} ${photos.length}`);
  return [
    `Photos sorted: ${groupsText.join(', ')}.`,
    ...(broken > 0 ? [`${count(broken, 'file')} could not be used.`] : []),
  ].join(' ');
}

/** Draws what a person has changed before the next picture of the screen. */
function drawNext(): void {
  if (isDrawPlanned) return;
  isDrawPlanned = true;
  requestAnimationFrame(() => {
    isDrawPlanned = false;
    draw();
  });
}

function draw(): void {
  const { photos, video, asked, words } = session;
  const size = photos.reduce((sum, { bytes }) => sum + bytes, 0);
  const isEmpty = photos.length === 0 && !video;
  document.body.classList.toggle('empty', isEmpty);
  find('drop', HTMLElement).hidden = !isEmpty;
  find('add', HTMLElement).hidden = isEmpty;
  setText(summary, photos.length > 0 ? count(photos.length, 'photo') : video ? '1 video' : '');
  summary.title = bytes(size);
  question.show({
    faultOf: words.faultOf,
    templateFault,
    synonyms: asked ? synonymsOf(asked) : [],
    areAsked: words.areAsked,
    sentAgain: photos.length > 0 ? `all ${count(photos.length, 'photo')} (${bytes(size)})` : '',
  });
  progress.show(session.progress);
  showGo();
  photoResults.render({ photos, asked, rules: rulesOf(question.settings) });
  if (videoResults) videoResults.render(video);
  else if (video) void loadVideo();
  runFault.hidden = runFault.textContent === '';
  const isWaiting = session.unsent > 0 && !isStopped && !isKeyMissing;
  const wasBusy = isBusy;
  setBusy(taking > 0 || session.progress !== undefined || words.areAsked || isWaiting);
  if (wasBusy && !isBusy && asked && photos.length > 0) live.say(outcomeText());
}

/** Loads the part of the page that shows videos, which few visits need. */
async function loadVideo(): Promise<void> {
  if (isVideoLoading) return;
  isVideoLoading = true;
  try {
    const { createVideoResults } = await import('./view/video-results.ts');
    videoResults = createVideoResults();
  } catch {
    setText(runFault, 'A part of the page cannot be loaded. Reload the page when the service is back.');
    return;
  }
  drawSoon();
}

/** Tells screen readers, and tests, whether the results are still changing. Only what draws them says that they are not. */
function setBusy(next: boolean): void {
  isBusy = next;
  find('results', HTMLElement).ariaBusy = String(next);
}

/** Names what the button will do, if there is something to do. */
function showGo(): void {
  const { progress: running, video, unsent } = session;
  const isSearchable = video !== undefined && session.isVideoOpen(question.question, question.video);
  const hadFocus = document.activeElement === (running ? submit : stop);
  const isOpen = !running && (isSearchable || (unsent > 0 && isStopped));
  find('go', HTMLElement).hidden = !isOpen;
  stop.hidden = !running;
  setText(submit, unsent > 0 ? continueText(unsent) : 'Search the video');
  setText(find('plan', HTMLElement), planText(isSearchable));
  if (hadFocus) (running ? stop : submit).focus();
}

function planText(isSearchable: boolean): string {
  const { photos, unsent } = session;
  if (unsent > 0 && isStopped) return stoppedText(photos.length - unsent, photos.length);
  return isSearchable && question.question.categories.length === 0
    ? 'Write the words to look for first.'
    : '';
}
