// Owns: one rendering: its memory, its limits, its variables and its output. The parts of Python
// that templates use are functions over it, in operators.h, iterate.h, filters.h and methods.h.
// Not thread-safe: one Interpreter a rendering, over a Program that many may share.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/model/chat/arena.h"
#include "runtime/model/chat/ast.h"
#include "runtime/model/chat/value.h"

namespace splitd::jinja {

struct Bounds {
  uint64_t max_steps = 0;
  size_t max_memory_bytes = 0;
  size_t max_output_bytes = 0;
};

// The variables of one call of a function (ast.h, "Names").
struct Activation {
  Value* slots = nullptr;
  uint32_t n_slots = 0;
  Activation* outer = nullptr;
};

struct Macro {
  const MacroCode* code = nullptr;
  Activation* defined_in = nullptr;
};

// The `loop` of a for loop.
struct Loop {
  const ForStmt* stmt = nullptr;
  Activation* defined_in = nullptr;  // where a recursive loop stands
  Iterator* items = nullptr;
  int64_t index0 = -1;
  int64_t length = -1;  // -1: not known yet
  int64_t depth0 = 0;
  Value before;
  Value current;
  Value after;  // looked at ahead of time; missing otherwise
  const Array* changed = nullptr;
};

class Interpreter {
 public:
  Interpreter(const Program& program, const Bounds& bounds, int64_t now);

  Arena& arena() { return arena_; }
  int64_t now() const { return now_; }

  // Variables that the template can name, over the globals (globals.cpp).
  Dict& context() { return *context_; }
  void render();
  TextBuilder& output() { return *out_; }

  // Every piece of work is counted, in steps of some 20 ns: copying, searching and walking text
  // cost by its length.
  void step(uint64_t n = 1) {
    steps_ += n;
    if (steps_ > bounds_.max_steps) fail_steps();
  }
  void step_bytes(size_t bytes) { step(1 + bytes / 64); }
  void step_search(size_t bytes) { step(1 + bytes / 16); }
  void step_chars(size_t bytes) { step(1 + bytes / 2); }  // decoded and looked at one by one

  Value eval(const Expr& expr);
  Value call(const Value& callee, const Args& args);
  const Text* call_macro(const Macro& macro, const Args& args);
  const Text* call_loop(Loop& loop, const Value& iterable);
  void assign(const Target& target, const Value& value);
  // The item as a for loop's test lets it pass: its target read back. Missing when it does not.
  Value run_loop_test(const ForStmt& stmt, Activation& activation, const Value& item);

  // Where the last thing was done, for messages.
  uint32_t position() const { return position_; }
  uint64_t steps() const { return steps_; }

  // Recursion of every kind passes here, so that no template exhausts the machine's stack.
  class Deeper {
   public:
    explicit Deeper(Interpreter& in) : in_(in) {
      if (++in_.depth_ > kMaxDepth) in_.fail_depth();
    }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    ~Deeper() { --in_.depth_; }

   private:
    Interpreter& in_;
  };

 private:
  static constexpr uint32_t kMaxDepth = 1500;
  static constexpr uint32_t kMaxCalls = 150;  // Python's recursion limit stops macros at about 190

  enum class Flow : uint8_t { normal, leave_loop, next_item };
  class Redirect;
  struct CallValues;

  [[noreturn]] void fail_steps() const;
  [[noreturn]] void fail_depth() const;

  Value& slot(const Slot& slot);
  Value read_target(const Target& target);
  Value load(const NameExpr& name);
  void enter(const Scope& scope);

  Flow run(Body body);
  Flow run(const Stmt& stmt);
  Flow run_branch(const BranchStmt& stmt);
  Flow run_set_block(const SetBlockStmt& stmt);
  Flow run_filter_block(const FilterBlockStmt& stmt);
  Flow run_with(const WithStmt& stmt);
  Flow run_for(const ForStmt& stmt, const Value& iterable, Activation* defined_in, int64_t depth0);
  void run_print(const PrintStmt& stmt);
  void run_set(const SetStmt& stmt);
  void run_call_block(const CallBlockStmt& stmt);

  Value eval_list(const SequenceExpr& expr);
  Value eval_dict(const DictExpr& expr);
  Value eval_slice(const SliceExpr& expr);
  Value eval_call(const CallExpr& expr, const Macro* caller);
  Value eval_filter(const FilterExpr& expr, const Value* block_text);
  Value eval_test(const TestExpr& expr);
  Value eval_binary(const BinaryExpr& expr);
  Value eval_concat(const SequenceExpr& expr);
  Value eval_compare(const CompareExpr& expr);
  Value eval_unary(const UnaryExpr& expr);
  Value eval_attribute(const AttributeExpr& expr);
  Value eval_item(const ItemExpr& expr);
  Value eval_conditional(const ConditionalExpr& expr);
  void eval_args(const CallArgs& args, CallValues& values);
  void fill_parameters(const Macro& macro, const Args& args, Activation& activation);

  const Program& program_;
  Bounds bounds_;
  int64_t now_;
  Arena arena_;
  TextBuilder root_;
  TextBuilder* out_;
  Dict* context_ = nullptr;
  Activation* activation_ = nullptr;
  uint64_t steps_ = 0;
  uint32_t depth_ = 0;
  uint32_t calls_ = 0;
  uint32_t position_ = 0;
};

}  // namespace splitd::jinja
