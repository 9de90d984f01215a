#include "kernels/kernels.h"

namespace splitd::kernels {

void add_rows_avx2(RowKernels&) {}

}  // namespace splitd::kernels
