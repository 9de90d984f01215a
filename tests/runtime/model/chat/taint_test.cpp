// Which bytes of the rendered text came from the input: exactly those, or more, never fewer.
#include "runtime/base/utf8.h"
#include "tests/runtime/model/chat/chat_helpers.h"

namespace splitd {
namespace {

// The text with « and » around what is literal.
std::string marked(std::string_view source, std::string_view input) {
  const Result<MarkedText> rendered = try_render(source, input);
  if (!rendered) return "error: " + rendered.error().message;
  std::string out;
  size_t at = 0;
  for (const ByteRange range : rendered->literal) {
    EXPECT_LT(range.begin, range.end);
    EXPECT_TRUE(range.begin > at || (at == 0 && range.begin == 0)) << "touching ranges";
    out += rendered->text.substr(at, range.begin - at) + "«" +
           rendered->text.substr(range.begin, range.end - range.begin) + "»";
    at = range.end;
  }
  return out + rendered->text.substr(at);
}

constexpr std::string_view kInput =
    R"({"s": "abc", "t": "x y", "u": "éß", "l": ["p", "q"], "d": {"k": "v"}, "n": 5, "html": "<b>",
        "ms": [{"role": "user", "content": " hi "}]})";

std::string m(std::string_view source) {
  return marked(source, kInput);
}

TEST(ChatTaint, PrintingMarksTheInput) {
  EXPECT_EQ(m("[{{ s }}]{{ 'lit' }}{{ n }}"), "[«abc»]lit5");
  EXPECT_EQ(m("{% for x in ms %}<|{{ x.role }}|>{{ x['content'] }}{% endfor %}"),
            "<|«user»|>« hi »");
  EXPECT_EQ(m("{{ s }}{{ t }}"), "«abcx y»");  // touching ranges are one
}

TEST(ChatTaint, ConcatenationKeepsThePartsApart) {
  EXPECT_EQ(m("{{ '<' + s + '>' }}"), "<«abc»>");
  EXPECT_EQ(m("{{ '<' ~ s ~ '|' ~ n ~ t ~ '>' }}"), "<«abc»|5«x y»>");
  EXPECT_EQ(m("{{ ('<' + s + '>') * 2 }}"), "<«abc»><«abc»>");
  EXPECT_EQ(m("{{ ['a', s, 'b']|join('-') }}{{ s.join(['1', '2']) }}{{ '-'.join(l) }}"),
            "a-«abc»-b1«abc»2«p»-«q»");
  EXPECT_EQ(m("{% set ns = namespace(x='') %}{% for i in l %}{% set ns.x = ns.x + '<' + i + '>' "
              "%}{% endfor %}{{ ns.x }}"),
            "<«p»><«q»>");
}

TEST(ChatTaint, SlicesAndCutsKeepWhatTheyHold) {
  EXPECT_EQ(
      m("{% set x = '<' + s + '>' %}{{ x[0] }}{{ x[1] }}|{{ x[:3] }}|{{ x[-2:] }}|{{ x[::-1] }}"),
      "<«a»|<«ab»|«c»>|>«cba»<");
  EXPECT_EQ(m("{% set x = ' ' + s + ' ' %}{{ x|trim }}|{{ x.strip() }}|{{ x.rstrip() }}"),
            "«abc»|«abc»| «abc»");
  EXPECT_EQ(m("{% set x = 'q,' + s + ',r' %}{{ x.split(',')|join(';') }}|{{ "
              "x.partition('b')|join('_') }}"),
            "q;«abc»;r|q,«a»_«b»_«c»,r");
  EXPECT_EQ(m("{{ ('1\n' + s + '\n2').splitlines()[1] }}{{ (s ~ 'z').removeprefix('ab') }}{{ (s ~ "
              "'z')|last }}"),
            "«abcc»zz");
  EXPECT_EQ(m("{{ ('foo ' + s + ' bar baz')|truncate(9, leeway=0) }}"), "foo...");
  EXPECT_EQ(m("{{ u[0] }}{{ u[1:] }}{{ 'é' }}"), "«éß»é");
}

TEST(ChatTaint, MappingsOfCharactersKeepIt) {
  EXPECT_EQ(m("{{ ('x' + s + 'y')|upper }}{{ ('x' + u)|upper }}{{ ('X' + s)|capitalize }}"),
            "X«ABC»YX«ÉSS»X«abc»");
  EXPECT_EQ(m("{{ ('q ' + s)|title }}{{ (s + ' q').title() }}{{ ('Q' + s).swapcase() }}"),
            "Q «AbcAbc» Qq«ABC»");
  EXPECT_EQ(m("{{ html|e }}{{ ('<' + html)|e }}{{ t|urlencode }}"),
            "«&lt;b&gt;»&lt;«&lt;b&gt;x%20y»");
  EXPECT_EQ(m("{{ ('a\n' ~ s ~ '\nb')|indent(2) }}"), "a\n  «abc»\n  b");
}

