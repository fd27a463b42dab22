import { expect } from 'chai';
import { z } from 'zod';
import { defineDaemon } from '../../src/daemons/definition.ts';
import { loadFleet } from '../../src/fleet/load.ts';
import { brief, edgeOf, faultsFrom, specIn, withDaemons, worldOf } from './support.ts';

const one = (exported: unknown, entry = '{ module: ./m.js }') =>
  loadFleet(
    worldOf({ text: withDaemons(`M: ${entry}`, 'BASE: { uses: one-shot }') }, {}, { 'm.js': exported }).options,
  );
const faultsOfOne = async (exported: unknown, entry?: string): Promise<string[]> =>
  brief(await faultsFrom(one(exported, entry)));
const create = (): object => ({});

describe('A daemon from a module', () => {
  it('is a definition made by defineDaemon', async () => {
    const definition = defineDaemon({
      type: 'M',
      purpose: 'p',
      category: 'c',
      dependsOn: ['BASE'],
      critical: true,
      create,
    });
    const loaded = await one({ default: definition });
    expect(specIn(loaded, 'M')).to.include({ purpose: 'p', category: 'c', critical: true });
    expect(edgeOf(loaded, 'M', 'BASE')).to.include({ kind: 'hard', writtenAt: 'definition of M' });
  });

  it('is a plain object, with the same defaults', async () => {
    const loaded = await one({ default: { type: 'M', create, dependsOn: ['BASE'] } });
    const { definition } = specIn(loaded, 'M');
    expect(definition).to.include({
      kind: 'in-process',
      critical: false,
      maxInFlight: 1,
      manualReady: false,
      oneShot: false,
    });
    expect(definition.dependsOn).to.deep.equal([{ on: 'BASE' }]);
  });

  it('runs under the name of the file, not under its own type', async () => {
    expect(specIn(await one({ default: { type: 'OTHER', create } }), 'M').definition.type).to.equal('OTHER');
  });

  it('has its settings checked by its own schema, at their place in the file', async () => {
    const config = z.strictObject({ n: z.number().default(1) });
    expect(specIn(await one({ default: { type: 'M', create, config } }), 'M').config).to.deep.equal({ n: 1 });
    expect(
      await faultsOfOne({ default: { type: 'M', create, config } }, '{ module: ./m.js, config: { n: x } }'),
    ).to.deep.equal(['4:37 "n" must be a number, and is "x"']);
    expect(await faultsOfOne({ default: { type: 'M', create } }, '{ module: ./m.js, config: { n: 1 } }')).to.deep.equal(
      ['4:34 unknown key "n" in daemons.M.config'],
    );
  });

  it('has a schema made of the zod it is given, and needs no package of its own', async () => {
    const config = (zod: typeof z): z.ZodType => zod.strictObject({ n: zod.number().default(1) });
    expect(specIn(await one({ default: { type: 'M', create, config } }), 'M').config).to.deep.equal({ n: 1 });
    expect(
      await faultsOfOne({ default: { type: 'M', create, config } }, '{ module: ./m.js, config: { n: x } }'),
    ).to.deep.equal(['4:37 "n" must be a number, and is "x"']);
  });

  for (const [event, exported, message] of [
    ['nothing is exported by default', { other: 1 }, 'the module "./m.js" has no default export'],
    ['a number is', { default: 5 }, 'the default export of "./m.js" is number, and no daemon definition'],
    ['null is', { default: null }, 'the default export of "./m.js" is object, and no daemon definition'],
    [
      'a class without type is',
      { default: { create } },
      'the default export of "./m.js" is no daemon definition: type must be string',
    ],
    [
      'create is missing',
      { default: { type: 'M' } },
      'the default export of "./m.js" is no daemon definition: create must be a function that makes one start',
    ],
    [
      'the config is no schema',
      { default: { type: 'M', create, config: { n: 1 } } },
      'the default export of "./m.js" is no daemon definition: config must be a zod schema, or a function that makes one of the zod it is given',
    ],
    [
      'its own function makes no schema',
      {
        default: {
          type: 'M',
          create,
          config: () => {
            throw new Error('no');
          },
        },
      },
      'the default export of "./m.js" is no daemon definition: config must be a zod schema, or a function that makes one of the zod it is given',
    ],
    [
      'it throws while it loads',
      new Error("Cannot find package 'left-pad'\n    at here"),
      'the module "./m.js" cannot be imported: Cannot find package \'left-pad\'',
    ],
  ] as const) {
    it(`is refused when ${event}`, async () => expect(await faultsOfOne(exported)).to.deep.equal([`4:16 ${message}`]));
  }

  it('is refused when its file is missing, and says where it was looked for', async () => {
    const faults = await faultsFrom(one({ default: 1 }, '{ module: ../other/m.js }'));
    expect(brief(faults)).to.deep.equal(['4:16 the module "../other/m.js" does not exist']);
    expect(faults[0]!.hint).to.equal('it is looked for at /other/m.js');
  });
});
