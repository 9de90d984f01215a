// The work of a conversion: item by item through convert_rows to convert_target.
#include "runtime/model/convert.h"

#include <sys/stat.h>

#include <algorithm>
#include <thread>

#include "runtime/base/files.h"
#include "runtime/model/convert_plan.h"
#include "runtime/model/convert_rows.h"
#include "runtime/model/convert_target.h"
#include "runtime/model/convert_text.h"
#include "runtime/model/model_files.h"

namespace splitd {
namespace {

bool is_written(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16 ||
         is_own_quantised(dtype);
}

class Conversion {
 public:
  Conversion(const ModelFiles& model, const ConvertOptions& options)
      : model_(model), options_(options), plan_(plan_conversion(model, options)) {}

  Result<ConvertReport> run(const std::string& directory) {
    SPLITD_ASSIGN(report_.fingerprint, model_.fingerprint());
    SPLITD_ASSIGN(const std::string id, identity());
    name_losses();
    const std::map<std::string, std::string> metadata = {
        {"format", "pt"}, {std::string(kFingerprintKey), hex(report_.fingerprint)}};
    SPLITD_ASSIGN(ConvertTarget target,
                  ConvertTarget::open(directory, plan_, metadata, id, report_.losses.size()));
    report_.resumed_bytes = target.done();
    report_.tokenizer = !model_.tokenizer_path().empty();
    if (!target.is_committed()) SPLITD_TRY(fill(target));
    for (size_t i = 0; i < report_.losses.size(); ++i) {
      report_.losses[i].loss = target.losses()[i];
    }
    SPLITD_TRY(target.commit());
    report_.tensors = plan_.items.size();
    report_.weight_bytes = plan_.bytes;
    report_.files = static_cast<uint32_t>(plan_.shards.size());
    return std::move(report_);
  }

 private:
  // What has to be the same for one run to go on where another stopped.
  Result<std::string> identity() const {
    Sha256 hash;
    const auto add = [&](const std::string& text) { hash.update(text + "\n"); };
    add("splitd convert 1");
    add(std::string(dtype_name(options_.dtype)) + " " + options_.feedback_id);
    add(hex(report_.fingerprint));
    for (const MappedFile& file : model_.files().files()) {
      struct stat info {};
      if (::stat(file.path().c_str(), &info) != 0) {
        return system_error("cannot look at " + file.path());
      }
      add(file.path() + " " + std::to_string(info.st_size) + " " +
          std::to_string(info.st_mtim.tv_sec) + "." + std::to_string(info.st_mtim.tv_nsec));
    }
    for (const ConvertShard& shard : plan_.shards) add(shard.name);
    for (const ConvertItem& item : plan_.items) {
      add(item.output.name + " " + std::string(dtype_name(item.to)) + " " +
          shape_text(item.output.shape));
    }
    return hex(hash.finish());
  }

  // One sum a layer, and where each item's loss goes.
  void name_losses() {
    for (const ConvertItem& item : plan_.items) {
      size_t index = report_.losses.size();
      if (is_own_quantised(item.to)) {
        std::string name = "layer " + std::to_string(item.spec->layer);
        if (item.spec->slot == Slot::embedding) name = "embedding";
        if (item.spec->slot == Slot::head) name = "head";
        index = 0;
        while (index < report_.losses.size() && report_.losses[index].name != name) ++index;
        if (index == report_.losses.size()) report_.losses.push_back({std::move(name), {}});
        report_.quantised_bytes += item.output.bytes;
        report_.quantised_values += item.source.n_rows * item.source.tensor->shape.back();
      }
      loss_of_.push_back(index);
    }
  }

  Status fill(ConvertTarget& target) {
    Status written = write_weights(target);
    if (!written) {
      // Quantising takes time that a later run should not need again. What the source or the dtype
      // refuses, it would meet again.
      const ErrorKind kind = written.error().kind;
      target.keep(is_own_quantised(options_.dtype) && kind != ErrorKind::model &&
                  kind != ErrorKind::usage);
      return written;
    }
    if (plan_.shards.size() > 1) {
      SPLITD_TRY(write_file(target.temporary() + "/model.safetensors.index.json", make_index()));
    }
    SPLITD_ASSIGN(const bool tokenizer,
                  write_model_texts(model_, options_.dtype, target.temporary()));
    report_.tokenizer = tokenizer;
    return {};
  }

