// Models in splitd's own q8 and q4: made, opened, cut off and taken up, and files that lie.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>

#include "runtime/model/convert.h"
#include "runtime/model/convert_plan.h"
#include "runtime/model/formats/dequantize.h"
#include "runtime/model/model_files.h"
#include "runtime/model/verify.h"
#include "tests/runtime/model/gguf_model.h"

namespace splitd {
namespace {

ConvertOptions to(DType dtype) {
  ConvertOptions options;
  options.dtype = dtype;
  options.threads = 2;
  return options;
}

std::string error_of(const std::string& source, const std::string& target,
                     const ConvertOptions& options) {
  const Result<ConvertReport> report = convert_model(source, target, options);
  return report.ok() ? "accepted" : report.error().message;
}

std::string open_error(const std::string& path) {
  const Result<ModelFiles> model = ModelFiles::open(path);
  return model.ok() ? "accepted" : model.error().message;
}

// All numbers of a tensor of the schema.
std::vector<float> numbers(const ModelFiles& model, const TensorSpec& spec) {
  const StoredRows rows = *model.find(spec);
  std::deque<std::array<uint64_t, 2>> shapes;
  const TensorView view = model.view(rows, shapes);
  const uint64_t columns = view.shape.back();
  std::vector<float> out(rows.n_rows * columns);
  if (!is_own_quantised(view.dtype)) {
    dequantize(view.dtype, view.data, out.size(), out.data());
    return out;
  }
  for (uint64_t row = 0; row < rows.n_rows; ++row) {
    dequantize_row(view.dtype, view.data, columns, row, out.data() + row * columns);
  }
  return out;
}

double relative_rms(const std::vector<float>& a, const std::vector<float>& b) {
  QuantisationLoss loss;
  for (size_t i = 0; i < a.size(); ++i) {
    loss.add({std::pow(double{a[i]} - double{b[i]}, 2), std::pow(double{a[i]}, 2)});
  }
  return loss.relative_rms();
}

// Every file of a directory, by name.
std::map<std::string, std::string> contents(const std::string& directory) {
  std::map<std::string, std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(directory)) {
    out[entry.path().filename()] = read_file(entry.path()).value();
  }
  return out;
}

TEST(QuantisedModel, HoldsTheSourceWithinTheTypesError) {
  for (const std::string& name : golden_names()) {
    const TempDir out;
    const Result<ModelFiles> source = ModelFiles::open(golden_model(name));
    ASSERT_TRUE(source.ok());
    for (const DType dtype : {DType::q8, DType::q4}) {
      const std::string target = out.path() + "/" + std::string(dtype_name(dtype));
      const Result<ConvertReport> report = convert_model(golden_model(name), target, to(dtype));
      ASSERT_TRUE(report.ok()) << name << ": " << report.error().message;
      const Result<ModelFiles> model = ModelFiles::open(target);
      ASSERT_TRUE(model.ok()) << name << ": " << model.error().message;
      EXPECT_EQ(*model->fingerprint(), *source->fingerprint()) << name;
      EXPECT_EQ(model->config(), source->config()) << name;
      EXPECT_TRUE(model->is_whole());
      EXPECT_TRUE(verify_weights(model->files())->non_finite.empty());
      uint64_t n_quantised = 0;
      for (const TensorSpec& spec : model_schema(source->config())) {
        const std::optional<StoredRows> rows = model->find(spec);
        ASSERT_TRUE(rows) << name << " " << hf_name(spec, source->config());
        const bool own = is_own_quantised(rows->tensor->dtype);
        EXPECT_EQ(own, can_be_quantised(source->config(), spec)) << name << rows->tensor->name;
        const std::vector<float> before = numbers(*source, spec);
        const std::vector<float> after = numbers(*model, spec);
        if (!own) {
          EXPECT_EQ(after, before) << name << rows->tensor->name;
          continue;
        }
        n_quantised += before.size();
        const double error = relative_rms(before, after);
        const bool wide = rows->tensor->dtype == DType::q8;
        EXPECT_LT(error, wide ? 0.01 : 0.12) << name << rows->tensor->name;
        EXPECT_GT(error, 0.0) << name << rows->tensor->name;
        EXPECT_EQ(rows->tensor->begin % 32, 0u);
      }
      EXPECT_EQ(report->quantised_values, n_quantised);
    }
  }
}

// The table of formats/QUANTISED.md.
TEST(QuantisedModel, WhatStaysWider) {
  const auto type = [](uint32_t d_model, Slot slot, DType to) {
    ModelConfig config;
    config.d_model = d_model;
    config.d_head = 64;
    config.n_head = config.n_kv_head = 4;
    config.d_ff = 512;
    return quantised_type(config, {slot, 0, 0, {512, 512}}, to);
  };
  for (const Slot slot : {Slot::k, Slot::v, Slot::embedding, Slot::head}) {
    EXPECT_EQ(type(4096, slot, DType::q4), DType::q8) << static_cast<int>(slot);
  }
  for (const Slot slot : {Slot::o, Slot::up, Slot::gate_up}) {
    EXPECT_EQ(type(1023, slot, DType::q4), DType::q8) << static_cast<int>(slot);
    EXPECT_EQ(type(1024, slot, DType::q4), DType::q4) << static_cast<int>(slot);
  }
  for (const Slot slot : {Slot::q, Slot::gate, Slot::down, Slot::expert_up, Slot::expert_down}) {
    EXPECT_EQ(type(512, slot, DType::q4), DType::q4) << static_cast<int>(slot);
    EXPECT_EQ(type(512, slot, DType::q8), DType::q8) << static_cast<int>(slot);
  }
  EXPECT_EQ(type(512, Slot::router, DType::q4), std::nullopt);
}

TEST(QuantisedModel, GgufGivesTheSameBytesAsItsDirectory) {
  for (const std::string_view name : {"llama", "qwen3_moe", "gemma3_text"}) {
    GgufModel gguf(name);
    const TempDir out;
    const std::string source = gguf.write();
    ASSERT_EQ(error_of(source, out.path() + "/f32", to(DType::f32)), "accepted");
    ASSERT_EQ(error_of(source, out.path() + "/a", to(DType::q4)), "accepted");
    ASSERT_EQ(error_of(out.path() + "/f32", out.path() + "/b", to(DType::q4)), "accepted");
    const Result<ModelFiles> a = ModelFiles::open(out.path() + "/a");
    const Result<ModelFiles> b = ModelFiles::open(out.path() + "/b");
    ASSERT_TRUE(a.ok() && b.ok()) << a.error().message;
    for (const TensorSpec& spec : model_schema(a->config())) {
      EXPECT_EQ(numbers(*a, spec), numbers(*b, spec)) << hf_name(spec, a->config());
    }
  }
}

TEST(QuantisedModel, BackToFloatsAndPartsOfIt) {
  const TempDir out;
  const std::string source = golden_model("llama_bf16");
  ASSERT_EQ(error_of(source, out.path() + "/q4", to(DType::q4)), "accepted");
  ASSERT_EQ(error_of(out.path() + "/q4", out.path() + "/f32", to(DType::f32)), "accepted");
  ConvertOptions part = to(DType::q4);
  part.layers = LayerRange{1, 2};
  ASSERT_EQ(error_of(source, out.path() + "/part", part), "accepted");
  const Result<ModelFiles> own = ModelFiles::open(out.path() + "/q4");
  const Result<ModelFiles> floats = ModelFiles::open(out.path() + "/f32");
  const Result<ModelFiles> layer = ModelFiles::open(out.path() + "/part");
  ASSERT_TRUE(own.ok() && floats.ok() && layer.ok());
  EXPECT_EQ(layer->parts_text(),
            "layers 1 of " + std::to_string(own->config().n_layer) + ", no embedding, no head");
  for (const TensorSpec& spec : model_schema(own->config())) {
    EXPECT_EQ(numbers(*floats, spec), numbers(*own, spec));
    if (!layer->find(spec)) continue;
    EXPECT_EQ(numbers(*layer, spec), numbers(*own, spec));
  }
  EXPECT_EQ(*layer->fingerprint(), *own->fingerprint());
  // Layer by layer in one piece, but for what is no matrix.
  EXPECT_LE(own->layer_ranges(0).size(), 2u);
}

TEST(QuantisedModel, TheSameBytesWhoeverWorks) {
  const TempDir out;
  ConvertOptions options = to(DType::q4);
  for (const uint32_t threads : {1u, 2u, 5u}) {
    options.threads = threads;
    const std::string target = out.path() + "/" + std::to_string(threads);
    ASSERT_EQ(error_of(golden_model("qwen3_moe"), target, options), "accepted");
    EXPECT_EQ(contents(target), contents(out.path() + "/1"));
  }
}

// Ends in an orderly way after each portion in turn, then runs on.
TEST(QuantisedModel, AnInterruptedRunIsTakenUp) {
  const TempDir out;
  ConvertOptions options = to(DType::q8);
  options.max_shard_bytes = 6000;  // several files
  ASSERT_EQ(error_of(golden_model("llama_bf16"), out.path() + "/whole", options), "accepted");
  const auto whole = contents(out.path() + "/whole");
  const std::string target = out.path() + "/m";
  uint64_t last_resumed = 0;
  int runs = 0;
  for (;; ++runs) {
    ASSERT_LT(runs, 1000);
    int portions = 0;
    options.progress = [&](const Progress&) { return ++portions < 3; };
    const Result<ConvertReport> report = convert_model(golden_model("llama_bf16"), target, options);
    if (report.ok()) {
      EXPECT_GT(report->resumed_bytes, 0u);
      break;
    }
    EXPECT_EQ(report.error().kind, ErrorKind::interrupted);
    EXPECT_FALSE(std::filesystem::exists(target));
    EXPECT_NE(open_error(target + ".partial"), "accepted");
    last_resumed = report.error().message.size();
  }
  EXPECT_GT(runs, 3);
  EXPECT_GT(last_resumed, 0u);
  EXPECT_EQ(contents(target), whole);
  EXPECT_FALSE(std::filesystem::exists(target + ".partial"));
}

// A child that is killed without a word, at every portion of the work.
TEST(QuantisedModel, AKilledRunIsTakenUp) {
  const TempDir out;
  ConvertOptions options = to(DType::q4);
  options.max_shard_bytes = 6000;
  options.threads = 1;
  const std::string source = golden_model("llama_bf16");
  ASSERT_EQ(error_of(source, out.path() + "/whole", options), "accepted");
  const auto whole = contents(out.path() + "/whole");
  for (int stop = 1; stop < 1000; stop += 7) {
    const std::string target = out.path() + "/" + std::to_string(stop);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      int portions = 0;
      options.progress = [&](const Progress&) {
        if (++portions == stop) ::_exit(7);
        return true;
      };
      ::_exit(convert_model(source, target, options).ok() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFEXITED(status));
    if (WEXITSTATUS(status) == 0) break;  // it had fewer portions
    ASSERT_EQ(WEXITSTATUS(status), 7);
    EXPECT_FALSE(std::filesystem::exists(target));
    EXPECT_NE(open_error(target + ".partial"), "accepted");
    ASSERT_EQ(error_of(source, target, options), "accepted");
    EXPECT_EQ(contents(target), whole) << stop;
    EXPECT_FALSE(std::filesystem::exists(target + ".partial"));
  }
}

TEST(QuantisedModel, WhatALaterRunFindsMustBelongToIt) {
  const TempDir out;
  const std::string target = out.path() + "/m", partial = target + ".partial";
  const std::string source = golden_model("llama_bf16");
  ASSERT_EQ(error_of(source, out.path() + "/whole", to(DType::q8)), "accepted");
  ConvertOptions cut = to(DType::q8);
  int portions = 0;
  cut.progress = [&](const Progress&) { return ++portions < 5; };
  ASSERT_NE(error_of(source, target, cut), "accepted");
  // Of another dtype: begun anew.
  ASSERT_EQ(error_of(source, target, to(DType::q4)), "accepted");
  std::filesystem::remove_all(target);
  // Damaged: too short, or a state that is none.
  for (const bool shorten : {true, false}) {
    portions = 0;
    ASSERT_NE(error_of(source, target, cut), "accepted");
    // What a kill in the middle of a small file leaves.
    ASSERT_TRUE(write_file(partial + "/.config.json.a1b2c3", "{").ok());
    if (shorten) {
      std::filesystem::resize_file(partial + "/model.safetensors.part", 100);
    } else {
      ASSERT_TRUE(write_file(partial + "/convert.state", "{\"identity\": 3").ok());
    }
    ASSERT_EQ(error_of(source, target, to(DType::q8)), "accepted");
    EXPECT_EQ(contents(target), contents(out.path() + "/whole"));
    std::filesystem::remove_all(target);
  }
  // Somebody else's directory is not touched.
  std::filesystem::create_directory(partial);
  ASSERT_TRUE(write_file(partial + "/mine", "x").ok());
  EXPECT_NE(error_of(source, target, to(DType::q8)).find("made by something else"),
            std::string::npos);
  EXPECT_TRUE(std::filesystem::exists(partial + "/mine"));
  std::filesystem::remove_all(partial);
  // Killed between the last rename and its exit: the next run only says so.
  portions = 0;
  ASSERT_NE(error_of(source, target, cut), "accepted");
  std::string state = read_file(partial + "/convert.state").value();
  std::filesystem::remove_all(partial);
  const Result<ConvertReport> report = convert_model(source, target, to(DType::q8));
  ASSERT_TRUE(report.ok());
  const size_t done = state.find("\"done\":");
  const size_t end = state.find(',', done);
  state.replace(done, end - done, "\"done\":" + std::to_string(report->weight_bytes));
  ASSERT_TRUE(write_file(target + "/convert.state", state).ok());
  const Result<ConvertReport> again = convert_model(source, target, to(DType::q8));
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->resumed_bytes, again->weight_bytes);
  EXPECT_EQ(contents(target), contents(out.path() + "/whole"));
  EXPECT_NE(error_of(source, target, to(DType::q8)).find("exists and is not empty"),
            std::string::npos);
}

