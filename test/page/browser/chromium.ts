import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

/** Usual paths of Chromium. */
const places = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/**
 * undefined: no browser is installed, and its tests are skipped. A browser that is installed, or that CHROMIUM_PATH
 * names, has to start.
 */
export const chromiumPath = process.env.CHROMIUM_PATH || places.find((place) => existsSync(place));

if (!chromiumPath) {
  console.warn(
    '\n!!! SKIPPED: the page is not tested in a browser, because none is installed. Install Chromium (Debian: apt-get install chromium) or name one with CHROMIUM_PATH. !!!\n',
  );
}

/** Starts a browser with a temporary profile. It connects only to the test's server. */
export async function startBrowser(): Promise<Browser> {
  if (!chromiumPath) throw new Error('there is no Chromium');
  return await chromium.launch({
    executablePath: chromiumPath,
    args: [
      // The sandbox needs rights that containers do not have; the tests open only our own page.
      '--no-sandbox',
      '--disable-gpu',
      // One tab after another: a new process for each would take more time than most tests.
      '--renderer-process-limit=1',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