TEST(ChatTaint, ReplacementsMarkWhatComesIn) {
  EXPECT_EQ(m("{{ 'a-b'|replace('-', s) }}{{ ('x' + s)|replace('b', '_') }}"), "a«abc»bx«a»_«c»");
  EXPECT_EQ(m("{{ 'ab'.replace('', s) }}"), "«abc»a«abc»b«abc»");
}

TEST(ChatTaint, FormattingMarksTheArguments) {
  EXPECT_EQ(m("{{ '<%s|%5s|%r>' % (s, 'p', s) }}"), "<«abc»|    p|'«abc»'>");
  EXPECT_EQ(m("{{ '<{}|{:>5}|{a!r}>'.format(s, s, a=t) }}"), "<«abc»|  «abc»|'«x y»'>");
  EXPECT_EQ(m("{{ s|format }}{{ '%s'|format(s) }}{{ (s ~ '%s') % 'lit' }}"), "«abcabcabc»lit");
  EXPECT_EQ(m("{{ 'x'.center(5, l[0]) }}{{ s.ljust(5) }}{{ s.zfill(5) }}"),
            "«pp»x«ppabc»  00«abc»");
}

TEST(ChatTaint, ContainersPrintTheirStringsMarked) {
  EXPECT_EQ(m("{{ l }}{{ d }}"), "['«p»', '«q»']{'«k»': '«v»'}");
  EXPECT_EQ(m("{{ d|tojson }}{{ [s, 'x', n]|tojson }}"), "{\"«k»\": \"«v»\"}[\"«abc»\", \"x\", 5]");
  EXPECT_EQ(m("{{ {'lit': html}|tojson(indent=1) }}"), "{\n \"lit\": \"«<b>»\"\n}");
  EXPECT_EQ(m("{% for k, v in d.items() %}{{ k }}={{ v }}{% endfor %}"), "«k»=«v»");
  EXPECT_EQ(m("{{ ms|map(attribute='role')|list }}{{ l|sort|first }}{{ l|unique|join }}{{ "
              "s|list|join }}"),
            "['«user»']«ppqabc»");
}

TEST(ChatTaint, BlocksAndMacrosPassItOn) {
  EXPECT_EQ(m("{% set x %}<{{ s }}>{% endset %}{{ x }}{{ x[1] }}"), "<«abc»>«a»");
  EXPECT_EQ(m("{% macro f(x) %}<{{ x }}>{% endmacro %}{{ f(s) }}{{ f('y')|upper }}"), "<«abc»><Y>");
  EXPECT_EQ(m("{% filter upper %}<{{ s }}>{% endfilter %}"), "<«ABC»>");
  EXPECT_EQ(
      m("{% macro f() %}[{{ caller(s) }}]{% endmacro %}{% call(x) f() %}<{{ x }}>{% endcall %}"),
      "[<«abc»>]");
  EXPECT_EQ(m("{% generation %}{{ s }}!{% endgeneration %}"), "«abc»!");
}

TEST(ChatTaint, ComparingDoesNotWash) {
  EXPECT_EQ(m("{% if s == 'abc' %}{{ s }}{{ 'abc' }}{% endif %}"), "«abc»abc");
  EXPECT_EQ(m("{{ [s, 'abc']|unique|list }}{{ s|default('x') }}{{ (s, 'abc')|max }}"),
            "['«abc»']«abcabc»");
  EXPECT_EQ(m("{{ {s: 1}|list|first }}{{ 'abc' if s else '' }}"), "«abc»abc");
}

TEST(ChatTaint, MessagesToolsDocumentsAndVariables) {
  EXPECT_EQ(
      marked(
          "{{ bos_token }}{{ messages[0].content }}{{ tools[0].n }}|{{ documents[0].t }}|{{ v }}",
          R"({"messages": [{"content": "c"}], "tools": [{"n": "f"}], "documents": [{"t": "d"}], "v": "w"})"),
      "<s>«cf»|«d»|«w»");
}

TEST(ChatTaint, ContinuedTextIsCutWithItsRanges) {
  EXPECT_EQ(marked("<{{ messages[0].content }}>{{ messages[0].content }}",
                   R"({"messages": [{"content": "ab"}], "continue_final_message": true})"),
            "<«abCONTINUE_FINAL_MESSAGE_TAG »>«ab»");  // as transformers leaves it
}

