// The real SmolLM2-135M-Instruct (bf16), as `make demo` fetches and converts it, and what
// transformers says of it in float32 (tests/golden/smollm2_reference.py). Without the demo's model
// the tests are skipped; with SPLITD_REQUIRE_DEMO in the environment, as in CI, its absence is a
// failure.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>

#include "tests/tools/golden_model.h"

namespace splitd {

inline const std::string kModel = SPLITD_DEMO_MODEL;

class SmolLM2 : public testing::Test {
 protected:
  void SetUp() override {
    if (!path_exists(kModel)) {
      if (std::getenv("SPLITD_REQUIRE_DEMO") != nullptr)
        FAIL() << kModel << " is missing and required";
      GTEST_SKIP() << kModel << " is not there: make demo";
    }
    Result<JsonDoc> doc =
        JsonDoc::parse(*read_file(std::string(SPLITD_TEST_DATA) + "/golden/smollm2_expected.json"));
    ASSERT_TRUE(doc.ok());
    expected_.emplace(std::move(*doc));
  }
  Json expected() const { return expected_->root(); }

 private:
  std::optional<JsonDoc> expected_;
};

}  // namespace splitd
