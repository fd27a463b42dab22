import { expect } from 'chai';
import { blocksOf, patternOf } from './document.ts';

const TEXT = `# Title

<!-- not run: it is the test -->

\`\`\`bash
npm test
\`\`\`

## Look

\`\`\`bash
status
\`\`\`

\`\`\`text
A  RUNNING  12s
\`\`\`

\`\`\`js
go();
\`\`\`

Words between.

\`\`\`text
not what it prints
\`\`\`

<!-- in a terminal, then the key q -->

\`\`\`bash
watch
\`\`\`

1. Within a list

   \`\`\`bash
   if true; then
     listed
   fi
   \`\`\`
`;

describe('A document', () => {
  it('is its runnable blocks, with where they stand, how they run and what they print', () => {
    const blocks = blocksOf('x.md', TEXT);
    expect(blocks.map(({ source, under, line, way }) => [source, under, line, way])).to.deep.equal([
      ['npm test', 'Title', 5, 'not run'],
      ['status', 'Look', 11, 'plain'],
      ['go();', 'Look', 19, 'plain'],
      ['watch', 'Look', 31, 'terminal'],
      ['if true; then\n  listed\nfi', 'Look', 37, 'plain'],
    ]);
    expect(blocks.map(({ prints }) => prints)).to.deep.equal([null, 'A  RUNNING  12s', null, null, null]);
    expect(blocks[0]).to.include({ reason: 'it is the test' });
    expect(blocks[3]).to.include({ key: 'q' });
  });

  it('with a comment that says nothing known is refused', () => {
    expect(() => blocksOf('x.md', '<!-- skip -->\n```bash\nx\n```\n')).to.throw('x.md:2');
  });
});

describe('What a document shows', () => {
  const SHOWN = 'ready after 1.5s\n…\nROUTER *   RUNNING  …\nlast (1)';

  it('is found with other numbers, other spaces and more lines', () => {
    expect('noise\nready after 20s\na\nb\nROUTER *  RUNNING  healthy  0\nlast (12)\nmore\n').to.match(patternOf(SHOWN));
    expect('ready after 20s\nROUTER *  RUNNING  healthy\nlast (3)\n').to.match(patternOf(SHOWN));
  });

  it('is not found with other words, a line missing, or in another order', () => {
    expect('ready after 20s\nROUTER *  FAILED  healthy\nlast (3)\n').to.not.match(patternOf(SHOWN));
    expect('ready after 20s\nROUTER *  RUNNING  healthy\n').to.not.match(patternOf(SHOWN));
    expect('ROUTER *  RUNNING  healthy\nready after 20s\nlast (3)\n').to.not.match(patternOf(SHOWN));
    expect('ready after a while\nROUTER *  RUNNING  healthy\nlast (3)\n').to.not.match(patternOf(SHOWN));
  });
});
