import { expect } from 'chai';
import { OrchestratorError } from '../../src/errors.ts';
import { describeFault } from '../../src/graph/faults.ts';
import { buildGraph, checkGraph, loadGraph, type GraphEdge, type GraphNode } from '../../src/graph/graph.ts';
import { drawn, graphOf } from './drawn.ts';

const hard = (from: string, on: string, writtenAt = `fleet.yaml:${from}`): GraphEdge => ({
  from,
  on,
  kind: 'hard',
  writtenAt,
});

const thrownBy = (work: () => unknown): OrchestratorError => {
  try {
    work();
  } catch (error) {
    expect(error).to.be.instanceOf(OrchestratorError);
    return error as OrchestratorError;
  }
  throw new Error('nothing was thrown');
};

describe('Building a graph from faulty daemons and edges', () => {
  // ROUTER <- PIPELINE <- SYNC -> PIPELIME (unknown)      LOOP -> LOOP      A -> B -> C -> A
  const nodes: readonly GraphNode[] = [
    { id: 'ROUTER', writtenAt: 'fleet.yaml:3:3' },
    { id: 'PIPELINE', writtenAt: 'fleet.yaml:4:3' },
    { id: 'SYNC', writtenAt: 'fleet.yaml:5:3' },
    { id: 'LOOP', writtenAt: 'fleet.yaml:6:3' },
    { id: 'A' },
    { id: 'B' },
    { id: 'C' },
    { id: 'SYNC', writtenAt: 'fleet.yaml:9:3' },
    { id: 'no good', writtenAt: 'fleet.yaml:10:3' },
  ];
  const edges: readonly GraphEdge[] = [
    hard('PIPELINE', 'ROUTER'),
    hard('SYNC', 'PIPELINE'),
    hard('SYNC', 'PIPELIME', 'fleet.yaml:5:20'),
    hard('LOOP', 'LOOP', 'fleet.yaml:6:20'),
    hard('A', 'B', 'fleet.yaml:7:1'),
    hard('B', 'C', 'fleet.yaml:8:1'),
    hard('C', 'A', 'definition of C'),
    { from: 'SYNC', on: 'PIPELINE', kind: 'soft', writtenAt: 'fleet.yaml:5:33' },
    hard('GHOST', 'ROUTER'),
  ];

  it('reports all of them together, each with where it was written', () => {
    const error = thrownBy(() => buildGraph(nodes, edges));
    expect(error.code).to.equal('GRAPH_INVALID');
    const faults = error.context['faults'] as ReturnType<typeof checkGraph>;
    expect(faults.map(({ kind, writtenAt }) => [kind, writtenAt])).to.deep.equal([
      ['duplicate', 'fleet.yaml:9:3'],
      ['bad-name', 'fleet.yaml:10:3'],
      ['unknown-dependency', 'fleet.yaml:5:20'],
      ['self-edge', 'fleet.yaml:6:20'],
      ['duplicate', 'fleet.yaml:5:33'],
      ['unknown-dependency', 'fleet.yaml:GHOST'],
      ['cycle', 'fleet.yaml:7:1'],
    ]);
    expect(checkGraph(nodes, edges)).to.deep.equal(faults);
    expect(loadGraph(nodes, edges)).to.deep.equal({ graph: null, faults });
  });

  it('names the nearest daemon, and prints the cycle edge by edge', () => {
    const { message, remedy } = thrownBy(() => buildGraph(nodes, edges));
    expect(message).to.match(/^cannot order the daemons: 7 faults in their dependencies\n/);
    expect(message).to.include('"SYNC" depends on "PIPELIME", and no daemon has that name (fleet.yaml:5:20)');
    expect(message).to.include('did you mean PIPELINE?');
    expect(message).to.include('3 daemons depend on each other in a circle: A → B → C → A');
    expect(message).to.include('A depends on B (hard), written at fleet.yaml:7:1');
    expect(message).to.include('B depends on C (hard), written at fleet.yaml:8:1');
    expect(message).to.include('C depends on A (hard), written at definition of C');
    expect(message).to.include('the daemon name "no good" has a space at character 3');
    expect(remedy).to.include('master_loop validate');
  });

  it('finds a cycle through a daemon whose name is refused as well', () => {
    const faults = checkGraph(
      [{ id: '__proto__' }, { id: 'constructor' }, { id: 'A' }],
      [hard('A', '__proto__'), hard('__proto__', 'constructor'), hard('constructor', 'A')],
    );
    expect(faults.map(({ kind }) => kind)).to.deep.equal(['bad-name', 'bad-name', 'cycle']);
    expect(faults[2]).to.have.deep.property('cycle', ['__proto__', 'constructor', 'A']);
  });

  for (const name of [
    '__proto__',
    'constructor',
    'toString',
    'hasOwnProperty',
    '',
    ' ',
    'A\u0001B',
    'é',
    '🚀',
    '\ud800',
  ]) {
    it(`a dependency on ${JSON.stringify(name)} is an unknown name, not a crash and not a new daemon`, () => {
      const faults = checkGraph([{ id: 'A' }], [hard('A', name)]);
      expect(faults.map(({ kind }) => kind)).to.deep.equal(['unknown-dependency']);
    });

    it(`a daemon called ${JSON.stringify(name)} is refused, not a crash`, () => {
      const faults = checkGraph([{ id: name }, { id: 'A' }], [hard('A', name)]);
      expect(faults.map(({ kind }) => kind)).to.deep.equal(['bad-name']);
    });
  }

  it('keeps the message readable for 10,000 unknown names, and all of them in the context', () => {
    const many = Array.from({ length: 10_000 }, (_, at) => hard('A', `MISSING_DAEMON_${at}`));
    const error = thrownBy(() => buildGraph([{ id: 'A' }], many));
    expect(error.context['faults']).to.have.length(10_000);
    expect(error.message.split('\n').length).to.be.below(200);
    expect(error.message).to.include('… and 9950 more');
  });

  it('shortens a circle of 100 in the message, and keeps it whole in the fault', () => {
    const picture = Array.from({ length: 100 }, (_, at) => `D${at} -> D${(at + 1) % 100}`).join('\n');
    const { nodes: ring, edges: around } = drawn(picture);
    const [fault] = checkGraph(ring, around);
    expect(fault).to.have.property('cycle').with.length(100);
    expect(fault?.message).to.include('… 88 more …');
    expect(describeFault(fault!)).to.include('… and 80 more edges');
  });
});

