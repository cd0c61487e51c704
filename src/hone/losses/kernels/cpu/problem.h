// What one call works on, and the layout of its sums. Shared by the entry points and by each instruction set's kernels.
#pragma once
#include <cstdint>

namespace hone {

enum Row {
    INTERSECTION, PREDICTION, TARGET, VALID, PREDICTION_SQUARES, TARGET_SQUARES, CROSS_ENTROPY, COMPLEMENT, ROWS
};
enum Flag { WANT_SQUARES = 1, WANT_CROSS_ENTROPY = 2, WANT_COMPLEMENT = 4, WANT_REGIONS = 8 };
enum Type { F32, BF16, F16, U8, I16, I32, I64 };

struct Problem {
    const void* logits;     // (n, c, v), or (n, v, c) where channels are last
    const void* target;     // softmax: labels (n, v); sigmoid: values (n, c, v)
    const uint8_t* mask;    // (n, v) or null
    const double* upstream; // (ROWS, n, c); backward only
    void* grad;             // as logits; may be the same memory; backward only
    int64_t n, c, v;
    int64_t ignore;
    int logits_type, target_type, flags;
    float gamma;
    bool channels_last;     // softmax only
};

// One piece of work: voxels [begin, end) of one sample (of one channel, for a sigmoid).
struct Piece {
    int64_t sample, channel, begin, end;
    float* scratch;  // scratch_floats(c) floats
    double* sums;    // (ROWS, c), zeroed; sigmoid: (ROWS)
    double* bad;     // a label or value out of range is left here, if there is one
    bool found_bad;
};

// Voxels handled at once: the c rows of a group stay in the first-level cache, where the logits' own rows would not
// (their distance is often a multiple of 4096 bytes, which maps all of them to the same few cache lines).
inline int64_t group_size(int64_t c) {
    const int64_t size = 4096 / c / 32 * 32;
    return size < 32 ? 32 : size > 256 ? 256 : size;
}

// Two matrices of rows, five rows of one number a voxel, four cells of a vector and five numbers a class.
inline int64_t scratch_floats(int64_t c) { return (2 * c + 5) * group_size(c) + 4 * 16 * (c + 1) + 5 * c + 64; }

using Kernel = void (*)(const Problem&, Piece&);
struct Kernels {
    Kernel softmax_sums, softmax_grad, sigmoid_sums, sigmoid_grad;
};

namespace baseline { extern const Kernels kernels; }
namespace avx2 { extern const Kernels kernels; }
namespace avx512 { extern const Kernels kernels; }

}  // namespace hone