// ModelCopy of a converted model, to lie about it.
class Hostile : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(error_of(golden_model("llama_bf16"), source_.path() + "/m", to(DType::q4)),
              "accepted");
    const Result<TensorFiles> files = TensorFiles::open_safetensors(source_.path() + "/m");
    ASSERT_TRUE(files.ok());
    copy_.tensors.clear();
    for (const TensorInfo& tensor : files->tensors()) {
      const TensorView view = files->view(tensor);
      copy_.tensors.push_back(
          {tensor, std::string(reinterpret_cast<const char*>(view.data), view.bytes)});
    }
    copy_.config = read_file(source_.path() + "/m/config.json").value();
    ASSERT_EQ(open_error(copy_.write()), "accepted");
  }

  RawTensor& victim() { return copy_.at("model.layers.1.mlp.gate_proj.weight.q4"); }
  void expect(const std::string& message) {
    EXPECT_NE(open_error(copy_.write()).find(message), std::string::npos)
        << open_error(copy_.write());
  }

  TempDir source_;
  ModelCopy copy_{"llama_bf16"};
};

TEST_F(Hostile, WrongRowBytes) {
  RawTensor& tensor = victim();
  tensor.info.shape[1] -= 2;
  tensor.bytes.resize(tensor.info.shape[0] * tensor.info.shape[1]);
  expect("\"model.layers.1.mlp.gate_proj.weight.q4\" is U8 of shape [");
}

