// What the golden files do not say: where errors point, and the contract of render().
#include "tests/runtime/model/chat/chat_helpers.h"

namespace splitd {
namespace {

std::string message_of(std::string_view source, std::string_view input = "{}") {
  const Result<MarkedText> rendered = try_render(source, input);
  return rendered.ok() ? "rendered " + rendered->text : rendered.error().message;
}
ErrorKind kind_of(std::string_view source, std::string_view input = "{}") {
  const Result<MarkedText> rendered = try_render(source, input);
  return rendered.ok() ? ErrorKind::interrupted : rendered.error().kind;
}

TEST(ChatErrors, PointAtLineAndColumn) {
  EXPECT_EQ(message_of("a\n  {{ x.y }}"), "chat template, line 2, column 7: 'x' is undefined");
  EXPECT_EQ(message_of("é{{ 1 + 'a' }}"),
            "chat template, line 1, column 7: unsupported operand type(s) for +: 'int' and 'str'");
  EXPECT_EQ(message_of("\r\n\r\n{% if %}"),
            "chat template, line 3, column 7: expected an expression, got end of statement block");
  EXPECT_EQ(message_of("{% for x in y %}\n{% endif %}"),
            "chat template, line 2, column 4: unknown tag 'endif'");
  EXPECT_EQ(message_of("x\n{% if a %}b"),
            "chat template, line 2, column 4: the template ends before the 'elif' or 'else' or "
            "'endif' of this 'if'");
  EXPECT_EQ(message_of("{{ 'a'|nope }}"),
            "chat template, line 1, column 8: no filter named 'nope'");
  EXPECT_EQ(message_of("{% macro m() %}\n{{ 1|first }}\n{% endmacro %}{{ m() }}"),
            "chat template, line 2, column 6: 'int' object is not iterable");
}

TEST(ChatErrors, NameWhatIsNotSupported) {
  EXPECT_NE(message_of("{% include 'other' %}").find("'include' is not supported"),
            std::string::npos);
  EXPECT_NE(message_of("{% extends 'other' %}").find("'extends' is not supported"),
            std::string::npos);
  EXPECT_NE(message_of("{% from 'x' import y %}").find("'from' is not supported"),
            std::string::npos);
  EXPECT_NE(message_of("{% block x %}{% endblock %}").find("'block'"), std::string::npos);
  EXPECT_NE(message_of("{{ 2 ** 200 }}").find("128 bits"), std::string::npos);
}

TEST(ChatErrors, KindsSayWhoseFaultItIs) {
  EXPECT_EQ(kind_of("{% if %}"), ErrorKind::model);
  EXPECT_EQ(kind_of("{{ messages[0].x.y }}"), ErrorKind::usage);
  EXPECT_EQ(kind_of("{{ raise_exception('no') }}"), ErrorKind::usage);
  EXPECT_EQ(
      kind_of("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"),
      ErrorKind::model);
  EXPECT_EQ(message_of("{% if true %}{{ raise_exception('Only \"user\" & <b>') }}{% endif %}"),
            "the chat template refused this input: Only \"user\" & <b> (line 1, column 32)");
}

TEST(ChatErrors, RefusesWhatIsNoTemplate) {
  EXPECT_NE(message_of("a\xff").find("not UTF-8 at byte 1"), std::string::npos);
  EXPECT_NE(message_of(std::string(ChatTemplate::kMaxSourceBytes + 1, 'x')).find("at most"),
            std::string::npos);
  EXPECT_EQ(render(std::string(ChatTemplate::kMaxSourceBytes, 'x')).size(),
            ChatTemplate::kMaxSourceBytes);
}

TEST(ChatInput, WithoutMessagesTheObjectIsTheContext) {
  EXPECT_EQ(render("{{ a }}{{ tools is defined }}{{ bos_token is defined }}", R"({"a": 1})"),
            "1FalseFalse");
  EXPECT_EQ(render("{{ range is defined }}{{ dict }}", R"({"dict": 5})"), "True5");
}

TEST(ChatInput, MessagesBringVariablesAndDefaults) {
  const std::string_view show =
      "{{ bos_token }}{{ tools }}{{ documents }}{{ add_generation_prompt }}{{ messages|length }}{{ "
      "x }}";
  EXPECT_EQ(render(show, R"({"messages": [{"role": "user"}], "x": 2})"), "<s>NoneNoneFalse12");
  EXPECT_EQ(render(show, R"({"messages": [{}], "bos_token": "B", "tools": [{"a": 1}],
                             "add_generation_prompt": true})"),
            "B[{'a': 1}]NoneTrue1");
}

TEST(ChatInput, NullsOfMessagesAreDroppedUnlessKept) {
  const std::string_view input =
      R"({"messages": [{"role": "a", "content": null, "n": {"k": null}}]})";
  EXPECT_EQ(render("{{ messages }}", input), "[{'role': 'a', 'n': {'k': None}}]");
  RenderOptions kept;
  kept.keep_nulls = true;
  EXPECT_EQ(render("{{ messages }}", input, kept),
            "[{'role': 'a', 'content': None, 'n': {'k': None}}]");
}

TEST(ChatInput, ReasoningGoesByAllItsNames) {
  EXPECT_EQ(render("{{ messages[0] }}", R"({"messages": [{"role": "a", "reasoning": "r"}]})"),
            "{'thinking': 'r', 'role': 'a', 'reasoning': 'r', 'reasoning_content': 'r'}");
  EXPECT_EQ(
      render("{{ messages[0] }}", R"({"messages": [{"thinking": "t", "reasoning_content": "r"}]})"),
      "{'thinking': 't', 'reasoning_content': 'r'}");
}

TEST(ChatInput, RefusesWhatIsNoConversation) {
  for (const std::string_view input :
       {R"([])", R"("x")", R"({"messages": []})", R"({"messages": {}})", R"({"messages": ["hi"]})",
        R"({"messages": null})", R"({"messages": [{}], "tools": {"a": 1}})",
        R"({"messages": [{}], "tools": ["f"]})", R"({"messages": [{}], "documents": "d"})",
        R"({"messages": [{}], "continue_final_message": 3})",
        R"({"messages": [{"content": 5}], "continue_final_message": true})",
        R"({"x": 1234567890123456789012345678901234567890123})"}) {
    EXPECT_EQ(kind_of("{{ messages[0].content }}", input), ErrorKind::usage) << input;
  }
}

TEST(ChatInput, ContinuesTheFinalMessage) {
  const std::string_view chat =
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}</>{% endfor %}";
  EXPECT_EQ(render(chat, R"({"messages": [{"role": "u", "content": "q"},
                              {"role": "a", "content": "so </> far "}],
                              "continue_final_message": true})"),
            "<u>q</><a>so </> far ");
  EXPECT_EQ(render("{% for m in messages %}<{{ m.content|trim }}>{% endfor %}",
                   R"({"messages": [{"content": "ab \n"}], "continue_final_message": true})"),
            "<ab");
  EXPECT_EQ(kind_of("{{ messages[0].content|upper }}",
                    R"({"messages": [{"content": "ab"}], "continue_final_message": true})"),
            ErrorKind::usage);
}

