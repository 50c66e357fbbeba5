import { parseXml, XmlElement, XmlError, XmlText } from '@rgrove/parse-xml';

/**
 * Keywords in an XMP document. The document is edited as text, at the offsets that the parser reports: all that is not
 * a keyword keeps its bytes, such as comments, unknown properties, packet wrappers and the order of attributes.
 */

/** The document cannot be edited. The message is a sentence. */
export class XmpError extends Error {
  override readonly name = 'XmpError';
}

interface PropertyName {
  readonly namespace: string;
  /** Used where the document does not declare one for the namespace. */
  readonly prefix: string;
  readonly local: string;
}

/** A property that lists keywords. */
interface KeywordList extends PropertyName {
  readonly container: 'Bag' | 'Seq';
  /** The character between the levels of a hierarchy; a keyword may not have it. */
  readonly separator: string | undefined;
  /** Written only where it is already, because its readers then look at no other list. */
  readonly isOptional: boolean;
}

/** Programs read the first list that they find, so all lists of a document have to agree. */
const lists: readonly KeywordList[] = [
  {
    namespace: 'http://purl.org/dc/elements/1.1/',
    prefix: 'dc',
    local: 'subject',
    container: 'Bag',
    separator: undefined,
    isOptional: false,
  },
  {
    namespace: 'http://ns.adobe.com/lightroom/1.0/',
    prefix: 'lr',
    local: 'hierarchicalSubject',
    container: 'Bag',
    separator: '|',
    isOptional: false,
  },
  {
    namespace: 'http://www.digikam.org/ns/1.0/',
    prefix: 'digiKam',
    local: 'TagsList',
    container: 'Seq',
    separator: '/',
    isOptional: true,
  },
  {
    namespace: 'http://ns.microsoft.com/photo/1.0/',
    prefix: 'MicrosoftPhoto',
    local: 'LastKeywordXMP',
    container: 'Bag',
    separator: '/',
    isOptional: true,
  },
];

/** The document's own record of what this command has added to it. */
const RECORD = 'urn:classify-images:keywords/1.0/';

/** Lists the keywords that were written as answers. */
const writtenTo = ({ local }: KeywordList): PropertyName => recordOf(`${local}Written`);
/** Lists the keywords of others that a new list begins with. */
const copiedTo = ({ local }: KeywordList): PropertyName => recordOf(`${local}Copied`);
const recordOf = (local: string): PropertyName => ({ namespace: RECORD, prefix: 'classify', local });

const RDF = 'http://www.w3.org/1999/02/22-rdf-syntax-ns#';
const OWN_TOOLKIT = 'classify-images';

const emptyDocument = `<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="${OWN_TOOLKIT}">
 <rdf:RDF xmlns:rdf="${RDF}">
  <rdf:Description rdf:about=""/>
 </rdf:RDF>
</x:xmpmeta>
`;

/** [list's name] keywords */
export type KeywordsByList = ReadonlyMap<string, readonly string[]>;

interface WriteOptions {
  /** The answer. */
  readonly keywords: readonly string[];
  /** All possible answers: an earlier answer among them is replaced. */
  readonly candidates: readonly string[];
  /** The keywords in the photo itself, which programs no longer read where a sidecar has the same list. */
  readonly embedded: KeywordsByList;
}

/**
 * Adds keywords, and removes earlier answers to the same question.
 * @param text undefined: there is no document yet
 * @returns the same text if nothing changes; undefined if there is nothing to write
 * @throws XmpError
 */
export function writeKeywords(text: string | undefined, options: WriteOptions): string | undefined {
  const { keywords, candidates, embedded } = options;
  const before = open(text ?? emptyDocument);
  let after = before;
  const subjects = readItems(before, lists[0] as KeywordList) ?? embedded.get('subject') ?? [];
  for (const list of lists) {
    const wanted = keywords.map((keyword) => asItem(keyword, list.separator)).filter((item) => item !== '');
    const possible = new Set(candidates.map((keyword) => asItem(keyword, list.separator)));
    const present = readItems(after, list);
    const inPhoto = embedded.get(list.local);
    if (list.isOptional && !present && !inPhoto) continue;
    const recorded = readItems(after, writtenTo(list)) ?? [];
    const stale = new Set(recorded.filter((item) => possible.has(item) && !wanted.includes(item)));
    const kept = (present ?? []).filter((item) => !stale.has(item));
    const seeds = present ? [] : (inPhoto ?? (list.separator === '|' ? subjects : []));
    const added = wanted.filter((item) => !kept.includes(item) && !seeds.includes(item));
    const begun = added.length > 0 ? seeds : [];
    const answered = recorded.filter((item) => !stale.has(item));
    const copied = readItems(after, copiedTo(list)) ?? [];
    after = changeList(after, list, {
      present: [...kept, ...begun, ...added],
      written: [...answered, ...added],
      copied: [...copied, ...begun],
    });
  }
  return text === undefined && after === before ? undefined : after.text;
}

