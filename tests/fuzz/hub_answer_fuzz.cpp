// Any bytes as the hub's list of files: only plain names are chosen, and never the same file twice.
#include <cstdlib>
#include <set>
#include <string_view>

#include "runtime/model/hub/part_plan.h"
#include "runtime/model/hub/pulled.h"
#include "runtime/model/hub/repo_info.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_repo_spec(text).ok();
  const Result<RepoInfo> info = parse_repo_info(text);
  if (!info) return 0;
  if (!is_commit(info->commit)) std::abort();
  std::vector<std::string_view> names;
  for (const RepoFile& file : info->files) names.push_back(file.name);
  (void)TensorNames::learn(names).ok();
  const Result<ModelFileNames> chosen = choose_model_files(*info);
  if (!chosen) return 0;
  std::set<std::string> seen;
  std::vector<std::string> all = chosen->config;
  all.insert(all.end(), chosen->tokenizer.begin(), chosen->tokenizer.end());
  all.push_back(chosen->weights.empty() ? chosen->index : chosen->weights);
  for (const std::string& name : all) {
    if (!is_plain_file_name(name) || !seen.insert(name).second) std::abort();
    if (info->find(name) == nullptr) std::abort();
  }
  return 0;
}
