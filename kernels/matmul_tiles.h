// Owns: the loops of a matrix product, for any vector type. Included by the units of one
// instruction set, each with its own policy P (see matmul_avx512.cpp for what one holds);
// everything here is in an unnamed namespace.
//
// A step is one 64-byte line of weights: P::kStep of them, taken as P::kSub vectors. Every output
// has ONE vector accumulator. Step by step in ascending order, and for each of the kSub vectors,
// acc ← acc + a_vector · w_vector; the last step is padded with zeros; P::reduce adds the lanes up
// in a fixed tree. Few rows, many rows, remainders: all do exactly this per output, with the same
// instructions, so they give the same bits. A sum that is set aside between blocks of k is set
// aside whole (all lanes), which rounds nothing.
//
// Prepared activations: panels of at most P::kRows rows, as even as possible. Inside a panel, step
// by step and vector by vector, the vectors of all its rows side by side: one stream for a tile.
// Many rows lie block of k by block of k, and in a block panel by panel, so that what the caches
// hold together lies together: 2^n bytes apart it would compete for the same few lines of them.
#pragma once

#include <cstring>

#include "kernels/matmul.h"

#if defined(__clang__)
#define KERNEL_UNROLL _Pragma("unroll")
#define KERNEL_LOOP _Pragma("nounroll")
#else
#define KERNEL_UNROLL _Pragma("GCC unroll 16")
#define KERNEL_LOOP _Pragma("GCC unroll 1")
#endif
#define KERNEL_INLINE inline __attribute__((always_inline))
#define KERNEL_INLINE_LAMBDA __attribute__((always_inline))

namespace splitd::kernels {
namespace {

constexpr size_t kLineBytes = 64;
constexpr size_t kPrefetchBytes = 65536;  // so far ahead of what is multiplied; measured: README.md
constexpr size_t kClaimBytes = 65536;
constexpr size_t kActBytes = 16384;  // of activations beside the weights in the L1
constexpr size_t kLeastRowBytes = 2048;

constexpr size_t min_of(size_t a, size_t b) {
  return a < b ? a : b;
}
constexpr size_t max_of(size_t a, size_t b) {
  return a > b ? a : b;
}
constexpr size_t round_up(size_t value, size_t unit) {
  return (value + unit - 1) / unit * unit;
}

template <class P>
struct Matmul {
  using Vec = typename P::Vec;

  static constexpr size_t kVecBytes = P::kVecBytes;
  static constexpr size_t kStepBytes = P::kSub * kVecBytes;  // of one prepared row
  static constexpr size_t kRows = P::kRows, kCols = P::kCols;
  static constexpr size_t kWideRows = P::kWideRows, kWideCols = P::kWideCols;
  static constexpr size_t kHighPanel = P::kHighPanel, kHighPanelCols = P::kHighPanelCols;

  // Up to here weights are used straight from where they lie; beyond, they are first laid out, and
  // converted, in blocks that stay in the caches while all rows pass over them.
  static constexpr size_t kFewRows = P::kFewRows;
  static constexpr size_t kGroupCols = 32;  // weight rows that share a block of k, few rows
  static constexpr size_t kBlockCols = P::kBlockCols;      // the same, many rows
  static constexpr size_t kBlockPanels = P::kBlockPanels;  // whose sums are kept between blocks
  static constexpr size_t kBlockSteps = P::kBlockVectors / P::kSub;
  static constexpr size_t kClaimCols = 32;  // many rows: few enough that no thread waits long
  static constexpr size_t kLongRow = 4096;  // from here on rather kBlockCols for each reading of A
  static constexpr size_t kLaidOutBytes = size_t{2} << 20;
  // The lowest panel of many rows.
  static constexpr size_t kManyLeast = kFewRows >= kRows * (kRows - 1) ? kRows - 1 : kRows - 2;
  static_assert(kGroupCols % kWideCols == 0 && kGroupCols % kCols == 0);
  static_assert(kBlockCols % kCols == 0);
  static_assert(kFewRows * (kRows - kManyLeast) >= kManyLeast * kRows);

