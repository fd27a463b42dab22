// Which way imports point (the tree in docs/architecture.md), and where raw effects may be taken.
const only = (name, from, allowed, comment) => ({
  name,
  comment,
  severity: 'error',
  from: { path: from },
  to: { path: '^src/', pathNot: [from, ...allowed] },
});

module.exports = {
  forbidden: [
    {
      name: 'no-circular',
      comment: 'a cycle of modules has no order of reading',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'raw-effects-only-in-seams',
      comment: 'disk, processes and sockets are taken through src/seams, so that simulation can reach them',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/seams/' },
      to: {
        path: '^(node:)?(fs|fs/promises|child_process|timers|timers/promises|net|dgram|http|https)$',
        dependencyTypesNot: ['type-only'],
      },
    },
    only('seams-know-nothing', '^src/seams/', ['^src/(errors|bounds)'], 'the world as interfaces'),
    only('graph-is-pure', '^src/graph/', ['^src/errors'], 'a value without effects'),
    only('lifecycle-is-pure', '^src/lifecycle/', ['^src/errors', '^src/graph/'], 'tables and policy without effects'),
    only('training-knows-no-daemon', '^src/training/', ['^src/(errors|bounds)', '^src/seams/'], 'a library of its own'),
    only(
      'daemons-never-the-orchestrator',
      '^src/daemons/',
      ['^src/(errors|bounds)', '^src/seams/', '^src/events/', '^src/health/', '^src/training/'],
      'a daemon that needs a sibling says so in dependsOn and talks through events',
    ),
    {
      name: 'core-is-pure',
      comment: 'the core decides; time and chance arrive with the input',
      severity: 'error',
      from: { path: '^src/orchestrator/(core|member)' },
      to: { path: '^(src/seams/|src/runtimes/|rxjs|p-queue|node:)' },
    },
    only(
      'core-knows-no-shell',
      '^src/orchestrator/core',
      ['^src/errors', '^src/lifecycle/', '^src/fleet/types', '^src/orchestrator/(member|types)\\.ts$'],
      'the core decides from its inputs, its members and the tables',
    ),
    {
      name: 'core-has-one-entrance',
      comment: 'the files of src/orchestrator/core change what the core holds; others go through core.ts',
      severity: 'error',
      from: { pathNot: '^src/orchestrator/core' },
      to: { path: '^src/orchestrator/core/' },
    },
    {
      name: 'no-sibling-daemons',
      comment: 'siblings talk through events',
      severity: 'error',
      from: { path: '^src/daemons/([^/]+)/([^/]+)\\.ts$' },
      to: { path: '^src/daemons/[^/]+/[^/]+\\.ts$', pathNot: '^src/daemons/$1/$2\\.ts$' },
    },
    {
      name: 'simulation-is-not-shipped-logic',
      comment: 'only tests, benches, scripts and the simulate command import it',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/simulation/', '^src/operations/cli/simulate'] },
      to: { path: '^src/simulation/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
};
