"""The grammars of the language: `vfl.lark` for the compiler, `vfl.tmLanguage.json` for editors."""
