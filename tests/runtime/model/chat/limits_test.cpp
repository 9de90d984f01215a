// Hostile templates end in an error, whatever they try: no crash, no unbounded time or memory.
#include "tests/runtime/model/chat/chat_helpers.h"

namespace splitd {
namespace {

std::string repeated(std::string_view text, size_t n) {
  std::string out;
  for (size_t i = 0; i < n; ++i) out += text;
  return out;
}

// The template renders with these limits, and fails with a message that says why.
void expect_limit(const std::string& source, std::string_view why, std::string_view input = "{}") {
  RenderOptions options;
  options.limits.max_steps = 2'000'000;
  const Result<MarkedText> rendered = try_render(source, input, options);
  const std::string shown = source.substr(0, 120);
  ASSERT_FALSE(rendered.ok()) << shown;
  EXPECT_EQ(rendered.error().kind, ErrorKind::model) << shown;
  EXPECT_NE(rendered.error().message.find(why), std::string::npos) << shown << "\n"
                                                                   << rendered.error().message;
}

TEST(ChatLimits, Steps) {
  expect_limit("{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
               "steps");
  expect_limit(
      "{% for i in range(100000) %}{% for j in range(100000) if j < 0 %}{% endfor %}{% endfor %}",
      "steps");
  expect_limit(
      "{% set x = range(100000)|list %}{% for i in range(100000) %}{{ x == x|list }}{% endfor %}",
      "steps");
  expect_limit("{% set x = 'ab' * 1000000 %}{% for i in range(100000) %}{{ 'q' in x }}{% endfor %}",
               "steps");
  expect_limit("{% set x = 'é' * 1000000 %}{% for i in range(100000) %}{{ x[900000] }}{% endfor %}",
               "steps");
  expect_limit(
      "{% set ns = namespace(l=[1], m=[1]) %}{% for i in range(60) %}{% set ns.l = [ns.l, ns.l] %}"
      "{% set ns.m = [ns.m, ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
      "steps");
  expect_limit("{{ range(100)|slice(100000000)|list }}", "steps");
  expect_limit("{{ [1]|batch(100000000, 0)|list }}", "steps");
}

TEST(ChatLimits, StepsOfOneInputAreThoseOfTheCaller) {
  RenderOptions options;
  options.limits.max_steps = 100;
  EXPECT_NE(render("{% for i in range(200) %}{% endfor %}", "{}", options).find("100 steps"),
            std::string::npos);
  EXPECT_EQ(render("{{ 1 + 1 }}", "{}", options), "2");
}

TEST(ChatLimits, MemoryAndOutput) {
  expect_limit("{{ 'a' * 1000000000 }}", "too much");
  expect_limit("{{ 'a' * 10 ** 30 }}", "too much");
  expect_limit("{{ [1] * 1000000000 }}", "too much");
  expect_limit(
      "{% set ns = namespace(s='ab') %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "than");
  expect_limit(
      "{% set ns = namespace(s='ab') %}{% for i in range(64) %}{% set ns.s = ns.s ~ ns.s %}{% "
      "endfor %}",
      "than");
  expect_limit(
      "{% set ns = namespace(s=['ab']) %}{% for i in range(64) %}{% set ns.s = ns.s + ns.s %}{% "
      "endfor %}",
      "than");
  expect_limit(
      "{% set ns = namespace(s='ab') %}{% for i in range(64) %}{% set ns.s = ns.s|replace('', "
      "ns.s) %}{% endfor %}",
      "than");
  expect_limit(
      "{% set ns = namespace(s='ab') %}{% for i in range(64) %}{% set ns.s = ns.s.join(ns.s) %}{% "
      "endfor %}",
      "than");
  expect_limit("{% set x = 'a' * 1000000 %}{% for i in range(1000) %}{{ x }}{% endfor %}", "MiB");
  expect_limit("{{ 'x'|center(1000000000) }}", "MiB");
  expect_limit("{{ 'x'.ljust(1000000000) }}", "MiB");
  expect_limit("{{ '5'.zfill(1000000000) }}", "MiB");
  expect_limit("{{ 'x\ny'|indent(1000000000) }}", "MiB");
  expect_limit("{{ [[1]]|tojson(indent=1000000000) }}", "MiB");
  expect_limit("{{ 'x\t'.expandtabs(1000000000) }}", "MiB");
  expect_limit("{{ '%1000000000d' % 1 }}", "too large");
  expect_limit("{{ '%0*d' % (60000000000, 1) }}", "too large");
  expect_limit("{{ '{:1000000000}'.format(1) }}", "too large");
  expect_limit("{{ '%.1000000f' % 1.5 }}", "precision");
  expect_limit("{{ range(100001) }}", "range too big");
  expect_limit(
      "{% macro m(s) %}{{ s }}{{ s }}{% endmacro %}{% set ns = namespace(s='ab') %}"
      "{% for i in range(64) %}{% set ns.s = m(ns.s) %}{% endfor %}",
      "than");
}

TEST(ChatLimits, MemoryOfTheCaller) {
  RenderOptions options;
  options.limits.max_memory_bytes = 1 << 20;
  options.limits.max_output_bytes = 1000;
  EXPECT_NE(render("{% set x = 'a' * 2000000 %}", "{}", options).find("1 MiB"), std::string::npos);
  EXPECT_NE(render("{{ 'a' * 1001 }}", "{}", options).find("MiB"), std::string::npos);
  EXPECT_EQ(render("{{ 'a' * 1000 }}", "{}", options).size(), 1000u);
  options.limits.max_memory_bytes = 100;
  EXPECT_FALSE(try_render("{{ 1 }}", "{}", options).ok());
}

TEST(ChatLimits, DepthOfSources) {
  for (const size_t n : {size_t{1000}, size_t{50000}}) {
    for (const std::string& source : {"{{ " + repeated("(", n) + "1" + repeated(")", n) + " }}",
                                      "{{ " + repeated("[", n) + repeated("]", n) + " }}",
                                      "{{ " + repeated("{1:", n),
                                      "{{ " + repeated("not ", n) + "1 }}",
                                      "{{ " + repeated("-", n) + "1 }}",
                                      "{{ 1" + repeated(" + 1", n) + " }}",
                                      "{{ 1" + repeated(" if 1 else 1", n) + " }}",
                                      "{{ x" + repeated(".a", n) + " }}",
                                      "{{ x" + repeated("[0]", n) + " }}",
                                      "{{ x" + repeated("|e", n) + " }}",
                                      "{{ x" + repeated("()", n) + " }}",
                                      "{{ " + repeated("x(", n),
                                      "{{ " + repeated("x[", n),
                                      "{{ " + repeated("x|f(", n),
                                      "{{ 1" + repeated(" is eq 1 and 1", n) + " }}",
                                      "{{ " + repeated("x is eq(", n),
                                      "{{ 1 is eq " + repeated("-", n),
                                      "{{ " + repeated("1 if ", n),
                                      "{{ 2" + repeated("**2", n) + " }}",
                                      repeated("{% if 1 %}", n),
                                      repeated("{% for x in y %}", n),
                                      repeated("{% macro m() %}", n),
                                      repeated("{% set x %}", n),
                                      repeated("{% filter e %}", n),
                                      repeated("{% with %}", n),
                                      repeated("{% call m() %}", n),
                                      repeated("{% generation %}", n),
                                      "{% for " + repeated("(", n) + "x in y %}"}) {
      const Result<MarkedText> rendered = try_render(source);
      ASSERT_FALSE(rendered.ok()) << source.substr(0, 60);
      EXPECT_NE(rendered.error().message.find("nested more than"), std::string::npos)
          << source.substr(0, 60) << ": " << rendered.error().message;
    }
  }
}

TEST(ChatLimits, FlatSourcesMayBeLong) {
  EXPECT_EQ(render("{{ 1" + repeated(" ~ 1", 20000) + " }}").size(), 20001u);
  EXPECT_EQ(render("{% if 0 %}" + repeated("{% elif 0 %}", 20000) + "{% else %}x{% endif %}"), "x");
  EXPECT_EQ(render("{{ [" + repeated("1,", 20000) + "]|length }}"), "20000");
  EXPECT_EQ(render(repeated("{% set x = 1 %}", 20000) + "{{ x }}"), "1");
  EXPECT_EQ(render(repeated("{% for i in [1] %}{% endfor %}", 20000) + "y"), "y");
}

TEST(ChatLimits, DepthOfRuns) {
  expect_limit("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "deep");
  expect_limit(
      "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
      "deep");
  expect_limit(
      "{% macro m() %}{{ caller() }}{% call m() %}{% endcall %}{% endmacro %}{% call m() %}x{% "
      "endcall %}",
      "deep");
  expect_limit("{% macro m(x=m()) %}{% endmacro %}{{ m() }}", "deep");
  expect_limit("{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}", "deep");
  expect_limit(
      "{% set ns = namespace(x=[]) %}{% for i in range(1000) %}{% set ns.x = [ns.x] %}{% endfor %}",
      "deep");
  expect_limit(
      "{% set ns = namespace(x={}) %}{% for i in range(1000) %}{% set ns.x = {'a': ns.x} %}{% "
      "endfor %}",
      "deep");
  expect_limit(
      "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = ns.x|map('string') "
      "%}{% endfor %}{{ ns.x|list }}",
      "deep");
  expect_limit(
      "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = ns.x|select %}{% "
      "endfor %}{{ ns.x|list }}",
      "deep");
  expect_limit(
      "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}{% set ns.x = ns.x|unique %}{% "
      "endfor %}{{ ns.x|list }}",
      "deep");
  expect_limit("{% set ns = namespace() %}{% set ns.self = ns %}{{ ns }}", "deep");
  // The deepest of everything at once.
  const std::string parens = repeated("(", 190) + "m(n - 1) if n else 0" + repeated(")", 190);
  expect_limit("{% macro m(n) %}" + repeated("{% if 1 %}", 90) + "{{ " + parens + " }}" +
                   repeated("{% endif %}", 90) + "{% endmacro %}{{ m(1000) }}",
               "deep");
}

TEST(ChatLimits, RecursionThatPythonAllowsIsAllowed) {
  const std::string source =
      "{% macro m(n) %}{% if n > 0 %}{% for i in [1] %}{{ m(n - 1) }}{% endfor %}{% endif %}.{% "
      "endmacro %}{{ m(100) }}";
  EXPECT_EQ(render(source), std::string(101, '.'));
}

TEST(ChatLimits, DeepInputIsRefused) {
  const std::string deep = repeated("[", 300) + repeated("]", 300);
  const Result<JsonDoc> doc = JsonDoc::parse("{\"x\": " + deep + "}", {size_t{1} << 20, 400});
  ASSERT_TRUE(doc.ok());
  const Result<ChatTemplate> parsed = ChatTemplate::parse("{{ x }}");
  const Result<MarkedText> rendered = parsed->render(doc->root());
  ASSERT_FALSE(rendered.ok());
  EXPECT_EQ(rendered.error().kind, ErrorKind::usage);
}

TEST(ChatLimits, ThousandsOfKeysAreFast) {
  std::string object = "{";
  for (int i = 0; i < 20000; ++i)
    object += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
  EXPECT_EQ(render("{{ d['k19999'] }}{{ d|length }}{{ d.items()|list|length }}{{ 'k7' in d }}",
                   "{\"d\": " + object + "}}"),
            "199992000020000True");
}

TEST(ChatLimits, AccumulatingLongTextIsLinear) {
  // Each message is added to a growing string, as some templates do.
  const std::string source =
      "{% set ns = namespace(s='') %}{% for i in range(5000) %}{% set ns.s = ns.s + x + '\n' %}{% "
      "endfor %}{{ ns.s|length }}";
  EXPECT_EQ(render(source, "{\"x\": \"" + std::string(2000, 'q') + "\"}"),
            std::to_string(5000 * 2001));
}

}  // namespace
}  // namespace splitd
