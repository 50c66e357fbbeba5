import { afterAll } from 'bun:test';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * Loaded before all tests: gives them, and the processes they start, a temporary folder of their own, which goes
 * when the last one has ended. `process.on('exit')` is not heard in a test run.
 */
const folder = mkdtempSync(join(realpathSync(tmpdir()), 'classify-images-tests-'));
process.env.TMPDIR = folder;
afterAll(() => rmSync(folder, { recursive: true, force: true }));
