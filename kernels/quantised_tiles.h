// Owns: the loops of a product of quantised weights, for any vector type. Included by the units of
// one instruction set with their own policy P (see matmul_quantised_avx512.cpp for what one holds);
// everything is in an unnamed namespace. What is computed, and in which order, says quantised.h.
//
// A vector's lanes are weight rows, so lanes are neighbouring outputs: nothing is added across
// them, and a sum that has to be set aside is set aside in C. Few rows: a group is unpacked to
// registers and multiplied by all rows of activations at once, or, up to P::kPassRows, in passes of
// P::kFewRows at most. More: columns are unpacked to a scratch that stays in the L2, and tiles of
// P::kRows rows by P::kCols vectors pass over it.
//
// Prepared activations: records of a group of a row; panels of rows as even as possible, in a panel
// group by group the records of all its rows. Where P::kPairs, products are of two rows of weights
// by two of activations, 8 values each: panels have an even number of rows but for the last, and
// the 64 quants of two rows' records are mixed, 8 of the one, 8 of the other.
#pragma once

#include <cstring>

#include "kernels/matmul_tiles.h"
#include "kernels/quantised_formats.h"

namespace splitd::kernels {
namespace {

struct ActGroup {
  int8_t quants[kGroup];
  float scale;
  int32_t minus_sum;      // of the quants, and
  int32_t minus_low_sum;  // of the first half of them: times what weights are too large by
  float scaled_sum;       // scale · float(sum)
};
static_assert(sizeof(ActGroup) == 48);

template <class P>
struct QuantisedRows {
  static constexpr size_t kUnitRows = P::kPairs ? 2 : 1;  // that are not divided

  static size_t panels_of(size_t m) {
    const size_t most = m <= P::kPassRows ? P::kFewRows : P::kRows;
    return (m + most - 1) / most;
  }
  static size_t units_of(size_t m) { return (m + kUnitRows - 1) / kUnitRows; }
  static size_t panel_begin(size_t panel, size_t m) {
    return min_of(m, panel * units_of(m) / panels_of(m) * kUnitRows);
  }
  static size_t panel_of(size_t row, size_t m) {
    return ((row / kUnitRows + 1) * panels_of(m) - 1) / units_of(m);
  }
  // Whether this row of its panel, and so its neighbour, are multiplied as two.
  static bool is_paired(size_t row, size_t height, size_t m) {
    if constexpr (P::kPairs) return m >= P::kPairsFrom && (row | 1) < height;
    return false;
  }

  static size_t prepared_bytes(size_t m, size_t k) { return m * (k / kGroup) * sizeof(ActGroup); }

  static void prepare(const float* a, size_t a_stride, const uint32_t* rows, size_t m, size_t k,
                      size_t m_begin, size_t m_end, void* prepared) {
    const size_t groups = k / kGroup;
    for (size_t i = m_begin; i < m_end; ++i) {
      const float* row = a + (rows != nullptr ? rows[i] : i) * a_stride;  // (K)
      const size_t panel = panel_of(i, m);
      const size_t first = panel_begin(panel, m), height = panel_begin(panel + 1, m) - first;
      auto* out = static_cast<ActGroup*>(prepared) + first * groups + (i - first);
      const bool paired = is_paired(i - first, height, m);
      for (size_t g = 0; g < groups; ++g) {
        if (paired) {
          quantise_of_two(row + g * kGroup, out + g * height, (i - first) % 2);
        } else {
          quantise(row + g * kGroup, out[g * height]);
        }
      }
    }
  }

  // `out` is the record of the first or the second of two rows. What belongs to the other row is
  // left alone: another thread may be writing it.
  static void quantise_of_two(const float* x, ActGroup* out, size_t second) {
    ActGroup one;
    quantise(x, one);
    for (size_t eight = 0; eight < 4; ++eight) {
      std::memcpy(out[eight / 2 - second].quants + eight % 2 * 16 + 8 * second,
                  one.quants + 8 * eight, 8);
    }
    out->scale = one.scale;
    out->minus_sum = one.minus_sum;
    out->minus_low_sum = one.minus_low_sum;
    out->scaled_sum = one.scaled_sum;
  }

