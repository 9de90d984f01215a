// Pulls of some layers: what comes, what does not, and that the result is a valid model's part.
#include <gtest/gtest.h>

#include "runtime/model/formats/tensor_files.h"
#include "runtime/model/hub/hub.h"
#include "tests/runtime/model/hub/fake_hub.h"
#include "tests/runtime/model/hub/small_model.h"

namespace splitd {
namespace {

using Kind = PartRequest::Kind;
using net::TestReply;
using net::TestRequest;

bool is_norm(const std::string& name) {
  return name.ends_with("norm.weight");
}

class HubPart : public ::testing::TestWithParam<uint32_t> {
 protected:
  void use(SmallModel made) {
    model = std::move(made);
    fake.change([&] { fake.files = model.files; });
  }

  Result<PullResult> pull_part(PartRequest part) {
    PullOptions options = fake.options();
    options.part = part;
    options.download.stretch_bytes = 20'000;
    return pull(options, {});
  }

  // The directory holds exactly the tensors that `wanted` names and every norm of the text model,
  // bit for bit, and no more than those bytes and the headers were served.
  void expect_tensors(const Result<PullResult>& result,
                      const std::function<bool(const std::string&)>& wanted,
                      std::optional<uint64_t> earlier = {}) {
    ASSERT_TRUE(result.ok()) << result.error().message;
    const Result<TensorFiles> files = TensorFiles::open_safetensors(result->path);
    ASSERT_TRUE(files.ok()) << files.error().message;
    uint64_t needed = 0;
    size_t count = 0;
    for (const auto& [name, bytes] : model.tensors) {
      const bool text = !name.starts_with("vision_tower.");
      const TensorInfo* tensor = files->find(name);
      ASSERT_EQ(tensor != nullptr, text && (is_norm(name) || wanted(name))) << name;
      if (tensor == nullptr) continue;
      const TensorView view = files->view(*tensor);
      EXPECT_EQ(std::string(reinterpret_cast<const char*>(view.data), view.bytes), bytes) << name;
      needed += bytes.size();
      ++count;
    }
    EXPECT_EQ(files->tensors().size(), count);
    // Over two runs the headers are read twice, and a byte that came once does not come again.
    const uint64_t sent = fake.cdn.body_bytes_sent() + earlier.value_or(0);
    EXPECT_LE(sent, needed + needed / 100 + model.header_bytes * (earlier ? 2 : 1));
    EXPECT_GE(sent, needed);
    EXPECT_EQ(files->metadata().at("format"), "pt");
    EXPECT_EQ(files->metadata().at("splitd.part"), result->part);
  }

  static bool in_layers(const std::string& name, uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; ++i) {
      if (name.find(".layers." + std::to_string(i) + ".") != std::string::npos) return true;
    }
    return false;
  }
  static bool at_the_ends(const std::string& name) {
    return name.find("embed_tokens") != std::string::npos || name.ends_with("lm_head.weight");
  }
  bool has(const Result<PullResult>& result, const std::string& name) const {
    return path_exists(result->path + "/" + name);
  }

