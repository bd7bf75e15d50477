"""vflc: a declarative language and compiler for vertical model graphs."""

__version__ = "0.1.0"
