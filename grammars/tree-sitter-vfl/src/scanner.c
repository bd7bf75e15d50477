/* Cuts a spec into tokens, as vflc/syntax/tokens.py does: a word is a keyword only where its statement can start. */

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "tokens.h"
#include "tree_sitter/parser.h"

#define LONGEST 16 /* no keyword is longer */
#define DEEPEST 200 /* brackets whose kinds are known: those within more are told apart no longer */

/* What a bracket holds, as far as words in it depend on that. */
enum body { TOP = 1, IN_PARTY = 2, IN_BLOCK = 4, BINDINGS = 8, SETTINGS = 16, IN_RELEASE = 32, OTHER = 64 };
#define ANY (TOP | IN_PARTY | IN_BLOCK | BINDINGS | SETTINGS | OTHER)

struct scanner {
  uint8_t head;   /* the body that the last words announce: `party alice` */
  uint8_t words;  /* since then */
  uint8_t before; /* the token before */
  uint8_t depth;
  uint16_t beyond; /* brackets within the deepest */
  uint8_t bodies[DEEPEST];
};

struct word {
  const char *text;
  enum token token;
  uint8_t bodies; /* where it can be more than a name */
};

static const struct word WORDS[] = {
  {"use", USE, TOP}, {"party", PARTY, TOP}, {"population", PARTY, TOP}, {"block", BLOCK, TOP}, {"fuse", FUSE, TOP},
  {"predict", PREDICT, TOP}, {"objective", OBJECTIVE, TOP}, {"train", TRAIN, TOP}, {"schedule", SCHEDULE, TOP},
  {"release", RELEASE, TOP}, {"protect", PROTECT, TOP}, {"accept", ACCEPT, TOP}, {"weights", WEIGHTS, TOP},
  {"gradients", GRADIENTS, TOP}, {"because", BECAUSE, TOP}, {"on", ON, TOP}, {"to", TO, TOP}, {"with", WITH, TOP},
  {"global", SCOPE, TOP | IN_BLOCK | BINDINGS}, {"local", SCOPE, TOP | IN_BLOCK | BINDINGS},
  {"return", RETURN, IN_BLOCK}, {"key", KEY, IN_PARTY}, {"rows", ROWS, IN_PARTY}, {"missing", MISSING, IN_PARTY},
  {"feature", COLUMN, IN_PARTY}, {"column", COLUMN, IN_PARTY}, {"label", COLUMN, IN_PARTY},
  {"weight", COLUMN, IN_PARTY}, {"as", AS, IN_PARTY}, {"freeze", FREEZE, SETTINGS}, {"drop", DROP, SETTINGS},
  {"where", WHERE, SETTINGS}, {"by", BY, SETTINGS}, {"and", AND, ANY}, {"at", AT, ANY}, {"for", FOR, ANY},
  {"if", IF, ANY}, {"in", IN, ANY}, {"not", NOT, ANY}, {"of", OF, ANY}, {"or", OR, ANY}, {"true", TRUE, ANY},
  {"false", FALSE, ANY},
};

/* Words that announce what the brackets after them hold. */
static const struct {
  const char *text;
  enum body body;
} HEADS[] = {
  {"party", IN_PARTY}, {"population", IN_PARTY}, {"train", SETTINGS}, {"schedule", SETTINGS}, {"release", IN_RELEASE},
  {"fuse", BINDINGS}, {"block", IN_BLOCK},
};

static enum body body_of(const struct scanner *scanner) {
  return scanner->depth ? (enum body)scanner->bodies[scanner->depth - 1] : TOP;
}

static void open(struct scanner *scanner, enum body body) {
  if (scanner->depth < DEEPEST) scanner->bodies[scanner->depth++] = (uint8_t)body;
  else if (scanner->beyond < UINT16_MAX) scanner->beyond++;
}

static void close(struct scanner *scanner) {
  if (scanner->beyond) scanner->beyond--;
  else if (scanner->depth) scanner->depth--;
}

static bool is_blank(int32_t c) {
  return c == ' ' || (c >= '\t' && c <= '\r') || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000 || (c >= 0x1C && c <= 0x1F);
}

static bool is_digit(int32_t c) { return c >= '0' && c <= '9'; }

static bool is_letter(int32_t c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c > 0x7F && !is_blank(c));
}

static bool is_part(int32_t c) { return is_letter(c) || is_digit(c); }

static void next(TSLexer *lexer) { lexer->advance(lexer, false); }

static bool take(TSLexer *lexer, int32_t c) {
  if (lexer->lookahead != c) return false;
  next(lexer);
  return true;
}

/* Ends here: what is read after it only tells what it is. */
static bool found(TSLexer *lexer, enum token token) {
  lexer->result_symbol = token;
  lexer->mark_end(lexer);
  return true;
}

static void read_word(TSLexer *lexer, char *text) {
  unsigned size = 0;
  for (; is_part(lexer->lookahead); next(lexer)) {
    if (size < LONGEST - 1) text[size++] = lexer->lookahead < 0x80 ? (char)lexer->lookahead : '?';
  }
  text[size] = 0;
}

static void skip_to_token(TSLexer *lexer) {
  while (!lexer->eof(lexer)) {
    if (lexer->lookahead == '#') {
      while (!lexer->eof(lexer) && lexer->lookahead != '\n') next(lexer);
    } else if (!is_blank(lexer->lookahead)) {
      return;
    } else {
      next(lexer);
    }
  }
}

static void note_head(struct scanner *scanner, const char *text) {
  scanner->words++;
  for (unsigned i = 0; i < sizeof HEADS / sizeof *HEADS; i++) {
    if (!strcmp(text, HEADS[i].text)) {
      scanner->head = HEADS[i].body;
      scanner->words = 0;
    }
  }
}