  static void quantise(const float* x, ActGroup& out) {
    const uint32_t bits = P::largest_magnitude(x);  // as bits, which order as numbers do, NaN last
    float most, inverse = 0;
    std::memcpy(&most, &bits, sizeof most);
    out.scale = 0;
    if (bits >= 0x7f800000u) {  // infinity, NaN
      const uint32_t nan = 0x7fc00000u;
      std::memcpy(&out.scale, &nan, sizeof nan);
    } else if (most >= 0x1p-100f) {
      out.scale = most / 127.0f;
      inverse = 127.0f / most;
    }
    int32_t low_sum = 0, sum = 0;
    if (inverse == 0) {
      std::memset(out.quants, 0, sizeof out.quants);
    } else {
      P::round_quants(x, inverse, out.quants, low_sum, sum);
    }
    out.minus_low_sum = -low_sum;
    out.minus_sum = -sum;
    out.scaled_sum = out.scale * static_cast<float>(sum);
  }
};

// P::kLanes weight rows that are multiplied together, and where their outputs go.
struct QuantisedLanes {
  const std::byte* p;      // the first row, or the panel
  size_t s;                // bytes from row to row, or the first row in the panel
  const std::byte* ahead;  // what to prefetch meanwhile
  float* c;                // of lane 0 in the first row of C
  size_t first, end;       // lanes that are wanted

  bool whole(size_t n_lane) const { return first == 0 && end == n_lane; }
};

// What unpacked weights have in common, whatever format they came from.
template <class P, unsigned kShift, bool kMin, bool kHalves>
struct QuantisedTile {
  using Ints = typename P::Ints;
  using Floats = typename P::Floats;
  using Lanes = QuantisedLanes;

  static constexpr size_t kLanes = P::kLanes;
  static constexpr size_t kVecBytes = 4 * kLanes;
  // A group of a vector's rows in the scratch: the quants, then the scales, then the minima.
  static constexpr size_t kQuantBytes = 8 * kVecBytes;
  static constexpr size_t kUnitBytes =
      kQuantBytes + kVecBytes * (1 + size_t{kHalves} + size_t{kMin});

  static KERNEL_INLINE void put(Floats value, const Lanes& lanes, size_t c_stride, size_t i) {
    float* c = lanes.c + i * c_stride;
    if (lanes.whole(kLanes)) {
      P::store(value, c);
    } else {
      P::store_part(value, c, lanes.first, lanes.end);
    }
  }

  // R rows by C vectors, `groups` groups from `act` and `w`; vectors are w_bytes apart.
  template <size_t R, size_t C>
  static void run_tile(const ActGroup* act, const std::byte* w, size_t w_bytes, size_t groups,
                       const Lanes* lanes, size_t row, size_t c_stride, bool first) {
    Floats acc[R][C];
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) {
      KERNEL_UNROLL
      for (size_t j = 0; j < C; ++j) {
        const float* c = lanes[j].c + (row + i) * c_stride;
        acc[i][j] = first                    ? P::zero()
                    : lanes[j].whole(kLanes) ? P::load_floats(c)
                                             : P::load_part(c, lanes[j].first, lanes[j].end);
      }
    }
    for (size_t g = 0; g < groups; ++g, act += R, w += kUnitBytes) {
      if constexpr (kHalves) {
        add_part<R, C, 0, 4>(act, w, w_bytes, acc);
        add_part<R, C, 4, 8>(act, w, w_bytes, acc);
      } else {
        add_part<R, C, 0, 8>(act, w, w_bytes, acc);
      }
      if constexpr (kMin) {
        KERNEL_UNROLL
        for (size_t j = 0; j < C; ++j) {
          const Floats min = P::kept_floats(w + j * w_bytes + kQuantBytes + kVecBytes);
          KERNEL_UNROLL
          for (size_t i = 0; i < R; ++i) {
            acc[i][j] = P::mul_add_one(min, act[i].scaled_sum, acc[i][j]);
          }
        }
      }
    }
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) {
      KERNEL_UNROLL
      for (size_t j = 0; j < C; ++j) put(acc[i][j], lanes[j], c_stride, row + i);
    }
  }

