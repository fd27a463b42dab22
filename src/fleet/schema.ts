/**
 * The fleet file as a schema: what may be written, in which unit, within which bounds.
 *
 * It is the only description of the format. Diagnostics, the nearest valid key, the shipped JSON Schema and what editors
 * show while typing all come from here, so none of them can promise a key that the loader refuses. Objects are strict: a
 * misspelt key must be a fault and never a setting that silently stayed at its default. Everything is optional that has
 * a default; the defaults themselves are filled in by the merge (policies.ts), because they depend on definition and tempo.
 */
import { z } from 'zod';

/** Node's timers end at 2^31 ms (24.8 days) and fire at once beyond that; a week is more than any deadline needs. */
export const DURATION_SECONDS_MAX = 7 * 86_400;
const PORT_MAX = 65_535;
const RESTARTS_MAX = 1_000; // chosen: a budget above this is no budget
const DELAYS_MAX = 100;
const TEXT_CHARACTERS_MAX = 4_096; // chosen: longest path or URL that Linux and servers take

/** Rehearsals that `drill run` and the schedule know. */
export const DRILLS = [
  'router-loss',
  'daemon-crash',
  'daemon-hang',
  'health-failure',
  'crash-loop',
  'full-recovery',
] as const;
export type Drill = (typeof DRILLS)[number];

/** Sinks that need no declaration. */
export const BUILT_IN_SINKS = ['log'] as const;

/** A wait that must end: longer than nothing. */
const duration = (what: string): z.ZodNumber =>
  z
    .number()
    .gt(0)
    .max(DURATION_SECONDS_MAX)
    .meta({ description: `${what}, seconds` });

/** A wait that may be nothing. */
const pause = (what: string): z.ZodNumber =>
  z
    .number()
    .min(0)
    .max(DURATION_SECONDS_MAX)
    .meta({ description: `${what}, seconds` });

const text = (what: string): z.ZodString => z.string().min(1).max(TEXT_CHARACTERS_MAX).meta({ description: what });
const daemonName = (what: string): z.ZodString => text(what);

export const restartSchema = z
  .strictObject({
    delaysSeconds: z.array(pause('Delay before one restart')).min(1).max(DELAYS_MAX).meta({
      description: 'Delay before each restart, first to last; the last one repeats. Default [1, 2, 4, 8, 16]',
    }),
    maxRestarts: z
      .int()
      .min(0)
      .max(RESTARTS_MAX)
      .meta({ description: 'Restarts after which the next failure is FAILED. Default 5' }),
    stableSeconds: pause('RUNNING this long without a break clears the restart counter. Default 300'),
  })
  .partial()
  .meta({ description: 'Restart policy' });

export const healthSchema = z
  .strictObject({
    periodSeconds: duration('Time between two checks'),
    timeoutSeconds: duration('An answer later than this is late'),
    failures: z.int().min(1).max(RESTARTS_MAX).meta({ description: 'Failures in a row that restart it. Default 3' }),
  })
  .partial()
  .meta({ description: 'Health policy' });

const afterSchema = z.array(daemonName('Name of a daemon')).meta({
  description:
    'Order rule of the whole fleet: each daemon that these do not themselves wait for gets an edge of kind "order" onto them, so they are up before all the rest. Applied in the order written',
});

export const defaultsSchema = z
  .strictObject({
    restart: restartSchema,
    health: healthSchema,
    startSeconds: duration('Deadline for ready. Default 30'),
    stopSeconds: duration('Deadline for a graceful stop, then it is killed. Default 10'),
    autoRestart: z.boolean().meta({ description: 'Restart what fails. Default true' }),
    after: afterSchema,
  })
  .partial()
  .meta({ description: 'What holds for every daemon that does not say otherwise' });

export const edgeSchema = z
  .strictObject({
    on: daemonName('The daemon that is needed'),
    kind: z.enum(['hard', 'soft', 'order']).optional().meta({
      description:
        'hard (default): pulled in, waited for without limit, its loss travels here. soft: waited for while on its way up. order: only the sequence of starts and stops',
    }),
    condition: z
      .enum(['ready', 'completed', 'started'])
      .optional()
      .meta({ description: 'What to wait for. Default ready; completed is for one-shot daemons' }),
    timeoutSeconds: duration('Soft and order edges release the start after this long. Default 30').optional(),
    onLoss: z.enum(['restart', 'reattach', 'stop', 'ignore']).optional().meta({
      description:
        'What the loss of the other does here, for hard edges. Default restart; reattach towards EVENT_ROUTER',
    }),
  })
  .meta({ description: 'One dependency, long form' });

export const dependsOnSchema = z.array(z.union([daemonName('Short form: hard, ready'), edgeSchema])).meta({
  description: 'What must be there first. Adds to the edges of the definition, or replaces the one with the same "on"',
});

export const daemonSchema = z
  .strictObject({
    uses: text('A built-in daemon, such as event-router').optional(),
    module: text('A file whose default export is a daemon definition, relative to this file').optional(),
    kind: z
      .enum(['in-process', 'thread', 'process'])
      .optional()
      .meta({ description: 'How it runs. Default: what its definition says' }),
    critical: z
      .boolean()
      .optional()
      .meta({ description: 'While it is not RUNNING, /health is 503. Default: what its definition says' }),
    dependsOn: dependsOnSchema.optional(),
    autoRestart: z.boolean().optional().meta({ description: 'Restart it when it fails' }),
    restart: restartSchema.optional(),
    health: healthSchema.optional(),
    startSeconds: duration('Deadline for ready').optional(),
    stopSeconds: duration('Deadline for a graceful stop, then it is killed').optional(),
    recoveryTargetSeconds: duration('From loss to ready again, for drills and metrics').optional(),
    config: z
      .record(z.string(), z.unknown())
      .optional()
      .meta({ description: "The daemon's own settings; checked by its definition" }),
  })
  .meta({ description: 'One daemon: exactly one of uses and module' });