static bool scan_word(struct scanner *scanner, TSLexer *lexer, const bool *valid) {
  char text[LONGEST], after[LONGEST] = "";
  read_word(lexer, text);
  note_head(scanner, text);
  found(lexer, NAME);
  enum token token = NAME;
  for (unsigned i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
    if (valid[WORDS[i].token] && WORDS[i].bodies & body_of(scanner) && !strcmp(text, WORDS[i].text)) {
      token = WORDS[i].token;
    }
  }
  if (token == NAME) return true;
  skip_to_token(lexer);
  int32_t following = lexer->lookahead;
  if (take(lexer, '=') && lexer->lookahead != '=') return true; /* `train = 3` */
  if (token == WEIGHTS || token == GRADIENTS) {
    if (is_letter(following)) read_word(lexer, after);
    if (token == WEIGHTS && (following == '.' || !strcmp(after, "with"))) return true;
    if (token == GRADIENTS && strcmp(after, "to")) return true;
  }
  lexer->result_symbol = token;
  return true;
}

static bool scan_number(TSLexer *lexer) {
  while (is_digit(lexer->lookahead) || lexer->lookahead == '_') next(lexer);
  found(lexer, NUMBER);
  if (take(lexer, '.')) {
    if (!is_digit(lexer->lookahead)) return true; /* `0..20` */
    while (is_digit(lexer->lookahead) || lexer->lookahead == '_') next(lexer);
    found(lexer, NUMBER);
  }
  if (lexer->lookahead == 'e' || lexer->lookahead == 'E') {
    next(lexer);
    if (lexer->lookahead == '+' || lexer->lookahead == '-') next(lexer);
    if (!is_digit(lexer->lookahead)) return true;
    while (is_digit(lexer->lookahead)) next(lexer);
    found(lexer, NUMBER);
  }
  return true;
}

static bool scan_string(TSLexer *lexer) {
  int32_t quote = lexer->lookahead;
  next(lexer);
  while (!lexer->eof(lexer) && lexer->lookahead != '\n') {
    if (take(lexer, quote)) break;
    if (take(lexer, '\\') && lexer->lookahead == '\n') break;
    if (!lexer->eof(lexer)) next(lexer);
  }
  return found(lexer, STRING); /* one that is not closed ends with its line */
}

/* What a `{` holds, by the tokens around it. */
static enum body of_brace(const struct scanner *scanner, TSLexer *lexer) {
  skip_to_token(lexer);
  if (scanner->before == DOT || is_digit(lexer->lookahead) || body_of(scanner) != TOP) return OTHER;
  if (scanner->before == RPAR) return IN_BLOCK;
  return scanner->head && scanner->words < 4 ? (enum body)scanner->head : OTHER;
}

static bool scan_sign(struct scanner *scanner, TSLexer *lexer) {
  int32_t sign = lexer->lookahead;
  next(lexer);
  switch (sign) {
    case ':': return found(lexer, COLON);
    case ',': return found(lexer, COMMA);
    case '{': found(lexer, LBRACE), open(scanner, of_brace(scanner, lexer)); return true;
    case '(': open(scanner, OTHER); return found(lexer, LPAR);
    case '[': open(scanner, OTHER); return found(lexer, LSQB);
    case '}': close(scanner); return found(lexer, RBRACE);
    case ')': close(scanner); return found(lexer, RPAR);
    case ']': close(scanner); return found(lexer, RSQB);
    case '+': return found(lexer, PLUS);
    case '%':
    case '@': return found(lexer, TIMES);
    case '/': take(lexer, '/'); return found(lexer, TIMES);
    case '*': return found(lexer, take(lexer, '*') ? POWER : STAR);
    case '-': return found(lexer, take(lexer, '>') ? ARROW : MINUS);
    case '.': return found(lexer, take(lexer, '.') ? DOTS : DOT);
    case '=': return found(lexer, take(lexer, '=') ? COMPARE : EQUAL);
    case '<':
    case '>': take(lexer, '='); return found(lexer, COMPARE);
    case '!': return take(lexer, '=') && found(lexer, COMPARE);
    default: return false;
  }
}

void *tree_sitter_vfl_external_scanner_create(void) { return calloc(1, sizeof(struct scanner)); }

void tree_sitter_vfl_external_scanner_destroy(void *scanner) { free(scanner); }

unsigned tree_sitter_vfl_external_scanner_serialize(void *scanner, char *buffer) {
  unsigned size = offsetof(struct scanner, bodies) + ((struct scanner *)scanner)->depth;
  memcpy(buffer, scanner, size);
  return size;
}

void tree_sitter_vfl_external_scanner_deserialize(void *scanner, const char *buffer, unsigned size) {
  memset(scanner, 0, sizeof(struct scanner));
  if (size) memcpy(scanner, buffer, size);
}

bool tree_sitter_vfl_external_scanner_scan(void *state, TSLexer *lexer, const bool *valid) {
  struct scanner *scanner = state;
  while (!lexer->eof(lexer) && is_blank(lexer->lookahead)) lexer->advance(lexer, true);
  if (lexer->eof(lexer)) return false;
  if (lexer->lookahead == '#') {
    while (!lexer->eof(lexer) && lexer->lookahead != '\n') next(lexer);
    return found(lexer, COMMENT);
  }
  if (is_letter(lexer->lookahead)) {
    scan_word(scanner, lexer, valid);
  } else {
    bool told = is_digit(lexer->lookahead)                               ? scan_number(lexer)
                : lexer->lookahead == '"' || lexer->lookahead == '\'' ? scan_string(lexer)
                                                                         : scan_sign(scanner, lexer);
    if (!told) return false;
    scanner->head = scanner->words = 0;
  }
  scanner->before = (uint8_t)lexer->result_symbol;
  return true;
}
