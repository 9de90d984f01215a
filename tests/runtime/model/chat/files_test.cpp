// Where templates are found: Hugging Face directories in their several layouts, and GGUF metadata.
#include <filesystem>

#include "tests/runtime/model/chat/chat_helpers.h"
#include "tests/runtime/model/formats/format_files.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

class ChatFiles : public testing::Test {
 protected:
  void add(const std::string& name, std::string_view text) {
    const std::filesystem::path path = std::filesystem::path(directory_.path()) / name;
    std::filesystem::create_directories(path.parent_path());
    ASSERT_TRUE(write_file(path.string(), text).ok());
  }
  // What the directory's template makes of an input.
  std::string open_and_render(std::string_view input = R"({"messages": [{}]})",
                              std::string_view name = {}) {
    return render_path(directory_.path(), input, name);
  }
  std::string render_path(const std::string& path, std::string_view input,
                          std::string_view name = {}) {
    const Result<ChatTemplate> opened = ChatTemplate::open(path, name);
    if (!opened) {
      kind_ = opened.error().kind;
      return "error: " + opened.error().message;
    }
    const Result<JsonDoc> doc = JsonDoc::parse_view(input);
    return outcome(opened->render(doc->root()));
  }

  TempDir directory_;
  ErrorKind kind_ = ErrorKind::interrupted;
};

constexpr std::string_view kWithTools = R"({"messages": [{}], "tools": []})";

TEST_F(ChatFiles, ConfigWithOneTemplate) {
  add("tokenizer_config.json",
      R"({"chat_template": "{{ bos_token }}|{{ eos_token }}|{{ pad_token is defined }}|{{ image_token }}|{{ boi_token }}",
          "bos_token": "<s>", "eos_token": {"__type": "AddedToken", "content": "</s>", "lstrip": false},
          "pad_token": null, "image_token": "<img>", "extra_special_tokens": {"boi_token": "<boi>"},
          "model_max_length": 1000000000000000019884624838656, "add_bos_token": true})");
  EXPECT_EQ(open_and_render(), "<s>|</s>|False|<img>|<boi>");
}

TEST_F(ChatFiles, ConfigWithNamedTemplates) {
  add("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain"},
      {"name": "tool_use", "template": "tools"}, {"name": "rag", "template": "rag"}]})");
  EXPECT_EQ(open_and_render(), "plain");
  EXPECT_EQ(open_and_render(kWithTools), "tools");
  EXPECT_EQ(open_and_render(R"({"messages": [{}], "tools": null})"), "plain");
  EXPECT_EQ(open_and_render(kWithTools, "rag"), "rag");
  EXPECT_EQ(open_and_render(kWithTools, "default"), "plain");
  const std::string error = open_and_render(kWithTools, "other");
  EXPECT_NE(error.find("\"other\"; there are: default, rag, tool_use"), std::string::npos) << error;
  EXPECT_EQ(kind_, ErrorKind::usage);
}

TEST_F(ChatFiles, ABrokenToolTemplateMattersOnlyWithTools) {
  add("tokenizer_config.json", R"({"chat_template": [{"name": "default", "template": "plain"},
      {"name": "tool_use", "template": "{% if %}"}]})");
  EXPECT_EQ(open_and_render(), "plain");
  EXPECT_NE(open_and_render(kWithTools).find("line 1, column 7"), std::string::npos);
}

TEST_F(ChatFiles, JinjaFilesComeFirst) {
  add("tokenizer_config.json", R"({"chat_template": "config", "bos_token": "<s>"})");
  add("chat_template.jinja", "{{ bos_token }}file\r\n{% if true %}\r\nx\r\n{% endif %}\r\n");
  EXPECT_EQ(open_and_render(), "<s>file\nx\n");
  add("additional_chat_templates/tool_use.jinja", "tools");
  add("additional_chat_templates/notes.txt", "no template");
  EXPECT_EQ(open_and_render(), "<s>file\nx\n");
  EXPECT_EQ(open_and_render(kWithTools), "tools");
}

