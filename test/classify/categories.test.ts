import { describe, expect, test } from 'bun:test';
import { parse } from 'csv-parse/sync';
import fc from 'fast-check';
import { parseCategories, writeCategories } from '../../src/classify/categories.ts';
import { ServiceError } from '../../src/errors.ts';

const bytes = (text: string) => new TextEncoder().encode(text);
const labelsOf = (text: string) => parseCategories(bytes(text), 1000).labels;

function faultOf(document: string | Uint8Array, maxCategories = 1000): ServiceError {
  try {
    parseCategories(typeof document === 'string' ? bytes(document) : document, maxCategories);
  } catch (fault) {
    if (fault instanceof ServiceError) return fault;
    throw fault;
  }
  throw new Error(`Accepted: ${document}`);
}

/** The rules of a CSV document, said with regular expressions and a general parser. */
function generalParse(text: string): readonly string[] {
  const bare = text.replace(/"(?<=(?:^|[,;\t\r\n])[^\S\r\n]*")[^"]*"(?:"[^"]*")*/g, 'quoted');
  const isTabbed = /[^\s,;] *\t[ \t]*[^\s,;]/.test(bare);
  const hasSemicolon = bare.replace(/&#?\w{1,32};/g, '').includes(';');
  const rows: string[][] = parse(text, {
    delimiter: isTabbed ? '\t' : hasSemicolon ? ';' : ',',
    record_delimiter: ['\r\n', '\n', '\r'],
    relax_column_count: true,
    relax_quotes: true,
    skip_empty_lines: true,
    trim: true,
  });
  const labels = rows
    .flat()
    .map((cell) => cell.trim())
    .filter((cell) => cell !== '');
  const hasHeader = labels.length > 1 && /^\s*categor(?:y|ies)[^\S\r\n]*[\r\n]/i.test(text);
  const distinct = new Set(hasHeader ? labels.slice(1) : labels);
  if (distinct.size === 0 || [...distinct].some((label) => /\p{Cc}/u.test(label))) throw new Error('refused');
  return [...distinct];
}

function outcomeOf(read: () => readonly string[]): unknown {
  try {
    return read();
  } catch {
    return 'refused';
  }
}

describe('JSON', () => {
  test('is read as an object with "categories" or as a list', () => {
    expect(labelsOf('{"categories":["a cat","a dog"]}')).toEqual(['a cat', 'a dog']);
    expect(labelsOf(' \n["a cat", "a dog"]\n')).toEqual(['a cat', 'a dog']);
    expect(labelsOf('{"version":2,"categories":["a, b"]}')).toEqual(['a, b']);
  });

  test.each([
    ['["a",\n "b" "c"]', { line: 2, column: 6 }, 'comma expected'],
    ['["a","b"', { line: 1, column: 9 }, 'close bracket expected'],
    ['{"categories":["a",]}', { line: 1, column: 20 }, 'value expected'],
    ["['a']", { line: 1, column: 2 }, 'invalid symbol'],
    ['["a"] // all', { line: 1, column: 7 }, 'invalid comment token'],
    ['{"categories":["a"]}]', { line: 1, column: 21 }, 'end of file expected'],
  ])('that is broken is refused with its place: %j', (document, place, what) => {
    const fault = faultOf(document);
    expect(fault.code).toBe('categories_malformed');
    expect(fault.details).toEqual(place);
    expect(fault.message).toContain(`line ${place.line}, column ${place.column}: ${what}. Accepted are JSON`);
  });

  test.each(['["a",1]', '{"categories":{"a":[]}}', '"open', '[1'])(
    'that cannot be read is refused with all forms that are accepted, which can be read: %j',
    (document) => {
      const { message } = faultOf(document);
      const accepted =
        /Accepted are JSON, (\[.*?\]) or (\{.*?\}) or, with several phrases for a category, (\{.*\}), and/;
      const [, ...forms] = accepted.exec(message) ?? [];
      expect(forms.map((form) => parseCategories(bytes(form), 10))).toEqual([
        { labels: ['a', 'b'] },
        { labels: ['a', 'b'] },
        { labels: ['a'], phrases: [['b', 'c']] },
      ]);
    },
  );

  test('that is broken further on than anyone would look is refused all the same', () => {
    const fault = faultOf(`[${' '.repeat(300_000)}"a" "b"]`);
    expect(fault.code).toBe('categories_malformed');
    expect(fault.message).toContain('starts as JSON but is not valid JSON. Accepted');
    // A fault where the look ends is not taken for one of the document.
    expect(faultOf(`["${'a'.repeat(300_000)}" "b"]`).details).toEqual({});
  });

  test.each([
    ['{"categories":["a",42]}', 'has a number at categories[1]'],
    ['["a","b",null]', 'has null at [2]'],
    ['[["a"]]', 'has a list at [0]'],
    ['[{"name":"a"}]', 'has an object at [0]'],
    ['[true]', 'has a boolean at [0]'],
    ['{"categories":"a"}', 'has a string as "categories"'],
    ['{"categories":null}', 'has null as "categories"'],
    ['{"labels":["a"]}', 'without "categories"'],
    ['{"__proto__":{"categories":["a"]}}', 'without "categories"'],
  ])('of another shape is refused by what it has: %j', (document, what) => {
    const fault = faultOf(document);
    expect(fault.code).toBe('categories_malformed');
    expect(fault.message).toContain(what);
  });

  test('nested very deeply is refused, not fatal', () => {
    for (const document of ['['.repeat(100_000), `${'['.repeat(100_000)}${']'.repeat(100_000)}`]) {
      expect(faultOf(document).code).toBe('categories_malformed');
    }
  });
});

describe('CSV', () => {
  test.each([
    ['one word', 'cat', ['cat']],
    ['commas', 'cat, dog,bird', ['cat', 'dog', 'bird']],
    ['semicolons', 'cat; dog;bird', ['cat', 'dog', 'bird']],
    ['tabs', 'cat\tdog\tbird', ['cat', 'dog', 'bird']],
    ['lines', 'cat\ndog\nbird\n', ['cat', 'dog', 'bird']],
    ['CRLF', 'cat\r\ndog\r\nbird\r\n', ['cat', 'dog', 'bird']],
    ['CR', 'cat\rdog\rbird', ['cat', 'dog', 'bird']],
    ['all line ends at once', 'cat\ndog\r\nbird\rfish', ['cat', 'dog', 'bird', 'fish']],
    [
      'rows of unequal length, row by row',
      'cat,dog\n\nbird\nfish,,ant',
      ['cat', 'dog', 'bird', 'fish', 'ant'],
    ],
    [
      'quotes around separators',
      '"cat, grey"\n"dog; big","bird,\u00a0small"',
      ['cat, grey', 'dog; big', 'bird,\u00a0small'],
    ],
    ['doubled quotes', '"the ""best"" cat",dog', ['the "best" cat', 'dog']],
    ['spaces around quotes', ' "cat, grey" , dog', ['cat, grey', 'dog']],
    ['a quote within a label', '5" pipe, 3" pipe', ['5" pipe', '3" pipe']],
    ['semicolons before commas', 'a cat, asleep; a dog, awake', ['a cat, asleep', 'a dog, awake']],
    ['tabs before semicolons and commas', 'a cat, asleep\ta dog; awake', ['a cat, asleep', 'a dog; awake']],
    ['no semicolon where only quotes have one', '"cat; grey",dog', ['cat; grey', 'dog']],
    [
      'no semicolon where it ends an HTML entity',
      'salt &amp; pepper,caf&#233;',
      ['salt &amp; pepper', 'caf&#233;'],
    ],
    ['no tab where it only trails', 'cat, dog\t\nbird', ['cat', 'dog', 'bird']],
    ['no tab where it only aligns', 'cat,\tdog,\t"bird"\n', ['cat', 'dog', 'bird']],
    ['a list that looks like JSON further on', 'cat,[dog],{bird}', ['cat', '[dog]', '{bird}']],
    ['numbers and literals as words', '1,null,true', ['1', 'null', 'true']],
  ])('with %s', (_, document, labels) => {
    expect(labelsOf(document)).toEqual(labels);
  });

  test('leaves a header line out where something follows it', () => {
    expect(labelsOf('category\ncat\ndog')).toEqual(['cat', 'dog']);
    expect(labelsOf('\r\n Categories \r\ncat')).toEqual(['cat']);
    expect(labelsOf('category\n')).toEqual(['category']);
    expect(labelsOf('category,cat\ndog')).toEqual(['category', 'cat', 'dog']);
    expect(labelsOf('"category"\ncat')).toEqual(['category', 'cat']);
    expect(labelsOf('cat\ncategory')).toEqual(['cat', 'category']);
  });

  test('with a quote that never closes is refused with the line of its record', () => {
    const fault = faultOf('cat\r\n\r\ndog,"bird\r\nfish\r\n');
    expect(fault.code).toBe('categories_malformed');
    expect(fault.details).toEqual({ line: 3 });
    expect(fault.message).toContain('opens a double quote on line 3');
  });

  test('with more entries than any list has is refused before it is read to its end', () => {
    for (const document of ['a,'.repeat(1001), `[${'"a",'.repeat(1001)}"a"]`, '['.repeat(1001)]) {
      const fault = faultOf(document, 10);
      expect(fault.code).toBe('categories_too_many');
      expect(fault.message).toBe(
        'The categories document has more than 1000 entries, repeated ones included; at most 10 categories are accepted.',
      );
      expect(fault.details).toEqual({ limit: 10 });
    }
    expect(parseCategories(bytes('a,'.repeat(1000)), 10).labels).toEqual(['a']);
  });

  test('with something after a closing quote is refused with its line', () => {
    const fault = faultOf('cat\n"dog" bird');
    expect(fault.code).toBe('categories_malformed');
    expect(fault.details).toEqual({ line: 2 });
    expect(fault.message).toContain('between a closing double quote and the next separator on line 2');
  });
});

describe('text encodings', () => {
  test('UTF-8 with a byte order mark', () => {
    expect(labelsOf('\ufeffKüche,猫')).toEqual(['Küche', '猫']);
    expect(labelsOf('\ufeff["Küche"]')).toEqual(['Küche']);
  });

  test('UTF-16 with a byte order mark, in both byte orders', () => {
    const littleEndian = Buffer.from('\ufeffKüche\t猫\r\n😀', 'utf16le');
    const bigEndian = Buffer.from(littleEndian).swap16();
    for (const document of [littleEndian, bigEndian]) {
      expect(parseCategories(document, 3).labels).toEqual(['Küche', '猫', '😀']);
    }
  });

  test.each([
    ['a NUL', [0x61, 0x2c, 0, 0x62], 2, 'binary'],
    ['a PNG', [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a], 0, 'not valid UTF-8'],
    ['Latin-1', [0x61, 0xe9, 0x2c, 0x62], 1, 'not valid UTF-8'],
    ['UTF-8 that breaks off', [0x61, 0xc3, 0xa9, 0xe2, 0x82], 3, 'not valid UTF-8'],
    ['a fault behind a genuine U+FFFD', [0xef, 0xbf, 0xbd, 0x61, 0xff], 4, 'not valid UTF-8'],
    ['a fault behind a byte order mark', [0xef, 0xbb, 0xbf, 0x61, 0xff], 4, 'not valid UTF-8'],
    ['UTF-16 that breaks off', [0xff, 0xfe, 0x61, 0, 0x62], 4, 'ends within a character'],
    ['UTF-16 with half a pair', [0xff, 0xfe, 0x61, 0, 0, 0xd8, 0x62, 0], 4, 'not valid UTF-16'],
    ['UTF-32', [0xff, 0xfe, 0, 0, 0x61, 0, 0, 0], 2, 'binary'],
  ])('%s is refused at its byte', (_, document, byte, what) => {
    const fault = faultOf(Uint8Array.from(document));
    expect(fault.code).toBe('categories_malformed');
    expect(fault.details).toEqual({ byte });
    expect(fault.message).toContain(what);
    expect(fault.message).toContain(`byte ${byte}`);
  });

  test('property: the first invalid byte is found wherever it stands', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.uint8Array(), (valid, rest) => {
        const before = bytes(`a\ufffd${valid.replaceAll('\0', '')}`);
        const fault = faultOf(Uint8Array.from([...before, 0xff, ...rest.filter((byte) => byte !== 0)]));
        expect(fault.details).toEqual({ byte: before.length });
      }),
    );
  });
});