TEST(ChatInput, NumbersAreWhatTheFileSays) {
  EXPECT_EQ(render("{{ a }} {{ b }} {{ c }} {{ d }} {{ e }} {{ f|tojson }}",
                   R"({"a": 18446744073709551616, "b": -0, "c": -0.0, "d": 1e400, "e": 1E2,
                       "f": [1e-400, -1e400, 0.1]})"),
            "18446744073709551616 0 -0.0 inf 100.0 [0.0, -Infinity, 0.1]");
}

// A loop's test is run when the next item is asked for, which a macro or a call block may do.
TEST(ChatLanguage, LoopsAreAskedForItemsFromOtherFunctions) {
  EXPECT_EQ(render("{% for x in [1, 2, 3] if x %}{% generation %}{% set a = 1 %}{{ loop.last }}"
                   "{{ loop.length }}{% endgeneration %}{{ x }} {% endfor %}"),
            "False31 False32 True33 ");
  EXPECT_EQ(render("{% macro m(l) %}{% set q = 5 %}{{ l.nextitem }}{% endmacro %}"
                   "{% for a, b in [[1, 2], [3, 4]] if a %}{{ m(loop) }}{{ b }};{% endfor %}"),
            "(3, 4)2;4;");
}

TEST(ChatTemplateObject, RendersManyTimesAndMoves) {
  Result<ChatTemplate> parsed =
      ChatTemplate::parse("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + x %}{{ ns.n }}");
  ASSERT_TRUE(parsed.ok());
  ChatTemplate moved = std::move(parsed).value();
  for (int i = 0; i < 3; ++i) {
    const Result<JsonDoc> doc = JsonDoc::parse("{\"x\": " + std::to_string(i) + "}");
    EXPECT_EQ(outcome(moved.render(doc->root())), std::to_string(i));
  }
}

}  // namespace
}  // namespace splitd