TEST_F(ChatFiles, OlderFiles) {
  add("tokenizer_config.json", R"({"bos_token": "old"})");
  add("special_tokens_map.json",
      R"({"bos_token": {"content": "<b>"}, "additional_special_tokens": ["x"]})");
  add("chat_template.json", R"({"chat_template": "{{ bos_token }}processor"})");
  EXPECT_EQ(open_and_render(), "<b>processor");
  add("tokenizer_config.json", R"({"bos_token": "new", "added_tokens_decoder": {}})");
  EXPECT_EQ(open_and_render(), "newprocessor");
}

TEST_F(ChatFiles, NoTemplatePointsToRaw) {
  const auto expect_model_error = [this](std::string_view what) {
    const std::string error = open_and_render();
    EXPECT_NE(error.find(what), std::string::npos) << error;
    EXPECT_NE(error.find(directory_.path()), std::string::npos) << error;
    EXPECT_EQ(kind_, ErrorKind::model);
  };
  expect_model_error("--raw");
  add("tokenizer_config.json", R"({"bos_token": "<s>"})");
  expect_model_error("--raw");
  add("tokenizer_config.json", R"({"chat_template": null})");
  expect_model_error("--raw");
  add("tokenizer_config.json", R"({"chat_template": 5})");
  expect_model_error("chat_template is 5");
  add("tokenizer_config.json", R"({"chat_template": [{"name": "x"}]})");
  expect_model_error("\"name\" and \"template\"");
  add("tokenizer_config.json", R"({"chat_template": "{% if %}"})");
  expect_model_error("line 1, column 7");
  add("tokenizer_config.json", "[]");
  expect_model_error("an object is wanted");
  add("tokenizer_config.json", "{");
  expect_model_error("tokenizer_config.json");
  EXPECT_NE(render_path(directory_.path() + "/none", "{}").find("no such file"), std::string::npos);
}

TEST_F(ChatFiles, Gguf) {
  GgufBuilder file;
  const std::string tokens =
      GgufBuilder::text("<unk>") + GgufBuilder::text("<s>") + GgufBuilder::text("</s>");
  file.kv("tokenizer.ggml.tokens", GgufType::array,
          GgufBuilder::array(GgufType::string, 3, tokens));
  file.u32("tokenizer.ggml.bos_token_id", 1);
  file.u32("tokenizer.ggml.eos_token_id", 2);
  file.u32("tokenizer.ggml.unknown_token_id", 0);
  file.u32("tokenizer.ggml.padding_token_id", 99);  // outside: as if it were not there
  file.string("tokenizer.chat_template",
              "{{ bos_token }}{{ eos_token }}{{ unk_token }}{{ pad_token is defined }}");
  file.string("tokenizer.chat_template.tool_use", "tools");
  add("model.gguf", file.build());
  const std::string path = directory_.path() + "/model.gguf";
  EXPECT_EQ(render_path(path, R"({"messages": [{}]})"), "<s></s><unk>False");
  EXPECT_EQ(render_path(path, kWithTools), "tools");
}

TEST_F(ChatFiles, GgufWithATemplateThatIsNoText) {
  add("model.gguf", GgufBuilder().u32("tokenizer.chat_template", 1).build());
  const std::string path = directory_.path() + "/model.gguf";
  EXPECT_EQ(render_path(path, "{}"),
            "error: " + path + ": metadata \"tokenizer.chat_template\" is the u32 1, not a string");
}

TEST_F(ChatFiles, GgufWithoutTemplate) {
  add("model.gguf", GgufBuilder().u32("general.file_type", 1).build());
  const std::string error = render_path(directory_.path() + "/model.gguf", "{}");
  EXPECT_NE(error.find("--raw"), std::string::npos) << error;
  EXPECT_EQ(kind_, ErrorKind::model);
}

}  // namespace
}  // namespace splitd
