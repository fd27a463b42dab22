import { expect } from 'chai';
import { buildGraph } from '../../src/graph/graph.ts';
import { mermaidText, toJson, toMermaid, toText } from '../../src/graph/render.ts';

// EVENT_ROUTER* <- DATA_PIPELINE* <- REPORT        EVENT_ROUTER <- (reattach) AUTO_SYNC <~ REPORT <. end
const graph = buildGraph(
  [
    { id: 'REPORT' },
    { id: 'end' },
    { id: 'EVENT_ROUTER', critical: true },
    { id: 'DATA_PIPELINE', critical: true },
    { id: 'AUTO_SYNC' },
  ],
  [
    { from: 'DATA_PIPELINE', on: 'EVENT_ROUTER', kind: 'hard', onLoss: 'restart', writtenAt: 'fleet.yaml:7:5' },
    { from: 'AUTO_SYNC', on: 'EVENT_ROUTER', kind: 'hard', onLoss: 'reattach', writtenAt: 'definition of AUTO_SYNC' },
    { from: 'REPORT', on: 'DATA_PIPELINE', kind: 'hard', writtenAt: 'fleet.yaml:9:5' },
    { from: 'REPORT', on: 'AUTO_SYNC', kind: 'soft', onLoss: 'ignore', writtenAt: 'fleet.yaml:9:25' },
    { from: 'end', on: 'REPORT', kind: 'order', writtenAt: 'order rule' },
  ],
);

describe('A plan as JSON', () => {
  it('has exactly the keys of the contract', () => {
    expect(JSON.parse(JSON.stringify(toJson(graph, { AUTO_SYNC: 9 })))).to.deep.equal({
      order: ['EVENT_ROUTER', 'DATA_PIPELINE', 'AUTO_SYNC', 'REPORT', 'end'],
      waves: [['EVENT_ROUTER'], ['DATA_PIPELINE', 'AUTO_SYNC'], ['REPORT'], ['end']],
      edges: [
        { from: 'DATA_PIPELINE', on: 'EVENT_ROUTER', kind: 'hard', onLoss: 'restart', writtenAt: 'fleet.yaml:7:5' },
        {
          from: 'AUTO_SYNC',
          on: 'EVENT_ROUTER',
          kind: 'hard',
          onLoss: 'reattach',
          writtenAt: 'definition of AUTO_SYNC',
        },
        { from: 'REPORT', on: 'DATA_PIPELINE', kind: 'hard', onLoss: null, writtenAt: 'fleet.yaml:9:5' },
        { from: 'REPORT', on: 'AUTO_SYNC', kind: 'soft', onLoss: 'ignore', writtenAt: 'fleet.yaml:9:25' },
        { from: 'end', on: 'REPORT', kind: 'order', onLoss: null, writtenAt: 'order rule' },
      ],
      criticalPath: ['EVENT_ROUTER', 'AUTO_SYNC', 'REPORT', 'end'],
    });
  });

  it('leaves out what else an edge carries', () => {
    const rich = buildGraph(
      [{ id: 'A' }, { id: 'B' }],
      [
        {
          from: 'B',
          on: 'A',
          kind: 'hard' as const,
          onLoss: 'stop' as const,
          writtenAt: 'x',
          condition: 'ready',
          timeoutMs: 3,
        },
      ],
    );
    expect(toJson(rich).edges).to.deep.equal([{ from: 'B', on: 'A', kind: 'hard', onLoss: 'stop', writtenAt: 'x' }]);
  });
});

describe('A plan as text', () => {
  it('shows waves, what each daemon starts after, and the critical path', () => {
    expect(toText(graph, { startMs: { AUTO_SYNC: 1200 } }).split('\n')).to.deep.equal([
      '5 daemons in 4 waves, 5 edges (* critical; a daemon starts as soon as what it needs is ready)',
      '',
      'wave 1',
      '  EVENT_ROUTER *',
      '',
      'wave 2',
      '  DATA_PIPELINE * after EVENT_ROUTER',
      '  AUTO_SYNC       after EVENT_ROUTER',
      '',
      'wave 3',
      '  REPORT          after DATA_PIPELINE, AUTO_SYNC(soft)',
      '',
      'wave 4',
      '  end             after REPORT(order)',
      '',
      'critical path: EVENT_ROUTER → AUTO_SYNC → REPORT → end (1200 ms)',
    ]);
  });

  it('says of every edge where it was written, when asked', () => {
    const text = toText(graph, { where: true });
    expect(text).to.include(
      '  AUTO_SYNC\n      after EVENT_ROUTER (hard, reattach on loss)  definition of AUTO_SYNC\n',
    );
    expect(text).to.include('      after REPORT (order)  order rule\n');
    expect(text).not.to.include(' ms)');
  });

  it('keeps to the width of the terminal', () => {
    const ids = Array.from({ length: 30 }, (_, at) => `DEPENDENCY_${at}`);
    const wide = buildGraph(
      [...ids.map((id) => ({ id })), { id: 'LAST' }],
      ids.map((on) => ({ from: 'LAST', on, kind: 'hard', writtenAt: 'x' })),
    );
    for (const line of toText(wide, { width: 60 }).split('\n').slice(1)) expect(line.length).to.be.at.most(60);
    expect(toText(wide).match(/DEPENDENCY_\d+/g)).to.include.members(ids);
  });

  it('of an empty graph says so', () => expect(toText(buildGraph([], []))).to.equal('no daemons'));
});

describe('A plan as Mermaid', () => {
  it('numbers the daemons, draws edges in the direction of the start, and marks kinds and critical ones', () => {
    expect(toMermaid(graph).split('\n')).to.deep.equal([
      'flowchart TD',
      '  n0["REPORT"]',
      '  n1["end"]',
      '  n2["EVENT_ROUTER"]',
      '  n3["DATA_PIPELINE"]',
      '  n4["AUTO_SYNC"]',
      '  n2 --> n3',
      '  n2 -->|"reattach"| n4',
      '  n3 --> n0',
      '  n4 -.->|"soft"| n0',
      '  n0 -.->|"order"| n1',
      '  classDef critical stroke-width:3px',
      '  class n2,n3 critical',
    ]);
  });

  it('escapes what would end a label or begin an entity', () => {
    expect(mermaidText('a"b]#<c>\n`é🚀')).to.equal('a#34;b#93;#35;#60;c#62;#10;#96;#233;#128640;');
    expect(mermaidText('EVENT_ROUTER-2.x')).to.equal('EVENT_ROUTER-2.x');
  });
});
