// The small pieces: byte sets, git's hashes, the hub's list, names of tensors, files in pieces.
#include <gtest/gtest.h>

#include <random>

#include "runtime/model/hub/byte_set.h"
#include "runtime/model/hub/git_blob.h"
#include "runtime/model/hub/part_file.h"
#include "runtime/model/hub/part_plan.h"
#include "runtime/model/hub/pulled.h"
#include "runtime/model/hub/repo_info.h"
#include "tests/temp_dir.h"

namespace splitd {
namespace {

TEST(ByteSet, AgreesWithBits) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    ByteSet set;
    std::vector<bool> bits(64);
    for (int step = 0; step < 20; ++step) {
      const uint64_t begin = random() % 65;
      const uint64_t end = begin + random() % (65 - begin);
      const bool add = random() % 3 != 0;
      add ? set.add({begin, end}) : set.remove({begin, end});
      for (uint64_t i = begin; i < end; ++i) bits[i] = add;
    }
    EXPECT_EQ(set.size(), static_cast<uint64_t>(std::count(bits.begin(), bits.end(), true)));
    for (size_t i = 1; i < set.ranges().size(); ++i) {
      EXPECT_GT(set.ranges()[i].begin, set.ranges()[i - 1].end);
    }
    for (uint64_t begin = 0; begin < 64; begin += 5) {
      ByteRange expected;
      uint64_t i = begin;
      while (i < 64 && bits[i]) ++i;
      if (i < 64) {
        expected.begin = i;
        while (i < 64 && !bits[i]) ++i;
        expected.end = i;
      }
      EXPECT_EQ(set.first_missing({begin, 64}), expected);
      EXPECT_EQ(set.contains({begin, 64}), expected.size() == 0);
    }
  }
}

std::string blob_hash(const std::string& text) {
  GitBlobHash hash(text.size());
  const auto bytes = std::as_bytes(std::span(text.data(), text.size()));
  hash.update(bytes.first(bytes.size() / 2));
  hash.update(bytes.subspan(bytes.size() / 2));
  return hash.finish();
}