  static size_t steps_of(size_t k) { return (k + P::kStep - 1) / P::kStep; }
  static size_t panels_of(size_t m) {
    const size_t most = m <= P::kHighPanelRows ? P::kHighPanel : kRows;
    return (m + most - 1) / most;
  }
  static size_t panel_begin(size_t panel, size_t m) { return panel * m / panels_of(m); }

  // ---------------------------------------------------------------- activations

  static size_t prepared_bytes(size_t m, size_t k) { return m * steps_of(k) * kStepBytes; }

  // Of a block of k, as even as possible; few rows are one block.
  static size_t block_steps(size_t m, size_t k) {
    const size_t steps = steps_of(k);
    if (m <= kFewRows) return steps;
    const size_t blocks = (steps + kBlockSteps - 1) / kBlockSteps;
    return (steps + blocks - 1) / blocks;
  }

  static void prepare(const float* a, size_t a_stride, const uint32_t* rows, size_t m, size_t k,
                      size_t m_begin, size_t m_end, void* prepared) {
    const size_t full = k / P::kStep, rest = k % P::kStep;
    const size_t steps = steps_of(k), block = block_steps(m, k);
    for (size_t i = m_begin; i < m_end; ++i) {
      const float* row = a + (rows != nullptr ? rows[i] : i) * a_stride;  // (K)
      const size_t panel = ((i + 1) * panels_of(m) - 1) / m;
      const size_t first = panel_begin(panel, m), height = panel_begin(panel + 1, m) - first;
      for (size_t s_begin = 0; s_begin < steps; s_begin += block) {
        const size_t s_end = min_of(steps, s_begin + block);
        std::byte* out = static_cast<std::byte*>(prepared) +
                         (s_begin * m + (s_end - s_begin) * first) * kStepBytes +
                         (i - first) * kVecBytes;
        for (size_t s = s_begin; s < min_of(full, s_end); ++s, out += height * kStepBytes) {
          P::prepare_step(row + s * P::kStep, out, height * kVecBytes);
        }
        if (s_end == steps && rest != 0) {
          float padded[P::kStep] = {};
          std::memcpy(padded, row + full * P::kStep, rest * sizeof(float));
          P::prepare_step(padded, out, height * kVecBytes);
        }
      }
    }
  }

  // ---------------------------------------------------------------- one tile

  struct Tile {
    const std::byte* act;  // a panel, at the first step
    const std::byte* w;    // weight rows as stored, w_bytes apart, or a laid out panel
    size_t w_bytes;
    size_t full, rest;       // whole steps; elements of the last, partial one (as stored only)
    const std::byte* ahead;  // what to prefetch meanwhile, a line a step
    size_t ahead_rows;       // of so many weight rows, w_bytes apart: C, C / 2, 1 or 0
    std::byte* sums;         // the tile's accumulators: read unless first, written unless last
    bool first, last;
    float* c;  // written if last
    size_t c_stride, cols;
  };

  // Adds one step of R rows by C columns to the accumulators.
  template <bool kLaidOut, size_t R, size_t C>
  static KERNEL_INLINE void step(const std::byte* act, const std::byte* w, size_t w_bytes,
                                 Vec (&acc)[R][C]) {
    const auto weight_at = [&](size_t sub, size_t j) KERNEL_INLINE_LAMBDA {
      return kLaidOut ? P::kept_weight(w + (sub * C + j) * kVecBytes)
                      : P::weight(w + j * w_bytes, sub);
    };
    KERNEL_UNROLL
    for (size_t sub = 0; sub < P::kSub; ++sub) {
      // The smaller side stays in registers, the larger passes by: 16 registers must do on AVX2.
      if constexpr (R < C) {
        typename P::Act a[R];
        KERNEL_UNROLL
        for (size_t i = 0; i < R; ++i) a[i] = P::act(act + (sub * R + i) * kVecBytes);
        KERNEL_UNROLL
        for (size_t j = 0; j < C; ++j) {
          const typename P::Weight weight = weight_at(sub, j);
          KERNEL_UNROLL
          for (size_t i = 0; i < R; ++i) acc[i][j] = P::mul_add(a[i], weight, acc[i][j]);
        }
      } else {
        typename P::Weight weight[C];
        KERNEL_UNROLL
        for (size_t j = 0; j < C; ++j) weight[j] = weight_at(sub, j);
        KERNEL_UNROLL
        for (size_t i = 0; i < R; ++i) {
          const typename P::Act a = P::act(act + (sub * R + i) * kVecBytes);
          KERNEL_UNROLL
          for (size_t j = 0; j < C; ++j) acc[i][j] = P::mul_add(a, weight[j], acc[i][j]);
        }
      }
    }
  }