TEST_F(Hostile, WrongRowsTypeAndRank) {
  RawTensor& tensor = victim();
  const RawTensor good = tensor;
  std::swap(tensor.info.shape[0], tensor.info.shape[1]);
  expect("; Q4 for [");
  tensor = good;
  tensor.info.dtype = DType::i8;
  expect(" is I8 of shape [");
  tensor = good;
  tensor.info.shape = {good.info.shape[0] * good.info.shape[1]};
  expect(" is U8 of shape [");
}

TEST_F(Hostile, TheNameIsTheType) {
  victim().info.name = "model.layers.1.mlp.gate_proj.weight.q8";
  expect("; Q8 for [");
  copy_.at("model.layers.1.mlp.gate_proj.weight.q8").info.name.back() = '5';
  expect("is incomplete: tensor \"model.layers.1.mlp.gate_proj.weight\" is missing");
}

TEST_F(Hostile, OneTensorTwice) {
  RawTensor twin = victim();
  twin.info.name = "model.layers.1.mlp.gate_proj.weight";
  copy_.tensors.push_back(twin);
  expect("is there, and \"model.layers.1.mlp.gate_proj.weight\" too");
  copy_.tensors.back().info.name += ".q8";
  copy_.tensors.back().info.shape[1] = copy_.tensors.back().info.shape[1] / 18 * 34;
  copy_.tensors.back().bytes.resize(copy_.tensors.back().info.shape[0] *
                                    copy_.tensors.back().info.shape[1]);
  expect("is there, and \"model.layers.1.mlp.gate_proj.weight.q8\" too");
}