TEST(GitBlobHash, IsGits) {  // values from `git hash-object`
  EXPECT_EQ(blob_hash(""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
  EXPECT_EQ(blob_hash("hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
  EXPECT_EQ(blob_hash(std::string(1000, 'a')), "a50be72b20f0e3f078d252e8e56b11b4bec67509");
}

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

std::string list_of(const std::string& files) {
  return std::string("{\"sha\": \"") + kCommit + "\", \"siblings\": [" + files + "]}";
}

TEST(RepoInfo, ReadsTheList) {
  const std::string hash(64, 'b');
  const Result<RepoInfo> info =
      parse_repo_info(list_of("{\"rfilename\": \"a.safetensors\", \"size\": 5, \"blobId\": \"" +
                              std::string(40, 'c') + "\", \"lfs\": {\"sha256\": \"" + hash +
                              "\", \"size\": 5, \"pointerSize\": 1}}, "
                              "{\"rfilename\": \"config.json\", \"size\": 2, \"blobId\": \"" +
                              std::string(40, 'd') + "\"}, {\"rfilename\": \"x/../../y\"}"));
  ASSERT_TRUE(info.ok()) << info.error().message;
  EXPECT_EQ(info->commit, kCommit);
  EXPECT_EQ(info->find("a.safetensors")->sha256, hash);
  EXPECT_EQ(info->find("a.safetensors")->git_sha1, "");  // of the pointer, not of the content
  EXPECT_EQ(info->find("config.json")->git_sha1, std::string(40, 'd'));
  EXPECT_EQ(info->find("config.json")->size, 2u);
  EXPECT_FALSE(info->find("x/../../y")->size.has_value());
  EXPECT_EQ(info->find("nothing"), nullptr);
}

TEST(RepoInfo, RefusesNonsense) {
  const std::string cases[] = {
      "",
      "<html>",
      "[]",
      "{}",
      "{\"sha\": \"main\", \"siblings\": []}",
      "{\"sha\": \"../../../../../../../../../../../../../x\", \"siblings\": []}",
      std::string("{\"sha\": \"") + kCommit + "\"}",
      list_of("5"),
      list_of("{}"),
      list_of("{\"rfilename\": 5}"),
      list_of("{\"rfilename\": \"a\", \"size\": -1}"),
      list_of("{\"rfilename\": \"a\", \"size\": \"5\"}"),
      list_of("{\"rfilename\": \"a\", \"size\": 5e3}"),
      list_of("{\"rfilename\": \"a\", \"blobId\": \"xyz\"}"),
      list_of("{\"rfilename\": \"a\", \"size\": 5, \"lfs\": {}}"),
      list_of("{\"rfilename\": \"a\", \"size\": 5, \"lfs\": {\"sha256\": \"" +
              std::string(64, 'b') + "\", \"size\": 6}}"),
      list_of("{\"rfilename\": \"a\"}, {\"rfilename\": \"a\"}")};
  for (const std::string& text : cases) {
    const Result<RepoInfo> info = parse_repo_info(text);
    ASSERT_FALSE(info.ok()) << text;
    EXPECT_EQ(info.error().kind, ErrorKind::peer);
  }
}

TEST(RepoInfo, KnowsPlainNames) {
  for (const char* name : {"a", "model-00001-of-00002.safetensors", "A_b.c-d"}) {
    EXPECT_TRUE(is_plain_file_name(name)) << name;
  }
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("a/b"), std::string("/a"),
        std::string("../a"), std::string("a\\b"), std::string(".hidden"), std::string("-rf"),
        std::string("a b"), std::string("a\0b", 3), std::string("\xc3\xa9"), std::string("a\n"),
        std::string(201, 'a')}) {
    EXPECT_FALSE(is_plain_file_name(name)) << name;
  }
}

RepoInfo repo_of(const std::vector<std::string>& names) {
  RepoInfo info;
  for (const std::string& name : names) info.files.push_back({name, 1, "", ""});
  return info;
}

TEST(RepoInfo, ChoosesWhatAModelNeeds) {
  const auto names = choose_model_files(
      repo_of({"config.json", "model.safetensors.index.json", "model-1.safetensors",
               "consolidated.safetensors", "pytorch_model.bin", "tokenizer.json", "README.md",
               "chat_template.jinja", "onnx/model.onnx"}));
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(names->config, std::vector<std::string>{"config.json"});
  EXPECT_EQ(names->tokenizer, (std::vector<std::string>{"tokenizer.json", "chat_template.jinja"}));
  EXPECT_EQ(names->index, "model.safetensors.index.json");
  EXPECT_EQ(names->weights, "");
  EXPECT_EQ(choose_model_files(
                repo_of({"config.json", "model.safetensors", "model.safetensors.index.json"}))
                ->weights,
            "model.safetensors");
}

TEST(RepoInfo, SaysWhatIsThereInstead) {
  const auto gguf = choose_model_files(repo_of({"config.json", "a.gguf", "b.gguf"}));
  ASSERT_FALSE(gguf.ok());
  EXPECT_EQ(gguf.error().kind, ErrorKind::usage);
  EXPECT_NE(gguf.error().message.find("--file: a.gguf, b.gguf"), std::string::npos);
  const auto bin = choose_model_files(repo_of({"config.json", "pytorch_model.bin"}));
  EXPECT_NE(bin.error().message.find("not usable: pytorch_model.bin"), std::string::npos);
  EXPECT_NE(choose_model_files(repo_of({"model.safetensors"})).error().message.find("config.json"),
            std::string::npos);
}

TEST(TensorNames, KnowTheirLayers) {
  const auto names = TensorNames::learn(
      {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight",
       "model.layers.1.mlp.experts.7.up_proj.weight", "model.layers.1.input_layernorm.weight",
       "model.norm.weight", "lm_head.weight", "vision_tower.layers.9.mlp.weight"});
  ASSERT_TRUE(names.ok());
  EXPECT_EQ(names->n_layer(), 2u);
  Part part;
  part.layers = {false, true};
  EXPECT_TRUE(names->needs(part, "model.layers.1.mlp.experts.7.up_proj.weight"));
  EXPECT_FALSE(names->needs(part, "model.layers.0.self_attn.q_proj.weight"));
  EXPECT_TRUE(names->needs(part, "model.layers.1.self_attn.q_proj.weight.q4"));
  EXPECT_FALSE(names->needs(part, "model.layers.0.self_attn.q_proj.weight.q4"));
  EXPECT_TRUE(names->needs(part, "model.layers.0.post_attention_layernorm.weight"));
  EXPECT_TRUE(names->needs(part, "model.layers.0.self_attn.q_norm.weight"));
  EXPECT_TRUE(names->needs(part, "model.norm.weight"));
  EXPECT_FALSE(names->needs(part, "vision_tower.layers.1.mlp.weight"));
  EXPECT_FALSE(names->needs(part, "vision_tower.layers.1.norm.weight"));
  for (const bool ends : {false, true}) {
    part.ends = ends;
    EXPECT_EQ(names->needs(part, "model.embed_tokens.weight"), ends);
    EXPECT_EQ(names->needs(part, "lm_head.weight"), ends);
    EXPECT_EQ(names->needs(part, "lm_head.weight.q8"), ends);
    EXPECT_EQ(names->needs(part, "model.embed_tokens.weight.q8"), ends);
  }
  part.no_head = true;
  EXPECT_FALSE(names->needs(part, "lm_head.weight"));
}

TEST(TensorNames, RefuseWhatTheyCannotRead) {
  EXPECT_FALSE(TensorNames::learn({}).ok());
  EXPECT_FALSE(TensorNames::learn({"transformer.h.0.attn.weight", "ln_f.weight"}).ok());
  EXPECT_FALSE(TensorNames::learn({"model.norm.weight", "model.layers.1.a"}).ok());  // no layer 0
  EXPECT_FALSE(TensorNames::learn({"model.norm.weight", "model.layers.00.a"}).ok());
  EXPECT_FALSE(TensorNames::learn({"model.norm.weight", "model.layers.4294967296.a"}).ok());
}

TEST(PartPlan, ResolvesWhatWasAskedFor) {
  using Kind = PartRequest::Kind;
  const auto text = [](PartRequest request) {
    const Result<Part> part = resolve_part(request, 10, false);
    return part ? part->layers_text() + (part->ends ? " ends" : "") : "error";
  };
  EXPECT_EQ(text({}), "0:10 ends");
  EXPECT_EQ(text({Kind::layers, 2, 5, 0, 0}), "2:5");
  EXPECT_EQ(text({Kind::layers, 0, 10, 0, 0}), "0:10");
  EXPECT_EQ(text({Kind::layers, 5, 5, 0, 0}), "error");
  EXPECT_EQ(text({Kind::layers, 5, 11, 0, 0}), "error");
  EXPECT_EQ(text({Kind::ends, 0, 0, 2, 1}), "0:2,9:10 ends");
  EXPECT_EQ(text({Kind::ends, 0, 0, 0, 0}), " ends");
  EXPECT_EQ(text({Kind::ends, 0, 0, 5, 5}), "0:10 ends");
  EXPECT_EQ(text({Kind::ends, 0, 0, 5, 6}), "error");
  EXPECT_EQ(text({Kind::ends, 0, 0, ~0u, ~0u}), "error");
  EXPECT_EQ(text({Kind::body, 0, 0, 0, 0}), "0:10");
  EXPECT_EQ(text({Kind::body, 0, 0, 2, 1}), "2:9");
  EXPECT_EQ(text({Kind::body, 0, 0, 5, 5}), "error");
}

TEST(Pulled, ReadsNamesOfRepositories) {
  EXPECT_EQ(parse_repo_spec("org/name")->revision, "main");
  EXPECT_EQ(parse_repo_spec("org/na.me-1_2@refs/pr/1")->revision, "refs/pr/1");
  for (const std::string& text :
       {std::string("name"), std::string(), std::string("/name"), std::string("org/"),
        std::string("a/b/c"), std::string("../name"), std::string("org/.."), std::string("org/.x"),
        std::string("a--b/c"), std::string("org/na me"), std::string("org/name@"),
        std::string("org/name@../../x"), std::string("org/name@/x"), std::string("org/name@-x"),
        std::string("org/name@a//b"), std::string("org/name@a b"), std::string("org/name\n"),
        std::string("org/na\0me", 9), std::string("org/") + std::string(97, 'a')}) {
    EXPECT_FALSE(parse_repo_spec(text).ok()) << text;
  }
}

TEST(Pulled, FindsWhatIsThere) {
  const TempDir dir;
  const std::string cache = dir.path();
  const RepoSpec spec = *parse_repo_spec("org/name");
  EXPECT_NE(find_pulled_in(cache, spec).error().message.find("splitd pull org/name"),
            std::string::npos);
  const std::string snapshots = snapshots_path(cache, spec);
  std::filesystem::create_directories(snapshots);
  std::filesystem::create_directories(cache + "/org--name/refs");
  ASSERT_TRUE(write_file(ref_path(cache, spec), std::string(kCommit) + "\n").ok());
  EXPECT_FALSE(find_pulled_in(cache, spec).ok());
  const std::string part = snapshots + "/" + kCommit + ".layers-0-2";
  std::filesystem::create_directories(part);
  EXPECT_EQ(*find_pulled_in(cache, spec), part);
  std::filesystem::create_directories(snapshots + "/" + kCommit + ".body");
  const auto two = find_pulled_in(cache, spec);
  ASSERT_FALSE(two.ok());
  EXPECT_NE(two.error().message.find(part), std::string::npos);
  std::filesystem::create_directories(snapshots + "/" + kCommit);
  EXPECT_EQ(*find_pulled_in(cache, spec), snapshots + "/" + kCommit);
  EXPECT_TRUE(find_pulled_in(cache, *parse_repo_spec("org/name@" + std::string(kCommit))).ok());
  EXPECT_FALSE(find_pulled_in(cache, *parse_repo_spec("org/name@v2")).ok());
  EXPECT_FALSE(find_pulled_in(cache, *parse_repo_spec("org/other")).ok());
  ASSERT_TRUE(write_file(ref_path(cache, spec), "../../../../etc").ok());
  EXPECT_FALSE(find_pulled_in(cache, spec).ok());
}

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

TEST(PartFile, TakesUpWhatWasRecorded) {
  const TempDir dir;
  const std::string path = dir.path() + "/f";
  {
    Result<PartFile> file = PartFile::open(path, "source", 10, "ab");
    ASSERT_TRUE(file.ok());
    EXPECT_EQ(file->have().size(), 2u);
    ASSERT_TRUE(file->write(4, bytes("efg")).ok());
    file->landed({4, 7});
    file->set_validator("v");
    ASSERT_TRUE(file->save().ok());
    ASSERT_TRUE(file->write(7, bytes("h")).ok());
    file->landed({7, 8});  // never recorded
  }
  {
    Result<PartFile> file = PartFile::open(path, "source", 10, "ab");
    ASSERT_TRUE(file.ok());
    EXPECT_EQ(file->have().ranges(), (std::vector<ByteRange>{{0, 2}, {4, 7}}));
    EXPECT_EQ(file->validator(), "v");
    ASSERT_TRUE(file->write(2, bytes("cd")).ok());
    ASSERT_TRUE(file->write(7, bytes("hij")).ok());
    file->landed({2, 4});
    file->landed({7, 10});
    EXPECT_TRUE(file->complete());
    ASSERT_TRUE(file->finish().ok());
  }
  EXPECT_EQ(*read_file(path), "abcdefghij");
  EXPECT_FALSE(path_exists(path + ".part"));
  EXPECT_FALSE(path_exists(path + ".part.json"));
}

TEST(PartFile, StartsAnewWhenTheRecordIsOfSomethingElse) {
  const TempDir dir;
  const std::string path = dir.path() + "/f";
  const auto have_after = [&](const std::string& record, const std::string& source = "source",
                              uint64_t size = 10) {
    EXPECT_TRUE(write_file(path + ".part", "0123456789").ok());
    EXPECT_TRUE(write_file(path + ".part.json", record).ok());
    return PartFile::open(path, source, size, "")->have().size();
  };
  const std::string good = "{\"source\":\"source\",\"bytes\":\"10\",\"have\":[0,4,6,10]}";
  EXPECT_EQ(have_after(good), 8u);
  EXPECT_EQ(have_after(good, "other"), 0u);
  EXPECT_EQ(have_after(good, "source", 11), 0u);
  for (const char* ranges : {"[0]", "[4,0]", "[0,11]", "[0,4,4,6]", "[-1,4]", "[\"0\",4]", "5",
                             "[0,18446744073709551615]"}) {
    EXPECT_EQ(
        have_after("{\"source\":\"source\",\"bytes\":\"10\",\"have\":" + std::string(ranges) + "}"),
        0u)
        << ranges;
  }
  EXPECT_EQ(have_after(""), 0u);
  EXPECT_EQ(have_after("[]"), 0u);
  // A file that is shorter than its record says lost bytes.
  ASSERT_TRUE(write_file(path + ".part", "0123").ok());
  ASSERT_TRUE(write_file(path + ".part.json", good).ok());
  EXPECT_EQ(PartFile::open(path, "source", 10, "")->have().size(), 0u);
}

}  // namespace
}  // namespace splitd
