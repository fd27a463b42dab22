/**
 * From a fleet file to the one table that the orchestrator sees.
 *
 * Loading happens in steps that each look at everything, and no step stops at the first fault: a file is wrong in several
 * places at once, and whoever mends it should see all of them in one run. What is valid in a faulty part goes on to the
 * next step, so a misspelt key does not hide a cycle. Nothing has been started when this throws, and nothing has been
 * touched but the modules of the user's own daemons, which are imported to read their definitions.
 */
import { dirname, resolve } from 'node:path';
import type { DaemonDefinition, DaemonKind } from '../daemons/definition.ts';
import { messageOf } from '../errors.ts';
import type { Catalogue } from '../events/types.ts';
import { checkGraph } from '../graph/graph.ts';
import { nameFault, nearestAmong, quoted } from '../graph/names.ts';
import type { FileSystem } from '../seams/file-system.ts';
import { alertRules, conditionsOf } from './alerts.ts';
import { parseFleetText, type FleetDocument } from './document.ts';
import { closeProfile, mergeEdges, type EdgeOwner, type EdgeTable, type WrittenEdge } from './edges.ts';
import { FaultList, fleetInvalid, type Path, type Place } from './faults.ts';
import { hashOf, hashOfBytes } from './hash.ts';
import { readDotEnv, type Environment } from './interpolation.ts';
import { check, keysAt, nearestHint, salvage } from './issues.ts';
import { readModule } from './modules.ts';
import { policiesOf, type Tempo } from './policies.ts';
import { readEnvText, readFleetText } from './read.ts';
import {
  BUILT_IN_SINKS,
  COMMAND_KEYS,
  fleetSchema,
  type AlertRow,
  type DaemonEntry,
  type FleetFile,
  type ProfileEntry,
  type ScheduleRow,
} from './schema.ts';
import { cronFault, isTimeZone, timeZones } from './schedule.ts';
import type { DaemonSpec, Fleet, ResolvedEdge, ScheduleEntry } from './types.ts';

export interface LoadFleetOptions {
  /** Path of the fleet file as the user named it; faults repeat it. */
  readonly file: string;
  /** Its text, when it is not to be read from the disk. */
  readonly text?: string;
  /** Built-in daemons; see `definitionsByName`. */
  readonly definitions: Readonly<Record<string, DaemonDefinition>>;
  /** Null takes the profile named `default`, else all daemons. */
  readonly profile?: string | null;
  readonly tempo: Tempo;
  /** Of the process; it wins over `.env` beside the file. */
  readonly env: Environment;
  readonly files: FileSystem;
  /** Imports a module by absolute path and resolves with its namespace. */
  readonly importModule: (absolutePath: string) => Promise<unknown>;
  /** The port of the control plane, which no daemon may take; 0 when any free one is taken. Default 8790. */
  readonly healthPort?: number;
  /** Ways to run a daemon that this program has. Default: in-process only. */
  readonly kinds?: readonly DaemonKind[];
  /** Declared events: with it, undeclared ones are faults and one-sided ones warnings. */
  readonly catalogue?: Catalogue;
}

export interface LoadedFleet {
  readonly fleet: Fleet;
  readonly warnings: readonly string[];
}

const HEALTH_PORT_DEFAULT = 8790;
const IMPORTS_AT_ONCE = 16; // chosen: modules come from one disk
const ROUTER = 'EVENT_ROUTER';
/** Names that a caller may always give as profile. */
export const EVERYBODY = 'all';
const DEFAULT_PROFILE = 'default';

/** `AUTO_SYNC` → `auto-sync`: how a fleet file names a built-in. */
export const usesNameOf = (type: string): string => type.toLowerCase().replaceAll('_', '-');

/** Built-in definitions under their `uses` name and under their type. */
export const definitionsByName = (
  definitions: readonly DaemonDefinition[],
): Readonly<Record<string, DaemonDefinition>> =>
  Object.fromEntries(
    definitions.flatMap((one) => [
      [usesNameOf(one.type), one],
      [one.type, one],
    ]),
  );

/** A file with faults keeps what was valid of it: any key may be missing. */
type Usable<Shape> = { readonly [Key in keyof Shape]?: Shape[Key] | undefined };

interface Resolved {
  readonly name: string;
  readonly path: Path;
  readonly entry: Usable<DaemonEntry>;
  readonly definition: DaemonDefinition | null;
  readonly builtIn: boolean;
  /** Of the module's bytes; null for built-ins. */
  readonly moduleHash: string | null;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** One run over one file: holds what every step needs. */
class Loading {
  readonly #options: LoadFleetOptions;
  readonly #document: FleetDocument;
  readonly #faults: FaultList;
  readonly #warnings: string[] = [];
  /** For `writtenAt`: short, since `plan` prints one per edge. */
  readonly #label: string;
  readonly #folder: string;
  readonly #usesNames: readonly string[];

