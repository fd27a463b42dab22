#!/usr/bin/env node
// The program `launch_daemons`: what it can be told is in src/operations/cli/command-line.ts.
import { LAUNCH_DAEMONS } from '../src/operations/cli/command-line.ts';
import { runProgram } from '../src/operations/cli/cli.ts';
import { plainClock } from '../src/seams/plain-clock.ts';
import { environment, exit, ownArguments } from '../src/seams/self.ts';
import { realTerminal } from '../src/seams/terminal.ts';

const world = { terminal: realTerminal(), clock: plainClock(), environment: environment(), exit };
exit(await runProgram(LAUNCH_DAEMONS, ownArguments(), world));
