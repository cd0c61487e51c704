// The C interface: cuts a problem into pieces, runs them on OpenMP threads, adds their sums in a fixed order.
//
// Not linked against an OpenMP runtime of its own: torch's is already loaded and its symbols are found there, so that
// the two share one pool of threads.
#include <cstdlib>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "problem.h"

namespace hone {
namespace {

const Kernels& kernels_of(int level) {
    return level == 2 ? avx512::kernels : level == 1 ? avx2::kernels : baseline::kernels;
}

// How many pieces a row of v voxels is cut into: enough for every thread, each worth an OpenMP hand-over.
int64_t cuts_of(int64_t rows, int64_t elements_per_voxel, int64_t v) {
    const int64_t smallest = 32768 / elements_per_voxel < 1024 ? 1024 : 32768 / elements_per_voxel;
    const int64_t most = rows >= 256 ? 1 : 256 / rows;
    const int64_t cuts = v / smallest;
    return cuts < 1 ? 1 : cuts > most ? most : cuts;
}

// Runs a kernel over all pieces. Sums are the same whatever the number of threads: each piece has its own.
int run(Kernel kernel, Problem& p, bool by_channel, int threads, double* out, double* bad) {
    const int64_t channels = by_channel ? p.c : 1, width = by_channel ? 1 : p.c;
    const int64_t rows = p.n * channels;
    if (rows == 0 || p.v == 0) return 0;
    const int64_t cuts = cuts_of(rows, width, p.v), pieces = rows * cuts, each = (pieces + threads - 1) / threads;
    const int64_t step = ((p.v + cuts - 1) / cuts + 255) / 256 * 256;
    const int64_t floats = by_channel ? 1024 : scratch_floats(p.c);
    std::vector<double> sums(out ? pieces * ROWS * width : 0), bad_of(pieces);
    std::vector<char> found(pieces);
    int failed = 0;
#pragma omp parallel num_threads(threads)
    {
        float* scratch = static_cast<float*>(std::aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64));
        if (!scratch) {
#pragma omp atomic write
            failed = 1;
        }
        // Neighbours in time are far apart in memory: of two threads that come to a fresh page at once both would clear
        // one, and one of these be thrown away.
#pragma omp for schedule(dynamic)
        for (int64_t turn = 0; turn < each * threads; ++turn) {
            const int64_t i = turn % threads * each + turn / threads;
            if (i >= pieces) continue;
            const int64_t row = i / cuts, begin = i % cuts * step;
            const int64_t end = begin + step < p.v ? begin + step : p.v;
            if (!scratch || begin >= end) continue;
            double* own = out ? sums.data() + i * ROWS * width : nullptr;
            Piece piece{row / channels, row % channels, begin, end, scratch, own, &bad_of[i], false};
            kernel(p, piece);
            found[i] = piece.found_bad;
        }
        std::free(scratch);
    }
    if (failed) return 2;
    for (int64_t i = 0; i < pieces; ++i)
        if (found[i]) {
            *bad = bad_of[i];
            return 1;
        }
    for (int64_t i = 0; out && i < pieces; ++i) {
        const int64_t row = i / cuts, n = row / channels, first = row % channels;
        for (int64_t r = 0; r < ROWS; ++r) {
            double* const to = out + (r * p.n + n) * p.c + first;
            for (int64_t k = 0; k < width; ++k) to[k] += sums[(i * ROWS + r) * width + k];
        }
    }
    return 0;
}

// Asks the system for huge pages under a gradient that is about to be written for the first time: handing out fresh
// memory in pages of 4 KiB takes as long as computing what is written there.
void ask_for_huge_pages(void* data, int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr uintptr_t HUGE = 1 << 21, PAGE = 1 << 12;
    const uintptr_t first = (reinterpret_cast<uintptr_t>(data) + PAGE - 1) / PAGE * PAGE;
    const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / PAGE * PAGE;
    if (end >= first + 2 * HUGE) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);  // may be refused
#else
    (void)data, (void)bytes;
#endif
}

}  // namespace
}  // namespace hone

extern "C" {

// The best instruction set this machine has: 0 baseline, 1 AVX2, 2 AVX-512.
int hone_level() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return 2;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 1;
#endif
    return 0;
}

// Sums (ROWS, n, c) into `out`, zeroed by the caller. Returns 0; 1 where `bad` is a label out of range; 2 without
// memory.
int hone_region_sums(int sigmoid, int level, int threads, const void* logits, int logits_type, const void* target,
                     int target_type, const uint8_t* mask, int64_t n, int64_t c, int64_t v, int64_t ignore, int flags,
                     float gamma, int channels_last, double* out, double* bad) {
    using namespace hone;
    Problem p{logits, target, mask, nullptr, nullptr, n, c, v, ignore, logits_type, target_type, flags, gamma,
              channels_last != 0};
    const Kernels& kernels = kernels_of(level);
    return run(sigmoid ? kernels.sigmoid_sums : kernels.softmax_sums, p, sigmoid, threads, out, bad);
}

// The gradient of the logits into `grad`, which may be the logits themselves. Returns as hone_region_sums.
int hone_region_sums_grad(int sigmoid, int level, int threads, const void* logits, int logits_type, const void* target,
                          int target_type, const uint8_t* mask, int64_t n, int64_t c, int64_t v, int64_t ignore,
                          int flags, float gamma, int channels_last, const double* upstream, void* grad, double* bad) {
    using namespace hone;
    Problem p{logits, target, mask, upstream, grad, n, c, v, ignore, logits_type, target_type, flags, gamma,
              channels_last != 0};
    if (grad != logits) ask_for_huge_pages(grad, n * c * v * (logits_type == F32 ? 4 : 2));
    const Kernels& kernels = kernels_of(level);
    return run(sigmoid ? kernels.sigmoid_grad : kernels.softmax_grad, p, sigmoid, threads, nullptr, bad);
}
}
