// The editor: what the compiler knows, shown in the text.

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint";
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search";
import { Compartment, EditorState, StateEffect, StateField } from "@codemirror/state";
import {
  Decoration, EditorView, drawSelection, highlightActiveLine, highlightSpecialChars, hoverTooltip, keymap,
  lineNumbers, WidgetType,
} from "@codemirror/view";
import { classHighlighter } from "@lezer/highlight";

import { complete, hover as told } from "./language.js";
import { element, markdown } from "./markdown.js";

const LEVELS = { error: "error", warning: "warning", note: "info" };

/** Text beside the code that is not part of it: a shape, or above a party what crosses. */
class Note extends WidgetType {
  constructor(text, kind) {
    super();
    Object.assign(this, { text, kind });
  }

  eq(other) {
    return other.text === this.text && other.kind === this.kind;
  }

  toDOM() {
    return element(this.kind === "lens" ? "div" : "span", { class: `note-${this.kind}` }, this.text);
  }
}

const said = StateEffect.define();
const notes = StateField.define({
  create: () => Decoration.none,
  update(set, change) {
    const made = change.effects.find((effect) => effect.is(said));
    return made ? decorations(change.state, made.value) : set.map(change.changes);
  },
  provide: (field) => EditorView.decorations.from(field),
});

function decorations(state, { hints, lenses, owners }) {
  const made = owners
    .filter((each) => each.from < each.to)
    .map((each) => Decoration.mark({ class: `owned ${each.owner}` }).range(each.from, each.to));
  for (const hint of hints) {
    made.push(Decoration.widget({ widget: new Note(hint.text, "hint"), side: 1 }).range(hint.at));
  }
  for (const lens of lenses) {
    const line = state.doc.lineAt(lens.from).from;
    made.push(Decoration.widget({ widget: new Note(lens.text, "lens"), block: true, side: -1 }).range(line));
  }
  return Decoration.set(made, true);
}

const hover = hoverTooltip(async (view, at) => {
  const text = view.state.doc.toString();
  const found = await told(text, at);
  if (!found || view.state.doc.toString() !== text) return null;
  return { pos: found.from, end: found.to, above: true, create: () => ({ dom: markdown(found.markdown) }) };
});

async function completions(context) {
  if (!context.explicit && !context.matchBefore(/[\w.]|->\s?|:\s?|\{\s?/)) return null;
  const { from, options } = await complete(context.state.doc.toString(), context.pos);
  if (context.aborted || !options.length) return null;
  const shown = options.map((each) => ({ ...each, info: each.markdown ? () => markdown(each.markdown) : undefined }));
  return { from, options: shown, validFor: /^\w*$/ };
}

const colours = new Compartment();

/** An editor in `parent`; `changed` is called with its text. */
export function editor(parent, text, changed) {
  const view = new EditorView({
    parent,
    state: EditorState.create({
      doc: text,
      extensions: [
        lineNumbers(), highlightSpecialChars(), history(), drawSelection(), indentOnInput(), bracketMatching(),
        closeBrackets(), highlightActiveLine(), highlightSelectionMatches(), indentUnit.of("  "), lintGutter(),
        autocompletion({ override: [completions] }), hover, notes, colours.of([]),
        syntaxHighlighting(classHighlighter), EditorView.lineWrapping,
        EditorView.contentAttributes.of({ "aria-label": "The spec, in the language vfl", spellcheck: "false", tabindex: "0" }),
        keymap.of([
          ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...completionKeymap,
          ...lintKeymap, indentWithTab,
        ]),
        EditorView.updateListener.of((update) => update.docChanged && changed(update.state.doc.toString())),
      ],
    }),
  });
  function go(at) {
    view.dispatch({ selection: { anchor: at }, effects: EditorView.scrollIntoView(at, { y: "center" }) });
    view.focus();
  }

  return {
    text: () => view.state.doc.toString(),
    colour: (language) => view.dispatch({ effects: colours.reconfigure(language) }),
    replace: (written) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: written } }),
    change: (changes) => view.dispatch({ changes }),
    show: (answer) => view.dispatch({ effects: said.of(answer) }),
    underline: (found, fixes, mend) => view.dispatch(setDiagnostics(view.state, squiggles(found, fixes, mend))),
    go,
    goTo(line, column) {
      const found = view.state.doc.line(Math.min(line, view.state.doc.lines));
      go(found.from + [...found.text].slice(0, column - 1).join("").length);
    },
  };
}

function squiggles(found, fixes, mend) {
  return found.map((each) => ({
    from: each.from, to: Math.max(each.to, each.from), severity: LEVELS[each.level], source: each.code,
    message: each.message,
    actions: fixes
      .filter((fix) => fix.code === each.code && fix.at === each.from)
      .map((fix) => ({ name: fix.title, apply: () => mend(fix) })),
  }));
}