describe('Asking a graph about a daemon it lacks', () => {
  const graph = graphOf('SYNC -> PIPELINE -> ROUTER');

  const asked: Readonly<Record<string, () => unknown>> = {
    dependencies: () => graph.dependencies('PIPELIME'),
    dependents: () => graph.dependents('PIPELIME'),
    transitiveDependents: () => graph.transitiveDependents(['ROUTER', 'PIPELIME']),
    transitiveDependencies: () => graph.transitiveDependencies('PIPELIME'),
    pathBetween: () => graph.pathBetween('SYNC', 'PIPELIME'),
    isCritical: () => graph.isCritical('PIPELIME'),
    pathLengths: () => graph.pathLengths({ PIPELIME: 3 }),
    criticalPath: () => graph.criticalPath(new Map([['PIPELIME', 3]])),
  };
  for (const [method, ask] of Object.entries(asked)) {
    it(`${method} throws UNKNOWN_DAEMON with the nearest name`, () => {
      const error = thrownBy(ask);
      expect(error.code).to.equal('UNKNOWN_DAEMON');
      expect(error.message).to.equal('cannot find the daemon "PIPELIME"; the nearest name is PIPELINE');
      expect(error.remedy).to.include('PIPELINE');
    });
  }

  it('has and indexOf answer instead', () => {
    expect(graph.has('PIPELIME')).to.equal(false);
    expect(graph.has('constructor')).to.equal(false);
    expect(graph.indexOf('__proto__')).to.equal(-1);
    expect(graph.indexOf('ROUTER')).to.equal(2);
  });
});
