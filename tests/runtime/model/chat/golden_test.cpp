// Every case of the golden files: what transformers 5.23 and Jinja2 3.1.6 made of the same
// templates and inputs (tests/golden/make_templates.py, make_more_templates.py).
#include <map>

#include "tests/runtime/model/chat/chat_helpers.h"

namespace splitd {
namespace {

// The input of `splitd template` for a conversation of the golden files.
std::string request_of(Json conversation) {
  JsonWriter out;
  out.begin_object();
  for (const Json::Member member : conversation.members()) {
    if (member.key != "name" && member.key != "variables") out.key(member.key).copy(member.value);
  }
  if (const std::optional<Json> variables = conversation.find("variables")) {
    for (const Json::Member member : variables->members()) out.key(member.key).copy(member.value);
  }
  return out.end_object().take();
}

std::map<std::string, std::string, std::less<>> requests_of(Json golden) {
  std::map<std::string, std::string, std::less<>> requests;
  for (const Json conversation : golden.find("conversations")->elements()) {
    requests[std::string(conversation.find("name")->text())] = request_of(conversation);
  }
  return requests;
}

// Text must be the same; an error must be one, and pass on what the template itself said.
void expect_case(Json expected, const Result<MarkedText>& got, const std::string& name) {
  SCOPED_TRACE(name);
  const std::optional<Json> error = expected.find("error");
  if (!error) {
    const std::optional<Json> text = expected.find("text");
    EXPECT_EQ(outcome(got), (text ? text : expected.find("output"))->text());
    return;
  }
  ASSERT_FALSE(got.ok()) << "rendered " << got->text << "\nwanted the error "
                         << error->find("message")->text();
  if (*error->find("raised_by_template")->to_bool()) {
    EXPECT_NE(got.error().message.find(error->find("message")->text()), std::string::npos)
        << got.error().message;
    EXPECT_EQ(got.error().kind, ErrorKind::usage);
  }
}

Result<MarkedText> render_with(const ChatTemplate& chat, std::string_view request,
                               bool keep_nulls) {
  const Result<JsonDoc> doc = JsonDoc::parse_view(request);
  if (!doc) return doc.error();
  RenderOptions options;
  options.now = kGoldenNow;
  options.keep_nulls = keep_nulls;
  return chat.render(doc->root(), options);
}

TEST(ChatGolden, ModelsRenderConversations) {
  const JsonDoc golden = read_doc(golden_path("template_cases.json"));
  const auto requests = requests_of(golden.root());
  std::map<std::string, ChatTemplate> templates;
  size_t n = 0;
  for (const Json chat_case : golden.root().find("chat_cases")->elements()) {
    const std::string model(chat_case.find("tokenizer")->text());
    const std::string name = model + " " + std::string(chat_case.find("conversation")->text());
    if (!templates.contains(model)) {
      auto opened = ChatTemplate::open(std::string(SPLITD_TEST_BUILD) + "/tokenizers/" + model);
      ASSERT_TRUE(opened.ok()) << opened.error().message;
      templates.emplace(model, std::move(opened).value());
    }
    const ChatTemplate& chat = templates.at(model);
    const std::string& request = requests.find(chat_case.find("conversation")->text())->second;
    expect_case(chat_case, render_with(chat, request, false), name);
    if (const std::optional<Json> kept = chat_case.find("nulls_kept")) {
      expect_case(*kept, render_with(chat, request, true), name + " with nulls");
    }
    ++n;
  }
  EXPECT_EQ(n, 150u);
}

TEST(ChatGolden, PublicTemplatesRenderConversations) {
  const JsonDoc golden = read_doc(golden_path("more_template_cases.json"));
  const auto requests = requests_of(golden.root());
  std::map<std::string, ChatTemplate> templates;
  std::map<std::string, std::string> variables;
  for (const Json::Member member : golden.root().find("variables")->members()) {
    variables[std::string(member.key)] = std::string(member.value.text());
  }
  size_t n = 0;
  for (const Json chat_case : golden.root().find("chat_cases")->elements()) {
    const std::string name(chat_case.find("template")->text());
    if (!templates.contains(name)) {
      auto source = read_file(golden_path("inputs/chat_templates/" + name + ".jinja"));
      ASSERT_TRUE(source.ok());
      auto parsed = ChatTemplate::parse(std::move(source).value(), variables);
      ASSERT_TRUE(parsed.ok()) << name << ": " << parsed.error().message;
      templates.emplace(name, std::move(parsed).value());
    }
    const std::string_view conversation = chat_case.find("conversation")->text();
    expect_case(chat_case,
                render_with(templates.at(name), requests.find(conversation)->second, false),
                name + " " + std::string(conversation));
    ++n;
  }
  EXPECT_GT(n, 400u);
}

TEST(ChatGolden, Snippets) {
  const JsonDoc golden = read_doc(golden_path("template_cases.json"));
  size_t n = 0;
  for (const Json snippet : golden.root().find("snippet_cases")->elements()) {
    const std::optional<Json> context = snippet.find("context");
    const std::string input = context ? JsonWriter().copy(*context).take() : "{}";
    expect_case(snippet, try_render(snippet.find("template")->text(), input),
                std::string(snippet.find("name")->text()));
    ++n;
  }
  EXPECT_EQ(n, 79u);
}

TEST(ChatGolden, MoreSnippets) {
  const JsonDoc golden = read_doc(golden_path("more_template_cases.json"));
  const std::string input = JsonWriter().copy(*golden.root().find("context")).take();
  size_t n = 0;
  for (const Json snippet : golden.root().find("snippet_cases")->elements()) {
    const std::string source(snippet.find("template")->text());
    expect_case(snippet, try_render(source, input), source);
    ++n;
  }
  EXPECT_GT(n, 900u);
}

}  // namespace
}  // namespace splitd
