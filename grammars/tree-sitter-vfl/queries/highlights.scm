(comment) @comment
(string_literal) @string
(number_literal) @number
[(true) (false)] @boolean
(keyword) @keyword
["as" "at" "because" "by" "for" "if" "in" "of" "on" "to" "with" "where" "gradients" "weights" "freeze" "drop" "scope"] @keyword
["and" "or" "not"] @keyword.operator
["->" "=" "**" "+" "-" "*" ".." "comparison" "times"] @operator
["{" "}" "(" ")" "[" "]"] @punctuation.bracket
["," "." ":"] @punctuation.delimiter

(party (keyword) (identifier) @module)
(release (keyword) (identifier) @module)
(place (identifier) @module)
(use (keyword) . (identifier) @module)
(key (identifier) @property)
(column (keyword) . (identifier) @property)
(column (keyword) . (string_literal) @property)
(alias (identifier) @property)
(type (identifier) @type.builtin)
(encoder (identifier) @function.builtin)
(block (keyword) (identifier) @type)
(outside (keyword) (identifier) @type)
(parameter . (identifier) @variable.parameter)
(binding . (identifier) @variable)
(predict (keyword) (identifier) @variable)
(setting . (identifier) @property)
(field . (identifier) @property)
(argument (identifier) @variable.parameter)
(call . (ref (identifier) @function.call))
(attribute (identifier) @variable.member)
(pattern (identifier) @string.special)
