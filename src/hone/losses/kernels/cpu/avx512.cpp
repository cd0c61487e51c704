// The kernels for machines with AVX512. Nothing here may run, or be merged with code that runs, on others: only what
// stands between the pragmas is compiled for it, in a namespace without a name.
#include "problem.h"

#define HONE_LANES 16

#if defined(__x86_64__)
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#endif

namespace hone::avx512 {
namespace {
#include "kernels.inc"
}  // namespace

const Kernels kernels = {softmax_sums, softmax_grad, sigmoid_sums, sigmoid_grad};
}  // namespace hone::avx512

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
namespace hone::avx512 {
const Kernels kernels = baseline::kernels;
}
#endif
