// Owns: the table of kernels. One table per instruction set; a table holds every operation.
// The only header of ours that a translation unit compiled for one instruction set may include:
// an inline function from elsewhere, compiled there with AVX-512 and merged by the linker, would
// crash older machines. For the same reason such a unit defines everything but its add_… functions
// in an unnamed namespace, and does not call the conversions of float16.h.
#pragma once

#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "kernels/rows.h"

namespace splitd::kernels {

// In ascending priority on each architecture.
enum class Isa : uint8_t {
  reference,     // scalar, f64 sums: defines the meaning
  avx2,          // AVX2, FMA, F16C
  avx512,        // AVX-512 F, BW, VL, DQ
  avx512_bf16,   // and BF16, VNNI (Cooper Lake, Sapphire Rapids, Zen 4)
  neon,          // armv8-a
  neon_dotprod,  // and dotprod (Cortex-A55, A76 and later: Raspberry Pi 5, Orin)
  neon_bf16,     // and bf16, i8mm (armv8.6-a: Cortex-A510, A710, Neoverse V1 and later)
};

struct KernelTable {
  Isa isa;
  const char* name;  // as SPLITD_ISA spells it
  MatmulKernels matmul;
  RowKernels rows;
  AttentionKernels attention;
};

// A table is built from its parent's: avx512_bf16 is avx512 with some operations replaced. Each
// unit writes those members of its family that it has.
void add_matmul_reference(MatmulKernels& table);
void add_matmul_quantised_reference(MatmulKernels& table);
void add_rows_reference(RowKernels& table);
void add_attention_reference(AttentionKernels& table);
#if defined(__x86_64__)
void add_matmul_avx2(MatmulKernels& table);
void add_matmul_quantised_avx2(MatmulKernels& table);
void add_rows_avx2(RowKernels& table);
void add_attention_avx2(AttentionKernels& table);
void add_matmul_avx512(MatmulKernels& table);
void add_rows_avx512(RowKernels& table);
void add_attention_avx512(AttentionKernels& table);
void add_matmul_avx512_bf16(MatmulKernels& table);
void add_matmul_quantised_avx512(MatmulKernels& table);
#elif defined(__aarch64__)
void add_matmul_neon(MatmulKernels& table);
void add_matmul_quantised_neon(MatmulKernels& table);
void add_rows_neon(RowKernels& table);
void add_attention_neon(AttentionKernels& table);
void add_matmul_neon_bf16(MatmulKernels& table);
void add_matmul_quantised_neon_dot(MatmulKernels& table);
void add_matmul_quantised_neon_i8mm(MatmulKernels& table);
#endif

}  // namespace splitd::kernels