  // All lanes of every accumulator added up, four accumulators at a time.
  template <size_t R, size_t C>
  static KERNEL_INLINE void reduce(const Vec (&acc)[R][C], float (&out)[R][C]) {
    const auto at = [&](size_t i)
                        KERNEL_INLINE_LAMBDA { return i < R * C ? acc[i / C][i % C] : P::zero(); };
    KERNEL_UNROLL
    for (size_t i = 0; i < R * C; i += 4) {
      float sums[4];
      P::reduce(at(i), at(i + 1), at(i + 2), at(i + 3), sums);
      std::memcpy(&out[i / C][i % C], sums, min_of(4, R * C - i) * sizeof(float));
    }
  }

  template <bool kLaidOut, size_t R, size_t C>
  static void run_tile(const Tile& tile) {
    constexpr size_t kWeightStep = kLaidOut ? C * kStepBytes : kLineBytes;
    const std::byte *act = tile.act, *w = tile.w, *ahead = tile.ahead;
    Vec acc[R][C];
    KERNEL_UNROLL
    for (size_t i = 0; i < R; ++i) {
      KERNEL_UNROLL
      for (size_t j = 0; j < C; ++j) {
        acc[i][j] = tile.first ? P::zero() : P::load(tile.sums + (i * C + j) * sizeof(Vec));
      }
    }
    const auto steps = [&]<size_t kAhead>() KERNEL_INLINE_LAMBDA {
      KERNEL_UNROLL
      for (size_t j = 0; j < kAhead; ++j) __builtin_prefetch(ahead + j * tile.w_bytes, 0, 2);
      for (size_t s = 0; s < tile.full; ++s) {
        KERNEL_UNROLL
        for (size_t j = 0; j < kAhead; ++j) {
          // The line of the step's last byte: weights need not begin with a line.
          __builtin_prefetch(ahead + j * tile.w_bytes + kLineBytes - 1, 0, 2);
        }
        ahead += kLineBytes;
        step<kLaidOut, R, C>(act, w, tile.w_bytes, acc);
        act += R * kStepBytes;
        w += kWeightStep;
      }
    };
    if (tile.ahead_rows == 0) {
      steps.template operator()<0>();
    } else if (kLaidOut || tile.ahead_rows == 1) {
      steps.template operator()<1>();
    } else if (tile.ahead_rows == C) {
      steps.template operator()<C>();
    } else {
      steps.template operator()<max_of(C / 2, 1)>();
    }
    if (!kLaidOut && tile.rest != 0) {
      alignas(kLineBytes) std::byte padded[C][kLineBytes] = {};
      for (size_t j = 0; j < C; ++j) {
        std::memcpy(padded[j], w + j * tile.w_bytes, tile.rest * P::kWeightBytes);
      }
      step<false, R, C>(act, &padded[0][0], kLineBytes, acc);
    }
    if (!tile.last) {
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) {
        KERNEL_UNROLL
        for (size_t j = 0; j < C; ++j) P::keep(acc[i][j], tile.sums + (i * C + j) * sizeof(Vec));
      }
      return;
    }
    float out[R][C];
    reduce(acc, out);
    for (size_t i = 0; i < R; ++i) {
      if (tile.cols == C) {
        std::memcpy(tile.c + i * tile.c_stride, out[i], sizeof out[i]);
      } else {
        std::memcpy(tile.c + i * tile.c_stride, out[i], tile.cols * sizeof(float));
      }
    }
  }

  // run_tile for a height known only now, at most R and at least kLeast.
  template <bool kLaidOut, size_t C, size_t R, size_t kLeast = 1>
  static void run_tile_of(size_t height, const Tile& tile) {
    if constexpr (R > kLeast) {
      if (height < R) return run_tile_of<kLaidOut, C, R - 1, kLeast>(height, tile);
    }
    run_tile<kLaidOut, R, C>(tile);
  }

  // ---------------------------------------------------------------- very few rows

