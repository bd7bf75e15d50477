"""What the clauses of a `release` say together."""

from __future__ import annotations

from itertools import chain, islice

from vflc.syntax.tree import COLON, Clause, Expr, Name, ReleaseStatement


def limits_of(statement: ReleaseStatement) -> list[list[Clause]]:
    """Clauses by what they say together: the list of `never Gender, Age` is two clauses."""
    limits: list[list[Clause]] = []
    for clause in statement.clauses:
        if limits and _goes_on(limits[-1], clause):
            limits[-1].append(clause)
        else:
            limits.append([clause])
    return limits


def _goes_on(limit: list[tuple[Expr | Name, ...]], clause: tuple[Expr | Name, ...]) -> bool:
    """Whether a clause is one more item of the list before it."""
    words = [_word(word) for word in clause]
    match [_word(word) for word in islice(chain.from_iterable(limit), 2)]:
        case ["to", _] | ["never", "to"]:
            return not _begins(words) or all(_word(word) != COLON for part in limit for word in part)
        case ["only" | "never", _]:
            return len(words) == 1
        case [_, "knows"]:
            return len(words) == 1
    return False


def _begins(words: list[str]) -> bool:
    """Whether a clause is the first of something new, behind the columns of a grant."""
    match words:
        case ["only" | "never" | "to", _, *_] | [_, "knows", *_]:
            return True
        case ["activations" | "gradients", "at", "most", _, "floats", *_]:
            return True
    return False


def _word(word: Expr | Name) -> str:
    return word.text if isinstance(word, Name) else ""