describe('labels', () => {
  test('are trimmed, not empty, and each answered once, in the order sent', () => {
    expect(labelsOf('["  b ","a","","b","\\u00a0 ","A"]')).toEqual(['b', 'a', 'A']);
    expect(labelsOf(' b ,a,,b,"  ",A,')).toEqual(['b', 'a', 'A']);
  });

  test.each([
    ['["a","b\\u0001c"]', 'label 2 ("b\\u0001c"): U+0001 is its character 2', { label: 2, character: 2 }],
    ['["😂 \\u007f"]', 'label 1 ("😂 \\u007f"): U+007F is its character 3', { label: 1, character: 3 }],
    ['cat,do\u0085g', 'label 2 ("do\\u0085g"): U+0085 is its character 3', { label: 2, character: 3 }],
    ['cat\n"dog\nbig"', 'label 2 ("dog\\u000abig"): U+000A is its character 4', { label: 2, character: 4 }],
    ['"cat";"a\tb"', 'label 2 ("a\\u0009b"): U+0009 is its character 2', { label: 2, character: 2 }],
    [
      `${'x'.repeat(50)}\u001b[1m`,
      `label 1 ("${'x'.repeat(40)}…"): U+001B is its character 51`,
      { label: 1, character: 51 },
    ],
  ])('with a control character within are refused by its place: %j', (document, place, details) => {
    const fault = faultOf(document);
    expect(fault.code).toBe('categories_malformed');
    expect(fault.message).toContain(`The categories document has a control character in ${place}. Accepted`);
    expect(fault.details).toEqual(details);
  });

  test('may have line ends, tabs and other white space around them', () => {
    expect(labelsOf('["\\t a\\r\\n", "\\u000bb\\f"]')).toEqual(['a', 'b']);
    expect(labelsOf('" a\n","\tb"')).toEqual(['a', 'b']);
  });

  test('may be called like parts of JavaScript', () => {
    const names = ['__proto__', 'constructor', 'toString', 'hasOwnProperty'];
    expect(labelsOf(names.join(','))).toEqual(names);
    expect(labelsOf(JSON.stringify(names))).toEqual(names);
  });

  test.each(['', '  \n', '[]', '{"categories":[]}', '["", " "]', '""', ',,\n,'])(
    'are missing in %j',
    (document) => {
      expect(faultOf(document).code).toBe('categories_missing');
    },
  );

  test('may be as many as the limit and no more, counted after duplicates are gone', () => {
    expect(parseCategories(bytes('a,b,c,a,b'), 3).labels).toEqual(['a', 'b', 'c']);
    const fault = faultOf('a,b,c,a,d', 3);
    expect(fault.code).toBe('categories_too_many');
    expect(fault.message).toBe('4 categories came; at most 3 are accepted.');
    expect(fault.details).toEqual({ categories: 4, limit: 3 });
  });
});

