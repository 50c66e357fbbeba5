import { runProgram } from '../cli/program.ts';
import { help, parseEvaluateCommand } from './arguments.ts';
import { evaluateFolder } from './evaluate.ts';

await runProgram({ help, parse: parseEvaluateCommand, run: evaluateFolder, continuing: () => '' });