/**
 * Removes the keywords that `writeKeywords` has added, and no others, by the record in the document.
 * @returns `text`: undefined if the document was made by `writeKeywords` and nothing else is in it
 * @throws XmpError
 */
export function removeKeywords(text: string): {
  readonly text: string | undefined;
  readonly removed: readonly string[];
} {
  let after = open(text);
  const removed = new Set<string>();
  for (const list of lists) {
    const written = readItems(after, writtenTo(list)) ?? [];
    const present = readItems(after, list) ?? [];
    for (const item of written) {
      if (list.separator === undefined && present.includes(item)) removed.add(item);
    }
    after = changeList(after, list, {
      present: present.filter((item) => !written.includes(item)),
      written: [],
      copied: readItems(after, copiedTo(list)) ?? [],
    });
  }
  return { text: isUnused(after) ? undefined : after.text, removed: [...removed] };
}

/** Whether the document may have keywords that `removeKeywords` removes: looked up without parsing. */
export function mayHaveOwnKeywords(text: string): boolean {
  return text.includes(RECORD);
}

/** The keyword lists of a document. @throws XmpError */
export function readKeywords(text: string): KeywordsByList {
  const document = open(text);
  return new Map(
    lists.flatMap((list): [string, readonly string[]][] => {
      const items = readItems(document, list);
      return items ? [[list.local, items]] : [];
    }),
  );
}

interface ListChange {
  readonly present: readonly string[];
  readonly written: readonly string[];
  readonly copied: readonly string[];
}

function changeList(
  document: XmpDocument,
  list: KeywordList,
  { present, written, copied }: ListChange,
): XmpDocument {
  // Without answers, copied keywords alone would only hide changes of the photo's own.
  const isOnlyCopied = written.length === 0 && present.every((item) => copied.includes(item));
  const changes: readonly (readonly [PropertyName, readonly string[], 'Bag' | 'Seq'])[] = [
    [list, isOnlyCopied ? [] : present, list.container],
    [writtenTo(list), written, 'Bag'],
    [copiedTo(list), written.length === 0 ? [] : copied, 'Bag'],
  ];
  let after = document;
  for (const [property, items, container] of changes) after = setItems(after, property, items, container);
  return after;
}

/** A keyword as XML can hold it, on one level. */
function asItem(keyword: string, separator: string | undefined): string {
  const item = keyword
    .toWellFormed()
    .normalize('NFC')
    .replace(/[\p{Cc}\ufffe\uffff\s]+/gu, ' ')
    .trim();
  return separator === undefined ? item : item.replaceAll(separator, separator === '/' ? '|' : '/');
}

interface XmpDocument {
  readonly text: string;
  readonly rdf: XmlElement;
  readonly descriptions: readonly XmlElement[];
}

function open(text: string): XmpDocument {
  const root = parse(text);
  const rdf = [root, ...elementsIn(root)].find((element) => isNamed(element, RDF, 'RDF'));
  if (!rdf) throw new XmpError('It is XML, but not XMP.');
  const descriptions = elementsIn(rdf).filter((element) => isNamed(element, RDF, 'Description'));
  return { text, rdf, descriptions };
}

function parse(text: string): XmlElement {
  try {
    const { root } = parseXml(text, { includeOffsets: true, preserveComments: true });
    if (root) {
      checkPrefixes(root, new Set(['xml', 'xmlns']));
      return root;
    }
  } catch (fault) {
    if (fault instanceof XmlError) {
      throw new XmpError(`It is not well-formed XML: ${fault.message.split('\n')[0]}.`);
    }
    // The parser calls itself for each level.
    if (fault instanceof RangeError) throw new XmpError('Its elements are nested too deeply.');
    throw fault;
  }
  throw new XmpError('It is not well-formed XML.');
}

/** The parser does not know namespaces, and other programs refuse undeclared prefixes. */
function checkPrefixes(element: XmlElement, declared: ReadonlySet<string>): void {
  const names = Object.keys(element.attributes);
  const own = names.flatMap((name) => (name.startsWith('xmlns:') ? [name.slice(6)] : []));
  const known = own.length === 0 ? declared : new Set([...declared, ...own]);
  for (const name of [element.name, ...names]) {
    const prefix = prefixOf(name);
    if (prefix !== '' && !known.has(prefix)) {
      throw new XmpError(`It is not well-formed XML: the prefix of ${name} is not declared.`);
    }
  }
  for (const child of elementsIn(element)) checkPrefixes(child, known);
}

function elementsIn(element: XmlElement): readonly XmlElement[] {
  return element.children.filter((child) => child instanceof XmlElement);
}

function prefixOf(name: string): string {
  return name.includes(':') ? name.slice(0, name.indexOf(':')) : '';
}

