// The kernels for machines with AVX2. Nothing here may run, or be merged with code that runs, on others: only what
// stands between the pragmas is compiled for it, in a namespace without a name.
#include "problem.h"

#define HONE_LANES 8

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

namespace hone::avx2 {
namespace {
#include "kernels.inc"
}  // namespace

const Kernels kernels = {softmax_sums, softmax_grad, sigmoid_sums, sigmoid_grad};
}  // namespace hone::avx2

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
namespace hone::avx2 {
const Kernels kernels = baseline::kernels;
}
#endif