  // Weight rows one after the other: memory sees nothing but one linear read, which on the machines
  // measured beats any prefetching, as long as the activations stay in the L1.
  template <size_t R>
  static void run_linear(const MatmulArgs& args) {
    const size_t w_bytes = args.k * P::kWeightBytes;
    const size_t full = args.k / P::kStep, rest = args.k % P::kStep;
    const auto* act = static_cast<const std::byte*>(args.prepared);
    const std::byte* row = static_cast<const std::byte*>(args.w) + args.n_begin * w_bytes;
    for (size_t n = args.n_begin; n < args.n_end; ++n, row += w_bytes) {
      Vec acc[R][1];
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) acc[i][0] = P::zero();
      for (size_t s = 0; s < full; ++s) {
        step<false, R, 1>(act + s * R * kStepBytes, row + s * kLineBytes, 0, acc);
      }
      if (rest != 0) {
        alignas(kLineBytes) std::byte padded[kLineBytes] = {};
        std::memcpy(padded, row + full * kLineBytes, rest * P::kWeightBytes);
        step<false, R, 1>(act + full * R * kStepBytes, padded, 0, acc);
      }
      float sums[4];
      P::reduce(acc[0][0], acc[R - 1][0], P::zero(), P::zero(), sums);
      KERNEL_UNROLL
      for (size_t i = 0; i < R; ++i) args.c[i * args.c_stride + n] = sums[i];
    }
  }

  // ---------------------------------------------------------------- few rows

  // So many steps of all rows that their activations stay in the L1, or nearly: sums that are set
  // aside cost too.
  static size_t few_steps(size_t m, size_t k) {
    const size_t most = max_of(kActBytes / m, kLeastRowBytes);  // of a row
    const size_t steps = steps_of(k);
    const size_t blocks = max_of((steps * kStepBytes + most / 3) / most, 1);
    return (steps + blocks - 1) / blocks;
  }

  // The highest panel that tiles of C columns meet.
  template <size_t C>
  static constexpr size_t most_rows() {
    if (C == kWideCols) return kWideRows;
    if (C == kCols && C != kHighPanelCols) return kRows;
    return max_of(kHighPanel, kRows);
  }

  // C weight rows from n against all rows, steps [s, s_end).
  template <size_t C>
  static void run_columns(const MatmulArgs& args, size_t n, size_t s, size_t s_end, std::byte* sums,
                          const std::byte* ahead) {
    const size_t w_bytes = args.k * P::kWeightBytes, steps = steps_of(args.k);
    const size_t full = min_of(s_end, args.k / P::kStep);
    // The panels share the prefetching, so that memory is never idle.
    const size_t panels = panels_of(args.m);
    const size_t sharers = C < 2 || panels == 1 ? 1 : C < 4 || panels < 4 ? 2 : 4;
    Tile tile{.act = nullptr,
              .w = static_cast<const std::byte*>(args.w) + n * w_bytes + s * kLineBytes,
              .w_bytes = w_bytes,
              .full = full - s,
              .rest = full < s_end ? args.k % P::kStep : 0,
              .ahead = ahead,
              .ahead_rows = max_of(C / sharers, 1),
              .sums = sums,
              .first = s == 0,
              .last = s_end == steps,
              .c = nullptr,
              .c_stride = args.c_stride,
              .cols = C};
    for (size_t panel = 0; panel < panels; ++panel) {
      const size_t first = panel_begin(panel, args.m);
      const size_t height = panel_begin(panel + 1, args.m) - first;
      tile.act =
          static_cast<const std::byte*>(args.prepared) + (first * steps + s * height) * kStepBytes;
      tile.c = args.c + first * args.c_stride + n;
      run_tile_of<false, C, most_rows<C>()>(height, tile);
      if (sums != nullptr) tile.sums += height * C * sizeof(Vec);
      tile.ahead += tile.ahead_rows * w_bytes;
      if (panel + 1 == sharers) tile.ahead_rows = 0;
    }
  }