  constructor(options: LoadFleetOptions, document: FleetDocument, faults: FaultList) {
    this.#options = options;
    this.#document = document;
    this.#faults = faults;
    this.#label = options.file.split(/[/\\]/).at(-1) ?? options.file;
    this.#folder = dirname(resolve(options.file));
    this.#usesNames = [...new Set(Object.values(options.definitions).map((one) => usesNameOf(one.type)))];
  }

  async run(): Promise<LoadedFleet> {
    const file = this.#read();
    const daemons = await this.#resolveDaemons(file);
    const profile = this.#chooseProfile(file, daemons);
    const table = this.#mergeEdges(file, daemons, profile.allowDeprecated);
    this.#checkGraph(daemons, table);
    const configs = this.#configs(daemons, file.ports ?? {});
    const ports = this.#ports(daemons, file.ports ?? {}, configs);
    const sinks = this.#sinks(file);
    this.#checkSchedule(file, daemons);
    this.#checkAlerts(file, sinks);
    this.#checkEvents(daemons);
    this.#refuseIfFaulty();

    const pulled = closeProfile(profile.members, table.edges);
    const specs = daemons.map((daemon) => this.#spec(daemon, file, table, pulled, configs.get(daemon.name)));
    const rest = {
      name: file.name!,
      profile: profile.name,
      tempo: this.#options.tempo,
      ports,
      schedule: (file.schedule ?? []).map((row, at) => this.#scheduleEntry(row, at)),
      alerts: alertRules((file.alerts ?? []) as readonly AlertRow[], sinks),
      alertSinks: Object.entries(file.alertSinks ?? {}).map(([name, sink]) => ({ name, webhook: sink.webhook })),
      server: { bind: file.server?.bind ?? '127.0.0.1' },
    };
    const modules = daemons.map((daemon) => daemon.moduleHash);
    const fleet: Fleet = {
      ...rest,
      file: resolve(this.#options.file),
      hash: hashOf(decisive(rest, specs, modules)),
      daemons: specs,
      warnings: this.#warnings,
    };
    return { fleet, warnings: this.#warnings };
  }

  // ---- the file as it is written

  #read(): Usable<FleetFile> {
    const value = this.#document.value as Record<string, unknown>;
    this.#refuseCommands(value['daemons']);
    const checked = check({
      faults: this.#faults,
      document: this.#document,
      base: [],
      schema: fleetSchema,
      value,
    });
    if (isRecord(value['daemons']) && Object.keys(value['daemons']).length === 0) {
      this.#at(
        ['daemons'],
        '"daemons" is empty: there is nothing to run',
        'add one daemon, such as A: { module: ./a.js }',
      );
    }
    return checked ?? ((salvage(fleetSchema, value) ?? {}) as Usable<FleetFile>);
  }

  /** Daemons of a `command` are taken out of the value, so that their other keys are not called unknown as well. */
  #refuseCommands(daemons: unknown): void {
    if (!isRecord(daemons)) return;
    for (const [name, body] of Object.entries(daemons)) {
      if (!isRecord(body)) continue;
      const path = ['daemons', name];
      if (Object.hasOwn(body, 'command')) {
        this.#atKey(
          [...path, 'command'],
          `${quoted(name)} runs a command, and this version runs "uses" and "module" daemons only`,
          'wrap it in a module that spawns it, or leave it out',
        );
        daemons[name] = { ...body, module: undefined, uses: undefined, health: undefined };
      }
      for (const key of COMMAND_KEYS) {
        if (!Object.hasOwn(body, key)) continue;
        if (!Object.hasOwn(body, 'command')) {
          this.#atKey([...path, key], `"${key}" of ${quoted(name)} belongs to command daemons`, HOW_READY[key] ?? null);
        }
        daemons[name] = { ...(daemons[name] as object), [key]: undefined };
      }
      const cleaned = daemons[name] as Record<string, unknown>;
      for (const key of Object.keys(cleaned)) if (cleaned[key] === undefined) delete cleaned[key];
    }
  }

  // ---- who the daemons are

