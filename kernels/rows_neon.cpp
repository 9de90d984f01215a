// Owns: the row kernels compiled for one instruction set; the code is rows_body.inc's.
#include <arm_neon.h>

#include "kernels/kernels.h"

namespace splitd::kernels {
namespace {

#include "kernels/rows_vector_neon.inc"
// After the vectors.
#include "kernels/rows_math.inc"
// After the functions.
#include "kernels/rows_body.inc"
// After first_non_finite.
#include "kernels/rows_wire.inc"

}  // namespace

void add_rows_neon(RowKernels& table) {
  table.rms_norm = rms_norm;
  table.rope = rope;
  table.gate = gate;
  table.softcap = softcap;
  table.add = add_rows;
  table.scale = scale_row;
  table.add_scaled = add_scaled;
  table.softmax = softmax;
  table.embed = embed;
  table.top_k = top_k;
  table.first_non_finite = first_non_finite;
  table.wire_encode = wire_encode;
  table.wire_decode = wire_decode;
}

}  // namespace splitd::kernels
