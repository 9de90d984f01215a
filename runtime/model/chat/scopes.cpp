// Owns: which variable a name means. Jinja decides that before a template runs, per scope: a name
// that a scope sets is the scope's own, and starts as the outer one of that name; a name that it
// only reads is the nearest outer scope's, or the input's. This follows Jinja's idtracking.py in
// what it decides, including that a variable set in one branch of an `if` falls back to the input.
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/model/chat/ast.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/parser.h"

namespace splitd::jinja {
namespace {

struct Function {
  Function* outer = nullptr;
  uint32_t n_slots = 0;
};

// The names of one scope.
struct Symbols {
  Symbols* parent = nullptr;
  Function* function = nullptr;
  std::unordered_map<std::string_view, uint32_t> slots = {};
  std::vector<Load> loads = {};

  const Symbols* find(std::string_view name, uint32_t& slot) const {
    for (const Symbols* scope = this; scope != nullptr; scope = scope->parent) {
      const auto found = scope->slots.find(name);
      if (found == scope->slots.end()) continue;
      slot = found->second;
      return scope;
    }
    return nullptr;
  }
  Slot at(const Symbols& owner, uint32_t slot) const {
    Slot out;
    out.index = slot;
    for (const Function* f = function; f != owner.function; f = f->outer) ++out.hops;
    return out;
  }
  uint32_t own(std::string_view name) {
    const uint32_t slot = function->n_slots++;
    slots[name] = slot;
    return slot;
  }
  uint32_t parameter(std::string_view name) {
    const auto found = slots.find(name);
    return found != slots.end() ? found->second : own(name);
  }
};

// Calls visit(expr) for each direct part of an expression.
template <class Visit>
void for_each_part(const CallArgs& args, Visit visit) {
  for (Expr* const arg : args.positional) visit(arg);
  for (const NamedExpr& arg : args.named) visit(arg.value);
  if (args.more_positional != nullptr) visit(args.more_positional);
  if (args.more_named != nullptr) visit(args.more_named);
}

template <class Visit>
void for_each_part(Expr& expr, Visit visit) {
  const auto maybe = [&](Expr* part) {
    if (part != nullptr) visit(part);
  };
  switch (expr.kind) {
    case ExprKind::constant:
    case ExprKind::name:
      return;
    case ExprKind::list:
    case ExprKind::tuple:
    case ExprKind::concat:
      for (Expr* const item : static_cast<SequenceExpr&>(expr).items) visit(item);
      return;
    case ExprKind::dict:
      for (const DictItem& item : static_cast<DictExpr&>(expr).items) {
        visit(item.key);
        visit(item.value);
      }
      return;
    case ExprKind::attribute:
      return visit(static_cast<AttributeExpr&>(expr).object);
    case ExprKind::item:
      visit(static_cast<ItemExpr&>(expr).object);
      return visit(static_cast<ItemExpr&>(expr).index);
    case ExprKind::slice: {
      SliceExpr& slice = static_cast<SliceExpr&>(expr);
      visit(slice.object);
      maybe(slice.start);
      maybe(slice.stop);
      return maybe(slice.step);
    }
    case ExprKind::call:
      visit(static_cast<CallExpr&>(expr).callee);
      return for_each_part(static_cast<CallExpr&>(expr).args, visit);
    case ExprKind::filter:
      maybe(static_cast<FilterExpr&>(expr).input);
      return for_each_part(static_cast<FilterExpr&>(expr).args, visit);
    case ExprKind::test:
      visit(static_cast<TestExpr&>(expr).input);
      return for_each_part(static_cast<TestExpr&>(expr).args, visit);
    case ExprKind::negate:
    case ExprKind::positive:
    case ExprKind::invert:
      return visit(static_cast<UnaryExpr&>(expr).operand);
    case ExprKind::binary:
      visit(static_cast<BinaryExpr&>(expr).left);
      return visit(static_cast<BinaryExpr&>(expr).right);
    case ExprKind::logic:
      visit(static_cast<LogicExpr&>(expr).left);
      return visit(static_cast<LogicExpr&>(expr).right);
    case ExprKind::compare:
      visit(static_cast<CompareExpr&>(expr).first);
      for (const Comparison& c : static_cast<CompareExpr&>(expr).rest) visit(c.right);
      return;
    case ExprKind::conditional:
      visit(static_cast<ConditionalExpr&>(expr).test);
      visit(static_cast<ConditionalExpr&>(expr).yes);
      return maybe(static_cast<ConditionalExpr&>(expr).no);
  }
}

// Whether a body reads a name before it sets it, anywhere inside, also in macros: how Jinja finds
// out who needs `loop`, `caller`, `kwargs` and `varargs`.
class ReadsFirst {
 public:
  // What was found of each body, so that nested ones are not searched again for every level.
  enum class Found : uint8_t { nothing, read, set };
  using Memory = std::unordered_map<const void*, Found>;

