import { expect } from 'chai';
import {
  EDGE_EVENTS,
  EDGE_KINDS,
  edgeAction,
  ON_LOSS,
  type EdgeAction,
  type EdgeEvent,
} from '../../src/lifecycle/edge-rules.ts';
import { BareCore } from '../support/bare-core.ts';
import { fleetOf } from '../support/fleets.ts';

/*   ON ← BY   one edge, of the kind and onLoss of the cell   */
type Edge = { readonly kind: (typeof EDGE_KINDS)[number]; readonly onLoss: (typeof ON_LOSS)[number] };

const worldOf = (edge: Edge): BareCore => new BareCore(fleetOf({ ON: [], BY: [{ on: 'ON', ...edge }] }));

/** Brings the event about at the other end. */
const HAPPENS: Readonly<Record<EdgeEvent, (world: BareCore, action: EdgeAction) => void>> = {
  lost: (world) => {
    world.boot();
    world.exit('ON');
  },
  'stopped-by-operator': (world) => {
    world.boot();
    world.command('stop', ['ON'], { waitMs: 0 });
  },
  'ready-again': (world, action) => {
    if (action === 'reattach') {
      world.boot();
      world.exit('ON');
      world.effects.length = 0;
      world.pass(1000);
      return;
    }
    world.autoReady = false;
    world.boot();
    expect(world.state('BY')).to.equal('WAITING');
    world.input({ kind: 'ready', daemon: 'ON', generation: 1 });
  },
  unhealthy: (world) => {
    world.boot();
    for (let check = 0; check < 2; check++)
      world.input({ kind: 'verdict', daemon: 'ON', generation: 1, verdict: 'unhealthy', message: 'unwell' });
    expect(world.core.get('ON')?.streak).to.equal(2);
  },
};

/** What each word promises of BY, the dependent. */
const PROMISES: Readonly<Record<EdgeAction, (world: BareCore) => void>> = {
  restart: (world) => {
    expect(world.state('BY')).to.equal('STOPPING');
    expect(world.core.get('BY')).to.include({ restartsTotal: 1, restarts: 0 });
    world.stopped('BY');
    expect(world.state('BY')).to.equal('WAITING');
    world.pass(1000);
    expect(world.core.get('BY')).to.include({ state: 'RUNNING', generation: 2 });
  },
  stop: (world) => {
    expect(world.state('BY')).to.equal('STOPPING');
    expect(world.core.get('BY')?.restartsTotal).to.equal(0);
    if (world.state('ON') === 'RUNNING') expect(world.stops).to.deep.equal(['BY']); // leaf first
    world.finishStops();
    expect(world.state('BY')).to.equal('WAITING');
    world.pass(1000);
    if (world.state('ON') === 'STOPPED') {
      expect(world.state('BY')).to.equal('WAITING');
      world.command('start', ['ON'], { waitMs: 0 });
    }
    expect(world.core.get('BY')).to.include({ state: 'RUNNING', generation: 2 });
  },
  stay: (world) => {
    expect(world.state('BY')).to.equal('RUNNING');
    expect(world.core.get('BY')?.needs[0]?.lost).to.be.true;
    expect(world.stops).to.deep.equal([]);
  },
  reattach: (world) => {
    const reattached = world.effects.filter((effect) => effect.do === 'reattach');
    expect(reattached).to.deep.equal([{ do: 'reattach', daemon: 'BY', generation: 1, on: 'ON' }]);
    expect(world.state('BY')).to.equal('RUNNING');
    world.pass(5_000);
    expect(world.state('BY')).to.equal('STOPPING'); // not proven in time
  },
  release: (world) => {
    expect(world.launched).to.deep.equal(['ON', 'BY']);
  },
  none: (world) => {
    expect(world.core.get('BY')).to.include({ state: 'RUNNING', generation: 1, restartsTotal: 0 });
    expect(world.core.get('BY')?.needs[0]?.lost).to.be.false;
    world.finishStops();
    world.pass(60_000);
    expect(world.core.get('BY')).to.include({ state: 'RUNNING', generation: 1 });
  },
};

describe('edge truth table: kind × onLoss × event, against the core', () => {
  for (const kind of EDGE_KINDS)
    for (const onLoss of ON_LOSS)
      for (const event of EDGE_EVENTS) {
        const action = edgeAction(kind, onLoss, event);
        it(`${kind}, onLoss ${onLoss}, ${event}: ${action}`, () => {
          const world = worldOf({ kind, onLoss });
          HAPPENS[event](world, action);
          PROMISES[action](world);
        });
      }
});
