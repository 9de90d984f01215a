// Statements and calls: what changes variables and writes output. Expressions are in evaluate.cpp.
#include "runtime/model/chat/interpreter.h"

#include <cassert>

#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/methods.h"
#include "runtime/model/chat/operators.h"

namespace splitd::jinja {

// Sends what is written to a text of its own, for macros and captured blocks.
class Interpreter::Redirect {
 public:
  explicit Redirect(Interpreter& in) : in_(in), before_(in.out_), out_(in.arena_) {
    in.out_ = &out_;
  }
  Redirect(const Redirect&) = delete;
  Redirect& operator=(const Redirect&) = delete;
  ~Redirect() { in_.out_ = before_; }

  const Text* finish() { return out_.finish(); }

 private:
  Interpreter& in_;
  TextBuilder* before_;
  TextBuilder out_;
};

// The variables and the depth of one call.
namespace {
template <class T>
class Restore {
 public:
  Restore(T& place, T value) : place_(place), before_(place) { place = value; }
  Restore(const Restore&) = delete;
  Restore& operator=(const Restore&) = delete;
  ~Restore() { place_ = before_; }

 private:
  T& place_;
  T before_;
};
}  // namespace

Interpreter::Interpreter(const Program& program, const Bounds& bounds, int64_t now)
    : program_(program),
      bounds_(bounds),
      now_(now),
      arena_(bounds.max_memory_bytes),
      root_(arena_, bounds.max_output_bytes),
      out_(&root_) {
  context_ = new_dict(*this);
  add_globals(*this, *context_);
}

void Interpreter::fail_steps() const {
  fail_limit("takes more than the " + std::to_string(bounds_.max_steps) + " steps allowed");
}

void Interpreter::fail_depth() const {
  fail_limit("nests or calls itself too deeply (" + std::to_string(kMaxDepth) + " levels)");
}

void Interpreter::render() {
  Activation root{arena_.array<Value>(program_.n_slots), program_.n_slots, nullptr};
  const Restore<Activation*> activation(activation_, &root);
  enter(program_.scope);
  run(program_.body);
}

Value& Interpreter::slot(const Slot& slot) {
  Activation* activation = activation_;
  for (uint16_t i = 0; i < slot.hops; ++i) activation = activation->outer;
  assert(slot.index < activation->n_slots);
  return activation->slots[slot.index];
}

void Interpreter::enter(const Scope& scope) {
  for (const Load& load : scope.loads) {
    assert(load.slot < activation_->n_slots);
    Value& target = activation_->slots[load.slot];
    target = Value();
    if (load.how == Load::How::alias) target = slot(load.from);
    if (load.how == Load::How::resolve) {
      if (const Value* const found = dict_find(*this, *context_, load.name->view()))
        target = *found;
    }
  }
}

Interpreter::Flow Interpreter::run(Body body) {
  for (const Stmt* const stmt : body) {
    const Flow flow = run(*stmt);
    if (flow != Flow::normal) return flow;
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run(const Stmt& stmt) {
  const Deeper deeper(*this);
  step();
  switch (stmt.kind) {
    case StmtKind::data:
      out_->append(*static_cast<const DataStmt&>(stmt).text);
      return Flow::normal;
    case StmtKind::print:
      run_print(static_cast<const PrintStmt&>(stmt));
      return Flow::normal;
    case StmtKind::set:
      run_set(static_cast<const SetStmt&>(stmt));
      return Flow::normal;
    case StmtKind::set_block:
      return run_set_block(static_cast<const SetBlockStmt&>(stmt));
    case StmtKind::branch:
      return run_branch(static_cast<const BranchStmt&>(stmt));
    case StmtKind::for_loop: {
      const ForStmt& loop = static_cast<const ForStmt&>(stmt);
      const Value iterable = eval(*loop.iterable);
      position_ = loop.iterable->offset;
      if (!loop.recursive) return run_for(loop, iterable, activation_, 0);
      Loop unused;  // call_loop starts a recursive one in a function of its own
      unused.stmt = &loop;
      unused.defined_in = activation_;
      unused.depth0 = -1;
      out_->append(*call_loop(unused, iterable));
      return Flow::normal;
    }
    case StmtKind::macro: {
      const MacroStmt& macro = static_cast<const MacroStmt&>(stmt);
      assign(*macro.target,
             Value::of(static_cast<const Macro*>(arena_.make<Macro>(&macro.code, activation_))));
      return Flow::normal;
    }
    case StmtKind::call_block:
      run_call_block(static_cast<const CallBlockStmt&>(stmt));
      return Flow::normal;
    case StmtKind::filter_block:
      return run_filter_block(static_cast<const FilterBlockStmt&>(stmt));
    case StmtKind::with:
      return run_with(static_cast<const WithStmt&>(stmt));
    case StmtKind::break_loop:
      return Flow::leave_loop;
    case StmtKind::continue_loop:
      return Flow::next_item;
  }
  return Flow::normal;
}

void Interpreter::run_print(const PrintStmt& stmt) {
  const Value value = eval(*stmt.value);
  position_ = stmt.value->offset;
  append_text(*this, *out_, value);
}

static void check_namespaces(const Target& target, const auto& slot_of) {
  if (target.kind == Target::Kind::attribute && !slot_of(target).is(Kind::ns)) {
    fail("cannot assign attribute " + quoted(target.attribute->view()) + ": " +
         quoted(target.name->view()) + " is not a namespace");
  }
  for (const Target* const item : target.items) check_namespaces(*item, slot_of);
}

void Interpreter::run_set(const SetStmt& stmt) {
  position_ = stmt.offset;
  check_namespaces(*stmt.target, [this](const Target& t) -> Value& { return slot(t.slot); });
  const Value value = eval(*stmt.value);
  position_ = stmt.offset;
  assign(*stmt.target, value);
}

void Interpreter::assign(const Target& target, const Value& value) {
  switch (target.kind) {
    case Target::Kind::name:
      slot(target.slot) = value;
      return;
    case Target::Kind::attribute: {
      const Value& space = slot(target.slot);
      if (!space.is(Kind::ns)) fail("cannot assign attribute on non-namespace object");
      if (target.attribute->view().starts_with('_')) {
        fail("chat templates cannot store underscore-prefixed attributes on a namespace, but got " +
             quoted(target.attribute->view()));
      }
      dict_set(*this, *space.space, Value::of(target.attribute), value);
      return;
    }
    case Target::Kind::tuple:
      break;
  }
  if (!is_iterable(value)) {
    refuse_undefined(value);
    fail("cannot unpack non-iterable " + std::string(type_name(value)) + " object");
  }
  Iterator* const items = iterate(*this, value);
  Value item;
  size_t n = 0;
  for (; n < target.items.size() && next_item(*this, *items, item); ++n) {
    assign(*target.items[n], item);
  }
  if (n < target.items.size()) {
    fail("not enough values to unpack (expected " + std::to_string(target.items.size()) + ", got " +
         std::to_string(n) + ")");
  }
  if (next_item(*this, *items, item)) {
    fail("too many values to unpack (expected " + std::to_string(n) + ")");
  }
}

Value Interpreter::read_target(const Target& target) {
  if (target.kind == Target::Kind::name) return slot(target.slot);
  std::vector<Value> items;
  for (const Target* const item : target.items) items.push_back(read_target(*item));
  return new_tuple(*this, items);
}

// Whoever asks for the next item may be in another function: the loop's own variables are those
// of `activation`.
Value Interpreter::run_loop_test(const ForStmt& stmt, Activation& activation, const Value& item) {
  const Restore<Activation*> inside(activation_, &activation);
  enter(stmt.test_scope);
  assign(*stmt.test_target, item);
  return is_true(eval(*stmt.test)) ? read_target(*stmt.test_target) : Value();
}

Interpreter::Flow Interpreter::run_branch(const BranchStmt& stmt) {
  for (const Branch& branch : stmt.branches) {
    if (branch.test == nullptr || is_true(eval(*branch.test))) return run(branch.body);
  }
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_set_block(const SetBlockStmt& stmt) {
  Value text;
  {
    Redirect redirect(*this);
    enter(stmt.scope);
    const Flow flow = run(stmt.body);
    if (flow != Flow::normal) return flow;
    text = Value::of(redirect.finish());
  }
  if (stmt.filter != nullptr) text = eval_filter(*stmt.filter, &text);
  position_ = stmt.offset;
  check_namespaces(*stmt.target, [this](const Target& t) -> Value& { return slot(t.slot); });
  assign(*stmt.target, text);
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_filter_block(const FilterBlockStmt& stmt) {
  Value text;
  {
    Redirect redirect(*this);
    enter(stmt.scope);
    const Flow flow = run(stmt.body);
    if (flow != Flow::normal) return flow;
    text = Value::of(redirect.finish());
  }
  text = eval_filter(*stmt.filter, &text);
  if (!text.is_string()) {
    fail("a filter block must give a string, not " + quoted(type_name(text)));
  }
  out_->append(*text.text);
  return Flow::normal;
}

Interpreter::Flow Interpreter::run_with(const WithStmt& stmt) {
  enter(stmt.scope);
  for (size_t i = 0; i < stmt.targets.size(); ++i) assign(*stmt.targets[i], eval(*stmt.values[i]));
  return run(stmt.body);
}

// `defined_in` is where the loop stands: its test runs there, also when the loop is recursive and
// its body has variables of its own.
Interpreter::Flow Interpreter::run_for(const ForStmt& stmt, const Value& iterable,
                                       Activation* defined_in, int64_t depth0) {
  Iterator* items = iterate(*this, iterable);
  Loop* const loop = arena_.make<Loop>();
  loop->stmt = &stmt;
  loop->defined_in = defined_in;
  loop->depth0 = depth0;
  if (stmt.test != nullptr) {
    Iterator filtered;
    filtered.source = Iterator::Source::loop_test;
    filtered.inner = items;
    filtered.loop = &stmt;
    filtered.activation = defined_in;
    items = arena_.make<Iterator>(filtered);
  } else if (const std::optional<int64_t> length = length_of(*this, iterable)) {
    loop->length = *length;
  }
  loop->items = items;
  bool finished_one = false;
  while (loop_advance(*this, *loop)) {
    assign(*stmt.target, loop->current);
    if (stmt.uses_loop) activation_->slots[stmt.loop_slot.index] = Value::of(loop);
    enter(stmt.scope);
    const Flow flow = run(stmt.body);
    if (flow == Flow::leave_loop) break;
    if (flow == Flow::normal) finished_one = true;
  }
  // As in Jinja, whose generated code clears its mark at the end of the body, `else` also runs
  // when every item was left by break or continue.
  if (stmt.has_else && !finished_one) {
    enter(stmt.else_scope);
    return run(stmt.otherwise);
  }
  return Flow::normal;
}

const Text* Interpreter::call_loop(Loop& loop, const Value& iterable) {
  if (!loop.stmt->recursive) {
    fail("the loop must have the 'recursive' marker to be called recursively");
  }
  const Deeper deeper(*this);
  if (calls_ >= kMaxCalls)
    fail_limit("a loop calls itself more than " + std::to_string(kMaxCalls) + " times deep");
  const Restore<uint32_t> calls(calls_, calls_ + 1);
  Activation* const activation = arena_.make<Activation>();
  activation->slots = arena_.array<Value>(loop.stmt->n_slots);
  activation->n_slots = loop.stmt->n_slots;
  activation->outer = loop.defined_in;
  const Restore<Activation*> inside(activation_, activation);
  Redirect redirect(*this);
  run_for(*loop.stmt, iterable, loop.defined_in, loop.depth0 + 1);
  return redirect.finish();
}

void Interpreter::run_call_block(const CallBlockStmt& stmt) {
  const Macro* const caller = arena_.make<Macro>(&stmt.code, activation_);
  if (stmt.call == nullptr) {
    out_->append(*call_macro(*caller, {}));
  } else {
    append_text(*this, *out_, eval_call(*stmt.call, caller));
  }
}

// The slots of a call, with its parameters as Jinja's Macro.__call__ finds them.
void Interpreter::fill_parameters(const Macro& macro, const Args& args, Activation& activation) {
  const MacroCode& code = *macro.code;
  const auto name = [&] {
    return code.name == nullptr ? std::string("the call block")
                                : "macro " + quoted(code.name->view());
  };
  std::vector<Named> rest(args.named.begin(), args.named.end());
  const auto take = [&](std::string_view wanted) {
    for (size_t i = 0; i < rest.size(); ++i) {
      if (rest[i].name->view() != wanted) continue;
      const Value value = rest[i].value;
      rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
      return value;
    }
    return Value();
  };
  const size_t n = std::min(args.positional.size(), code.parameters.size());
  for (size_t i = 0; i < code.parameters.size(); ++i) {
    const Parameter& parameter = code.parameters[i];
    activation.slots[parameter.slot.index] =
        i < n ? args.positional[i] : take(parameter.name->view());
  }
  if (code.takes_caller && !code.names_caller) {
    Value caller = take("caller");
    if (caller.is_missing() || caller.is_none())
      caller = make_undefined_hint(*this, "no caller defined");
    activation.slots[code.caller_slot] = caller;
  }
  if (code.takes_kwargs) {
    Dict* const kwargs = new_dict(*this);
    for (const Named& named : rest) dict_set(*this, *kwargs, Value::of(named.name), named.value);
    activation.slots[code.kwargs_slot] = Value::of(kwargs);
  } else if (!rest.empty()) {
    fail(name() + " takes no keyword argument " + quoted(rest[0].name->view()));
  }
  if (code.takes_varargs) {
    activation.slots[code.varargs_slot] = new_tuple(*this, args.positional.subspan(n));
  } else if (args.positional.size() > n) {
    fail(name() + " takes not more than " + std::to_string(code.parameters.size()) +
         " argument(s)");
  }
}

const Text* Interpreter::call_macro(const Macro& macro, const Args& args) {
  const Deeper deeper(*this);
  step(1 + args.positional.size() + args.named.size());
  if (calls_ >= kMaxCalls) {
    fail_limit("macros call each other more than " + std::to_string(kMaxCalls) + " deep");
  }
  const Restore<uint32_t> calls(calls_, calls_ + 1);
  const MacroCode& code = *macro.code;
  Activation* const activation = arena_.make<Activation>();
  activation->slots = arena_.array<Value>(code.n_slots);
  activation->n_slots = code.n_slots;
  activation->outer = macro.defined_in;
  fill_parameters(macro, args, *activation);
  const Restore<Activation*> inside(activation_, activation);
  Redirect redirect(*this);
  enter(code.scope);
  for (const Parameter& parameter : code.parameters) {
    Value& value = activation->slots[parameter.slot.index];
    if (!value.is_missing()) continue;
    if (parameter.fallback != nullptr) {
      value = eval(*parameter.fallback);
    } else {
      const std::string hint = "parameter " + quoted(parameter.name->view()) + " was not provided";
      value = make_undefined_hint(*this, text_copy(arena_, hint, Taint::no)->view());
    }
  }
  run(code.body);
  return redirect.finish();
}

}  // namespace splitd::jinja
