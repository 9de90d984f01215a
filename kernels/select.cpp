// Owns: building the tables and asking the CPU and its operating system what they support.
#include "kernels/select.h"

#include <iterator>
#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace splitd::kernels {
namespace {

struct Description {
  Isa isa;
  const char* name;
  bool compiled;      // for this architecture
  const char* needs;  // as a person would read it
};

#if defined(__x86_64__)
constexpr bool kX86 = true, kArm = false;
#elif defined(__aarch64__)
constexpr bool kX86 = false, kArm = true;
#else
constexpr bool kX86 = false, kArm = false;
#endif

constexpr Description kDescriptions[] = {
    {Isa::reference, "reference", true, ""},
    {Isa::avx2, "avx2", kX86, "AVX2, FMA and F16C"},
    {Isa::avx512, "avx512", kX86, "AVX-512 F, BW, VL and DQ"},
    {Isa::avx512_bf16, "avx512_bf16", kX86, "AVX-512 F, BW, VL, DQ, BF16 and VNNI"},
    {Isa::neon, "neon", kArm, "Advanced SIMD"},
    {Isa::neon_dotprod, "neon_dotprod", kArm, "the dotprod extension"},
    {Isa::neon_bf16, "neon_bf16", kArm, "the dotprod, bf16 and i8mm extensions"},
};

#if defined(__x86_64__)
bool has_f16c() {  // clang 14 does not know the name
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}
#endif

bool runs_here(Isa isa) {
  switch (isa) {
    case Isa::reference:
      return true;
#if defined(__x86_64__)
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
    case Isa::avx512:
      return runs_here(Isa::avx2) && __builtin_cpu_supports("avx512f") &&
             __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
             __builtin_cpu_supports("avx512dq");
    case Isa::avx512_bf16:
      return runs_here(Isa::avx512) && __builtin_cpu_supports("avx512bf16") &&
             __builtin_cpu_supports("avx512vnni");
#elif defined(__aarch64__)
    case Isa::neon:
      return true;
    case Isa::neon_dotprod:
      return (getauxval(AT_HWCAP) & 1ul << 20) != 0;  // HWCAP_ASIMDDP
    case Isa::neon_bf16: {
      constexpr unsigned long kI8mm = 1ul << 13, kBf16 = 1ul << 14;  // HWCAP2_I8MM, HWCAP2_BF16
      return runs_here(Isa::neon_dotprod) &&
             (getauxval(AT_HWCAP2) & (kI8mm | kBf16)) == (kI8mm | kBf16);
    }
#endif
    default:
      return false;
  }
}

void add_kernels(Isa isa, KernelTable& table) {
  switch (isa) {
    case Isa::reference:
      add_matmul_reference(table.matmul);
      add_matmul_quantised_reference(table.matmul);
      add_rows_reference(table.rows);
      add_attention_reference(table.attention);
      break;
#if defined(__x86_64__)
    case Isa::avx2:
      add_matmul_avx2(table.matmul);
      add_matmul_quantised_avx2(table.matmul);
      add_rows_avx2(table.rows);
      add_attention_avx2(table.attention);
      break;
    case Isa::avx512:
      add_matmul_avx512(table.matmul);
      add_rows_avx512(table.rows);
      add_attention_avx512(table.attention);
      break;
    case Isa::avx512_bf16:
      add_matmul_avx512_bf16(table.matmul);
      add_matmul_quantised_avx512(table.matmul);
      break;
#elif defined(__aarch64__)
    case Isa::neon:
      add_matmul_neon(table.matmul);
      add_matmul_quantised_neon(table.matmul);
      add_rows_neon(table.rows);
      add_attention_neon(table.attention);
      break;
    case Isa::neon_dotprod:
      add_matmul_quantised_neon_dot(table.matmul);
      break;
    case Isa::neon_bf16:
      add_matmul_neon_bf16(table.matmul);
      add_matmul_quantised_neon_i8mm(table.matmul);
      break;
#endif
    default:
      break;
  }
}

struct Tables {
  KernelTable storage[std::size(kDescriptions)] = {};
  std::vector<const KernelTable*> runnable;

  Tables() {
    KernelTable table{};
    for (const Description& description : kDescriptions) {
      if (!description.compiled || !runs_here(description.isa)) continue;
      add_kernels(description.isa, table);  // on top of the parent's
      table.isa = description.isa;
      table.name = description.name;
      KernelTable& stored = storage[runnable.size()];
      stored = table;
      runnable.push_back(&stored);
    }
  }
};

}  // namespace

const std::vector<const KernelTable*>& runnable_tables() {
  static const Tables tables;  // written once, under the language's own lock; read-only after
  return tables.runnable;
}

Result<const KernelTable*> select_table(std::string_view wanted) {
  const auto& runnable = runnable_tables();
  if (wanted.empty()) return runnable.back();
  std::string names;
  for (const KernelTable* table : runnable) {
    if (wanted == table->name) return table;
    names += names.empty() ? "" : ", ";
    names += table->name;
  }
  std::string message = "SPLITD_ISA=" + std::string(wanted.substr(0, 40)) + ": ";
  for (const Description& description : kDescriptions) {
    if (wanted != description.name) continue;
    message += description.compiled ? "this machine lacks "
                                    : "this build is for another architecture than ";
    message += description.needs;
    return usage_error(message + "; it runs: " + names);
  }
  return usage_error(message + "no such instruction set; this machine runs: " + names);
}

}  // namespace splitd::kernels
