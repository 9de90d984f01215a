// A golden model that speaks: a copy of it with a tokenizer of bytes and a chat template, so that
// commands which need text can be run on it. What it says is nonsense, and the same every time.
#pragma once

#include <string>

#include "runtime/base/json.h"
#include "tests/runtime/model/model_copy.h"

namespace splitd {

// 253 bytes as ids 3 … 255 (0xfd … 0xff begin no character), GPT-2's letters for bytes.
inline std::string byte_tokenizer() {
  std::string vocab, special;
  uint32_t next_letter = 256;
  const auto token = [&](std::string& to, const std::string& text, int id) {
    to += (to.empty() ? "" : ",") + JsonWriter().string(text).take() + ":" + std::to_string(id);
  };
  int id = 0;
  for (const char* name : {"<pad>", "<s>", "</s>"}) {
    token(vocab, name, id);
    special += (special.empty() ? "" : ",") + std::string("{\"id\":") + std::to_string(id++) +
               ",\"content\":\"" + name +
               "\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
               "\"normalized\":false,\"special\":true}";
  }
  for (uint32_t byte = 0; byte < 0xfd; ++byte) {
    const bool plain = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte != 0xad);
    const uint32_t letter = plain ? byte : next_letter++;
    std::string text;
    if (letter < 0x80) {
      text += static_cast<char>(letter);
    } else {
      text += static_cast<char>(0xc0 | letter >> 6);
      text += static_cast<char>(0x80 | (letter & 0x3f));
    }
    token(vocab, text, id++);
  }
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[)" + special +
         R"(],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,)" +
         R"("trim_offsets":true,"use_regex":false},"post_processor":null,"decoder":{"type":)" +
         R"("ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true},"model":)" +
         R"({"type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,)" +
         R"("end_of_word_suffix":null,"fuse_unk":false,"byte_fallback":false,"vocab":{)" + vocab +
         R"(},"merges":[]}})";
}

class TextModelCopy {
 public:
  // `n_ctx`: the longest context that the config states; 0: as it is.
  explicit TextModelCopy(uint32_t n_ctx = 0, std::string_view golden = "llama_bf16")
      : copy_(golden) {
    if (n_ctx != 0) {
      copy_.config = replaced(copy_.config, "\"max_position_embeddings\": 512",
                              "\"max_position_embeddings\": " + std::to_string(n_ctx));
    }
    path_ = copy_.write();
    const std::string config =
        R"({"bos_token":"<s>","eos_token":"</s>","chat_template":)"
        R"("{% for m in messages %}<s>{{ m.role }}: {{ m.content }}</s>{% endfor %}<s>"})";
    EXPECT_TRUE(write_file(path_ + "/tokenizer.json", byte_tokenizer()).ok());
    EXPECT_TRUE(write_file(path_ + "/tokenizer_config.json", config).ok());
  }

  const std::string& path() const { return path_; }

 private:
  ModelCopy copy_;
  std::string path_;
};

}  // namespace splitd
