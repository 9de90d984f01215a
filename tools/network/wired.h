// Owns: a split model with all of its parts here, whose rows are rounded as a wire type would: what
// that type costs, without a network.
#pragma once

#include <memory>
#include <string>

#include "runtime/base/result.h"
#include "runtime/split/wire.h"
#include "tools/generate/text_model.h"

namespace splitd::cli {

[[nodiscard]] Result<std::unique_ptr<TextModel>> open_wired(const std::string& path,
                                                            const EngineOptions& engine,
                                                            uint32_t head, uint32_t tail,
                                                            WireType wire);

}  // namespace splitd::cli
