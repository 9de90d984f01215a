// Every golden model on every instruction set of this machine, activations and KV in fp32: hidden
// states after each layer, logits, greedy tokens, trees.
#include "tests/runtime/engine/golden_checks.h"

namespace splitd {
namespace {

class Golden : public testing::TestWithParam<std::tuple<std::string, size_t>> {
 protected:
  Golden()
      : model_(std::get<0>(GetParam())),
        table_(*kernels::runnable_tables()[std::get<1>(GetParam())]),
        pool_(2),
        backend_(model_.backend(table_, pool_)) {}

  GoldenModel model_;
  const kernels::KernelTable& table_;
  ThreadPool pool_;
  std::unique_ptr<Backend> backend_;
};

TEST_P(Golden, HiddenStatesOfEveryLayer) {
  check_hidden_states(model_, *backend_);
}

TEST_P(Golden, LogitsAndGreedyTokens) {
  check_logits_and_greedy_tokens(model_, *backend_);
}

TEST_P(Golden, TreeRowsAreTheirOwnPaths) {
  check_tree_rows(model_, *backend_);
}

TEST_P(Golden, ChunksAndThreadsChangeNoBit) {
  for (const bool exact : {true, false}) {
    std::vector<float> whole;
    for (const uint32_t n_thread : {1u, 3u}) {
      ThreadPool pool(n_thread);
      const std::unique_ptr<Backend> backend = model_.backend(table_, pool, exact);
      for (const size_t chunk : {45u, 1u, 7u, 16u}) {
        const std::vector<float> all = logits_in_chunks(model_, *backend, chunk);
        if (whole.empty()) whole = all;
        ASSERT_EQ(all, whole) << chunk << " rows a chunk, " << n_thread << " threads";
      }
    }
  }
}

std::vector<size_t> table_indices() {
  std::vector<size_t> out;
  for (size_t i = 0; i < kernels::runnable_tables().size(); ++i) out.push_back(i);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Models, Golden,
                         testing::Combine(testing::ValuesIn(golden_model_names()),
                                          testing::ValuesIn(table_indices())),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" +
                                  kernels::runnable_tables()[std::get<1>(test.param)]->name;
                         });

}  // namespace
}  // namespace splitd
