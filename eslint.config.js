// Lint rules that protect the architecture: no floating promises, and no raw clock or chance outside src/seams.
import js from '@eslint/js';
import tseslint from 'typescript-eslint';

const rawWorld = [
  ...['setTimeout', 'setInterval', 'setImmediate', 'clearTimeout', 'clearInterval', 'clearImmediate'].map((name) => ({
    name,
    message: 'take time from a Clock (src/seams/clock.ts), so that simulation can reach it',
  })),
  { name: 'Date', message: 'take time from a Clock (src/seams/clock.ts): clock.wallMs() or isoTime()' },
  { name: 'performance', message: 'take time from a Clock (src/seams/clock.ts): clock.monotonicMs()' },
  { name: 'fetch', message: 'use the Network seam (src/seams/network.ts)' },
];

export default tseslint.config(
  { ignores: ['dist', 'node_modules', 'coverage', '.build', '.cache', '.master-loop'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      'no-undef': 'off', // the compiler knows
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/seams/**', 'src/simulation/**'],
    rules: {
      'no-restricted-globals': ['error', ...rawWorld],
      'no-restricted-properties': ['error', { object: 'Math', property: 'random', message: 'use the Random seam' }],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-expressions': 'off' }, // chai's `to.be.true`
  },
  { files: ['**/*.js', '**/*.cjs'], languageOptions: { globals: { module: 'writable' } } },
);