function isNamed(element: XmlElement, namespace: string, local: string): boolean {
  const { name } = element;
  return name.slice(name.indexOf(':') + 1) === local && namespaceOf(element, prefixOf(name)) === namespace;
}

function namespaceOf(element: XmlElement, prefix: string): string | undefined {
  const declaration = prefix === '' ? 'xmlns' : `xmlns:${prefix}`;
  for (let at: XmlElement['parent'] = element; at instanceof XmlElement; at = at.parent) {
    const namespace = at.attributes[declaration];
    if (namespace !== undefined) return namespace;
  }
  return undefined;
}

/** A property: an element, or an attribute of a description, which can only have a simple value. */
type Property =
  | { readonly kind: 'element'; readonly element: XmlElement; readonly container: XmlElement | undefined }
  | { readonly kind: 'attribute'; readonly description: XmlElement; readonly attribute: string };

function findProperties(
  { descriptions }: XmpDocument,
  { namespace, local }: PropertyName,
): readonly Property[] {
  return descriptions.flatMap((description): Property[] => {
    const attributes = Object.keys(description.attributes).filter((name) => {
      const prefix = prefixOf(name);
      return prefix !== '' && name === `${prefix}:${local}` && namespaceOf(description, prefix) === namespace;
    });
    const elements = elementsIn(description).filter((element) => isNamed(element, namespace, local));
    return [
      ...attributes.map((attribute) => ({ kind: 'attribute' as const, description, attribute })),
      ...elements.map((element) => ({ kind: 'element' as const, element, container: containerIn(element) })),
    ];
  });
}

/** @returns undefined for a simple value. @throws XmpError for another structure */
function containerIn(property: XmlElement): XmlElement | undefined {
  const [container, ...others] = elementsIn(property);
  const isList = ['Bag', 'Seq', 'Alt'].some((kind) => container && isNamed(container, RDF, kind));
  const hasStructure = Object.keys(property.attributes).some((name) => !/^xmlns\b|^xml:/.test(name));
  if (others.length > 0 || (container && !isList) || hasStructure) {
    throw new XmpError(`Its property ${property.name} is not a list.`);
  }
  return container;
}

function itemsOf(property: Property): readonly string[] {
  const values =
    property.kind === 'attribute'
      ? [property.description.attributes[property.attribute] ?? '']
      : property.container
        ? elementsIn(property.container).map(({ text }) => text)
        : [property.element.text];
  return values.map((value) => value.trim().normalize('NFC')).filter((value) => value !== '');
}

/** @returns undefined if the document does not have the property */
function readItems(document: XmpDocument, name: PropertyName): readonly string[] | undefined {
  const properties = findProperties(document, name);
  return properties.length === 0 ? undefined : properties.flatMap(itemsOf);
}

/**
 * Changes a list to these items. Those that it has keep their text and place; new ones come last.
 * @param container of a new list
 */
function setItems(
  document: XmpDocument,
  name: PropertyName,
  items: readonly string[],
  container: 'Bag' | 'Seq',
): XmpDocument {
  const before = readItems(document, name) ?? [];
  if (before.length === items.length && before.every((item) => items.includes(item))) return document;
  let after = document;
  for (const item of before.filter((item) => !items.includes(item))) after = removeItem(after, name, item);
  for (const item of items.filter((item) => !before.includes(item))) {
    after = addItem(after, name, item, container);
  }
  const written = readItems(after, name) ?? [];
  if (items.every((item) => written.includes(item)) && written.every((item) => items.includes(item))) {
    return after;
  }
  throw new XmpError(`Its property ${name.local} is written in a way that cannot be changed safely.`);
}

function addItem(
  document: XmpDocument,
  name: PropertyName,
  item: string,
  container: 'Bag' | 'Seq',
): XmpDocument {
  const [property] = findProperties(document, name);
  if (!property) return insertProperty(document, name, [item], container);
  if (property.kind === 'element' && property.container) {
    const list = property.container;
    const last = elementsIn(list).at(-1);
    const written = `<${nameIn(list, 'li')}>${escapeXml(item)}</${nameIn(list, 'li')}>`;
    if (!last) return splice(document, contentOf(document, list, written));
    return splice(document, [last.end, last.end, spaceBefore(document, last) + written]);
  }
  // A simple value becomes a list.
  const items = [...itemsOf(property), item];
  return insertProperty(withoutProperty(document, property), name, items, container);
}

function removeItem(document: XmpDocument, name: PropertyName, item: string): XmpDocument {
  const isIt = (value: string) => value.trim().normalize('NFC') === item;
  const property = findProperties(document, name).find((candidate) => itemsOf(candidate).includes(item));
  if (!property) return document;
  if (itemsOf(property).every(isIt) || property.kind !== 'element' || !property.container) {
    return withoutProperty(document, property);
  }
  const found = elementsIn(property.container).findLast((element) => isIt(element.text));
  return found ? withoutElement(document, found) : document;
}

