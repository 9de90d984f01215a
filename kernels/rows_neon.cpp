#include "kernels/kernels.h"

namespace splitd::kernels {

void add_rows_neon(RowKernels&) {}

}  // namespace splitd::kernels