describe('properties', () => {
  const label = fc
    .oneof(
      fc.string({ unit: 'grapheme' }),
      fc.string({ unit: fc.constantFrom('"', ',', ';', '\t', '\n', '\r', ' ', 'a', '[', '{', '&amp;') }),
      fc.constantFrom('category', '__proto__'),
    )
    // Within a label they are refused.
    .filter((text) => !text.includes('\0') && !/\p{Cc}/u.test(text.trim()));
  const labels = fc.array(label, { minLength: 1 }).map((list) => ['always one', ...list]);
  const distinct = (list: readonly string[]) => [...new Set(list.map((text) => text.trim()))].filter(Boolean);
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;

  test('any labels survive JSON', () => {
    fc.assert(
      fc.property(labels, (list) => {
        expect(labelsOf(JSON.stringify(list))).toEqual(distinct(list));
        expect(labelsOf(JSON.stringify({ categories: list }, null, 2))).toEqual(distinct(list));
      }),
    );
  });

  test.each([',', ';', '\t', '\n', '\r\n', '\r', ' , '])(
    'any labels survive quoted CSV with %j',
    (separator) => {
      fc.assert(
        fc.property(labels, (list) => {
          expect(labelsOf(list.map(quoted).join(separator))).toEqual(distinct(list));
        }),
      );
    },
  );

  test('any CSV is read as a general parser reads it', () => {
    const unit = fc.constantFrom(
      ...['"', '"', '""', ',', ';', '\t', '\n', '\r', '\r\n', ' ', 'a', 'bc', 'ж', '\v', '\f'],
      ...['&amp;', '&#1;', '&a', '#', '_', 'category\n'],
    );
    // Of quotes around nothing with more quotes behind them the parser has an opinion of its own.
    const document = fc
      .array(unit, { maxLength: 12 })
      .map((units) => units.join(''))
      .filter((text) => !/""\s+"/.test(text));
    fc.assert(
      fc.property(document, (text) => {
        expect(outcomeOf(() => labelsOf(text))).toEqual(outcomeOf(() => generalParse(text)));
      }),
      { numRuns: 2000 },
    );
  });

  test('a damaged document is either read or refused by a code of its own', () => {
    const documents = [
      '{"categories":["a cat","é\\n"]}',
      '["a","b"]',
      'a,"b, c";d\r\n"e""f"\n',
      '\ufeffx\ty\n',
    ];
    const edit = fc.record({
      at: fc.nat(64),
      remove: fc.nat(3),
      insert: fc.oneof(fc.uint8Array({ maxLength: 3 }), fc.constantFrom('"', '[', '{', '\\').map(bytes)),
    });
    fc.assert(
      fc.property(fc.constantFrom(...documents), fc.array(edit, { maxLength: 4 }), (document, edits) => {
        const damaged = [...bytes(document)];
        for (const { at, remove, insert } of edits) damaged.splice(at, remove, ...insert);
        try {
          expect(parseCategories(Uint8Array.from(damaged), 1000).labels).not.toBeEmpty();
        } catch (fault) {
          expect(fault).toBeInstanceOf(ServiceError);
          expect(['categories_malformed', 'categories_missing']).toContain((fault as ServiceError).code);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe('categories with phrases', () => {
  const read = (text: string) => parseCategories(bytes(text), 1000);

  test('keep their order and their names, also those of numbers and escapes', () => {
    const document =
      ' {"a":{"categories":{"x":"y"}},"categories":{"10":"ten","dog":["a dog"," a puppy ","a dog"],"2":["x,{}[]:\\"\\\\"], "\\u0063at" : "a cat","__proto__":"p"}}';
    expect(read(document)).toEqual({
      labels: ['10', 'dog', '2', 'cat', '__proto__'],
      phrases: [['ten'], ['a dog', 'a puppy'], ['x,{}[]:"\\'], ['a cat'], ['p']],
    });
  });

  test('are a list if each name is its phrase, and the last list counts', () => {
    expect(read('{"categories":{"a":"a","b":[" b "]}}')).toEqual({ labels: ['a', 'b'] });
    expect(read('{"categories":["x"],"categories":{"a":"b"}}').phrases).toEqual([['b']]);
    expect(read('{"categories":{"a":"b"},"categories":["x"]}')).toEqual({ labels: ['x'] });
  });

  test('are written so that they are read again', () => {
    const name = fc
      .string({ minLength: 1, unit: 'grapheme' })
      .filter((text) => !/\p{Cc}|\p{Surrogate}/u.test(text) && text.trim() === text);
    fc.assert(
      fc.property(
        fc.dictionary(name, fc.uniqueArray(name, { minLength: 1, maxLength: 4 }), { minKeys: 1 }),
        (made) => {
          const labels = Object.keys(made);
          const phrases = labels.map((label) => made[label]!);
          const isPlain = labels.every((label, index) => phrases[index]!.join('\0') === label);
          const categories = isPlain ? { labels } : { labels, phrases };
          expect(read(writeCategories(categories))).toEqual(categories);
        },
      ),
    );
    expect(writeCategories({ labels: ['a', '"b'] })).toBe('["a","\\"b"]');
  });

  test.each([
    ['{"categories":{"a":[]}}', 'has an empty list at categories["a"]', 'categories["a"]'],
    ['{"categories":{"a":["b",3]}}', 'has a number at categories["a"][1]', 'categories["a"][1]'],
    [
      '{"categories":{"a":{"b":"c"}}}',
      'has an object at categories["a"], where a phrase or a list',
      'categories["a"]',
    ],
    ['{"categories":{"a":null}}', 'has null at categories["a"]', 'categories["a"]'],
    [
      '{"categories":{"a":"x","b":"y"," a":"z"}}',
      'has the category at categories["a"] twice',
      'categories["a"]',
    ],
    ['{"categories":{"a":"x","a":"x"}}', 'has the category at categories["a"] twice', 'categories["a"]'],
    ['{"categories":{" ":"x"}}', 'has an empty name at categories[""]', 'categories[""]'],
    ['{"categories":{"a":["x"," "]}}', 'has an empty phrase at categories["a"][1]', 'categories["a"][1]'],
    ['{"categories":{"a":""}}', 'has an empty phrase at categories["a"]', 'categories["a"]'],
    [`{"categories":{"${'long '.repeat(20)}":3}}`, '…"], where a phrase', undefined],
  ])('%s is refused with its place', (document, sentence, element) => {
    const { code, message, details } = faultOf(document);
    expect([code, message.includes(sentence)]).toEqual(['categories_malformed', true]);
    if (element !== undefined) expect(details).toEqual({ element });
    expect(message.length).toBeLessThan(400);
  });

  test('have the same limits as lists, and the same faults', () => {
    const two = '{"categories":{"a":["1","2","3"],"b":"4"}}';
    expect(parseCategories(bytes(two), 2).labels).toEqual(['a', 'b']);
    expect(faultOf(two, 1)).toMatchObject({
      code: 'categories_too_many',
      details: { categories: 2, limit: 1 },
    });
    expect(faultOf('{"categories":{}}').code).toBe('categories_missing');
    expect(faultOf('{"categories":{"a":["x\u0007"]}}'.replace('\u0007', '\\u0007')).message).toContain(
      'has a control character in a phrase of label 1',
    );
    expect(faultOf('{"categories":{"a":}}').details).toEqual({ line: 1, column: 20 });
    const many = `{"categories":{"a":[${'"x",'.repeat(200_000)}"x"]}}`;
    expect(faultOf(many).code).toBe('categories_too_many');
    expect(() => parseCategories(bytes('{"texts":{"a":"b"}}'), 10, 'texts')).toThrow(
      'not a list of strings. Accepted are JSON, ["a","b"] or {"texts":["a","b"]}, and text with',
    );
  });
});
