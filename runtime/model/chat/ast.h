// Owns: the shape of a parsed template. Nodes live in the template's arena and never change after
// scopes.cpp has bound every name to a slot; rendering reads them from many threads.
#pragma once

#include <cstdint>
#include <span>

#include "runtime/model/chat/value.h"

namespace splitd::jinja {

// Deepest nesting of expressions and of statements: what walks a template may recurse. Python's
// own compiler, on which Jinja stands, refuses more than 200 brackets and 100 blocks.
inline constexpr uint32_t kMaxExpressionDepth = 200;
inline constexpr uint32_t kMaxStatementDepth = 100;

// ── Names ──────────────────────────────────────────────────────────────────────────────────────
// A function (the root, a macro, a call block, a recursive loop) owns an array of slots; a scope
// inside it, such as the body of a loop, owns some of them and says how they start.

struct Slot {
  uint32_t index = 0;
  uint16_t hops = 0;  // functions outwards
};

struct Load {
  enum class How : uint8_t {
    undefined,  // set here, so it starts as nothing
    alias,      // starts as the outer scope's variable of that name
    resolve,    // the input's, or a global
  };
  How how = How::undefined;
  uint32_t slot = 0;
  Slot from;                   // alias
  const Text* name = nullptr;  // resolve
};

struct Scope {
  std::span<const Load> loads;
};

// ── Expressions ────────────────────────────────────────────────────────────────────────────────

enum class ExprKind : uint8_t {
  constant,
  name,
  list,
  tuple,
  dict,
  attribute,
  item,
  slice,
  call,
  filter,
  test,
  negate,
  positive,
  invert,  // not
  binary,
  logic,
  concat,
  compare,
  conditional,
};

struct Expr {
  ExprKind kind;
  uint16_t depth = 1;
  uint32_t offset = 0;  // in the source
};

struct ConstantExpr : Expr {
  Value value;
};
struct NameExpr : Expr {
  const Text* name = nullptr;
  Slot slot;
};
struct SequenceExpr : Expr {  // list, tuple, concat
  std::span<Expr* const> items;
};
struct DictItem {
  Expr* key;
  Expr* value;
};
struct DictExpr : Expr {
  std::span<const DictItem> items;
};
struct AttributeExpr : Expr {
  Expr* object = nullptr;
  const Text* name = nullptr;
};
struct ItemExpr : Expr {
  Expr* object = nullptr;
  Expr* index = nullptr;
};
struct SliceExpr : Expr {
  Expr* object = nullptr;
  Expr* start = nullptr;  // each may be null
  Expr* stop = nullptr;
  Expr* step = nullptr;
};
struct NamedExpr {
  const Text* name;
  Expr* value;
};
struct CallArgs {
  std::span<Expr* const> positional;
  std::span<const NamedExpr> named;
  Expr* more_positional = nullptr;  // *args
  Expr* more_named = nullptr;       // **kwargs
};
struct CallExpr : Expr {
  Expr* callee = nullptr;
  CallArgs args;
};
struct Filter;
struct Test;
struct FilterExpr : Expr {
  Expr* input = nullptr;  // null: the text of the block around it
  const Text* name = nullptr;
  const Filter* filter = nullptr;  // null: unknown, which fails when it is reached
  CallArgs args;
};
struct TestExpr : Expr {
  Expr* input = nullptr;
  const Text* name = nullptr;
  const Test* test = nullptr;
  CallArgs args;
};
struct UnaryExpr : Expr {
  Expr* operand = nullptr;
};
enum class BinaryOp : uint8_t { add, subtract, multiply, divide, floor_divide, modulo, power };
struct BinaryExpr : Expr {
  BinaryOp op = BinaryOp::add;
  Expr* left = nullptr;
  Expr* right = nullptr;
};
struct LogicExpr : Expr {
  bool is_and = false;
  Expr* left = nullptr;
  Expr* right = nullptr;
};
enum class CompareOp : uint8_t { eq, ne, lt, le, gt, ge, in, not_in };
struct Comparison {
  CompareOp op;
  Expr* right;
};
struct CompareExpr : Expr {
  Expr* first = nullptr;
  std::span<const Comparison> rest;
};
struct ConditionalExpr : Expr {
  Expr* test = nullptr;
  Expr* yes = nullptr;
  Expr* no = nullptr;  // may be null
};

// ── Statements ─────────────────────────────────────────────────────────────────────────────────

enum class StmtKind : uint8_t {
  data,
  print,
  set,
  set_block,
  for_loop,
  branch,
  macro,
  call_block,
  filter_block,
  with,
  break_loop,
  continue_loop,
};

struct Stmt {
  StmtKind kind;
  uint32_t offset = 0;
};
using Body = std::span<Stmt* const>;

// What is assigned to: a name, ns.attribute, or a tuple of targets.
struct Target {
  enum class Kind : uint8_t { name, attribute, tuple };
  Kind kind = Kind::name;
  uint32_t offset = 0;
  const Text* name = nullptr;
  const Text* attribute = nullptr;
  Slot slot;
  std::span<Target* const> items;
};

struct DataStmt : Stmt {
  const Text* text = nullptr;
};
struct PrintStmt : Stmt {
  Expr* value = nullptr;
};
struct SetStmt : Stmt {
  Target* target = nullptr;
  Expr* value = nullptr;
};
struct SetBlockStmt : Stmt {
  Target* target = nullptr;
  FilterExpr* filter = nullptr;  // may be null
  Body body;
  Scope scope;
};
struct ForStmt : Stmt {
  Target* target = nullptr;
  Expr* iterable = nullptr;
  Expr* test = nullptr;           // may be null
  Target* test_target = nullptr;  // the target in the test's own scope
  Body body;
  Body otherwise;
  bool recursive = false;
  bool uses_loop = false;
  bool has_else = false;
  Slot loop_slot;
  Scope scope;
  Scope test_scope;
  Scope else_scope;
  uint32_t n_slots = 0;  // of a recursive loop's own function
};
struct Branch {
  Expr* test;  // null: else
  Body body;
};
struct BranchStmt : Stmt {
  std::span<const Branch> branches;
};
struct Parameter {
  const Text* name = nullptr;
  Slot slot;
  Expr* fallback = nullptr;  // may be null
};
struct MacroCode {             // of a macro, or the body of a call block
  const Text* name = nullptr;  // null: a call block's
  std::span<Parameter> parameters;
  Body body;
  Scope scope;
  uint32_t n_slots = 0;
  bool takes_caller = false;  // it reads `caller`, `kwargs`, `varargs` that nobody else set
  bool takes_kwargs = false;
  bool takes_varargs = false;
  bool names_caller = false;  // `caller` is one of its parameters
  uint32_t caller_slot = 0;
  uint32_t kwargs_slot = 0;
  uint32_t varargs_slot = 0;
};
struct MacroStmt : Stmt {
  Target* target = nullptr;
  MacroCode code;
};
struct CallBlockStmt : Stmt {
  CallExpr* call = nullptr;  // null: {% generation %}, whose body is simply rendered
  MacroCode code;
};
struct FilterBlockStmt : Stmt {
  FilterExpr* filter = nullptr;
  Body body;
  Scope scope;
};
struct WithStmt : Stmt {
  std::span<Target* const> targets;
  std::span<Expr* const> values;
  Body body;
  Scope scope;
};

struct Program {
  Body body;
  Scope scope;
  uint32_t n_slots = 0;
};

}  // namespace splitd::jinja
