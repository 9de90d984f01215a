// Binding of call arguments, with Python's rules.
#include "runtime/model/chat/arguments.h"

namespace splitd::jinja {

void bind_arguments(std::string_view function, const Args& args,
                    std::span<const std::string_view> names, size_t n_required,
                    std::span<Value> values) {
  const std::string what(function);
  if (args.positional.size() > names.size()) {
    fail(what + "() takes at most " + std::to_string(names.size()) + " arguments (" +
         std::to_string(args.positional.size()) + " given)");
  }
  for (size_t i = 0; i < args.positional.size(); ++i) values[i] = args.positional[i];
  for (const Named& named : args.named) {
    size_t i = 0;
    while (i < names.size() && names[i] != named.name->view()) ++i;
    if (i == names.size()) {
      fail(what + "() got an unexpected keyword argument " + quoted(named.name->view()));
    }
    if (!values[i].is_missing()) {
      fail(what + "() got multiple values for argument " + quoted(names[i]));
    }
    values[i] = named.value;
  }
  for (size_t i = 0; i < n_required; ++i) {
    if (values[i].is_missing()) {
      fail(what + "() is missing its argument " + quoted(names[i]));
    }
  }
}

void need_positional(std::string_view function, const Args& args, size_t least, size_t most) {
  const std::string what(function);
  if (!args.named.empty()) fail(what + "() takes no keyword arguments");
  const size_t n = args.positional.size();
  if (n >= least && n <= most) return;
  const std::string range =
      least == most ? std::to_string(least) : std::to_string(least) + " to " + std::to_string(most);
  fail(what + "() takes " + range + " arguments (" + std::to_string(n) + " given)");
}

bool need_flag(const Value& value, std::string_view what) {
  if (value.is_missing()) return false;
  refuse_undefined(value);
  if (!value.is_int()) {
    fail(std::string(what) + " must be a boolean, not " + quoted(type_name(value)));
  }
  return is_true(value);
}

const Text& need_text(const Value& value, std::string_view what) {
  refuse_undefined(value);
  if (!value.is_string()) {
    fail(std::string(what) + " must be a string, not " + quoted(type_name(value)));
  }
  return *value.text;
}

}  // namespace splitd::jinja
