// Owns: tokens → Program. The grammar is Jinja's, with the extensions transformers switches on
// (break, continue, generation). What needs other files (include, import, extends) is refused by
// name. Fails with the offset of what it does not understand.
#pragma once

#include <string_view>

#include "runtime/model/chat/ast.h"

namespace splitd::jinja {

// `source` is normalised (lexer.h) and outlives the program, as the arena does.
const Program* parse_program(std::string_view source, Arena& arena);

// Binds every name of the tree to a slot: scopes.cpp.
void bind_names(Program& program, Arena& arena);

}  // namespace splitd::jinja