function insertProperty(
  document: XmpDocument,
  name: PropertyName,
  items: readonly string[],
  container: 'Bag' | 'Seq',
): XmpDocument {
  const { rdf, descriptions } = document;
  const { namespace, prefix, local } = name;
  const [description] = descriptions;
  if (!description) {
    const written = `<${nameIn(rdf, 'Description')} ${nameIn(rdf, 'about')}=""/>`;
    return insertProperty(splice(document, contentOf(document, rdf, written)), name, items, container);
  }
  // Without empty lines.
  const space = /(?:\r?\n)?[^\n]*$/.exec(spaceBefore(document, description))?.[0] ?? '';
  const [line, list, li] = [1, 2, 3].map((depth) => (space === '' ? '' : space + ' '.repeat(depth)));
  const declared = namespaceOf(description, prefix) === namespace;
  const declaration = declared ? '' : ` xmlns:${prefix}="${namespace}"`;
  const written = [
    `<${prefix}:${local}${declaration}>`,
    `${list}<${nameIn(rdf, container)}>`,
    ...items.map((item) => `${li}<${nameIn(rdf, 'li')}>${escapeXml(item)}</${nameIn(rdf, 'li')}>`),
    `${list}</${nameIn(rdf, container)}>`,
    `${line}</${prefix}:${local}>`,
  ].join('');
  const last = elementsIn(description).at(-1);
  if (last) return splice(document, [last.end, last.end, `${line}${written}`]);
  return splice(document, contentOf(document, description, `${line}${written}${space}`));
}

/** A name of RDF with the prefix that its parent has. */
function nameIn({ name }: XmlElement, local: string): string {
  return name.includes(':') ? `${prefixOf(name)}:${local}` : local;
}

type Splice = readonly [start: number, end: number, replacement: string];

function splice({ text }: XmpDocument, [start, end, replacement]: Splice): XmpDocument {
  return open(text.slice(0, start) + replacement + text.slice(end));
}

/** Gives content to an element without child elements. */
function contentOf({ text }: XmpDocument, element: XmlElement, content: string): Splice {
  const source = text.slice(element.start, element.end);
  const closing = `</${element.name}>`;
  if (source.endsWith('/>')) {
    return [element.start, element.end, `${source.slice(0, -2).trimEnd()}>${content}${closing}`];
  }
  const at = element.start + source.lastIndexOf('</');
  const isBlank = element.children.every((child) => child instanceof XmlText && child.text.trim() === '');
  // A comment stays.
  return [isBlank ? startTagEnd(text, element) : at, at, content];
}

/** Where the content of an element begins. */
function startTagEnd(text: string, { start, children, end }: XmlElement): number {
  return children[0]?.start ?? start + text.slice(start, end).lastIndexOf('</');
}

/** The white space between an element and what is before it. */
function spaceBefore({ text }: XmpDocument, { start }: XmlElement): string {
  return /\s*$/.exec(text.slice(Math.max(0, start - 200), start))?.[0] ?? '';
}

function withoutElement(document: XmpDocument, element: XmlElement): XmpDocument {
  const { parent } = element;
  const start = element.start - spaceBefore(document, element).length;
  const isLast = parent instanceof XmlElement && elementsIn(parent).length === 1;
  const isEmptied =
    isLast &&
    parent.children.every(
      (child) => child === element || (child instanceof XmlText && child.text.trim() === ''),
    );
  if (!isEmptied) return splice(document, [start, element.end, '']);
  // `addItem` opens such an element again.
  return splice(document, [startTagEnd(document.text, parent) - 1, parent.end, '/>']);
}

function withoutProperty(document: XmpDocument, property: Property): XmpDocument {
  if (property.kind === 'element') return withoutElement(document, property.element);
  const { start, end } = property.description;
  const source = document.text.slice(start, end);
  for (const match of source.matchAll(/\s+([^\s=<>/"']+)\s*=\s*(?:"[^"]*"|'[^']*')/g)) {
    if (match[1] !== property.attribute) continue;
    const at = start + match.index;
    return splice(document, [at, at + match[0].length, '']);
  }
  throw new Error('This is a bug: an attribute that the parser found is not there');
}

/** Whether a document of this command has no property. */
function isUnused({ rdf, descriptions }: XmpDocument): boolean {
  const toolkit = rdf.parent instanceof XmlElement ? rdf.parent.attributes['x:xmptk'] : undefined;
  return (
    toolkit === OWN_TOOLKIT &&
    descriptions.every(
      (description) =>
        elementsIn(description).length === 0 &&
        Object.keys(description.attributes).every((name) => /^xmlns\b|^rdf:about$/.test(name)),
    )
  );
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
