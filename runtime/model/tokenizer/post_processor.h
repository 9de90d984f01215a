// Owns: the post-processors of tokenizer.json: which special tokens stand before and after a text.
// Offsets and pairs of texts are not our business. Immutable, thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"

namespace splitd::tok {

class PostProcessor {
 public:
  // The value of "post_processor": an object or null. Ids from `end_id` on are refused.
  static Result<PostProcessor> parse(std::optional<Json> json, uint32_t end_id);

  // The ids of a text with what belongs around them.
  std::vector<uint32_t> apply(std::vector<uint32_t> ids, bool add_special) const;
  // What belongs before a text.
  std::vector<uint32_t> before() const;

 private:
  struct Part {
    bool is_text = false;
    std::vector<uint32_t> ids;  // of a special token
  };
  Status parse_template(Json json);
  Status parse_pair(Json json);

  std::vector<Part> parts_ = {{true, {}}};
};

}  // namespace splitd::tok
