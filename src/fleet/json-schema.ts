/**
 * The fleet file's format for editors: completion, hover text, red lines while typing.
 *
 * Generated from the schema that the loader itself uses. Two things are added: a number or a boolean may also be text with
 * a variable in it, because the loader fills variables in before it checks; and each built-in brings the schema of its own
 * `config`, chosen by the value of `uses`.
 */
import { z } from 'zod';
import type { DaemonDefinition } from '../daemons/definition.ts';
import { usesNameOf } from './load.ts';
import { fleetSchema } from './schema.ts';

type JsonSchema = Record<string, unknown>;

const VARIABLE_PATTERN = '\\$\\{[A-Za-z_]';
const TYPED = new Set(['number', 'integer', 'boolean']);

const inputSchema = (schema: z.ZodType): JsonSchema =>
  z.toJSONSchema(schema, {
    io: 'input',
    unrepresentable: 'any',
    override: ({ jsonSchema }) => {
      if (typeof jsonSchema.type !== 'string' || !TYPED.has(jsonSchema.type) || jsonSchema.const !== undefined) return;
      Object.assign(jsonSchema, { type: [jsonSchema.type, 'string'], pattern: VARIABLE_PATTERN });
    },
  }) as JsonSchema;

const withoutDialect = ({ $schema: _, ...schema }: JsonSchema): JsonSchema => schema;

/** @param definitions  built-ins, in the order in which editors should offer them */
export const fleetJsonSchema = (definitions: readonly DaemonDefinition[]): JsonSchema => {
  const { $schema, title, description, ...rest } = inputSchema(fleetSchema);
  const properties = rest['properties'] as Record<string, JsonSchema>;
  const daemon = properties['daemons']?.['additionalProperties'] as JsonSchema;
  const uses = (daemon['properties'] as Record<string, JsonSchema>)['uses'] as JsonSchema;
  uses['anyOf'] = [
    ...definitions.map((one) => ({ const: usesNameOf(one.type), description: one.purpose })),
    { type: 'string', pattern: VARIABLE_PATTERN },
  ];
  daemon['oneOf'] = [{ required: ['uses'] }, { required: ['module'] }];
  daemon['allOf'] = definitions.map((one) => ({
    if: { properties: { uses: { const: usesNameOf(one.type) } }, required: ['uses'] },
    then: { properties: { config: withoutDialect(inputSchema(one.config)) } },
  }));
  return { $schema, $id: 'fleet.schema.json', title, description, ...rest };
};

/** As it is written to fleets/fleet.schema.json. */
export const fleetJsonSchemaText = (definitions: readonly DaemonDefinition[]): string =>
  `${JSON.stringify(fleetJsonSchema(definitions), null, 2)}\n`;
