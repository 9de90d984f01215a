// Owns: the weights of a range of layers as views into mapped files, in the roles that an engine
// needs them in. A view without data is a tensor that the config does not have. Shapes and dtypes
// have been checked against the config: every view is of a type that can be dequantised, row-major,
// of any alignment. Borrows the ModelFiles it came from. Immutable; const is thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "runtime/model/formats/tensor.h"

namespace splitd {

struct LayerRange {
  uint32_t begin = 0;
  uint32_t end = 0;  // one past the last

  bool operator==(const LayerRange&) const = default;
};

struct ExpertWeights {
  TensorView gate;  // (d_ff_expert, d_model)
  TensorView up;    // (d_ff_expert, d_model)
  TensorView down;  // (d_model, d_ff_expert)
};

struct LayerWeights {
  TensorView attn_norm;       // (d_model)
  TensorView q;               // (n_head · d_head, d_model)
  TensorView k;               // (n_kv_head · d_head, d_model)
  TensorView v;               // (n_kv_head · d_head, d_model)
  TensorView q_bias;          // (n_head · d_head)
  TensorView k_bias;          // (n_kv_head · d_head)
  TensorView v_bias;          // (n_kv_head · d_head)
  TensorView q_norm;          // (d_head)
  TensorView k_norm;          // (d_head)
  TensorView o;               // (d_model, n_head · d_head)
  TensorView o_bias;          // (d_model)
  TensorView attn_post_norm;  // (d_model)

  TensorView mlp_norm;       // (d_model)
  TensorView gate;           // (d_ff, d_model)
  TensorView up;             // (d_ff, d_model)
  TensorView down;           // (d_model, d_ff)
  TensorView gate_bias;      // (d_ff)
  TensorView up_bias;        // (d_ff)
  TensorView down_bias;      // (d_model)
  TensorView router;         // (n_expert, d_model)
  TensorView mlp_post_norm;  // (d_model)
  std::vector<ExpertWeights> experts;

  // Where one stored tensor holds several of the above back to back, it is here too; q, k, v, gate
  // and up are its rows.
  TensorView qkv;      // q, k, v
  TensorView gate_up;  // gate, up
};

struct ModelWeights {
  ModelWeights() = default;
  ModelWeights(ModelWeights&&) = default;
  ModelWeights& operator=(ModelWeights&&) = default;
  ModelWeights(const ModelWeights&) = delete;  // views point into shapes_of_rows
  ModelWeights& operator=(const ModelWeights&) = delete;

  LayerRange range;
  std::vector<LayerWeights> layers;  // range.begin first
  TensorView embed;                  // (n_vocab, d_model)
  TensorView norm;                   // (d_model)
  TensorView head;                   // (n_vocab, d_model); the embedding when tied

  // How the stored numbers differ from what transformers stores (GGUF).
  // Rows of q and k (and their biases) stand pair by pair: row 2j+t of a head is row t·d_head/2+j.
  bool qk_interleaved = false;
  // The norms hold 1 + w already: ModelConfig::norm_plus_one is not to be applied again.
  bool norm_one_added = false;

  // Shapes of views that are rows of a stored tensor; a deque never moves its elements.
  std::deque<std::array<uint64_t, 2>> shapes_of_rows;
};

}  // namespace splitd