  std::string make_index() const {
    JsonWriter index(2);
    index.begin_object().key("metadata").begin_object().field("total_size", plan_.bytes);
    index.end_object().key("weight_map").begin_object();
    for (const ConvertShard& shard : plan_.shards) {
      for (size_t i = shard.begin; i < shard.end; ++i) {
        index.field(plan_.items[i].output.name, std::string_view(shard.name));
      }
    }
    index.end_object().end_object();
    return index.take() + "\n";
  }

  Status write_weights(ConvertTarget& target) {
    uint64_t begin = 0;
    for (size_t i = 0; i < plan_.items.size(); ++i) {
      const ConvertItem& item = plan_.items[i];
      const uint64_t end = begin + item.output.bytes;
      if (target.done() < end) {
        Status done = write_item(item, i, target.done() - begin, target);
        if (!done) {
          return done.take_error().within("tensor " + quoted_name(item.source.tensor->name));
        }
      }
      begin = end;
    }
    return target.finish_weights();
  }

  Status write_item(const ConvertItem& item, size_t index, uint64_t skip, ConvertTarget& target) {
    const TensorInfo& stored = *item.source.tensor;
    model_.files().advise(stored, MappedFile::Advice::sequential);
    const auto write = [&](std::span<const std::byte> bytes) -> Status {
      SPLITD_TRY(target.write(bytes));
      SPLITD_TRY(target.row_end());
      if (!options_.progress || options_.progress({item.output.name, target.done(), plan_.bytes})) {
        return {};
      }
      return Error{ErrorKind::interrupted, is_own_quantised(options_.dtype)
                                               ? "interrupted; the same command goes on from here"
                                               : "interrupted"};
    };
    if (is_own_quantised(item.to)) {
      const uint32_t n_thread = options_.threads != 0
                                    ? options_.threads
                                    : std::max(1u, std::thread::hardware_concurrency());
      const Feedback* feedback = nullptr;
      if (options_.feedback) {
        SPLITD_ASSIGN(feedback, options_.feedback(*item.spec));
      }
      SPLITD_TRY(quantise_rows(model_.files(), item.source, item.to, feedback, n_thread, skip,
                               target.losses()[loss_of_[index]], write));
    } else {
      SPLITD_TRY(convert_rows(model_.files(), item.source, item.to, skip, write));
    }
    model_.files().advise(stored, MappedFile::Advice::dont_need);
    return {};
  }

  const ModelFiles& model_;
  const ConvertOptions& options_;
  ConvertPlan plan_;
  ConvertReport report_;
  std::vector<size_t> loss_of_;  // by item: its sum in report_.losses
};

}  // namespace

double ConvertReport::bits_per_weight() const {
  if (quantised_values == 0) return 0.0;
  return 8.0 * static_cast<double>(quantised_bytes) / static_cast<double>(quantised_values);
}

Result<ConvertReport> convert_model(const std::string& source, const std::string& directory,
                                    const ConvertOptions& options) {
  if (!is_written(options.dtype)) {
    return usage_error("dtype " + std::string(dtype_name(options.dtype)) +
                       " cannot be written; accepted: bf16, f16, f32, q8, q4");
  }
  SPLITD_ASSIGN(const ModelFiles model, ModelFiles::open(source, FileAccess::read));
  if (options.layers && (options.layers->begin >= options.layers->end ||
                         options.layers->end > model.config().n_layer)) {
    return usage_error("layers " + std::to_string(options.layers->begin) + ":" +
                       std::to_string(options.layers->end) + " do not exist; the model has " +
                       std::to_string(model.config().n_layer));
  }
  std::string target = directory;
  while (target.size() > 1 && target.back() == '/') target.pop_back();
  return Conversion(model, options).run(target);
}

}  // namespace splitd
