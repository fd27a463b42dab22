import { expect } from 'chai';
import { z } from 'zod';
import { encodeBody } from '../../src/events/event-body.ts';

describe('The body of an event', () => {
  it('that its schema cannot even look at is the publisher’s fault, and said as such', () => {
    const schema = z.object({ at: z.any() }).refine(() => {
      throw new Error('that date is from another calendar');
    });
    expect(() => encodeBody(schema, 'COUNTED', 'A', { at: 1 }, 100))
      .to.throw(/cannot publish COUNTED from A: .*could not be checked: that date is from another calendar/)
      .with.property('code', 'EVENT_INVALID');
  });
});