  async #resolveDaemons(file: Usable<FleetFile>): Promise<readonly Resolved[]> {
    const usable = (file.daemons ?? {}) as Readonly<Record<string, Usable<DaemonEntry>>>;
    const entries = this.#document
      .keysAt(['daemons'])
      .map((name) => [name, Object.hasOwn(usable, name) ? usable[name]! : {}] as const);
    const resolved: Resolved[] = [];
    const firstUse = new Map<string, string>();
    const imports = new Map<string, Promise<Awaited<ReturnType<typeof readModule>>>>();
    const nearestUses = nearestAmong(this.#usesNames);
    for (let at = 0; at < entries.length; at += IMPORTS_AT_ONCE) {
      const batch = entries.slice(at, at + IMPORTS_AT_ONCE);
      for (const [, entry] of batch) if (typeof entry.module === 'string') void this.#import(imports, entry.module); // never rejects
      for (const [name, entry] of batch) {
        const path: Path = ['daemons', name];
        const raw = (this.#document.value as { daemons?: Record<string, unknown> }).daemons?.[name];
        const written = this.#writtenSources(name);
        let definition: DaemonDefinition | null = null;
        let moduleHash: string | null = null;
        if (written.length > 1) {
          this.#atKey([...path, written[1]!], `${quoted(name)} has both ${written.join(' and ')}`, 'keep one of them');
        } else if (written.length === 0 && isRecord(raw)) {
          const fits = Object.hasOwn(this.#options.definitions, name) ? usesNameOf(name) : null;
          this.#faults.add(
            this.#document.keyPlace(path),
            path,
            `${quoted(name)} has neither uses nor module`,
            fits === null ? 'write uses: with a built-in, or module: with a file' : `write uses: ${fits}`,
          );
        } else if (entry.uses !== undefined) {
          definition = this.#builtIn(name, entry.uses, nearestUses, firstUse);
        } else if (entry.module !== undefined) {
          const reading = await this.#import(imports, entry.module);
          if ('definition' in reading) {
            definition = reading.definition;
            moduleHash = this.#hashOfModule(entry.module);
          } else for (const fault of reading.faults) this.#at([...path, 'module'], fault.message, fault.hint);
        }
        const kind = entry.kind ?? definition?.kind;
        const kinds = this.#options.kinds ?? ['in-process'];
        if (kind !== undefined && !kinds.includes(kind)) {
          this.#at(
            entry.kind === undefined ? path : [...path, 'kind'],
            `${quoted(name)} is of kind ${kind}, and this version runs ${kinds.join(', ')} daemons only`,
            'write kind: in-process',
          );
        }
        resolved.push({ name, path, entry, definition, builtIn: entry.uses !== undefined, moduleHash });
      }
    }
    return resolved;
  }

  /** Which of uses, module and command the file has for a daemon, valid or not. */
  #writtenSources(name: string): readonly string[] {
    return ['uses', 'module', 'command'].filter((key) => this.#document.has(['daemons', name, key]));
  }

  #import(imports: Map<string, ReturnType<typeof readModule>>, written: string): ReturnType<typeof readModule> {
    const absolute = resolve(this.#folder, written);
    let reading = imports.get(absolute);
    if (reading === undefined) {
      reading = this.#options.files.exists(absolute)
        ? readModule(written, absolute, this.#options.importModule)
        : Promise.resolve({
            faults: [
              { message: `the module ${quoted(written)} does not exist`, hint: `it is looked for at ${absolute}` },
            ],
          });
      imports.set(absolute, reading);
    }
    return reading;
  }

  #hashOfModule(written: string): string | null {
    try {
      return hashOfBytes(this.#options.files.read(resolve(this.#folder, written)));
    } catch {
      return null; // it was imported, so it is there; a hash without it is only less exact
    }
  }

  #builtIn(
    name: string,
    uses: string,
    nearest: (name: unknown) => string | null,
    firstUse: Map<string, string>,
  ): DaemonDefinition | null {
    const path: Path = ['daemons', name, 'uses'];
    const definition = Object.hasOwn(this.#options.definitions, uses) ? this.#options.definitions[uses]! : null;
    if (definition === null) {
      const near = nearest(uses);
      this.#at(path, `there is no built-in daemon ${quoted(uses)}`, near === null ? null : `did you mean "${near}"?`);
      return null;
    }
    const first = firstUse.get(definition.type);
    if (first !== undefined) {
      this.#at(
        path,
        `${quoted(name)} and ${quoted(first)} both use ${usesNameOf(definition.type)}: its effects would have two owners`,
        'keep one of the two',
      );
      return definition;
    }
    firstUse.set(definition.type, name);
    if (definition.type === ROUTER && name !== ROUTER) {
      this.#atKey(
        ['daemons', name],
        `the event router must be named ${ROUTER}, and is named ${quoted(name)}`,
        `write ${ROUTER}: { uses: event-router }; readiness and re-attachment know it by that name`,
      );
    }
    return definition;
  }