  ReadsFirst(std::string_view name, Memory& memory) : name_(name), memory_(memory) {}

  bool in(Body body) {
    if (decided_ || body.empty()) return reads_;
    const auto known = memory_.find(body.data());
    if (known != memory_.end()) {
      if (known->second != Found::nothing) decide(known->second == Found::read);
      return reads_;
    }
    for (Stmt* const stmt : body) {
      if (decided_) break;
      visit(*stmt);
    }
    memory_[body.data()] = !decided_ ? Found::nothing : reads_ ? Found::read : Found::set;
    return reads_;
  }

 private:
  void decide(bool reads) {
    if (!decided_) reads_ = reads;
    decided_ = true;
  }
  void visit(Expr* expr) {
    if (decided_ || expr == nullptr) return;
    if (expr->kind == ExprKind::name) {
      if (static_cast<NameExpr*>(expr)->name->view() == name_) decide(true);
      return;
    }
    for_each_part(*expr, [this](Expr* part) { visit(part); });
  }
  void visit(const Target* target) {
    if (target == nullptr) return;
    if (target->kind == Target::Kind::name && target->name->view() == name_) decide(false);
    for (const Target* const item : target->items) visit(item);
  }
  void visit(const MacroCode& code) {
    for (const Parameter& parameter : code.parameters) {
      if (parameter.name->view() == name_) decide(false);
    }
    for (const Parameter& parameter : code.parameters) visit(parameter.fallback);
    in(code.body);
  }
  void visit(Stmt& stmt);

  std::string_view name_;
  Memory& memory_;
  bool decided_ = false;
  bool reads_ = false;
};

void ReadsFirst::visit(Stmt& stmt) {
  switch (stmt.kind) {
    case StmtKind::print:
      return visit(static_cast<PrintStmt&>(stmt).value);
    case StmtKind::set:
      visit(static_cast<SetStmt&>(stmt).target);
      return visit(static_cast<SetStmt&>(stmt).value);
    case StmtKind::set_block: {
      SetBlockStmt& set = static_cast<SetBlockStmt&>(stmt);
      visit(set.target);
      visit(set.filter);
      in(set.body);
      return;
    }
    case StmtKind::for_loop: {
      ForStmt& loop = static_cast<ForStmt&>(stmt);
      visit(loop.target);
      visit(loop.iterable);
      in(loop.body);
      in(loop.otherwise);
      return visit(loop.test);
    }
    case StmtKind::branch:
      for (const Branch& branch : static_cast<BranchStmt&>(stmt).branches) {
        visit(branch.test);
        in(branch.body);
      }
      return;
    case StmtKind::macro:
      return visit(static_cast<MacroStmt&>(stmt).code);
    case StmtKind::call_block:
      visit(static_cast<CallBlockStmt&>(stmt).call);
      return visit(static_cast<CallBlockStmt&>(stmt).code);
    case StmtKind::filter_block:
      in(static_cast<FilterBlockStmt&>(stmt).body);
      return visit(static_cast<FilterBlockStmt&>(stmt).filter);
    case StmtKind::with: {
      WithStmt& with = static_cast<WithStmt&>(stmt);
      for (const Target* const target : with.targets) visit(target);
      for (Expr* const value : with.values) visit(value);
      in(with.body);
      return;
    }
    default:
      return;
  }
}

class Binder {
 public:
  explicit Binder(Arena& arena) : arena_(arena) {}
  void bind(Program& program);