// Whatever a filter or method does, no byte of the input comes out unmarked: the input's letters
// occur nowhere else.
TEST(ChatTaint, NothingIsWashed) {
  const std::string_view operations[] = {"x|upper",
                                         "x|lower",
                                         "x|title",
                                         "x|capitalize",
                                         "x|trim",
                                         "x|reverse",
                                         "x|e",
                                         "x|forceescape",
                                         "x|safe",
                                         "x|string",
                                         "x|center(9)",
                                         "x|indent(2, true)",
                                         "x|truncate(4, true, '')",
                                         "x|urlencode",
                                         "x|replace('-', x)",
                                         "x|list|join",
                                         "x|tojson",
                                         "x|tojson(true)",
                                         "[x]|tojson(indent=2)",
                                         "x|format",
                                         "'%s'|format(x)",
                                         "'%-9s' % x",
                                         "'%r' % x",
                                         "'%a' % x",
                                         "'%(k)s' % {'k': x}",
                                         "'{}'.format(x)",
                                         "'{0:>9}'.format(x)",
                                         "'{!r}'.format(x)",
                                         "'{k}'.format(k=x)",
                                         "'{0[0]}'.format([x])",
                                         "'{k}'.format_map({'k': x})",
                                         "x.upper()",
                                         "x.lower()",
                                         "x.title()",
                                         "x.swapcase()",
                                         "x.casefold()",
                                         "x.capitalize()",
                                         "x.strip('-')",
                                         "x.lstrip()",
                                         "x.rstrip()",
                                         "x.split('-')|join('+')",
                                         "x.rsplit('-', 1)|last",
                                         "x.splitlines()|first",
                                         "x.partition('-')|join",
                                         "x.rpartition('-')|join",
                                         "x.replace('-', '+')",
                                         "'-'.replace('-', x)",
                                         "x.join('12')",
                                         "'+'.join([x, x])",
                                         "x.center(12, '*')",
                                         "x.ljust(9)",
                                         "x.rjust(9)",
                                         "x.zfill(9)",
                                         "x.expandtabs()",
                                         "x.removeprefix('Z')",
                                         "x.removesuffix('Z')",
                                         "x[::-1]",
                                         "x[1:]",
                                         "x[0]",
                                         "x * 2",
                                         "2 * x",
                                         "x + x",
                                         "'1' + x",
                                         "x ~ 1",
                                         "[x]",
                                         "(x,)",
                                         "{x: x}",
                                         "[x]|sort|first",
                                         "[x]|max",
                                         "[x]|min",
                                         "[x]|unique|first",
                                         "[x, x]|batch(1)|list",
                                         "[x]|slice(1)|list",
                                         "[[x]]|sum(start=[])",
                                         "{x: 1}|dictsort",
                                         "{'k': x}|items|list",
                                         "{x: 1}|list",
                                         "{'a': x}.values()|list",
                                         "[{'r': x}]|groupby('r')",
                                         "[x]|map('upper')|list",
                                         "[{'r': x}]|map(attribute='r')|first",
                                         "[x]|select|list",
                                         "[x]|join('-')",
                                         "x|first",
                                         "x|last",
                                         "x|default('')",
                                         "none|default(x, true)",
                                         "undef|default(x)",
                                         "x|attr('upper')()",
                                         "dict(a=x).a",
                                         "namespace(a=x).a",
                                         "{'c': x}|xmlattr",
                                         "{'q': x}|urlencode",
                                         "cycler(x).next()",
                                         "joiner(x).sep",
                                         "(x ~ ' ' ~ x)|wordcount ~ x",
                                         "strftime_now(x)",
                                         "'<'|safe + x",
                                         "x|safe + '<'",
                                         "('<%s>'|safe) % x",
                                         "x|e|replace('-', x)",
                                         "[x, 'ß']|join|upper"};
  const std::string_view input = R"({"x": "ZÀq-Ωz\u00dfZ"})";
  for (const std::string_view operation : operations) {
    SCOPED_TRACE(operation);
    const Result<MarkedText> rendered = try_render("{{ " + std::string(operation) + " }}", input);
    ASSERT_TRUE(rendered.ok()) << rendered.error().message;
    ASSERT_TRUE(utf8_is_valid(rendered->text));
    ASSERT_FALSE(rendered->literal.empty());
    std::string rest = rendered->text;
    for (auto range = rendered->literal.rbegin(); range != rendered->literal.rend(); ++range) {
      rest.erase(range->begin, range->end - range->begin);
    }
    for (const std::string_view letter :
         {"Z", "z", "q", "Q", "À", "à", "Ω", "ω", "ß", "\\u00c0", "%C3%80", "\\xc0"}) {
      if (letter == "z" && operation.find("xmlattr") != std::string_view::npos) continue;
      const bool own = letter == "q" && operation.find("'q'") != std::string_view::npos;
      if (own) continue;
      EXPECT_EQ(rest.find(letter), std::string::npos) << rest;
    }
  }
}

}  // namespace
}  // namespace splitd