  // ---- who runs

  #chooseProfile(
    file: Usable<FleetFile>,
    daemons: readonly Resolved[],
  ): { readonly name: string; readonly members: readonly string[]; readonly allowDeprecated: boolean } {
    const profiles = Object.entries(file.profiles ?? {}) as [string, ProfileEntry][];
    const known = new Map(daemons.map((daemon) => [daemon.name, daemon]));
    const nearest = nearestAmong(known.keys());
    const deprecated = (name: string): string | null => known.get(name)?.definition?.deprecated?.successor ?? null;
    const current = daemons.filter((daemon) => deprecated(daemon.name) === null).map((daemon) => daemon.name);
    const everyone = daemons.map((daemon) => daemon.name);

    const letIn = new Set<string>();
    const byName = new Map<string, { members: readonly string[]; allowDeprecated: boolean }>();
    for (const [name, entry] of profiles) {
      const long = isRecord(entry) ? (entry as { daemons?: unknown; allowDeprecated?: boolean }) : null;
      const path: Path = ['profiles', name, ...(long === null ? [] : ['daemons'])];
      const allowDeprecated = long?.allowDeprecated ?? false;
      const list = (long === null ? entry : long.daemons) as 'all' | readonly string[] | undefined;
      const bad = nameFault(name);
      if (bad !== null) this.#atKey(['profiles', name], `the profile name ${quoted(name)} ${bad}`);
      if (!Array.isArray(list)) {
        const members = list === EVERYBODY ? (allowDeprecated ? everyone : current) : [];
        byName.set(name, { members, allowDeprecated });
        if (allowDeprecated) for (const member of members) letIn.add(member);
        continue;
      }
      const members = new Set<string>();
      (list as readonly (string | undefined)[]).forEach((member, at) => {
        if (member === undefined) return;
        const here = [...path, at];
        if (!known.has(member)) {
          const near = nearest(member);
          this.#at(
            here,
            `the profile ${quoted(name)} names ${quoted(member)}, which is not in this fleet`,
            near === null ? null : `did you mean "${near}"?`,
          );
          return;
        }
        if (members.has(member))
          this.#at(here, `${quoted(member)} is in the profile ${quoted(name)} twice`, 'drop one');
        const successor = deprecated(member);
        if (successor !== null && !allowDeprecated) {
          this.#at(
            here,
            `${member} is deprecated; ${successor} took its place`,
            `write ${successor}, or give the profile allowDeprecated: true`,
          );
        }
        if (allowDeprecated) letIn.add(member);
        members.add(member);
      });
      byName.set(name, { members: everyone.filter((one) => members.has(one)), allowDeprecated });
    }
    for (const daemon of daemons) {
      const successor = deprecated(daemon.name);
      if (successor === null || letIn.has(daemon.name)) continue;
      this.#atKey(
        daemon.path,
        `${daemon.name} is deprecated; ${successor} took its place`,
        `write ${successor} instead, or let it in with a profile that has allowDeprecated: true`,
      );
    }

    const asked = this.#options.profile ?? null;
    const name = asked ?? (byName.has(DEFAULT_PROFILE) ? DEFAULT_PROFILE : EVERYBODY);
    const chosen = byName.get(name);
    if (chosen === undefined && name !== EVERYBODY) {
      const valid = [...byName.keys(), EVERYBODY];
      const place = this.#document.has(['profiles']) ? this.#document.keyPlace(['profiles']) : null;
      this.#faults.add(
        place,
        ['profiles'],
        `the profile ${quoted(name)} was asked for, and this fleet has none of that name`,
        nearestHint(name, valid),
      );
    }
    for (const member of chosen?.members ?? []) {
      const successor = deprecated(member);
      if (successor !== null)
        this.#warnings.push(`${member} is deprecated; the profile ${name} lets it in beside ${successor}`);
    }
    return { name, members: chosen?.members ?? current, allowDeprecated: chosen?.allowDeprecated ?? false };
  }

  // ---- what each needs

  #mergeEdges(file: Usable<FleetFile>, daemons: readonly Resolved[], allowDeprecated: boolean): EdgeTable {
    const owners = daemons.map((daemon): EdgeOwner => ({
      name: daemon.name,
      definition: daemon.definition,
      written: this.#writtenEdges(daemon),
    }));
    const nameOfType = new Map<string, string>();
    const successors = new Map<string, string>();
    for (const definition of Object.values(this.#options.definitions)) {
      if (definition.deprecated !== null) successors.set(definition.type, definition.deprecated.successor);
    }
    for (const { name, definition, builtIn } of daemons) {
      if (definition === null) continue;
      if (builtIn && !nameOfType.has(definition.type)) nameOfType.set(definition.type, name);
      if (definition.deprecated === null || allowDeprecated) successors.delete(definition.type);
      else successors.set(name, definition.deprecated.successor);
    }
    const table = mergeEdges({
      owners,
      nameOfType,
      successors,
      after: this.#orderRule(file, daemons),
      usesOf: (type) => (Object.hasOwn(this.#options.definitions, type) ? usesNameOf(type) : null),
    });
    for (const fault of table.faults) {
      this.#faults.add(
        fault.path === null ? this.#document.keyPlace(['daemons', fault.owner]) : this.#document.place(fault.path),
        fault.path ?? ['daemons', fault.owner],
        fault.message,
        fault.hint,
      );
    }
    this.#warnings.push(...table.warnings);
    return table;
  }

  /** Read from the tree and not from what was checked, since entries with faults shift the positions of the others. */
  #writtenEdges(daemon: Resolved): readonly WrittenEdge[] {
    const list = this.#document.listAt([...daemon.path, 'dependsOn']);
    return list.flatMap((item, at): WrittenEdge[] => {
      const here = [...daemon.path, 'dependsOn', at];
      const edge = salvage(fleetSchema.shape.daemons.valueType.shape.dependsOn, [item]) as
        readonly (string | { on?: string })[] | undefined;
      const one = edge?.[0];
      if (one === undefined) return [];
      const path = typeof one === 'string' ? here : [...here, 'on'];
      const on = typeof one === 'string' ? one : one.on;
      if (on === undefined) return [];
      return [{ ...(typeof one === 'string' ? {} : one), on, path, writtenAt: this.#writtenAt(path) }];
    });
  }

  #orderRule(file: Usable<FleetFile>, daemons: readonly Resolved[]): { on: string; writtenAt: string }[] {
    const known = new Set(daemons.map((daemon) => daemon.name));
    const nearest = nearestAmong(known);
    return (file.defaults?.after ?? []).flatMap((on: string | undefined, at) => {
      if (on === undefined) return [];
      const path = ['defaults', 'after', at];
      if (known.has(on)) return [{ on, writtenAt: this.#writtenAt(path) }];
      const near = nearest(on);
      this.#at(
        path,
        `the order rule names ${quoted(on)}, which is not in this fleet`,
        near === null ? null : `did you mean "${near}"?`,
      );
      return [];
    });
  }

  #checkGraph(daemons: readonly Resolved[], table: EdgeTable): void {
    const edges = [...table.edges.values()].flat();
    const nodes = daemons.map((daemon) => ({ id: daemon.name, writtenAt: this.#writtenAt(daemon.path) }));
    for (const fault of checkGraph(nodes, edges)) {
      switch (fault.kind) {
        case 'bad-name':
          this.#atKey(['daemons', fault.name], fault.message, fault.remedy);
          break;
        case 'cycle': {
          const own = fault.edges.map((edge) => table.pathOf(edge as ResolvedEdge)).find((path) => path !== null);
          const path = own ?? ['daemons', fault.cycle[0]!];
          const steps = fault.edges
            .slice(0, CYCLE_EDGES_SHOWN)
            .map((edge) => `${edge.from} → ${edge.on} (${edge.kind}, ${edge.writtenAt})`);
          const left = fault.edges.length - steps.length;
          this.#faults.add(
            own === undefined ? this.#document.keyPlace(path) : this.#document.place(path),
            path,
            `${fault.cycle.length} daemons depend on each other in a circle: ${steps.join(', ')}${left > 0 ? `, and ${left} more edges` : ''}`,
            fault.remedy,
          );
          break;
        }
        case 'self-edge': {
          const edge = edges.find((one) => one.from === fault.name && one.on === fault.name);
          const path = edge === undefined ? null : table.pathOf(edge);
          this.#at(path ?? ['daemons', fault.name], fault.message, fault.remedy);
          break;
        }
        case 'unknown-dependency':
        case 'duplicate':
          // Both are settled while edges are merged; here they would mean that the merge let one through.
          this.#at(['daemons', fault.name], fault.message, fault.remedy);
          break;
      }
    }
  }

  // ---- their own settings

  #configs(daemons: readonly Resolved[], ports: Readonly<Record<string, number>>): ReadonlyMap<string, unknown> {
    const configs = new Map<string, unknown>();
    for (const { name, path, entry, definition } of daemons) {
      if (definition === null) continue;
      const base = [...path, 'config'];
      const written = entry.config ?? {};
      const port = Object.hasOwn(ports, name) ? ports[name] : undefined;
      const takesPort = keysAt(definition.config, []).includes('port');
      if (port !== undefined && takesPort && Object.hasOwn(written, 'port') && written['port'] !== port) {
        this.#at(
          [...base, 'port'],
          `${quoted(name)} has port ${String(written['port'])} here and ${port} in ports`,
          'keep the one in ports',
        );
      }
      const value = {
        ...(this.#options.tempo === 'quick' ? definition.quick : {}),
        ...(port !== undefined && takesPort ? { port } : {}),
        ...written,
      };
      try {
        const config = check({
          faults: this.#faults,
          document: this.#document,
          base,
          schema: definition.config,
          value,
        });
        if (config !== null) configs.set(name, config);
      } catch (error) {
        // A schema of a module may do what it likes, asynchronous checks included, which a file cannot wait for.
        this.#at(
          base,
          `the config schema of ${quoted(name)} threw: ${messageOf(error).split('\n')[0]}`,
          'mend the schema of its definition',
        );
      }
    }
    return configs;
  }

  #ports(
    daemons: readonly Resolved[],
    written: Readonly<Record<string, number>>,
    configs: ReadonlyMap<string, unknown>,
  ): Readonly<Record<string, number>> {
    const known = new Set(daemons.map((daemon) => daemon.name));
    const nearest = nearestAmong(known);
    const ports: Record<string, number> = {};
    const owners = new Map<number, { readonly who: string; readonly where: string }>();
    const health = this.#options.healthPort ?? HEALTH_PORT_DEFAULT;
    if (health !== 0) owners.set(health, { who: 'the health port of the master', where: '--port' });
    const claim = (name: string, port: number, path: Path): void => {
      ports[name] = port;
      if (port === 0) return; // any free one clashes with nobody
      const other = owners.get(port);
      if (other !== undefined) {
        const place = this.#document.has(path) ? this.#document.place(path) : this.#document.keyPlace(path);
        this.#faults.add(
          place,
          path,
          `port ${port} of ${quoted(name)} is taken by ${other.who} (${other.where})`,
          'give one of them another port, or 0 for any free one',
        );
        return;
      }
      owners.set(port, {
        who: quoted(name),
        where: this.#document.has(path) ? this.#writtenAt(path) : `default of ${name}`,
      });
    };
    for (const [name, port] of Object.entries(written)) {
      const path = ['ports', name];
      if (known.has(name)) claim(name, port, path);
      else {
        const near = nearest(name);
        this.#atKey(
          path,
          `ports names ${quoted(name)}, which is not in this fleet`,
          near === null ? null : `did you mean "${near}"?`,
        );
      }
    }
    for (const { name, path } of daemons) {
      const config = configs.get(name);
      const port = isRecord(config) ? config['port'] : undefined;
      if (typeof port === 'number' && !Object.hasOwn(ports, name)) claim(name, port, [...path, 'config', 'port']);
    }
    return ports;
  }

  // ---- what happens by the clock and by alert

  #checkSchedule(file: Usable<FleetFile>, daemons: readonly Resolved[]): void {
    const known = daemons.map((daemon) => daemon.name);
    (file.schedule ?? []).forEach((row: Usable<ScheduleRow> | undefined, at) => {
      if (row === undefined) return;
      const path = ['schedule', at];
      if (row.at !== undefined) {
        const fault = cronFault(row.at);
        if (fault !== null)
          this.#at(
            [...path, 'at'],
            `${quoted(row.at)} is no cron expression: ${fault}`,
            'five fields: minute hour day month weekday, such as "0 4 * * SUN"',
          );
      }
      if (row.timeZone !== undefined && !isTimeZone(row.timeZone)) {
        this.#at([...path, 'timeZone'], `there is no time zone ${quoted(row.timeZone)}`, zoneHint(row.timeZone));
      }
      if (row.do === 'drill' && row.drill === undefined && !this.#document.has([...path, 'drill'])) {
        this.#at(
          path,
          'which drill? "do: drill" needs the key "drill"',
          `one of ${fleetSchema.shape.schedule.unwrap().element.shape.drill.unwrap().options.join(', ')}`,
        );
      }
      if (row.do === 'recover') {
        for (const key of ['drill', 'target'] as const) {
          if (row[key] !== undefined)
            this.#atKey([...path, key], `"${key}" has no meaning with do: recover`, 'drop it, or write do: drill');
        }
      }
      if (row.do === 'drill' && row.resetFailed !== undefined) {
        this.#atKey(
          [...path, 'resetFailed'],
          '"resetFailed" has no meaning with do: drill',
          'drop it, or write do: recover',
        );
      }
      if (row.target !== undefined && !known.includes(row.target)) {
        this.#at(
          [...path, 'target'],
          `the drill names ${quoted(row.target)}, which is not in this fleet`,
          nearestHint(row.target, known),
        );
      }
    });
  }

  #scheduleEntry(row: ScheduleRow, at: number): ScheduleEntry {
    return {
      at: row.at,
      timeZone: row.timeZone ?? null,
      do: row.do,
      drill: row.drill ?? null,
      target: row.target ?? null,
      resetFailed: row.resetFailed ?? false,
      writtenAt: this.#writtenAt(['schedule', at]),
    };
  }

  #sinks(file: Usable<FleetFile>): readonly string[] {
    const own = Object.keys(file.alertSinks ?? {});
    for (const name of own) {
      const bad = nameFault(name) === null ? null : `the sink name ${quoted(name)} ${nameFault(name)}`;
      const taken = (BUILT_IN_SINKS as readonly string[]).includes(name) ? `${quoted(name)} is a built-in sink` : null;
      const fault = bad ?? taken;
      if (fault !== null) this.#atKey(['alertSinks', name], fault, 'give it another name');
    }
    return [...BUILT_IN_SINKS, ...own];
  }

  #checkAlerts(file: Usable<FleetFile>, sinks: readonly string[]): void {
    const names = new Map<string, number>();
    (file.alerts ?? []).forEach((row: Usable<AlertRow> | undefined, at) => {
      if (row === undefined) return;
      const path = ['alerts', at];
      const conditions = row.when === undefined ? null : conditionsOf(row.when);
      if (
        conditions !== null &&
        conditions.length !== 1 &&
        this.#document.keysAt([...path, 'when']).length === conditions.length
      ) {
        this.#at(
          [...path, 'when'],
          conditions.length === 0 ? 'this alert has no condition' : `this alert has ${conditions.length} conditions`,
          'one condition each; write one entry per condition',
        );
      }
      const name = row.name ?? conditions?.[0]?.kind;
      const first = name === undefined ? undefined : names.get(name);
      if (first !== undefined) {
        this.#at(
          row.name === undefined ? path : [...path, 'name'],
          `two alerts are named ${quoted(name)}, first ${this.#writtenAt(['alerts', first])}`,
          'give one of them a name of its own',
        );
      } else if (name !== undefined) names.set(name, at);
      (row.to ?? []).forEach((sink: string | undefined, index) => {
        if (sink !== undefined && !sinks.includes(sink))
          this.#at([...path, 'to', index], `there is no alert sink ${quoted(sink)}`, nearestHint(sink, sinks));
      });
    });
  }

  #checkEvents(daemons: readonly Resolved[]): void {
    const { catalogue } = this.#options;
    const talks = daemons.find(
      ({ definition: one }) => one !== null && one.publishes.length + one.subscribes.length > 0,
    );
    // A router that is misspelt is a fault already, and its daemon has its name.
    if (talks !== undefined && !daemons.some(({ name, definition: one }) => name === ROUTER || one?.type === ROUTER)) {
      this.#atKey(
        talks.path,
        `${quoted(talks.name)} has events, and this fleet has no event router`,
        `add ${ROUTER}: { uses: event-router }`,
      );
    }
    if (catalogue === undefined) return;
    const nearest = nearestAmong(Object.keys(catalogue));
    const producers = new Map<string, string[]>();
    const consumers = new Map<string, string[]>();
    for (const { name, path, definition } of daemons) {
      for (const [topics, table, verb] of [
        [definition?.publishes ?? [], producers, 'publishes'],
        [definition?.subscribes ?? [], consumers, 'subscribes to'],
      ] as const) {
        for (const topic of topics) {
          if (!Object.hasOwn(catalogue, topic)) {
            const near = nearest(topic);
            this.#faults.add(
              this.#document.keyPlace(path),
              path,
              `${quoted(name)} ${verb} ${quoted(topic)}, which is no declared event`,
              near === null ? null : `did you mean "${near}"?`,
            );
            continue;
          }
          const known = table.get(topic);
          if (known === undefined) table.set(topic, [name]);
          else known.push(name);
        }
      }
    }
    for (const [topic, names] of consumers) {
      if (producers.has(topic) || (catalogue[topic]?.externalProducers ?? []).length > 0) continue;
      this.#warnings.push(
        `${names.join(', ')} wait${names.length === 1 ? 's' : ''} for ${topic}, and nobody in this fleet publishes it`,
      );
    }
    for (const [topic, names] of producers) {
      if (consumers.has(topic) || (catalogue[topic]?.externalConsumers ?? []).length > 0) continue;
      this.#warnings.push(
        `${names.join(', ')} publish${names.length === 1 ? 'es' : ''} ${topic}, and nobody in this fleet reads it`,
      );
    }
  }

  // ---- the result

  #spec(
    daemon: Resolved,
    file: Usable<FleetFile>,
    table: EdgeTable,
    pulled: ReadonlyMap<string, string | null>,
    config: unknown,
  ): DaemonSpec {
    const { name, entry, builtIn } = daemon;
    const definition = daemon.definition!; // a daemon without one is a fault, and faults do not come this far
    const critical = entry.critical ?? definition.critical;
    return {
      type: name,
      purpose: definition.purpose,
      category: definition.category,
      kind: entry.kind ?? definition.kind,
      critical,
      inProfile: pulled.has(name),
      pulledInBy: pulled.get(name) ?? null,
      oneShot: definition.oneShot,
      ...policiesOf({
        definition,
        builtIn,
        critical,
        tempo: this.#options.tempo,
        defaults: file.defaults ?? {},
        entry: entry as Partial<DaemonEntry>,
      }),
      recoveryTargetSeconds: entry.recoveryTargetSeconds ?? definition.recoveryTargetSeconds,
      edges: table.edges.get(name) ?? [],
      config,
      definition,
    };
  }

  #refuseIfFaulty(): void {
    if (this.#faults.count > 0) throw fleetInvalid(this.#options.file, this.#faults.all(), this.#faults.count);
  }

  #at(path: Path, message: string, hint: string | null = null): void {
    this.#faults.add(this.#document.place(path), path, message, hint);
  }

  #atKey(path: Path, message: string, hint: string | null = null): void {
    this.#faults.add(this.#document.keyPlace(path), path, message, hint);
  }

  #writtenAt(path: Path): string {
    const { line, column }: Place = this.#document.place(path);
    return `${this.#label}:${line}:${column}`;
  }
}