 private:
  // First every name of a scope is noted, then its nodes are bound and its inner scopes follow.
  void note(Body body, Symbols& scope);
  void note(Stmt& stmt, Symbols& scope);
  void note(Expr* expr, Symbols& scope);
  void note_read(const Text& name, Symbols& scope);
  void note_set(const Target& target, Symbols& scope);
  void note_parameters(const Target& target, Symbols& scope);

  void bind(Body body, Symbols& scope, bool soft);
  void bind(Stmt& stmt, Symbols& scope, bool soft);
  void bind(Expr* expr, const Symbols& scope, bool soft);
  void bind(Target& target, const Symbols& scope);
  void bind_loop(ForStmt& loop, Symbols& scope, bool soft);
  void bind_code(MacroCode& code, Symbols& scope, uint32_t offset);
  bool reads_first(std::string_view name, Body body) {
    return ReadsFirst(name, memories_[name]).in(body);
  }
  Scope finish(const Symbols& scope) { return {arena_.copy(scope.loads)}; }

  Arena& arena_;
  std::unordered_map<std::string_view, ReadsFirst::Memory> memories_;
  uint32_t branches_ = 0;  // of `if`, around the statement that is noted
};

void Binder::note_read(const Text& name, Symbols& scope) {
  uint32_t slot;
  if (scope.find(name.view(), slot) != nullptr) return;
  Load load;
  load.how = Load::How::resolve;
  load.slot = scope.own(name.view());
  load.name = &name;
  scope.loads.push_back(load);
}

void Binder::note_set(const Target& target, Symbols& scope) {
  if (target.kind == Target::Kind::tuple) {
    for (const Target* const item : target.items) note_set(*item, scope);
    return;
  }
  if (target.kind == Target::Kind::attribute) return note_read(*target.name, scope);
  const std::string_view name = target.name->view();
  if (scope.slots.contains(name)) return;
  Load load;
  uint32_t outer_slot = 0;
  const Symbols* const outer =
      scope.parent == nullptr ? nullptr : scope.parent->find(name, outer_slot);
  load.slot = scope.own(name);
  if (outer != nullptr) {
    load.how = Load::How::alias;
    load.from = scope.at(*outer, outer_slot);
  } else if (branches_ > 0) {
    load.how = Load::How::resolve;
    load.name = target.name;
  }
  scope.loads.push_back(load);
}

void Binder::note_parameters(const Target& target, Symbols& scope) {
  if (target.kind == Target::Kind::name) scope.parameter(target.name->view());
  for (const Target* const item : target.items) note_parameters(*item, scope);
}

void Binder::note(Expr* expr, Symbols& scope) {
  if (expr == nullptr) return;
  if (expr->kind == ExprKind::name) return note_read(*static_cast<NameExpr*>(expr)->name, scope);
  for_each_part(*expr, [&](Expr* part) { note(part, scope); });
}

void Binder::note(Body body, Symbols& scope) {
  for (Stmt* const stmt : body) note(*stmt, scope);
}

void Binder::note(Stmt& stmt, Symbols& scope) {
  switch (stmt.kind) {
    case StmtKind::print:
      return note(static_cast<PrintStmt&>(stmt).value, scope);
    case StmtKind::set:
      note(static_cast<SetStmt&>(stmt).value, scope);
      return note_set(*static_cast<SetStmt&>(stmt).target, scope);
    case StmtKind::set_block:
      return note_set(*static_cast<SetBlockStmt&>(stmt).target, scope);
    case StmtKind::for_loop:
      return note(static_cast<ForStmt&>(stmt).iterable, scope);
    case StmtKind::branch:
      for (const Branch& branch : static_cast<BranchStmt&>(stmt).branches) {
        note(branch.test, scope);
        ++branches_;
        note(branch.body, scope);
        --branches_;
      }
      return;
    case StmtKind::macro:
      return note_set(*static_cast<MacroStmt&>(stmt).target, scope);
    case StmtKind::call_block:
      return note(static_cast<CallBlockStmt&>(stmt).call, scope);
    case StmtKind::filter_block:
      return note(static_cast<FilterBlockStmt&>(stmt).filter, scope);
    case StmtKind::with:
      for (Expr* const value : static_cast<WithStmt&>(stmt).values) note(value, scope);
      return;
    default:
      return;
  }
}

void Binder::bind(Target& target, const Symbols& scope) {
  for (Target* const item : target.items) bind(*item, scope);
  if (target.kind == Target::Kind::tuple) return;
  uint32_t slot = 0;
  const Symbols* const owner = scope.find(target.name->view(), slot);
  target.slot = scope.at(*owner, slot);
}

// `soft`: inside an `if`, where an unknown filter only fails when it is reached.
void Binder::bind(Expr* expr, const Symbols& scope, bool soft) {
  if (expr == nullptr) return;
  if (expr->kind == ExprKind::name) {
    NameExpr& name = static_cast<NameExpr&>(*expr);
    uint32_t slot = 0;
    const Symbols* const owner = scope.find(name.name->view(), slot);
    name.slot = scope.at(*owner, slot);
    return;
  }
  if (expr->kind == ExprKind::filter) {
    FilterExpr& filter = static_cast<FilterExpr&>(*expr);
    filter.filter = find_filter(filter.name->view());
    if (filter.filter == nullptr && !soft) {
      fail_syntax("no filter named " + quoted(filter.name->view()), filter.offset);
    }
  }
  if (expr->kind == ExprKind::test) {
    TestExpr& test = static_cast<TestExpr&>(*expr);
    test.test = find_test(test.name->view());
    if (test.test == nullptr && !soft) {
      fail_syntax("no test named " + quoted(test.name->view()), test.offset);
    }
  }
  const bool inner_soft = soft || expr->kind == ExprKind::conditional;
  for_each_part(*expr, [&](Expr* part) { bind(part, scope, inner_soft); });
}

void Binder::bind(Body body, Symbols& scope, bool soft) {
  for (Stmt* const stmt : body) bind(*stmt, scope, soft);
}

void Binder::bind_loop(ForStmt& loop, Symbols& scope, bool soft) {
  bind(loop.iterable, scope, soft);
  Function own{scope.function, 0};
  Function* const function = loop.recursive ? &own : scope.function;
  Symbols inside{&scope, function};
  loop.uses_loop = loop.recursive || reads_first("loop", loop.body);
  if (loop.uses_loop) loop.loop_slot = {inside.parameter("loop"), 0};
  note_parameters(*loop.target, inside);
  note(loop.body, inside);
  loop.scope = finish(inside);
  bind(*loop.target, inside);
  bind(loop.body, inside, false);
  if (loop.has_else) {
    Symbols otherwise{&scope, function};
    note(loop.otherwise, otherwise);
    loop.else_scope = finish(otherwise);
    bind(loop.otherwise, otherwise, false);
  }
  if (loop.test != nullptr) {
    Symbols test{&scope, scope.function};
    note_parameters(*loop.test_target, test);
    note(loop.test, test);
    loop.test_scope = finish(test);
    bind(*loop.test_target, test);
    bind(loop.test, test, false);
  }
  loop.n_slots = own.n_slots;
}

void Binder::bind_code(MacroCode& code, Symbols& scope, uint32_t offset) {
  Function function{scope.function, 0};
  Symbols inside{&scope, &function};
  for (Parameter& parameter : code.parameters) {
    parameter.slot = {inside.parameter(parameter.name->view()), 0};
    const bool is_caller = parameter.name->view() == "caller";
    code.names_caller = code.names_caller || is_caller;
    if (is_caller && parameter.fallback == nullptr && reads_first("caller", code.body)) {
      fail_syntax("the parameter 'caller' needs a default", offset);
    }
  }
  const auto special = [&](std::string_view name, bool& takes, uint32_t& slot) {
    if (!reads_first(name, code.body) || inside.slots.contains(name)) return;
    takes = true;
    slot = inside.parameter(name);
  };
  special("caller", code.takes_caller, code.caller_slot);
  special("kwargs", code.takes_kwargs, code.kwargs_slot);
  special("varargs", code.takes_varargs, code.varargs_slot);
  for (const Parameter& parameter : code.parameters) note(parameter.fallback, inside);
  note(code.body, inside);
  code.scope = finish(inside);
  for (const Parameter& parameter : code.parameters) bind(parameter.fallback, inside, false);
  bind(code.body, inside, false);
  code.n_slots = function.n_slots;
}

void Binder::bind(Stmt& stmt, Symbols& scope, bool soft) {
  switch (stmt.kind) {
    case StmtKind::print:
      return bind(static_cast<PrintStmt&>(stmt).value, scope, soft);
    case StmtKind::set:
      bind(static_cast<SetStmt&>(stmt).value, scope, soft);
      return bind(*static_cast<SetStmt&>(stmt).target, scope);
    case StmtKind::set_block: {
      SetBlockStmt& set = static_cast<SetBlockStmt&>(stmt);
      Symbols inside{&scope, scope.function};
      note(set.body, inside);
      note(set.filter, inside);
      set.scope = finish(inside);
      bind(set.body, inside, false);
      bind(set.filter, inside, false);
      return bind(*set.target, scope);
    }
    case StmtKind::for_loop:
      return bind_loop(static_cast<ForStmt&>(stmt), scope, soft);
    case StmtKind::branch:
      for (const Branch& branch : static_cast<BranchStmt&>(stmt).branches) {
        bind(branch.test, scope, true);
        bind(branch.body, scope, true);
      }
      return;
    case StmtKind::macro:
      bind(*static_cast<MacroStmt&>(stmt).target, scope);
      return bind_code(static_cast<MacroStmt&>(stmt).code, scope, stmt.offset);
    case StmtKind::call_block:
      bind(static_cast<CallBlockStmt&>(stmt).call, scope, soft);
      return bind_code(static_cast<CallBlockStmt&>(stmt).code, scope, stmt.offset);
    case StmtKind::filter_block: {
      FilterBlockStmt& block = static_cast<FilterBlockStmt&>(stmt);
      Symbols inside{&scope, scope.function};
      note(block.body, inside);
      note(block.filter, inside);
      block.scope = finish(inside);
      bind(block.body, inside, false);
      return bind(block.filter, inside, false);
    }
    case StmtKind::with: {
      WithStmt& with = static_cast<WithStmt&>(stmt);
      for (Expr* const value : with.values) bind(value, scope, soft);
      Symbols inside{&scope, scope.function};
      for (const Target* const target : with.targets) note_parameters(*target, inside);
      note(with.body, inside);
      with.scope = finish(inside);
      for (Target* const target : with.targets) bind(*target, inside);
      return bind(with.body, inside, false);
    }
    default:
      return;
  }
}

void Binder::bind(Program& program) {
  Function function;
  Symbols root{nullptr, &function};
  note(program.body, root);
  program.scope = finish(root);
  bind(program.body, root, false);
  program.n_slots = function.n_slots;
}

}  // namespace

void bind_names(Program& program, Arena& arena) {
  Binder(arena).bind(program);
}

}  // namespace splitd::jinja