  // One group, or half of it.
  template <size_t R, size_t C, size_t kFrom, size_t kTo>
  static KERNEL_INLINE void add_part(const ActGroup* act, const std::byte* w, size_t w_bytes,
                                     Floats (&acc)[R][C]) {
    Ints sums[R][C];
    P::template dot_tile<kShift, R, C, kFrom, kTo>(act, w, w_bytes, sums);
    KERNEL_UNROLL
    for (size_t j = 0; j < C; ++j) {
      const size_t at = kQuantBytes + (kFrom == 0 ? 0 : kVecBytes);
      const Floats scale = P::kept_floats(w + j * w_bytes + at);
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) {
        acc[i][j] = P::mul_add(P::to_floats(sums[i][j]), P::times(scale, act[i].scale), acc[i][j]);
      }
    }
  }

  template <size_t C, size_t R = P::kRows>
  static void run_tile_of(size_t height, const ActGroup* act, const std::byte* w, size_t w_bytes,
                          size_t groups, const Lanes* lanes, size_t row, size_t c_stride,
                          bool first) {
    if constexpr (R > P::kLeastRows) {
      if (height < R) {
        return run_tile_of<C, R - 1>(height, act, w, w_bytes, groups, lanes, row, c_stride, first);
      }
    }
    run_tile<R, C>(act, w, w_bytes, groups, lanes, row, c_stride, first);
  }
};

template <class P, class F>
struct Quantised {
  using Ints = typename P::Ints;
  using Floats = typename P::Floats;
  using Unpacked = UnpackedGroup<P>;

  using Lanes = QuantisedLanes;
  using Tile = QuantisedTile<P, F::kShift, F::kMin, F::kHalves>;

  static constexpr size_t kLanes = P::kLanes, kCols = P::kCols;
  static constexpr size_t kVecBytes = Tile::kVecBytes, kQuantBytes = Tile::kQuantBytes;
  static constexpr size_t kUnitBytes = Tile::kUnitBytes;
  static constexpr size_t kBlockVectors = P::kBlockVectors;  // unpacked together
  // Unpacked at a time: few, which stay in the L1, or many, so that C is rarely touched.
  static size_t block_groups(size_t m, size_t k) {
    return min_of(k / kGroup, m <= kSomeRows ? P::kSmallGroups : P::kBlockGroups);
  }
  static constexpr size_t kSomeRows = 64;
  // Prefetched so far ahead: what these rows read last lies where the next ones begin. Measured.
  static size_t ahead_bytes(size_t k) { return kLanes * row_bytes(F::kType, k) + 16384; }
  static_assert(P::kSmallGroups % F::kGroups == 0 && P::kBlockGroups % F::kGroups == 0);
  static_assert(kBlockVectors % kCols == 0);

  // From block to block of all lanes, and what lies between in memory.
  static constexpr size_t kStepBytes = F::kPaneled ? F::kBlockBytes * kPanelRows : F::kBlockBytes;
  static constexpr size_t kLinearBytes = F::kBlockBytes * kLanes;
  // Prefetched with each group. All of a superblock at once would wait for miss registers, and then
  // memory for the arithmetic: that is half of the read.
  static constexpr size_t kAheadShare =
      (F::kPaneled ? F::kBlockBytes * kPanelRows : kLinearBytes) / F::kGroups;
  static constexpr size_t kPageBytes = 4096;

  // The lanes that begin with column n, and the column behind them. A rest of fewer than kLanes
  // columns is the last lanes of a vector that begins earlier; of a range smaller than that, one by
  // one.
  static KERNEL_INLINE Lanes lanes_at(const MatmulArgs& args, size_t n, size_t& next) {
    const size_t stride = row_bytes(F::kType, args.k);
    const auto* w = static_cast<const std::byte*>(args.w);
    next = n + kLanes;
    if constexpr (F::kPaneled) {
      const std::byte* panel = w + n / kPanelRows * kPanelRows * stride;
      const size_t end = min_of(kLanes, args.n_end - n);  // N may end in the middle of a panel
      const size_t lane = kLanes == kPanelRows ? 0 : n % kPanelRows;
      return {panel, lane, panel + ahead_bytes(args.k), args.c + n, 0, end};
    }
    if (next <= args.n_end) {
      const std::byte* row = w + n * stride;
      return {row, stride, row + ahead_bytes(args.k), args.c + n, 0, kLanes};
    }
    if (args.n_end < kLanes) {
      next = n + 1;
      return {w + n * stride, 0, w + n * stride, args.c + n, 0, 1};
    }
    next = args.n_end;
    const size_t from = args.n_end - kLanes;
    const std::byte* row = w + from * stride;
    return {row, stride, row, args.c + from, n - from, kLanes};
  }

