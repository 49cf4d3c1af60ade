"""JSON schemas as grammars: every keyword that says something of a value is kept, or the schema is
refused with the keyword's name and place.

`document` reads a schema and follows references; `cases` takes apart what it combines (`allOf`,
`anyOf`, `if` and others, with `negation`); `merging` and `objects` join what is said of one value
to `shapes`; `explored` does so for all that the root leads to; `writing` makes the grammar, `bare`
that of arguments that are not written as JSON; `checking` compares a value.
"""
