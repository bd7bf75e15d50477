"""Writes `src/parser.c`: the tables that vflc parses with, in the form that tree-sitter's library reads.

`python grammars/tree-sitter-vfl/generate.py`, after a change of the grammar. The tables are those of
`vfl.tables.json`, so both parsers take the same texts and build the same trees; tree-sitter's own generator
is not needed. The form is that of its language ABI 14 (`src/tree_sitter/parser.h`, which is tree-sitter's,
under the MIT licence). `src/scanner.c` cuts the tokens.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
TABLES = HERE.parent / "vfl.tables.json"
END = "$END"
ROOT = "source_file"
"""What tree-sitter calls the whole by custom; `start` in the grammar."""
NAMED = {
    "NAME": "identifier", "NUMBER": "number_literal", "STRING": "string_literal", "COMMENT": "comment",
    "TRUE": "true", "FALSE": "false",
}  # fmt: skip
"""Tokens that are nodes with a name of their own."""
SIGNS = {
    "ARROW": "->", "COLON": ":", "COMMA": ",", "COMPARE": "comparison", "DOT": ".", "DOTS": "..",
    "EQUAL": "=", "LBRACE": "{", "LPAR": "(", "LSQB": "[", "MINUS": "-", "PLUS": "+", "POWER": "**",
    "RBRACE": "}", "RPAR": ")", "RSQB": "]", "STAR": "*", "TIMES": "times",
}  # fmt: skip
KEYWORD = "keyword"
"""What every word that starts a statement is: the text says which."""


class Symbol(NamedTuple):
    """A terminal or a rule, as it is called in C, and as a node: a name, or none where it is no node."""

    c: str
    shown: str
    visible: bool
    named: bool


class Language:
    """The tables with numbers for symbols and states, as tree-sitter counts them.

    What a rule makes, as `binary` of a `sum`, becomes a symbol of its own, with a state that makes the rule's
    origin of it. State 0 is where tree-sitter looks for its way after a mistake, and state 1 the first.
    """

    def __init__(self, tables: dict[str, Any]) -> None:
        self.rules = tables["rules"]
        rows = [tables["rows"][row] for row in tables["states"]]
        assert tables["start"] == 0, "the first state is the first"
        self.terminals = sorted({word for row in rows for word in row if word.isupper() and word != END})
        self.origins = sorted({rule[0] for rule in self.rules})
        self.made = sorted({(rule[0], rule[2]) for rule in self.rules if rule[2]})
        self.symbols = [*self._tokens(), *self._nodes()]
        self.number = {symbol.c: index for index, symbol in enumerate(self.symbols)}
        self.first_made = len(rows) + 1
        self.rows = [self._row(row) for row in rows] + [self._made_row(*each) for each in self.made]

    def _tokens(self) -> Iterator[Symbol]:
        yield Symbol("ts_builtin_sym_end", "end", False, True)
        for name in [*self.terminals, "COMMENT"]:
            named = name in NAMED
            shown = NAMED.get(name) or SIGNS.get(name) or self._word(name)
            yield Symbol(f"tok_{name}", shown, True, named or shown == KEYWORD)

    def _word(self, name: str) -> str:
        return name.lower() if name in WORDS else KEYWORD

    def _nodes(self) -> Iterator[Symbol]:
        for origin in self.origins:
            yield Symbol(f"sym_{origin}", origin, False, True)
        for origin, method in self.made:
            yield Symbol(f"made_{origin}_{method}", ROOT if method == "start" else method, True, True)

    def _row(self, row: dict[str, int]) -> dict[str, tuple[Any, ...]]:
        found: dict[str, tuple[Any, ...]] = {}
        for name, action in row.items():
            if action < 0:
                origin, size, method, *_ = self.rules[~action]
                symbol = f"made_{origin}_{method}" if method else f"sym_{origin}"
                found[self._c(name)] = ("reduce", symbol, size)
            elif name.isupper():
                found[self._c(name)] = ("shift", action + 1)
            else:
                found[f"sym_{name}"] = ("goto", action + 1)
                for index, (origin, method) in enumerate(self.made):
                    if origin == name:
                        found[f"made_{origin}_{method}"] = ("goto", self.first_made + index)
        return found

    def _made_row(self, origin: str, method: str) -> dict[str, tuple[Any, ...]]:
        if method == "start":
            return {self._c(END): ("accept",)}
        return {self._c(name): ("reduce", f"sym_{origin}", 1) for name in [END, *self.terminals]}

    @staticmethod
    def _c(terminal: str) -> str:
        return "ts_builtin_sym_end" if terminal == END else f"tok_{terminal}"


WORDS = {
    "AND", "AS", "AT", "BECAUSE", "BY", "FOR", "IF", "IN", "NOT", "OF", "ON", "OR", "TO", "WITH", "WHERE",
    "GRADIENTS", "WEIGHTS", "FREEZE", "DROP", "SCOPE",
}  # fmt: skip
"""Words within a statement: each is a node without a name, so that colours can tell them from keywords."""


def parser(tables: dict[str, Any]) -> str:
    """The text of `parser.c`."""
    return "\n".join(_lines(Language(tables))) + "\n"


def _lines(made: Language) -> Iterator[str]:
    tokens = len(made.terminals) + 2
    yield "/* Generated by generate.py from vfl.tables.json: change the grammar, not this. */"
    yield '#include "tree_sitter/parser.h"\n'
    sizes = {
        "LANGUAGE_VERSION": 14, "STATE_COUNT": len(made.rows) + 1, "LARGE_STATE_COUNT": 2,
        "SYMBOL_COUNT": len(made.symbols), "ALIAS_COUNT": 0, "TOKEN_COUNT": tokens,
        "EXTERNAL_TOKEN_COUNT": tokens - 1, "FIELD_COUNT": 0, "MAX_ALIAS_SEQUENCE_LENGTH": 1,
        "PRODUCTION_ID_COUNT": 1,
    }  # fmt: skip
    yield from (f"#define {name} {size}" for name, size in sizes.items())
    yield "\nenum {"
    yield from (f"  {symbol.c} = {index}," for index, symbol in enumerate(made.symbols) if index)
    yield "};\n"
    yield from _table("const char *const ts_symbol_names[]", (_quoted(each.shown) for each in made.symbols))
    yield from _table("const TSSymbol ts_symbol_map[]", _public(made.symbols))
    flags = (f"{{.visible = {_bool(each.visible)}, .named = {_bool(each.named)}}}" for each in made.symbols)
    yield from _table("const TSSymbolMetadata ts_symbol_metadata[]", flags)
    yield "static const TSSymbol ts_alias_sequences[1][1] = {{0}};"
    yield "static const uint16_t ts_non_terminal_alias_map[] = {0};"
    states = range(len(made.rows) + 1)
    yield from _table("const TSStateId ts_primary_state_ids[]", map(str, states))
    yield from _actions(made)
    yield LANGUAGE


def _actions(made: Language) -> Iterator[str]:
    """What each state does: every different action once, and rows that name them by number."""
    actions: dict[tuple[Any, ...], int] = {("recover",): 1, ("extra",): 3}
    rows: list[dict[int, int]] = []
    for row in made.rows:
        cells = {made.number["tok_COMMENT"]: 3}
        for symbol, action in row.items():
            cells[made.number[symbol]] = (
                action[1] if action[0] == "goto" else actions.setdefault(action, 2 * len(actions) + 1)
            )
        rows.append(cells)
    valid: dict[tuple[int, ...], int] = {}
    tokens = len(made.terminals) + 2
    modes = [0, *(_mode(valid, cells, tokens) for cells in rows)]
    yield from _table(
        "const TSLexMode ts_lex_modes[]", (f"{{.external_lex_state = {each + 1}}}" for each in modes)
    )
    every = tuple(range(1, tokens))
    sets = [(), every, *valid]
    shown = (f"{{{', '.join(f'[{symbol - 1}] = true' for symbol in each) or '0'}}}" for each in sets)
    yield from _table("const bool ts_external_scanner_states[][EXTERNAL_TOKEN_COUNT]", shown)
    symbols = (str(index) for index in every)
    yield from _table("const TSSymbol ts_external_scanner_symbol_map[]", symbols)
    recovering = {**dict.fromkeys(range(tokens), 1), made.number["tok_COMMENT"]: 3}
    large = (
        f"{{{', '.join(f'[{s}] = {a}' for s, a in sorted(row.items()))}}}" for row in (recovering, rows[0])
    )
    yield from _table("const uint16_t ts_parse_table[LARGE_STATE_COUNT][SYMBOL_COUNT]", large)
    small: list[int] = []
    starts = []
    for cells in rows[1:]:
        starts.append(len(small))
        groups: dict[tuple[bool, int], list[int]] = {}
        for symbol, value in sorted(cells.items()):
            groups.setdefault((symbol < tokens, value), []).append(symbol)
        small.append(len(groups))
        for (_, value), members in groups.items():
            small += [value, len(members), *members]
    yield from _table("const uint16_t ts_small_parse_table[]", map(str, small))
    yield from _table("const uint32_t ts_small_parse_table_map[]", map(str, starts))
    told = ["{.entry = {.count = 0, .reusable = false}}"]
    for action in actions:
        told += ["{.entry = {.count = 1, .reusable = false}}", _action(made, action)]
    yield from _table("const TSParseActionEntry ts_parse_actions[]", told)


def _mode(valid: dict[tuple[int, ...], int], cells: dict[int, int], tokens: int) -> int:
    """The number of the set of tokens that fit in a state."""
    return valid.setdefault(tuple(sorted(symbol for symbol in cells if 0 < symbol < tokens)), len(valid) + 1)


def _action(made: Language, action: tuple[Any, ...]) -> str:
    if action[0] == "shift":
        return f"SHIFT({action[1]})"
    if action[0] == "reduce":
        return f"REDUCE({made.number[action[1]]}, {action[2]})"
    return {"recover": "RECOVER()", "extra": "SHIFT_EXTRA()", "accept": "ACCEPT_INPUT()"}[action[0]]


def _public(symbols: list[Symbol]) -> Iterator[str]:
    """Of symbols that are shown alike, the first stands for all."""
    first: dict[tuple[str, bool, bool], int] = {}
    for index, symbol in enumerate(symbols):
        yield str(first.setdefault(symbol[1:], index))


def _table(declared: str, cells: Iterable[str]) -> Iterator[str]:
    yield f"static {declared} = {{"
    line = " "
    for cell in cells:
        if len(line) + len(cell) > 108:
            yield line
            line = " "
        line += f" {cell},"
    yield line
    yield "};\n"


def _quoted(text: str) -> str:
    return json.dumps(text)


def _bool(value: bool) -> str:
    return "true" if value else "false"


LANGUAGE = """\
/* All tokens are the scanner's; what is left is the end of the text, after blanks. */
static bool ts_lex(TSLexer *lexer, TSStateId state) {
  (void)state;
  while (lexer->lookahead == ' ' || (lexer->lookahead >= '\\t' && lexer->lookahead <= '\\r'))
    lexer->advance(lexer, true);
  if (!lexer->eof(lexer)) return false;
  lexer->result_symbol = ts_builtin_sym_end;
  lexer->mark_end(lexer);
  return true;
}

