// Colours while one types, by the grammar that VS Code uses: they need no compiler.

import { StreamLanguage } from "@codemirror/language";
import { createOnigScanner, createOnigString, loadWASM } from "vscode-oniguruma";
import { INITIAL, Registry } from "vscode-textmate";

/** What CodeMirror calls the scopes of the grammar; the longest that a scope begins with counts. */
const NAMES = {
  comment: "comment",
  "constant.numeric": "number",
  "constant.language": "bool",
  "constant.character.escape": "escape",
  "entity.name": "typeName",
  "keyword.operator": "operator",
  keyword: "keyword",
  punctuation: "punctuation",
  string: "string",
  "support.function": "variableName.function",
  "support.type": "typeName",
  "support.class": "variableName.function",
  "variable.other.definition": "variableName.definition",
  "variable.parameter": "variableName.local",
  "entity.name.function": "variableName.function",
};
const KNOWN = Object.keys(NAMES).sort((a, b) => b.length - a.length);

function named(scopes) {
  for (const scope of [...scopes].reverse()) {
    const known = KNOWN.find((each) => scope === each || scope.startsWith(`${each}.`));
    if (known) return NAMES[known];
  }
  return null;
}

/** The language, once its grammar is read. */
export async function vfl() {
  const [wasm, text] = await Promise.all([
    fetch("onig.wasm").then((got) => got.arrayBuffer()),
    fetch("vfl.tmLanguage.json").then((got) => got.json()),
  ]);
  await loadWASM(wasm);
  const registry = new Registry({
    onigLib: Promise.resolve({ createOnigScanner, createOnigString }),
    loadGrammar: async () => text,
  });
  const grammar = await registry.loadGrammar("source.vfl");
  return StreamLanguage.define({
    name: "vfl",
    languageData: { commentTokens: { line: "#" }, closeBrackets: { brackets: ["(", "[", "{", '"', "'"] } },
    startState: () => ({ stack: INITIAL, tokens: [], next: 0 }),
    copyState: (state) => ({ ...state }),
    token(stream, state) {
      if (stream.sol()) {
        const line = grammar.tokenizeLine(stream.string, state.stack);
        Object.assign(state, { stack: line.ruleStack, tokens: line.tokens, next: 0 });
      }
      while (state.next < state.tokens.length && state.tokens[state.next].endIndex <= stream.pos) state.next += 1;
      const token = state.tokens[state.next];
      stream.pos = Math.min(token ? token.endIndex : stream.string.length, stream.string.length);
      return token ? named(token.scopes) : null;
    },
    blankLine(state) {
      state.stack = grammar.tokenizeLine("", state.stack).ruleStack;
    },
    indent(_, after, context) {
      let above = context.lineAt(context.pos, -1);
      if (context.simulatedBreak == null) {
        if (!above.from) return 0;
        above = context.lineAt(above.from - 1, -1);
      }
      const depth = /^\s*/.exec(above.text)[0].length + (/[{([]\s*$/.test(above.text) ? 2 : 0);
      return Math.max(0, depth - (/^\s*[})\]]/.test(after) ? 2 : 0));
    },
  });
}