const CYCLE_EDGES_SHOWN = 12;

const HOW_READY: Readonly<Record<string, string>> = {
  ready: 'a daemon is ready when its start returns, or when it calls ready()',
};

const zoneHint = (name: string): string => {
  const near = nearestAmong(timeZones())(name);
  return near === null ? 'IANA names, such as UTC or Europe/Paris' : `did you mean "${near}"?`;
};

/** What of a fleet decides behaviour: positions, purposes and the order of keys do not. */
const decisive = (rest: object, specs: readonly DaemonSpec[], modules: readonly (string | null)[]): unknown => ({
  ...rest,
  schedule: (rest as { schedule: readonly ScheduleEntry[] }).schedule.map(({ writtenAt: _, ...entry }) => entry),
  daemons: specs.map(({ purpose: _purpose, definition, edges, pulledInBy: _by, ...spec }, at) => ({
    ...spec,
    edges: edges.map(({ writtenAt: _, ...edge }) => edge),
    module: modules[at],
    type: spec.type,
    definition: definition.type,
    publishes: definition.publishes,
    subscribes: definition.subscribes,
    maxInFlight: definition.maxInFlight,
    manualReady: definition.manualReady,
  })),
});

/**
 * Reads, checks and resolves a fleet file.
 * @throws FLEET_INVALID with every fault of the file in `context.faults`, in reading order
 */
export const loadFleet = async (options: LoadFleetOptions): Promise<LoadedFleet> => {
  const whole = (message: string, hint: string | null): never => {
    const faults = new FaultList(options.file, () => '');
    faults.add(null, [], message, hint);
    throw fleetInvalid(options.file, faults.all(), faults.count);
  };
  let text = options.text;
  if (text === undefined) {
    const reading = readFleetText(options.files, resolve(options.file));
    if ('message' in reading) return whole(reading.message, reading.hint);
    text = reading.text;
  }
  const dotEnv = readEnvText(options.files, resolve(dirname(resolve(options.file)), '.env'));
  if (dotEnv !== null && 'message' in dotEnv) return whole(`.env beside the file: ${dotEnv.message}`, dotEnv.hint);
  const environment = { ...(dotEnv === null ? {} : readDotEnv(dotEnv.text)), ...options.env };
  const { document, faults } = parseFleetText(options.file, text, environment);
  if (document === null) throw fleetInvalid(options.file, faults.all(), faults.count);
  return new Loading(options, document, faults).run();
};