  // Group by group, and in a group block of k by block of k, columns from first to last: nearly the
  // order in which the weights lie. What will be multiplied kPrefetchBytes later is prefetched.
  template <size_t C>
  static void run_few(const MatmulArgs& args) {
    const size_t w_bytes = args.k * P::kWeightBytes, steps = steps_of(args.k);
    const size_t block = few_steps(args.m, args.k);
    const auto* w = static_cast<const std::byte*>(args.w);
    const size_t columns_ahead = kPrefetchBytes / (block * kLineBytes) / C * C + C;
    const size_t distance = block < steps ? min_of(columns_ahead, kGroupCols) : columns_ahead;
    for (size_t n = args.n_begin; n < args.n_end; n += kGroupCols) {
      const size_t n_end = min_of(args.n_end, n + kGroupCols);
      for (size_t s = 0; s < steps; s += block) {
        const size_t s_end = min_of(steps, s + block);
        const auto column = [&]<size_t kCount>(size_t j) KERNEL_INLINE_LAMBDA {
          // Behind the group's last column comes the first one's next block, or the next group.
          const size_t to = j + distance;
          const bool wraps = to >= n_end && s_end < steps;
          const std::byte* ahead = w + (wraps ? to - (n_end - n) : to) * w_bytes +
                                   (to < n_end ? s
                                    : wraps    ? s_end
                                               : 0) *
                                       kLineBytes;
          std::byte* sums = nullptr;
          if (block < steps) {
            sums = static_cast<std::byte*>(args.scratch) + (j - n) * args.m * sizeof(Vec);
          }
          run_columns<kCount>(args, j, s, s_end, sums, ahead);
        };
        size_t j = n;
        for (; j + C <= n_end; j += C) column.template operator()<C>(j);
        for (; C > 1 && j < n_end; ++j) column.template operator()<1>(j);
      }
    }
  }

  // Which shape of tile suits memory and registers best at so many rows: measured.
  static void run_few_rows(const MatmulArgs& args) {
    if (args.m <= kWideRows) return run_few<kWideCols>(args);
    if (args.m >= P::kOneColFrom && args.m <= P::kOneColTo) return run_few<1>(args);
    if (args.m <= P::kHighPanelRows) return run_few<kHighPanelCols>(args);
    run_few<kCols>(args);
  }

  // ---------------------------------------------------------------- many rows

  // Lays out `cols` weight rows in panels of kCols columns, block of k by block of k.
  static void lay_out(const std::byte* w, size_t k, size_t cols, size_t block, std::byte* out) {
    const size_t w_bytes = k * P::kWeightBytes, steps = steps_of(k);
    const size_t full = k / P::kStep, rest = k % P::kStep;
    const size_t panel_bytes = kCols * kStepBytes;  // of a step
    for (size_t n = 0; n < cols; n += kCols) {
      const std::byte* row[kCols];
      for (size_t j = 0; j < kCols; ++j) {
        row[j] = w + min_of(n + j, cols - 1) * w_bytes;  // repeats fill the last panel
      }
      for (size_t s_begin = 0; s_begin < steps; s_begin += block) {
        const size_t s_end = min_of(steps, s_begin + block);
        std::byte* to = out + s_begin * round_up(cols, kCols) * kStepBytes +
                        n / kCols * (s_end - s_begin) * panel_bytes;
        for (size_t s = s_begin; s < s_end; ++s, to += panel_bytes) {
          KERNEL_UNROLL
          for (size_t j = 0; j < kCols; ++j) {
            alignas(kLineBytes) std::byte padded[kLineBytes];
            const std::byte* line = row[j] + s * kLineBytes;
            if (s >= full) {
              std::memset(padded, 0, kLineBytes);
              std::memcpy(padded, line, rest * P::kWeightBytes);
              line = padded;
            }
            KERNEL_UNROLL
            for (size_t sub = 0; sub < P::kSub; ++sub) {
              P::keep_weight(P::weight(line, sub), to + (sub * kCols + j) * kVecBytes);
            }
          }
        }
      }
    }
  }

  // Weight rows that are laid out together: kBlockCols, fewer of rows so long that a thread's
  // scratch memory would grow beyond kLaidOutBytes.
  static size_t many_cols(size_t k) {
    const size_t most = kLaidOutBytes / (steps_of(k) * kStepBytes) / kCols * kCols;
    return most < kCols ? kCols : min_of(most, kBlockCols);
  }
  static size_t sums_bytes(size_t k) {
    return steps_of(k) > kBlockSteps ? kBlockPanels * kRows * many_cols(k) * sizeof(Vec) : 0;
  }

