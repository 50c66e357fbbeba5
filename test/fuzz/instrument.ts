import { type AnyNode, type Node, parse } from 'acorn';

/**
 * Puts counters and probes into a module's text, so that a fuzzer sees which ways an input took: a counter on every
 * function, branch, loop and case, and a probe on every comparison.
 *
 * (Jazzer.js does the same under Node: its addon needs a newer C library than the long-term systems have, and it
 * knows neither Bun's modules nor its engine.)
 * @param source JavaScript, as Bun's transpiler makes it
 * @param ids where numbers of counters and probes come from
 * @returns the text, and the strings and numbers that stand in it: what its formats are made of
 */
export function instrument(source: string, ids: Ids) {
  const tree = parse(source, { ecmaVersion: 'latest', sourceType: 'module' });
  const literals = new Set<string | number>();
  const emitter = new Emitter(source, ids, literals);
  return { text: `${PROLOGUE}${emitter.emit(tree)}`, literals };
}

export interface Ids {
  counters: number;
  probes: number;
}

/** What the instrumented text calls; see `coverage.ts`. */
export const RUNTIME_NAME = '__fuzz';
const PROLOGUE = `const {counters: __c, equal: __eq, same: __same, less: __lt} = globalThis.${RUNTIME_NAME};`;

const comparisons: Readonly<Record<string, (probe: number, left: string, right: string) => string>> = {
  '===': (probe, left, right) => `__eq(${probe},(${left}),(${right}))`,
  '!==': (probe, left, right) => `!__eq(${probe},(${left}),(${right}))`,
  '==': (probe, left, right) => `__same(${probe},(${left}),(${right}))`,
  '!=': (probe, left, right) => `!__same(${probe},(${left}),(${right}))`,
  '<': (probe, left, right) => `(__lt(${probe},(${left}),(${right}),0))`,
  '>': (probe, left, right) => `(__lt(${probe},(${left}),(${right}),1))`,
  '<=': (probe, left, right) => `(__lt(${probe},(${left}),(${right}),2))`,
  '>=': (probe, left, right) => `(__lt(${probe},(${left}),(${right}),3))`,
};

class Emitter {
  readonly #source: string;
  readonly #ids: Ids;
  readonly #literals: Set<string | number>;

  constructor(source: string, ids: Ids, literals: Set<string | number>) {
    this.#source = source;
    this.#ids = ids;
    this.#literals = literals;
  }

  emit(node: AnyNode): string {
    switch (node.type) {
      case 'ImportDeclaration':
      case 'ExportAllDeclaration':
        return this.#text(node);
      case 'ExportNamedDeclaration':
        return node.declaration ? this.#emitChildren(node) : this.#text(node);
      case 'Property':
        // `{ a }` and `{ a = 1 }`: key and value are the same place.
        return node.shorthand ? this.emit(node.value) : this.#emitChildren(node);
      case 'Literal':
        if (typeof node.value === 'string' || typeof node.value === 'number') this.#literals.add(node.value);
        return this.#text(node);
      case 'BinaryExpression': {
        const compare = comparisons[node.operator];
        if (!compare || node.left.type === 'PrivateIdentifier') return this.#emitChildren(node);
        return compare(this.#ids.probes++, this.emit(node.left), this.emit(node.right));
      }
      case 'IfStatement': {
        const otherwise = node.alternate ? this.#block(node.alternate) : `{${this.#count()};}`;
        return `if (${this.emit(node.test)}) ${this.#block(node.consequent)} else ${otherwise}`;
      }
      default:
        return this.#emitChildren(node);
    }
  }

  #text({ start, end }: Node): string {
    return this.#source.slice(start, end);
  }

  #count(): string {
    return `__c[${this.#ids.counters++}]++`;
  }

  #block(statement: AnyNode): string {
    return `{${this.#count()};${this.emit(statement)}}`;
  }

  /** The node's own text with its children's put in their places. */
  #emitChildren(node: AnyNode): string {
    let text = '';
    let at = node.start;
    for (const child of childrenOf(node)) {
      text += this.#source.slice(at, child.start) + this.#emitChild(node, child);
      at = child.end;
    }
    return text + this.#source.slice(at, node.end);
  }

  #emitChild(parent: AnyNode, child: AnyNode): string {
    switch (parent.type) {
      case 'FunctionDeclaration':
      case 'FunctionExpression':
      case 'ArrowFunctionExpression':
      case 'CatchClause':
        if (child !== parent.body) break;
        return child.type === 'BlockStatement'
          ? `{${this.#count()};${this.emit(child).slice(1)}`
          : `(${this.#count()},(${this.emit(child)}))`;
      case 'ConditionalExpression':
        if (child !== parent.test) return `(${this.#count()},(${this.emit(child)}))`;
        break;
      case 'LogicalExpression':
        if (child === parent.right) return `(${this.#count()},(${this.emit(child)}))`;
        break;
      case 'ForStatement':
      case 'ForInStatement':
      case 'ForOfStatement':
      case 'WhileStatement':
      case 'DoWhileStatement':
        if (child === parent.body) return this.#block(child);
        break;
      case 'SwitchCase':
        if (child === parent.consequent[0]) return `${this.#count()};${this.emit(child)}`;
        break;
      default:
    }
    return this.emit(child);
  }
}

function childrenOf(node: AnyNode): AnyNode[] {
  const children: AnyNode[] = [];
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) children.push(child);
  }
  return children.sort((a, b) => a.start - b.start);
}

function isNode(value: unknown): value is AnyNode {
  return typeof value === 'object' && value !== null && 'type' in value && 'start' in value;
}
