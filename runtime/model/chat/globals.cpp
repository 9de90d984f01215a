// What every template can call by name.
#include <ctime>
#include <limits>

#include "runtime/base/utf8.h"
#include "runtime/model/chat/arguments.h"
#include "runtime/model/chat/filters.h"
#include "runtime/model/chat/iterate.h"
#include "runtime/model/chat/methods.h"
#include "runtime/model/chat/operators.h"

namespace splitd::jinja {
namespace {

constexpr int64_t kMaxRange = 100000;  // the sandbox's

Value range(Interpreter& in, const Value&, const Args& args) {
  need_positional("range", args, 1, 3);
  const auto at = [&](size_t i) { return need_index(args.positional[i], "range's argument"); };
  Range range;
  if (args.positional.size() == 1) {
    range.stop = at(0);
  } else {
    range.start = at(0);
    range.stop = at(1);
    if (args.positional.size() == 3) range.step = at(2);
  }
  if (range.step == 0) fail("range() arg 3 must not be zero");
  const int128 distance =
      range.step > 0 ? int128{range.stop} - range.start : int128{range.start} - range.stop;
  const int128 stride = range.step > 0 ? int128{range.step} : -int128{range.step};
  const int128 size = distance <= 0 ? 0 : (distance - 1) / stride + 1;
  if (size > kMaxRange) {
    fail_limit("range too big: templates may have ranges of up to " + std::to_string(kMaxRange));
  }
  range.size = static_cast<int64_t>(size);
  return Value::of(static_cast<const Range*>(in.arena().make<Range>(range)));
}

// dict(…) of a mapping or of pairs, and of keywords.
Dict* build_dict(Interpreter& in, const Args& args, std::string_view name) {
  if (args.positional.size() > 1)
    fail(std::string(name) + "() takes at most one positional argument");
  Dict* const dict = new_dict(in);
  if (args.positional.size() == 1) {
    const Value& from = args.positional[0];
    refuse_undefined(from);
    if (from.is(Kind::dict)) {
      for (uint32_t i = 0; i < from.dict->size; ++i) {
        dict_set(in, *dict, from.dict->entries[i].key, from.dict->entries[i].value);
      }
    } else {
      for (const Value& item : collect(in, from)) {
        const std::vector<Value> pair = collect(in, item);
        if (pair.size() != 2) fail("dict() needs pairs of a key and a value");
        dict_set(in, *dict, pair[0], pair[1]);
      }
    }
  }
  for (const Named& named : args.named) dict_set(in, *dict, Value::of(named.name), named.value);
  return dict;
}

Value dict(Interpreter& in, const Value&, const Args& args) {
  return Value::of(static_cast<const Dict*>(build_dict(in, args, "dict")));
}

Value name_space(Interpreter& in, const Value&, const Args& args) {
  Dict* const attributes = build_dict(in, args, "namespace");
  for (uint32_t i = 0; i < attributes->size; ++i) {
    const Value& name = attributes->entries[i].key;
    if (name.is_string() && name.text->view().starts_with('_')) {
      fail("chat templates cannot store underscore-prefixed attributes on a namespace, but got " +
           quoted(name.text->view()));
    }
  }
  return Value::name_space(attributes);
}

Value cycler(Interpreter& in, const Value&, const Args& args) {
  need_positional("cycler", args, 0, SIZE_MAX);
  if (args.positional.empty()) fail("at least one item has to be provided");
  return Value::of(in.arena().make<Cycler>(new_tuple(in, args.positional).array, uint32_t{0}));
}

Value joiner(Interpreter& in, const Value&, const Args& args) {
  const auto [separator] = bind("joiner", args, {"sep"}, 0);
  const Text* const text =
      separator.is_missing() ? text_view(in.arena(), ", ", Taint::no) : to_text(in, separator);
  return Value::of(in.arena().make<Joiner>(text, false));
}

Value raise_exception(Interpreter& in, const Value&, const Args& args) {
  const auto [message] = bind("raise_exception", args, {"message"}, 1);
  throw Failure{Failure::Cause::refused, std::string(to_text(in, message)->view()), kNoOffset};
}

Value strftime_now(Interpreter& in, const Value&, const Args& args) {
  const auto [format] = bind("strftime_now", args, {"format"}, 1);
  return Value::of(format_time(in, need_text(format, "strftime_now's format")));
}

Value lipsum(Interpreter&, const Value&, const Args&) {
  fail("lipsum() is not supported");
}

struct Global {
  std::string_view name;
  NativeFunction function;
  std::string_view type;
};
constexpr Global kGlobals[] = {
    {"cycler", cycler, "type"},        {"dict", dict, "TemplateDict"},
    {"joiner", joiner, "type"},        {"lipsum", lipsum, "function"},
    {"namespace", name_space, "type"}, {"raise_exception", raise_exception, "function"},
    {"range", range, "function"},      {"strftime_now", strftime_now, "function"},
};

}  // namespace

void add_globals(Interpreter& in, Dict& context) {
  for (const Global& global : kGlobals) {
    Native native;
    native.name = global.name;
    native.function = global.function;
    native.type = global.type;
    const Native* const made = in.arena().make<Native>(native);
    dict_set(in, context, new_string(in, global.name), Value::of(made));
  }
}

const Text* format_time(Interpreter& in, const Text& format) {
  constexpr size_t kLongest = 4096;
  if (format.size > kLongest) fail("strftime_now's format is longer than 4096 bytes");
  const time_t now = static_cast<time_t>(in.now());
  std::tm parts{};
  if (gmtime_r(&now, &parts) == nullptr) fail("the date is out of range");
  // Python fills these in itself: microseconds, and nothing for a time without zone.
  std::string plain = " ";  // so that an empty result is told from a failure
  for (size_t i = 0; i < format.size; ++i) {
    const char c = format.data[i];
    const char next = i + 1 < format.size ? format.data[i + 1] : '\0';
    if (c == '%' && (next == 'f' || next == 'z' || next == 'Z')) {
      if (next == 'f') plain += "000000";
      ++i;
    } else {
      plain += c;
      if (c == '%' && next == '%') plain += format.data[++i];
    }
  }
  if (plain.find('\0') != std::string::npos) fail("strftime_now's format has a NUL in it");
  in.step(50 + 8 * plain.size());
  std::string out(256 + 64 * plain.size(), '\0');
  const size_t n = std::strftime(out.data(), out.size(), plain.c_str(), &parts);
  if (n == 0) fail("strftime_now's result is too long");
  return text_copy(in.arena(), utf8_replace_invalid({out.data() + 1, n - 1}),
                   format.is_tainted() ? Taint::yes : Taint::no);
}

}  // namespace splitd::jinja