  // Calls work(lanes) for all columns of the range, in order. In one place: `work` is inlined.
  template <class Work>
  static KERNEL_INLINE void for_lanes(const MatmulArgs& args, const Work& work) {
    for (size_t n = args.n_begin, next; n < args.n_end; n = next) work(lanes_at(args, n, next));
  }

  // The part of a block that belongs to one of its groups.
  static KERNEL_INLINE void prefetch(const std::byte* from) {
    KERNEL_UNROLL
    for (size_t at = 0; at < kAheadShare; at += kLineBytes) __builtin_prefetch(from + at, 0, 2);
  }
  // Nothing is read before its turn: else compilers gather a superblock's prefetches in one place.
  static KERNEL_INLINE void prefetch_next(const std::byte*& ahead) {
    asm volatile("" : "+r"(ahead) : : "memory");
    prefetch(ahead);
    ahead += kAheadShare;
  }

  // Where a page begins in the part of a panel that belongs to this group, a page ahead.
  static KERNEL_INLINE void open_page(const std::byte*& ahead) {
    const auto from = reinterpret_cast<uintptr_t>(ahead), to = from + kAheadShare;
    if ((from ^ to) / kPageBytes != 0) {
      const auto* page = reinterpret_cast<const std::byte*>(to / kPageBytes * kPageBytes);
      KERNEL_UNROLL
      for (size_t line = 0; line < 4; ++line) __builtin_prefetch(page + line * kLineBytes, 0, 2);
    }
    ahead += kAheadShare;
  }

  // ---------------------------------------------------------------- few rows

  template <bool kChains>
  static KERNEL_INLINE Floats add_group(const Unpacked& w, const ActGroup& a, Floats acc) {
    if constexpr (F::kHalves) {
      const Ints low = P::template dot<F::kShift, 0, 4, false>(w.w, a.quants, a.minus_low_sum);
      const Ints high =
          P::template dot<F::kShift, 4, 8, false>(w.w, a.quants, a.minus_sum - a.minus_low_sum);
      acc = P::mul_add(P::to_floats(low), P::times(w.scale[0], a.scale), acc);
      acc = P::mul_add(P::to_floats(high), P::times(w.scale[1], a.scale), acc);
    } else {
      const Ints sum = P::template dot<F::kShift, 0, 8, kChains>(w.w, a.quants, a.minus_sum);
      acc = P::mul_add(P::to_floats(sum), P::times(w.scale[0], a.scale), acc);
    }
    if constexpr (F::kMin) acc = P::mul_add_one(w.min, a.scaled_sum, acc);
    return acc;
  }

