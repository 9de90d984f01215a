#include "kernels/kernels.h"

namespace splitd::kernels {

void add_rows_avx512(RowKernels&) {}

}  // namespace splitd::kernels
