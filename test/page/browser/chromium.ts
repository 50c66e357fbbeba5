import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

/** Where systems keep a Chromium. */
const places = [
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
  '/usr/bin/google-chrome-stable',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
];

/**
 * undefined: there is no browser here, and what needs one cannot be tested. One that is there, or that
 * CHROMIUM_PATH names, has to start.
 */
export const chromiumPath = process.env.CHROMIUM_PATH || places.find((place) => existsSync(place));

if (!chromiumPath) {
  console.warn(
    '\n!!! SKIPPED: the page is not tested in a browser, as there is none. Install Chromium (Debian: apt-get install chromium) or name one with CHROMIUM_PATH. !!!\n',
  );
}

/** Starts a browser with a profile of its own, which goes with it. It speaks to nobody but the test's server. */
export async function startBrowser(): Promise<Browser> {
  if (!chromiumPath) throw new Error('there is no Chromium');
  return await chromium.launch({
    executablePath: chromiumPath,
    args: [
      // The sandbox needs rights that containers do not give; only our own page is opened.
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}