  // The next group of R rows.
  template <size_t R>
  static KERNEL_INLINE void add_groups(const Unpacked& w, const ActGroup* act, Floats (&acc)[R]) {
    if constexpr (P::kPairs) {
      if constexpr (R >= P::kPairsFrom) return add_pairs<R>(w, act, acc);
    }
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) acc[i] = add_group<(R < 3)>(w, act[i], acc[i]);
  }
  template <size_t R>
  static KERNEL_INLINE void add_pairs(const Unpacked& w, const ActGroup* act, Floats (&acc)[R]) {
    typename P::Quads pairs[8];
    P::pair_up(w.w, pairs);
    Ints sums[R];
    P::template dot_rows<F::kShift, R, 0, F::kHalves ? 4 : 8>(act, pairs, sums);
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) {
      acc[i] = P::mul_add(P::to_floats(sums[i]), P::times(w.scale[0], act[i].scale), acc[i]);
    }
    if constexpr (F::kHalves) {
      P::template dot_rows<F::kShift, R, 4, 8>(act, pairs, sums);
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) {
        acc[i] = P::mul_add(P::to_floats(sums[i]), P::times(w.scale[1], act[i].scale), acc[i]);
      }
    }
    if constexpr (F::kMin) {
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) acc[i] = P::mul_add_one(w.min, act[i].scaled_sum, acc[i]);
    }
  }

  // R rows of C from `row` on, of these lanes.
  template <size_t R>
  static void run_pass(const MatmulArgs& args, const Lanes& lanes, const ActGroup* act,
                       size_t row) {
    const size_t blocks = args.k / (kGroup * F::kGroups);
    const std::byte *p = lanes.p, *ahead = lanes.ahead;
    constexpr bool kFollows = F::kPaneled && R * (kPanelRows / kLanes) < F::kPrefetchFrom;
    if constexpr (F::kPaneled) ahead = p + (kFollows ? 1 : 2) * kPageBytes;
    Floats acc[R];
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) acc[i] = P::zero();
    for (size_t block = 0; block < blocks; ++block, p += kStepBytes) {
      F::unpack(p, lanes.s, [&](size_t, const Unpacked& w) KERNEL_INLINE_LAMBDA {
        // Panels are one linear read. With few rows the machine's own prefetchers do that better
        // (a prefetch for every line holds it at two thirds of the stream), but stop at a page;
        // with more, or narrow vectors, arithmetic fills the window of instructions and little is
        // read ahead.
        if constexpr (kFollows) {
          open_page(ahead);
        } else {
          prefetch_next(ahead);
        }
        add_groups<R>(w, act, acc);
        act += R;
      });
    }
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) Tile::put(acc[i], lanes, args.c_stride, row + i);
  }

  template <size_t R = P::kFewRows>
  static void run_pass_of(size_t height, const MatmulArgs& args, const Lanes& lanes,
                          const ActGroup* act, size_t row) {
    if constexpr (R > 1) {
      if (height < R) return run_pass_of<R - 1>(height, args, lanes, act, row);
    }
    run_pass<R>(args, lanes, act, row);
  }

  // A pass for each panel of activations; all but the first find the weights in the L2.
  static void run_few(const MatmulArgs& args) {
    using Rows = QuantisedRows<P>;
    const size_t groups = args.k / kGroup, panels = Rows::panels_of(args.m);
    const auto* act = static_cast<const ActGroup*>(args.prepared);
    for_lanes(args, [&](const Lanes& lanes) KERNEL_INLINE_LAMBDA {
      for (size_t panel = 0; panel < panels; ++panel) {
        const size_t row = Rows::panel_begin(panel, args.m);
        const size_t height = Rows::panel_begin(panel + 1, args.m) - row;
        run_pass_of(height, args, lanes, act + row * groups, row);
      }
    });
  }

  // ---------------------------------------------------------------- more rows

  static KERNEL_INLINE void keep_quants(const typename P::Quads (&quants)[8], std::byte* out) {
    if constexpr (P::kPairs) {
      typename P::Quads pairs[8];
      P::pair_up(quants, pairs);
      KERNEL_UNROLL
      for (size_t d = 0; d < 8; ++d) P::keep(pairs[d], out + d * kVecBytes);
    } else {
      KERNEL_UNROLL
      for (size_t d = 0; d < 8; ++d) P::keep(quants[d], out + d * kVecBytes);
    }
  }

  static void unpack(const Lanes& lanes, size_t block_begin, size_t block_end, std::byte* out) {
    const std::byte* p = lanes.p + block_begin * kStepBytes;
    const std::byte* ahead = lanes.ahead + block_begin * kAheadShare * F::kGroups;
    for (size_t block = block_begin; block < block_end; ++block) {
      F::unpack(p, lanes.s, [&](size_t, const Unpacked& w) KERNEL_INLINE_LAMBDA {
        prefetch_next(ahead);
        keep_quants(w.w, out);
        P::keep(w.scale[0], out + kQuantBytes);
        if constexpr (F::kHalves) P::keep(w.scale[1], out + kQuantBytes + kVecBytes);
        if constexpr (F::kMin) P::keep(w.min, out + kQuantBytes + kVecBytes);
        out += kUnitBytes;
      });
      p += kStepBytes;
    }
  }

  static void run_vectors(const MatmulArgs& args, const Lanes* lanes, size_t count) {
    const size_t groups = args.k / kGroup, panels = QuantisedRows<P>::panels_of(args.m);
    const auto* prepared = static_cast<const ActGroup*>(args.prepared);
    auto* scratch = static_cast<std::byte*>(args.scratch);
    const size_t block = block_groups(args.m, args.k);
    for (size_t g = 0; g < groups; g += block) {
      const size_t some = min_of(block, groups - g), w_bytes = some * kUnitBytes;
      for (size_t v = 0; v < count; ++v) {
        unpack(lanes[v], g / F::kGroups, (g + some) / F::kGroups, scratch + v * w_bytes);
      }
      for (size_t panel = 0; panel < panels; ++panel) {
        const size_t row = QuantisedRows<P>::panel_begin(panel, args.m);
        const size_t height = QuantisedRows<P>::panel_begin(panel + 1, args.m) - row;
        const ActGroup* act = prepared + row * groups + g * height;
        size_t v = 0;
        for (; v + kCols <= count; v += kCols) {
          Tile::template run_tile_of<kCols>(height, act, scratch + v * w_bytes, w_bytes, some,
                                            lanes + v, row, args.c_stride, g == 0);
        }
        for (; v < count; ++v) {
          Tile::template run_tile_of<1>(height, act, scratch + v * w_bytes, w_bytes, some,
                                        lanes + v, row, args.c_stride, g == 0);
        }
      }
    }
  }

  static void run_many(const MatmulArgs& args) {
    Lanes lanes[kBlockVectors];
    size_t count = 0;
    // What the next vectors begin with is fetched while these are unpacked.
    const ptrdiff_t ahead =
        static_cast<ptrdiff_t>(kBlockVectors * kLanes * row_bytes(F::kType, args.k)) -
        static_cast<ptrdiff_t>(ahead_bytes(args.k));
    for_lanes(args, [&](const Lanes& one) {
      lanes[count] = one;
      if (one.whole(kLanes)) lanes[count].ahead += ahead;
      if (++count < kBlockVectors) return;
      run_vectors(args, lanes, count);
      count = 0;
    });
    if (count != 0) run_vectors(args, lanes, count);
  }

  // ---------------------------------------------------------------- the whole

  static size_t scratch_bytes(size_t m, size_t k) {
    return m <= P::kPassRows ? 0 : kBlockVectors * block_groups(m, k) * kUnitBytes;
  }

  static void run(const MatmulArgs& args) {
    if (args.m <= P::kPassRows) return run_few(args);
    run_many(args);
  }

  static size_t claim_rows(size_t m, size_t k) {
    constexpr size_t kUnit = kBlockVectors * kLanes;
    if (m > P::kFewRows) return kUnit;
    return max_of(kClaimBytes / row_bytes(F::kType, k) / kUnit, 1) * kUnit;
  }

  static MatmulKernel kernel() {
    return {
        QuantisedRows<P>::prepared_bytes, QuantisedRows<P>::prepare, scratch_bytes, run, claim_rows,
        "ascending groups, fma"};
  }
};

template <class P, class F>
void add_quantised(MatmulKernels& table) {
  table.quantised.of(F::kType) = Quantised<P, F>::kernel();
}

template <class P>
void add_all_quantised(MatmulKernels& table) {
  add_quantised<P, FormatQ8_0<P>>(table);
  add_quantised<P, FormatQ4_0<P>>(table);
  add_quantised<P, FormatQ4_1<P>>(table);
  add_quantised<P, FormatQ5_0<P>>(table);
  add_quantised<P, FormatQ5_1<P>>(table);
  add_quantised<P, FormatQ4_K<P>>(table);
  add_quantised<P, FormatQ5_K<P>>(table);
  add_quantised<P, FormatQ6_K<P>>(table);
  add_quantised<P, FormatQ8<P>>(table);
  add_quantised<P, FormatQ4<P>>(table);
  add_quantised<P, FormatP4_1<P>>(table);
  add_quantised<P, FormatP5_0<P>>(table);
  add_quantised<P, FormatP5_1<P>>(table);
  add_quantised<P, FormatP4_K<P>>(table);
  add_quantised<P, FormatP5_K<P>>(table);
  add_quantised<P, FormatP6_K<P>>(table);
}

}  // namespace
}  // namespace splitd::kernels
