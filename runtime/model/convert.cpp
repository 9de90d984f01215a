#include "runtime/model/convert.h"

#include <algorithm>
#include <filesystem>
#include <functional>

#include "runtime/base/files.h"
#include "runtime/model/atomic_directory.h"
#include "runtime/model/config_write.h"
#include "runtime/model/convert_rows.h"
#include "runtime/model/convert_text.h"
#include "runtime/model/formats/safetensors_writer.h"
#include "runtime/model/model_files.h"

namespace splitd {
namespace {

constexpr uint64_t kTextBytes = uint64_t{64} << 20;  // room for everything that is no weight

struct Job {
  TensorInfo output;  // name, dtype, shape; bytes
  RowSource source;
};

bool is_float(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

bool is_wanted(const TensorSpec& spec, const ConvertOptions& options) {
  if (!options.layers || is_norm(spec.slot)) return true;
  return !is_whole_model(spec.slot) && spec.layer >= options.layers->begin &&
         spec.layer < options.layers->end;
}

Job make_job(std::string name, DType dtype, Shape shape, RowSource source) {
  Job job;
  job.output.name = std::move(name);
  job.output.dtype = dtype;
  job.output.bytes = *tensor_bytes(dtype, shape);
  job.output.shape = std::move(shape);
  job.source = source;
  return job;
}

// GGUF: every tensor of the schema under the name that transformers gives it.
std::vector<Job> plan_gguf(const ModelFiles& model, const ConvertOptions& options) {
  const ModelConfig& config = model.config();
  std::vector<Job> jobs;
  for (const TensorSpec& spec : model_schema(config)) {
    if (!is_wanted(spec, options)) continue;
    const StoredRows rows = *model.find(spec);
    RowSource source{.tensor = rows.tensor, .first_row = rows.first_row, .n_rows = rows.n_rows};
    const bool q_or_k = spec.slot == Slot::q || spec.slot == Slot::k || spec.slot == Slot::q_bias ||
                        spec.slot == Slot::k_bias;
    if (q_or_k && config.family == "llama") source.interleaved_head = config.d_head;
    source.one_added = is_norm(spec.slot) && config.norm_plus_one;
    jobs.push_back(make_job(hf_name(spec, config), options.dtype, spec.shape, source));
  }
  return jobs;
}

// A directory: the tensors that it holds, under the names it has; only floats change their type.
std::vector<Job> plan_directory(const ModelFiles& model, const ConvertOptions& options) {
  const std::vector<TensorInfo>& tensors = model.files().tensors();
  std::vector<bool> unwanted(tensors.size());
  if (options.layers) unwanted.assign(tensors.size(), true);
  for (const TensorSpec& spec : model_schema(model.config())) {
    const std::optional<StoredRows> rows = model.find(spec);
    if (!rows || !is_wanted(spec, options)) continue;
    unwanted[static_cast<size_t>(rows->tensor - tensors.data())] = false;
  }
  std::vector<Job> jobs;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (unwanted[i]) continue;
    const TensorInfo& tensor = tensors[i];
    uint64_t n_rows = 1;
    for (size_t d = 0; d + 1 < tensor.shape.size(); ++d) n_rows *= tensor.shape[d];
    const DType dtype = is_float(tensor.dtype) ? options.dtype : tensor.dtype;
    jobs.push_back(make_job(tensor.name, dtype, tensor.shape,
                            {.tensor = &tensor, .first_row = 0, .n_rows = n_rows}));
  }
  return jobs;
}

// Consecutive jobs that fit one file; a tensor larger than that has a file of its own.
std::vector<std::pair<size_t, size_t>> split_shards(const std::vector<Job>& jobs,
                                                    uint64_t max_bytes) {
  std::vector<std::pair<size_t, size_t>> shards;
  uint64_t bytes = 0;
  size_t begin = 0;
  for (size_t i = 0; i < jobs.size(); ++i) {
    if (i > begin && bytes + jobs[i].output.bytes > max_bytes) {
      shards.emplace_back(begin, i);
      begin = i;
      bytes = 0;
    }
    bytes += jobs[i].output.bytes;
  }
  shards.emplace_back(begin, jobs.size());
  return shards;
}

std::string shard_name(size_t index, size_t count) {
  if (count == 1) return "model.safetensors";
  char text[64];
  std::snprintf(text, sizeof text, "model-%05zu-of-%05zu.safetensors", index + 1, count);
  return text;
}

class Conversion {
 public:
  Conversion(const ModelFiles& model, const ConvertOptions& options)
      : model_(model), options_(options) {}