void *tree_sitter_vfl_external_scanner_create(void);
void tree_sitter_vfl_external_scanner_destroy(void *);
bool tree_sitter_vfl_external_scanner_scan(void *, TSLexer *, const bool *);
unsigned tree_sitter_vfl_external_scanner_serialize(void *, char *);
void tree_sitter_vfl_external_scanner_deserialize(void *, const char *, unsigned);

#ifdef _WIN32
#define TS_PUBLIC __declspec(dllexport)
#else
#define TS_PUBLIC __attribute__((visibility("default")))
#endif

TS_PUBLIC const TSLanguage *tree_sitter_vfl(void) {
  static const TSLanguage language = {
    .version = LANGUAGE_VERSION,
    .symbol_count = SYMBOL_COUNT,
    .alias_count = ALIAS_COUNT,
    .token_count = TOKEN_COUNT,
    .external_token_count = EXTERNAL_TOKEN_COUNT,
    .state_count = STATE_COUNT,
    .large_state_count = LARGE_STATE_COUNT,
    .production_id_count = PRODUCTION_ID_COUNT,
    .field_count = FIELD_COUNT,
    .max_alias_sequence_length = MAX_ALIAS_SEQUENCE_LENGTH,
    .parse_table = &ts_parse_table[0][0],
    .small_parse_table = ts_small_parse_table,
    .small_parse_table_map = ts_small_parse_table_map,
    .parse_actions = ts_parse_actions,
    .symbol_names = ts_symbol_names,
    .symbol_metadata = ts_symbol_metadata,
    .public_symbol_map = ts_symbol_map,
    .alias_map = ts_non_terminal_alias_map,
    .alias_sequences = &ts_alias_sequences[0][0],
    .lex_modes = ts_lex_modes,
    .lex_fn = ts_lex,
    .external_scanner = {
      &ts_external_scanner_states[0][0],
      ts_external_scanner_symbol_map,
      tree_sitter_vfl_external_scanner_create,
      tree_sitter_vfl_external_scanner_destroy,
      tree_sitter_vfl_external_scanner_scan,
      tree_sitter_vfl_external_scanner_serialize,
      tree_sitter_vfl_external_scanner_deserialize,
    },
    .primary_state_ids = ts_primary_state_ids,
  };
  return &language;
}"""


def tokens_header(tables: dict[str, Any]) -> str:
    """The text of `tokens.h`: the scanner's numbers of the tokens."""
    names = [*Language(tables).terminals, "COMMENT"]
    body = "\n".join(f"  {name}," for name in names)
    return f"/* Generated by generate.py. */\nenum token {{\n{body}\n}};\n"


def files() -> dict[Path, str]:
    """Every file and what is to be in it."""
    tables = json.loads(TABLES.read_text("utf-8"))
    return {HERE / "src" / "parser.c": parser(tables), HERE / "src" / "tokens.h": tokens_header(tables)}


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
