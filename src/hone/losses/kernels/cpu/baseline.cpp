// The kernels for whatever the compiler assumes of every machine.
#include "problem.h"

#define HONE_LANES 4

namespace hone::baseline {
namespace {
#include "kernels.inc"
}  // namespace

const Kernels kernels = {softmax_sums, softmax_grad, sigmoid_sums, sigmoid_grad};
}  // namespace hone::baseline
