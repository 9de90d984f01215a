// Owns: one opinion out of two on what follows: that of earlier text (SuffixModel) and that of the
// model's own earlier logits (RecycleTable). Each says a probability or nothing; how much either is
// worth, alone and when both name a token, is learnt from every token of the answer (logistic
// mixing, with weights chosen by how much context matched). Not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/decode/drafters/recycle_table.h"
#include "runtime/decode/drafters/suffix_model.h"

namespace splitd {

class FollowerModel {
 public:
  struct Place {
    SuffixModel::Place text;
    RecycleTable::Place context;
  };

  FollowerModel(uint32_t n_vocab, const TokenCorpus* corpus);

  void begin_text() { text_.begin_text(); }
  // The text goes on with `token` after `place`, which is its end. `learn`: the model said so.
  void append(const Place& place, uint32_t token, bool learn);
  void put(const RecycleTable::Place& context, std::span<const uint32_t> top,
           std::span<const float> probability) {
    recycled_.put(context, top, probability);
  }

  // Where the text ends that was appended; `text` is that text.
  Place end(std::span<const uint32_t> text) const {
    return {text_.end(), RecycleTable::end_of(text)};
  }
  Place enter(const Place& place, uint32_t token) const {
    return {text_.enter(place.text, token), RecycleTable::enter(place.context, token)};
  }
  // Appends guesses, all different.
  void guesses(const Place& place, std::vector<Guess>& out);

 private:
  enum Who : size_t { both, text_only, recycled_only, n_who };
  struct Mixed {
    uint32_t token;
    Who who;
    float text, recycled;  // log odds; 0 where it says nothing
    float probability;
  };
  struct Weights {
    float text, recycled, bias;
  };
  static constexpr size_t kLengths = 6, kOrders = RecycleTable::kOrders + 1;

  void mix(const Place& place);
  Weights& weights(Who who) { return weights_[(who * kLengths + length_) * kOrders + order_]; }

  SuffixModel text_;
  RecycleTable recycled_;
  std::array<Weights, n_who * kLengths * kOrders> weights_;
  // Of the place that was mixed last.
  std::vector<Mixed> mixed_;
  std::vector<Guess> found_;
  size_t length_ = 0;
  size_t order_ = 0;
};

}  // namespace splitd