  Result<ConvertReport> run(const std::string& directory) {
    SPLITD_ASSIGN(AtomicDirectory out, AtomicDirectory::create(directory));
    const std::vector<Job> jobs =
        model_.gguf() != nullptr ? plan_gguf(model_, options_) : plan_directory(model_, options_);
    for (const Job& job : jobs) total_bytes_ += job.output.bytes;
    SPLITD_TRY(out.check_space(total_bytes_ + kTextBytes));
    SPLITD_ASSIGN(report_.fingerprint, model_.fingerprint());
    SPLITD_TRY(write_weights(jobs, out.temporary()));
    SPLITD_ASSIGN(report_.tokenizer, write_model_texts(model_, options_.dtype, out.temporary()));
    report_.tensors = jobs.size();
    report_.weight_bytes = total_bytes_;
    SPLITD_TRY(out.commit());
    return report_;
  }

 private:
  Status write_weights(const std::vector<Job>& jobs, const std::string& directory) {
    const std::vector<std::pair<size_t, size_t>> shards =
        split_shards(jobs, options_.max_shard_bytes);
    JsonWriter index(2);
    index.begin_object().key("metadata").begin_object().field("total_size", total_bytes_);
    index.end_object().key("weight_map").begin_object();
    for (size_t i = 0; i < shards.size(); ++i) {
      const std::string name = shard_name(i, shards.size());
      const std::span<const Job> part(jobs.data() + shards[i].first,
                                      shards[i].second - shards[i].first);
      SPLITD_TRY(write_shard(part, directory, name));
      for (const Job& job : part) index.field(job.output.name, std::string_view(name));
    }
    report_.files = static_cast<uint32_t>(shards.size());
    if (shards.size() == 1) return {};
    index.end_object().end_object();
    return write_file(directory + "/model.safetensors.index.json", index.take() + "\n");
  }

  Status write_shard(std::span<const Job> jobs, const std::string& directory,
                     const std::string& name) {
    std::vector<TensorInfo> tensors;
    for (const Job& job : jobs) tensors.push_back(job.output);
    SPLITD_ASSIGN(
        SafetensorsWriter file,
        SafetensorsWriter::create(
            directory + "/" + name, std::move(tensors),
            {{"format", "pt"}, {std::string(kFingerprintKey), hex(report_.fingerprint)}}));
    for (const Job& job : jobs) {
      model_.files().advise(*job.source.tensor, MappedFile::Advice::sequential);
      const auto write = [&](std::span<const std::byte> bytes) -> Status {
        SPLITD_TRY(file.write(bytes));
        done_bytes_ += bytes.size();
        if (!options_.progress || options_.progress({job.output.name, done_bytes_, total_bytes_})) {
          return {};
        }
        return Error{ErrorKind::interrupted, "interrupted"};
      };
      Status done = convert_rows(model_.files(), job.source, job.output.dtype, write);
      if (!done) return done.take_error().within("tensor " + quoted_name(job.output.name));
      model_.files().advise(*job.source.tensor, MappedFile::Advice::dont_need);
    }
    return file.commit();
  }

  const ModelFiles& model_;
  const ConvertOptions& options_;
  ConvertReport report_;
  uint64_t total_bytes_ = 0;
  uint64_t done_bytes_ = 0;
};

}  // namespace

Result<ConvertReport> convert_model(const std::string& source, const std::string& directory,
                                    const ConvertOptions& options) {
  if (!is_float(options.dtype)) {
    return usage_error("dtype " + std::string(dtype_name(options.dtype)) +
                       " cannot be written; accepted: bf16, f16, f32");
  }
  SPLITD_ASSIGN(const ModelFiles model, ModelFiles::open(source));
  if (options.layers && (options.layers->begin >= options.layers->end ||
                         options.layers->end > model.config().n_layer)) {
    return usage_error("layers " + std::to_string(options.layers->begin) + ":" +
                       std::to_string(options.layers->end) + " do not exist; the model has " +
                       std::to_string(model.config().n_layer));
  }
  return Conversion(model, options).run(directory);
}

}  // namespace splitd
