// What the compiler says of a text, in places of the editor: offsets in units of UTF-16, as the protocol's columns.

import { ask } from "./compiler.js";

const LEVELS = { 1: "error", 2: "warning", 3: "note" };
const KINDS = { 5: "property", 6: "variable", 7: "class", 9: "namespace", 10: "property", 14: "keyword", 25: "type" };

class Lines {
  constructor(text) {
    this.starts = [0, ...[...text.matchAll(/\n/g)].map((found) => found.index + 1)];
  }

  offset({ line, character }) {
    return this.starts[line] + character;
  }

  position(offset) {
    const line = this.starts.findLastIndex((start) => start <= offset);
    return { line, character: offset - this.starts[line] };
  }

  span({ start, end }) {
    return { from: this.offset(start), to: this.offset(end) };
  }

  changes(edits) {
    return edits.map((each) => ({ ...this.span(each.range), insert: each.newText }));
  }
}

/** Everything that is shown of a text but its picture. */
export async function check(text) {
  const lines = new Lines(text);
  const said = await ask("check", text);
  return {
    ...said,
    findings: said.findings.map((each) => ({
      ...lines.span(each.range), level: LEVELS[each.severity], code: each.code, message: each.message, told: each,
    })),
    hints: said.hints.map((each) => ({ at: lines.offset(each.position), text: each.label })),
    lenses: said.lenses.map((each) => ({ from: lines.offset(each.range.start), text: each.command.title })),
    owners: [...owned(lines, said.tokens, said.modifiers)],
  };
}

/** Names that somebody owns: five numbers a name, lines and columns since the last one first. */
function* owned(lines, tokens, modifiers) {
  let line = 0, character = 0;
  for (let i = 0; i < tokens.length; i += 5) {
    const [down, along, length, , bits] = tokens.slice(i, i + 5);
    character = down ? along : character + along;
    line += down;
    const owner = modifiers.find((name, bit) => bits & (1 << bit) && name !== "declaration");
    const from = lines.offset({ line, character });
    if (owner) yield { from, to: from + length, owner };
  }
}

/** Quick fixes of findings, each at the finding that it mends. */
export async function fixes(text, findings) {
  const lines = new Lines(text);
  const range = { start: lines.position(0), end: lines.position(text.length) };
  const context = { diagnostics: findings.map((each) => each.told) };
  const found = await ask("ask", text, "textDocument/codeAction", { range, context });
  return found.map(({ title, diagnostics: [mended], edit }) => ({
    title, code: mended?.code, at: mended && lines.offset(mended.range.start),
    changes: lines.changes(Object.values(edit.changes)[0]),
  }));
}

export async function format(text) {
  return new Lines(text).changes(await ask("ask", text, "textDocument/formatting", {}));
}

export async function hover(text, at) {
  const lines = new Lines(text);
  const found = await ask("ask", text, "textDocument/hover", { position: lines.position(at) });
  return found && { ...lines.span(found.range), markdown: found.contents.value };
}

/** What can be written at an offset, and from where on it stands for what is there. */
export async function complete(text, at) {
  const lines = new Lines(text);
  const found = await ask("ask", text, "textDocument/completion", { position: lines.position(at) });
  const options = found.map((each) => ({
    label: each.label, apply: each.textEdit.newText, type: KINDS[each.kind] ?? "function", detail: each.detail,
    markdown: each.documentation,
  }));
  return { from: found.length ? lines.offset(found[0].textEdit.range.start) : at, options };
}

/** The graph, with these blocks folded: that of the last text of which it is known. */
export function graph(text, folded) {
  return ask("ask", text, "vflc/graph", { folded, styled: false });
}

/** The page of a finding's code, in Markdown. */
export async function explain(code) {
  return (await ask("ask", null, "vflc/explain", { code })).page;
}
