// Any JSON as config.json and as generation_config.json: what is accepted keeps the rules, can be
// listed tensor by tensor, and survives being written and read again.
#include <cstdlib>
#include <string_view>

#include "runtime/model/config.h"
#include "runtime/model/config_write.h"
#include "runtime/model/schema.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace splitd;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Result<JsonDoc> doc = JsonDoc::parse_view(text);
  if (!doc) return 0;
  (void)replace_config_dtype(doc->root(), DType::f16);
  Result<ModelConfig> config = parse_config(doc->root());
  if (!config) return 0;
  if (!check_config(*config).ok() || !add_generation_config(*config, doc->root()).ok())
    std::abort();
  uint64_t named = 0;
  for (const TensorSpec& spec : model_schema(*config)) named += hf_name(spec, *config).size();
  if (named == 0 || parameter_count(*config) == 0) std::abort();

  const std::string written = write_config_json(*config, DType::f32, 7);
  const Result<JsonDoc> again = JsonDoc::parse_view(written);
  if (!again) std::abort();
  Result<ModelConfig> reread = parse_config(again->root());
  if (!reread || reread->layers != config->layers || reread->eos != config->eos) std::abort();
  // The scales may lose a bit on their way; everything else is the same text.
  reread->embed_scale = config->embed_scale;
  reread->attn_scale = config->attn_scale;
  if (canonical_config(*reread) != canonical_config(*config)) std::abort();
  return 0;
}