  SmallModel model;
  FakeHub fake;
};

TEST_P(HubPart, Layers) {
  use(small_model(6, GetParam()));
  const auto result = pull_part({Kind::layers, 2, 4, 0, 0});
  expect_tensors(result, [](const std::string& name) { return in_layers(name, 2, 4); });
  EXPECT_EQ(result->path, fake.snapshot("layers-2-4"));
  EXPECT_EQ(result->layers, "2:4");
  EXPECT_EQ(result->n_layer, 6u);
  EXPECT_TRUE(has(result, "config.json"));
  EXPECT_FALSE(has(result, "tokenizer.json"));
}

TEST_P(HubPart, HeadAndTail) {
  use(small_model(6, GetParam()));
  const auto result = pull_part({Kind::ends, 0, 0, 1, 2});
  expect_tensors(result, [](const std::string& name) {
    return at_the_ends(name) || in_layers(name, 0, 1) || in_layers(name, 4, 6);
  });
  EXPECT_EQ(result->layers, "0:1,4:6");
  for (const char* name : {"config.json", "tokenizer.json", "chat_template.jinja"}) {
    EXPECT_TRUE(has(result, name)) << name;
  }
}

TEST_P(HubPart, Body) {
  use(small_model(6, GetParam()));
  const auto all = pull_part({Kind::body, 0, 0, 0, 0});
  expect_tensors(all, [](const std::string& name) { return in_layers(name, 0, 6); });
  fake.forget();
  const auto rest = pull_part({Kind::body, 0, 0, 1, 2});
  expect_tensors(rest, [](const std::string& name) { return in_layers(name, 1, 4); });
  EXPECT_FALSE(has(rest, "tokenizer.json"));
}

TEST_P(HubPart, TiedHeadsAndMultimodalNames) {
  use(small_model(4, GetParam(), true));
  expect_tensors(pull_part({Kind::ends, 0, 0, 1, 1}), [](const std::string& name) {
    return at_the_ends(name) || in_layers(name, 0, 1) || in_layers(name, 3, 4);
  });
  fake.forget();
  fake.change([&] { fake.commit = std::string(40, 'b'); });
  use(small_model(4, GetParam(), false, "language_model.model.", "language_model.lm_head.weight"));
  expect_tensors(pull_part({Kind::ends, 0, 0, 1, 1}), [](const std::string& name) {
    return at_the_ends(name) || in_layers(name, 0, 1) || in_layers(name, 3, 4);
  });
}

TEST_P(HubPart, TakenUpWhereItEnded) {
  use(small_model(6, GetParam()));
  fake.fault_cdn([&](const TestRequest&) -> std::optional<TestReply> {
    if (fake.cdn.body_bytes_sent() < model.header_bytes + 30'000) return std::nullopt;
    return TestReply{.status = 451};
  });
  const PartRequest part{Kind::layers, 1, 5, 0, 0};
  EXPECT_FALSE(pull_part(part).ok());
  fake.fault_cdn({});
  const uint64_t before = fake.cdn.body_bytes_sent();
  EXPECT_GT(before, model.header_bytes);
  fake.forget();
  const auto result = pull_part(part);
  expect_tensors(
      result, [](const std::string& name) { return in_layers(name, 1, 5); }, before);
}

TEST_P(HubPart, WhatCannotBeSplitIsRefused) {
  use(small_model(4, GetParam()));
  for (const PartRequest& part :
       {PartRequest{Kind::layers, 3, 5, 0, 0}, PartRequest{Kind::ends, 0, 0, 3, 2},
        PartRequest{Kind::body, 0, 0, 2, 2}}) {
    const auto result = pull_part(part);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().kind, ErrorKind::usage);
    EXPECT_NE(result.error().message.find("4 layers"), std::string::npos);
  }
}

INSTANTIATE_TEST_SUITE_P(Shards, HubPart, ::testing::Values(1u, 3u));

class HubHostilePart : public HubPart {};

TEST_F(HubHostilePart, HeadersThatLieAreRefused) {
  const auto message_of = [&](std::string header) {
    use(small_model(2, 1));
    fake.change([&] { fake.files["model.safetensors"] = std::move(header); });
    fake.change([&] { fake.commit[0] = fake.commit[0] == 'a' ? 'b' : 'a'; });
    const auto result = pull_part({Kind::layers, 0, 1, 0, 0});
    return result ? std::string("ok") : result.error().message;
  };
  const auto with_length = [](uint64_t length, std::string rest) {
    std::string out(8, '\0');
    for (size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(length >> (8 * i) & 0xff);
    return out + rest;
  };
  EXPECT_NE(message_of("abc").find("too short"), std::string::npos);
  EXPECT_NE(message_of(with_length(~0ull, "{}")).find("model.safetensors"), std::string::npos);
  EXPECT_NE(message_of(with_length((32 << 20) + 1, "{}")).find("model.safetensors"),
            std::string::npos);
  EXPECT_NE(message_of(with_length(100, "{}")).find("longer than the file"), std::string::npos);
  EXPECT_NE(message_of(with_length(2, "{]")).find("model.safetensors"), std::string::npos);
  EXPECT_NE(message_of(with_length(2, "{}")).find("no layers found"), std::string::npos);
}

TEST_F(HubHostilePart, WithoutRangesThereIsNoPart) {
  use(small_model(4, 1));
  fake.fault_cdn([&](const TestRequest&) -> std::optional<TestReply> {
    return TestReply{.body = fake.files.at("model.safetensors")};
  });
  const auto result = pull_part({Kind::layers, 0, 1, 0, 0});
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find("byte ranges"), std::string::npos);
}

}  // namespace
}  // namespace splitd
