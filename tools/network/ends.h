// Owns: a model of which only the ends are computed here, the layers between on a body.
#pragma once

#include <memory>
#include <string>

#include "runtime/base/result.h"
#include "tools/generate/text_model.h"
#include "tools/network/body_flags.h"

namespace splitd::cli {

[[nodiscard]] Result<std::unique_ptr<TextModel>> open_ends(Context& context,
                                                           const std::string& path,
                                                           const EngineOptions& engine,
                                                           const BodyChoice& choice);

}  // namespace splitd::cli