TEST_F(Hostile, NormsAreNotQuantised) {
  RawTensor& norm = copy_.at("model.layers.0.input_layernorm.weight");
  norm.info.name += ".q8";
  expect("is missing; every directory holds all norms");
}

TEST_F(Hostile, ScalesThatAreNotFiniteAreFound) {
  RawTensor& tensor = victim();
  // Group 1 of row 19: the second panel's second group, scale 3.
  const uint64_t columns = tensor.info.shape[1] / 18 * 32;
  const uint64_t unit = columns / 32 + 1;
  const uint16_t nan = 0x7e00;
  std::memcpy(tensor.bytes.data() + unit * 288 + 256 + 2 * 3, &nan, 2);
  const Result<ModelFiles> model = ModelFiles::open(copy_.write());
  ASSERT_TRUE(model.ok());
  const Result<VerifyReport> report = verify_weights(model->files());
  ASSERT_EQ(report->non_finite.size(), 1u);
  EXPECT_EQ(report->non_finite[0].tensor, "model.layers.1.mlp.gate_proj.weight.q4");
  EXPECT_EQ(report->non_finite[0].row, 19u);
  EXPECT_EQ(report->non_finite[0].column, 32u);
  EXPECT_EQ(report->non_finite[0].count, 1u);
  EXPECT_EQ(report->skipped_bytes, 0u);
}

TEST_F(Hostile, AnotherVersionOrMethod) {
  const std::string config = copy_.config;
  copy_.config = replaced(config, "\"version\": 1", "\"version\": 2");
  expect("quantization_config.version is 2; accepted: 1");
  copy_.config = replaced(config, "\"splitd\"", "\"awq\"");
  expect("quantization_config asks for awq");
}

}  // namespace
}  // namespace splitd