const membersSchema = z.union([
  z.literal('all').meta({ description: 'Every daemon of this file that is not deprecated' }),
  z.array(daemonName('Name of a daemon')).min(1),
]);

export const profileSchema = z.union([
  membersSchema,
  z.strictObject({
    daemons: membersSchema,
    allowDeprecated: z
      .boolean()
      .optional()
      .meta({ description: 'Let deprecated types in, each in the narrow mode of its definition. Default false' }),
  }),
]);

export const portSchema = z.int().min(0).max(PORT_MAX).meta({ description: 'TCP port; 0 takes any free one' });

export const scheduleSchema = z
  .strictObject({
    at: text('Cron expression of five fields (or six, with seconds first), such as "0 4 * * SUN"'),
    timeZone: text('IANA time zone, such as Europe/Paris. Default: that of the machine').optional(),
    do: z.enum(['recover', 'drill']),
    drill: z.enum(DRILLS).optional().meta({ description: 'Which rehearsal; only with do: drill' }),
    target: daemonName('The daemon to rehearse on; only with do: drill').optional(),
    resetFailed: z
      .boolean()
      .optional()
      .meta({ description: 'Let a scheduled recovery give FAILED daemons a new start. Default false' }),
  })
  .meta({ description: 'One scheduled operation' });

const over = (what: string, max?: number): z.ZodObject<{ over: z.ZodNumber }> =>
  z
    .strictObject({ over: max === undefined ? z.number().min(0) : z.number().min(0).max(max) })
    .meta({ description: what });

const whenever = (what: string): z.ZodLiteral<true> => z.literal(true).meta({ description: what });

export const whenSchema = z
  .strictObject({
    restartsPerHour: over('More restarts of one daemon within an hour than this'),
    consecutiveHealthFailures: over('More health failures of one daemon in a row than this'),
    errorRate: over('A larger share of failed cycles than this, 0 to 1', 1),
    failed: whenever('A daemon became FAILED'),
    criticalDown: whenever('A critical daemon is not RUNNING'),
    subscriptionGap: whenever('The router misses a subscription that should exist'),
    storm: whenever('The storm breaker opened'),
  })
  .partial()
  .meta({ description: 'Exactly one condition' });

export const alertSchema = z
  .strictObject({
    name: text('Name of the rule. Default: its condition').optional(),
    when: whenSchema,
    to: z
      .array(text('"log", or a name from alertSinks'))
      .optional()
      .meta({ description: 'Where it goes; [] silences it. Default: the log and every sink' }),
  })
  .meta({ description: 'One alert; it replaces the built-in rule with the same condition' });

export const sinkSchema = z
  .strictObject({ webhook: z.url({ protocol: /^https?$/ }).meta({ description: 'Gets a POST of JSON per alert' }) })
  .meta({ description: 'A place that alerts go to' });

export const serverSchema = z
  .strictObject({
    bind: z
      .string()
      .regex(/^[A-Za-z0-9.:_-]{1,255}$/)
      .meta({
        description: 'Address of the HTTP port. Off loopback every route but /health and /ready needs the token',
      }),
  })
  .partial()
  .meta({ description: 'The control plane' });

export const fleetSchema = z
  .strictObject({
    version: z.literal(1).meta({ description: 'Version of this format' }),
    name: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/)
      .meta({ description: 'Name of the fleet, shown in status' }),
    defaults: defaultsSchema.optional(),
    profiles: z.record(z.string(), profileSchema).optional().meta({
      description:
        'Who runs, by name; hard dependencies are pulled in. The one named "default" is taken when none is asked for, else all run',
    }),
    ports: z
      .record(z.string(), portSchema)
      .optional()
      .meta({ description: 'Port per daemon, checked for clashes; handed to a daemon whose config has a "port"' }),
    schedule: z.array(scheduleSchema).optional().meta({ description: 'Operations by the clock' }),
    alerts: z.array(alertSchema).optional().meta({ description: 'Rules beside, or instead of, the built-in ones' }),
    alertSinks: z.record(z.string(), sinkSchema).optional().meta({ description: 'Webhooks by name' }),
    server: serverSchema.optional(),
    daemons: z.record(z.string(), daemonSchema).meta({ description: 'Daemons by name, in order of declaration' }),
  })
  .meta({ title: 'Fleet file of master-loop', description: 'Daemons, what each needs, and how each is kept up' });

export type FleetFile = z.output<typeof fleetSchema>;
export type DaemonEntry = z.output<typeof daemonSchema>;
export type EdgeEntry = z.output<typeof dependsOnSchema>[number];
export type ProfileEntry = z.output<typeof profileSchema>;
export type ScheduleRow = z.output<typeof scheduleSchema>;
export type AlertRow = z.output<typeof alertSchema>;
export type DefaultsEntry = z.output<typeof defaultsSchema>;

/** Keys that belong to daemons of a `command`, which this version does not run yet; named so that the fault can say so. */
export const COMMAND_KEYS = ['command', 'ready', 'cwd', 'env', 'user'] as const;
