"""Extensions of vflc: the examples of docs/extending.md."""
