/**
 * A daemon that a user wrote: a module whose default export is a definition.
 *
 * `defineDaemon` fills in what a definition leaves out, but a module need not import it (it may not have this package
 * beside it), so the same defaults are filled in here; for the same reason `config` may be a function that is given zod
 * and returns the schema. What is wrong with an export is said field by field; a module that
 * throws while it loads is quoted with its own words.
 */
import { z } from 'zod';
import { defineDaemon, type DaemonDefinition, type DaemonRecipe, type EventName } from '../daemons/definition.ts';
import { messageOf } from '../errors.ts';
import { quoted } from '../graph/names.ts';
import { edgeSchema } from './schema.ts';

const isSchema = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  'safeParse' in value &&
  typeof value.safeParse === 'function' &&
  'def' in value;

/** What a module's own function makes of zod; what it throws is a fault of `config`. */
const schemaMadeBy = (make: (zod: typeof z) => unknown): unknown => {
  try {
    return make(z);
  } catch {
    return undefined;
  }
};

const names = z.array(z.string().min(1));

/** What a module may export; keys that this version does not know are let through for the sake of later ones. */
const recipeSchema = z.looseObject({
  type: z.string().min(1),
  purpose: z.string().default(''),
  category: z.string().default('module'),
  kind: z.enum(['in-process', 'thread', 'process']).optional(),
  critical: z.boolean().optional(),
  dependsOn: z.array(z.union([z.string().min(1), edgeSchema])).optional(),
  publishes: names.optional(),
  subscribes: names.optional(),
  maxInFlight: z.int().min(1).optional(),
  manualReady: z.boolean().optional(),
  oneShot: z.boolean().optional(),
  recoveryTargetSeconds: z.number().positive().nullish(),
  healthPeriodSeconds: z.number().positive().nullish(),
  config: z
    .preprocess(
      (config) =>
        typeof config === 'function' && !isSchema(config) ? schemaMadeBy(config as (zod: typeof z) => unknown) : config,
      z.custom(isSchema, { error: 'must be a zod schema, or a function that makes one of the zod it is given' }),
    )
    .optional(),
  quick: z.record(z.string(), z.unknown()).optional(),
  deprecated: z.object({ successor: z.string() }).nullish(),
  create: z.custom<unknown>((value) => typeof value === 'function', {
    error: 'must be a function that makes one start',
  }),
});

export type ModuleReading =
  | { readonly definition: DaemonDefinition }
  | { readonly faults: readonly { readonly message: string; readonly hint: string | null }[] };

const refused = (message: string, hint: string | null = null): ModuleReading => ({ faults: [{ message, hint }] });

const SHAPE = 'export default { type, purpose, category, create(context) { … } }';

/** Imports one module and reads its default export. `written` is the path as the fleet file has it. */
export const readModule = async (
  written: string,
  absolutePath: string,
  importModule: (absolutePath: string) => Promise<unknown>,
): Promise<ModuleReading> => {
  let loaded: unknown;
  try {
    loaded = await importModule(absolutePath);
  } catch (error) {
    return refused(
      `the module ${quoted(written)} cannot be imported: ${messageOf(error).split('\n')[0]}`,
      'run it with node by itself to see the whole error',
    );
  }
  const exported = typeof loaded === 'object' && loaded !== null && 'default' in loaded ? loaded.default : undefined;
  if (exported === undefined) return refused(`the module ${quoted(written)} has no default export`, SHAPE);
  const reading = recipeSchema.safeParse(exported);
  if (!reading.success) {
    if (typeof exported !== 'object' || exported === null) {
      return refused(`the default export of ${quoted(written)} is ${typeof exported}, and no daemon definition`, SHAPE);
    }
    return {
      faults: reading.error.issues.map((issue) => ({
        message:
          `the default export of ${quoted(written)} is no daemon definition: ` +
          `${issue.path.join('.')} ${issue.code === 'invalid_type' ? `must be ${issue.expected}` : issue.message}`,
        hint: SHAPE,
      })),
    };
  }
  const { recoveryTargetSeconds, healthPeriodSeconds, deprecated, ...rest } = reading.data;
  const recipe = {
    ...rest,
    ...(typeof recoveryTargetSeconds === 'number' ? { recoveryTargetSeconds } : {}),
    ...(typeof healthPeriodSeconds === 'number' ? { healthPeriodSeconds } : {}),
    ...(deprecated ? { deprecated } : {}),
  };
  return { definition: defineDaemon(recipe as unknown as DaemonRecipe<z.ZodType, EventName, EventName, object>) };
};
