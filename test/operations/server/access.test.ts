import { expect } from 'chai';
import { hostNameOf, isLoopback, refuseAccess, tokenMatches } from '../../../src/operations/server/access.ts';
import type { AccessRules, Asked } from '../../../src/operations/server/access.ts';

const LOCAL: AccessRules = { bind: '127.0.0.1', token: 'the-token', hostName: 'box' };
const OPEN: AccessRules = { ...LOCAL, bind: '0.0.0.0' };
const TOKEN = 'Bearer the-token';

const asked = (changes: Partial<Asked> = {}): Asked => ({
  method: 'GET',
  path: '/status',
  host: '127.0.0.1:8790',
  origin: undefined,
  authorization: undefined,
  ...changes,
});
const statusOf = (request: Partial<Asked>, rules = LOCAL): number | null =>
  refuseAccess(asked(request), rules)?.status ?? null;

describe('access over the port', () => {
  for (const host of ['127.0.0.1:8790', 'localhost:8790', 'localhost', 'LOCALHOST:1', '[::1]:8790'])
    it(`serves a loopback Host: ${host}`, () => expect(statusOf({ host })).to.be.null);

  for (const host of [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'localhost:8790:1',
    '',
    'a b',
    '192.168.0.7:8790',
  ])
    it(`refuses a foreign Host: ${JSON.stringify(host)}`, () => expect(statusOf({ host })).to.equal(403));

  it('refuses a request without Host', () => expect(statusOf({ host: undefined })).to.equal(403));

  it('serves its own pages', () => expect(statusOf({ origin: 'http://127.0.0.1:8790' })).to.be.null);

  for (const origin of ['http://evil.example', 'http://127.0.0.1:3000', 'https://127.0.0.1:8790', 'null', ''])
    it(`refuses the page of another origin: ${JSON.stringify(origin)}`, () =>
      expect(statusOf({ origin })).to.equal(403));

  it('refuses a foreign page even with the token', () =>
    expect(statusOf({ origin: 'http://evil.example', authorization: TOKEN, method: 'POST' })).to.equal(403));

  it('asks a change for the token', () => {
    expect(statusOf({ method: 'POST', path: '/recover' })).to.equal(401);
    expect(statusOf({ method: 'POST', path: '/recover', authorization: 'Bearer wrong' })).to.equal(401);
    expect(statusOf({ method: 'POST', path: '/recover', authorization: TOKEN })).to.be.null;
  });

  it('off loopback asks for the token everywhere but at /health and /ready', () => {
    expect(statusOf({ path: '/health', host: '10.0.0.3:8790' }, OPEN)).to.be.null;
    expect(statusOf({ path: '/ready', host: '10.0.0.3:8790' }, OPEN)).to.be.null;
    expect(statusOf({ path: '/metrics', host: '10.0.0.3:8790' }, OPEN)).to.equal(401);
    expect(statusOf({ path: '/status', host: 'box:8790', authorization: TOKEN }, OPEN)).to.be.null;
    expect(statusOf({ path: '/health', host: 'evil.example' }, OPEN)).to.equal(403);
  });

  it('compares tokens whole', () => {
    for (const wrong of [undefined, '', 'Bearer', 'Bearer ', 'Bearer the-toke', 'Bearer the-token-', 'Basic the-token'])
      expect(tokenMatches(wrong, 'the-token'), String(wrong)).to.be.false;
    expect(tokenMatches('bearer the-token', 'the-token')).to.be.true;
  });

  it('knows loopback addresses, and what a Host is', () => {
    expect(['127.0.0.1', '127.1.2.3', '::1', 'localhost'].every(isLoopback)).to.be.true;
    expect(['0.0.0.0', '::', '10.0.0.1', '127.evil'].some(isLoopback)).to.be.false;
    expect(hostNameOf('Box:80')).to.equal('box');
    expect(hostNameOf('a/b')).to.be.null;
  });
});
