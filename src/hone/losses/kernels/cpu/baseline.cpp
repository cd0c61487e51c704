// The kernels for whatever the compiler assumes of every machine.
#include <initializer_list>

#include "problem.h"

namespace hone::baseline {
namespace {
#include "maths.inc"
#include "softmax.inc"
#include "sigmoid.inc"
}  // namespace

const Kernels kernels = {softmax_sums, softmax_grad, sigmoid_sums, sigmoid_grad};
}  // namespace hone::baseline