  static void run_many(const MatmulArgs& args) {
    const size_t steps = steps_of(args.k), w_bytes = args.k * P::kWeightBytes;
    const size_t block = block_steps(args.m, args.k), most_cols = many_cols(args.k);
    const size_t panels = panels_of(args.m), turns = (panels + kBlockPanels - 1) / kBlockPanels;
    auto* sums = static_cast<std::byte*>(args.scratch);
    std::byte* weights = sums + sums_bytes(args.k);
    const auto* prepared = static_cast<const std::byte*>(args.prepared);
    for (size_t n = args.n_begin; n < args.n_end; n += most_cols) {
      const size_t cols = min_of(most_cols, args.n_end - n);
      const std::byte* w = static_cast<const std::byte*>(args.w) + n * w_bytes;
      lay_out(w, args.k, cols, block, weights);
      // What will be laid out next is prefetched by the last turn's tiles, one after the other.
      const std::byte *ahead = w + cols * w_bytes, *ahead_end = ahead + cols * w_bytes;
      for (size_t turn = 0; turn < turns; ++turn) {
        const size_t p_begin = turn * panels / turns, p_end = (turn + 1) * panels / turns;
        for (size_t s = 0; s < steps; s += block) {
          const size_t s_end = min_of(steps, s + block);
          const std::byte* block_weights = weights + s * round_up(cols, kCols) * kStepBytes;
          std::byte* tile_sums = sums;
          const auto tile = [&](size_t j, size_t panel) {
            const size_t first = panel_begin(panel, args.m);
            const size_t height = panel_begin(panel + 1, args.m) - first;
            const bool prefetches = turn + 1 == turns && ahead < ahead_end;
            run_tile_of<true, kCols, kRows, kManyLeast>(
                height, {.act = prepared + (s * args.m + (s_end - s) * first) * kStepBytes,
                         .w = block_weights + j * (s_end - s) * kStepBytes,
                         .w_bytes = 0,
                         .full = s_end - s,
                         .rest = 0,
                         .ahead = ahead,
                         .ahead_rows = size_t{prefetches},
                         .sums = tile_sums,
                         .first = s == 0,
                         .last = s_end == steps,
                         .c = args.c + first * args.c_stride + n + j,
                         .c_stride = args.c_stride,
                         .cols = min_of(kCols, cols - j)});
            if (prefetches) ahead += (s_end - s) * kLineBytes;
            if (block < steps) tile_sums += height * kCols * sizeof(Vec);
          };
          // The larger side of a tile stays in the L1 while the smaller one passes.
          if constexpr (kRows > kCols) {
            for (size_t panel = p_begin; panel < p_end; ++panel) {
              for (size_t j = 0; j < cols; j += kCols) tile(j, panel);
            }
          } else {
            for (size_t j = 0; j < cols; j += kCols) {
              for (size_t panel = p_begin; panel < p_end; ++panel) tile(j, panel);
            }
          }
        }
      }
    }
  }

  // ---------------------------------------------------------------- the whole

  static size_t scratch_bytes(size_t m, size_t k) {
    const size_t steps = steps_of(k);
    if (m > kFewRows) return sums_bytes(k) + many_cols(k) * steps * kStepBytes;
    return few_steps(m, k) < steps ? m * kGroupCols * sizeof(Vec) : 0;
  }

  static void run(const MatmulArgs& args) {
    if (args.m > kFewRows) return run_many(args);
    if (args.m <= 2 && args.m * steps_of(args.k) * kStepBytes <= P::kLinearBytes) {
      return args.m == 1 ? run_linear<1>(args) : run_linear<2>(args);
    }
    run_few_rows(args);
  }

  static size_t claim_rows(size_t m, size_t k) {
    if (m > kFewRows) return k < kLongRow ? min_of(kClaimCols, kBlockCols) : many_cols(k);
    return max_of(kClaimBytes / (k * P::kWeightBytes) / kGroupCols, 1) * kGroupCols;
  }

  static MatmulKernel kernel() {
    return {prepared_bytes, prepare, scratch_bytes, run, claim_rows, P::kOrder};
  }
};

}  // namespace
}  // namespace splitd::kernels
