// The products of cuBLAS that candle and gpu-job call: column by column, transposed or not, in batches.

#include "emulator.h"
#include "gemm.h"

#include <library_types.h>

#include <complex>
#include <type_traits>

using emulator::fail;
using Complex32 = std::complex<float>;
using Complex64 = std::complex<double>;

namespace {

// The numbers of cublas_api.h, which is no part of the compiler.
enum Status { SUCCESS = 0 };
enum Operation { AS_IS = 0, TRANSPOSED = 1, ADJOINT = 2 };
enum Triangle { LOWER = 0, UPPER = 1 };
enum PointerMode { HOST = 0, DEVICE = 1 };
enum MathMode { DEFAULT_MATH = 0, TF32_MATH = 3 };
enum ComputeType {
    COMPUTE_32F = 68,
    COMPUTE_32F_PEDANTIC = 69,
    COMPUTE_32F_TF32 = 77,
    COMPUTE_64F = 70,
    COMPUTE_64F_PEDANTIC = 71
};
// Bits of a math mode that concern half precision.
constexpr int MODE_MASK = 0xF;

struct Handle {
    PointerMode pointers = HOST;
    int math = DEFAULT_MATH;
};

// CUDA_EMULATOR_TF32=0 computes in full precision even so.
bool tf32(bool asked) {
    static const bool allowed = emulator::setting("CUDA_EMULATOR_TF32", 1) != 0;
    return asked && allowed;
}

template <class T> constexpr cudaDataType TYPE = CUDA_R_32F;
template <> constexpr cudaDataType TYPE<double> = CUDA_R_64F;
template <> constexpr cudaDataType TYPE<Complex32> = CUDA_C_32F;
template <> constexpr cudaDataType TYPE<Complex64> = CUDA_C_64F;

template <class T> T scalar(const Handle &handle, const T *at, const char *name) {
    if (handle.pointers == DEVICE)
        emulator::check_device(at, sizeof *at, name);
    else
        emulator::check_host(at, name);
    return *at;
}

// A batch of matrices as they are stored.
template <class T> struct Matrices {
    T *data;
    int leading;
    long long stride;
};

// Fails unless all matrices, of `rows` and `columns` as stored, lie in device memory.
template <class T>
void check(const Matrices<T> &matrices, size_t rows, size_t columns, size_t batches, const char *name) {
    if (size_t(matrices.leading) < std::max(size_t(1), rows) || matrices.leading < 1)
        fail("%s: a leading dimension of %d for %zu rows", name, matrices.leading, rows);
    if (matrices.stride < 0) fail("%s: a stride of %lld", name, matrices.stride);
    if (rows == 0 || columns == 0 || batches == 0) return;
    size_t one = (columns - 1) * matrices.leading + rows;
    emulator::check_device(matrices.data, ((batches - 1) * matrices.stride + one) * sizeof(T), name);
}

template <class T>
emulator::Operand<T> operand(const Matrices<const T> &from, size_t batch, Operation operation, bool tf32) {
    size_t leading = from.leading, row = operation == AS_IS ? 1 : leading, column = operation == AS_IS ? leading : 1;
    return {from.data + batch * from.stride, row, column, operation == ADJOINT, tf32};
}

template <class T>
Status gemm(const char *name, const Handle *handle, Operation on_a, Operation on_b, int m, int n, int k, const T *alpha,
            Matrices<const T> a, Matrices<const T> b, const T *beta, Matrices<T> c, int batches, bool reduced) {
    if (m < 0 || n < 0 || k < 0 || batches < 0) fail("%s: sizes %d, %d and %d, batches %d", name, m, n, k, batches);
    if (m == 0 || n == 0 || batches == 0) return SUCCESS;
    check(a, on_a == AS_IS ? m : k, on_a == AS_IS ? k : m, batches, name);
    check(b, on_b == AS_IS ? k : n, on_b == AS_IS ? n : k, batches, name);
    check(c, m, n, batches, name);
    if (batches > 1 && c.stride < (n - 1ll) * c.leading + m) fail("%s: the results of a batch overlap", name);
    emulator::trace("%s: %d x %d over %d, %d times", name, m, n, k, batches);
    T scale = scalar(*handle, alpha, name), keep = scalar(*handle, beta, name);
    emulator::multiply<T>(
        batches, m, n, k, [&](size_t batch) { return operand(a, batch, on_a, reduced); },
        [&](size_t batch) { return operand(b, batch, on_b, reduced); },
        [&](size_t batch, size_t i, size_t j, T value) {
            T &to = c.data[batch * c.stride + j * c.leading + i];
            // Without beta the result is not read, since it may be NaN.
            to = keep == T(0) ? scale * value : scale * value + keep * to;
        });
    return SUCCESS;
}

template <class T>
Status herk(const char *name, const Handle *handle, Triangle triangle, Operation operation, int n, int k,
            const typename T::value_type *alpha, Matrices<const T> a, const typename T::value_type *beta,
            Matrices<T> c) {
    if (operation == TRANSPOSED) fail("%s: a transpose that is no adjoint", name);
    if (n < 0 || k < 0) fail("%s: sizes %d and %d", name, n, k);
    if (n == 0) return SUCCESS;
    check(a, operation == AS_IS ? n : k, operation == AS_IS ? k : n, 1, name);
    check(c, n, n, 1, name);
    emulator::trace("%s: %d x %d over %d", name, n, n, k);
    auto scale = scalar(*handle, alpha, name), keep = scalar(*handle, beta, name);
    bool reduced = tf32((handle->math & MODE_MASK) == TF32_MATH);
    emulator::multiply<T>(
        1, n, n, k, [&](size_t) { return operand(a, 0, operation, reduced); },
        [&](size_t) {
            auto adjoint = operand(a, 0, operation, reduced);
            std::swap(adjoint.row, adjoint.column);
            adjoint.conjugate = !adjoint.conjugate;
            return adjoint;
        },
        [&](size_t, size_t i, size_t j, T value) {
            if (triangle == LOWER ? i < j : i > j) return;
            T &to = c.data[j * c.leading + i];
            to = keep == 0 ? scale * value : scale * value + keep * to;
            if (i == j) to = to.real();
        });
    return SUCCESS;
}

template <class T>
Status gemm_as(const char *name, const Handle *handle, Operation on_a, Operation on_b, int m, int n, int k,
               const void *alpha, Matrices<const void> a, Matrices<const void> b, const void *beta, Matrices<void> c,
               int batches, bool reduced) {
    auto typed = [](const Matrices<const void> &from) {
        return Matrices<const T>{static_cast<const T *>(from.data), from.leading, from.stride};
    };
    Matrices<T> to{static_cast<T *>(c.data), c.leading, c.stride};
    return gemm<T>(name, handle, on_a, on_b, m, n, k, static_cast<const T *>(alpha), typed(a), typed(b),
                   static_cast<const T *>(beta), to, batches, reduced);
}

Status gemm_of(const char *name, const Handle *handle, Operation on_a, Operation on_b, int m, int n, int k,
               const void *alpha, Matrices<const void> a, Matrices<const void> b, const void *beta, Matrices<void> c,
               int batches, cudaDataType type, ComputeType compute) {
    bool single = compute == COMPUTE_32F || compute == COMPUTE_32F_PEDANTIC || compute == COMPUTE_32F_TF32;
    bool wide = compute == COMPUTE_64F || compute == COMPUTE_64F_PEDANTIC;
    bool by_mode = compute == COMPUTE_32F && (handle->math & MODE_MASK) == TF32_MATH;
    bool reduced = tf32(compute == COMPUTE_32F_TF32 || by_mode);
    auto with = [&](auto type) {
        return gemm_as<decltype(type)>(name, handle, on_a, on_b, m, n, k, alpha, a, b, beta, c, batches, reduced);
    };
    if (type == CUDA_R_32F && single) return with(float());
    if (type == CUDA_C_32F && single) return with(Complex32());
    if (type == CUDA_R_64F && wide) return with(double());
    if (type == CUDA_C_64F && wide) return with(Complex64());
    fail("%s: elements of type %d computed as %d are not emulated", name, type, compute);
}

} // namespace

#pragma GCC visibility push(default)
extern "C" {

Status cublasCreate_v2(Handle **handle) {
    *handle = new Handle;
    return SUCCESS;
}

Status cublasDestroy_v2(Handle *handle) {
    delete handle;
    return SUCCESS;
}

Status cublasSetStream_v2(Handle *, const void *stream) {
    emulator::check_stream(stream, "cublasSetStream");
    return SUCCESS;
}

Status cublasSetWorkspace_v2(Handle *, void *workspace, size_t bytes) {
    if (bytes > 0) emulator::check_device(workspace, bytes, "cublasSetWorkspace");
    return SUCCESS;
}

Status cublasSetPointerMode_v2(Handle *handle, PointerMode mode) {
    handle->pointers = mode;
    return SUCCESS;
}

Status cublasGetPointerMode_v2(const Handle *handle, PointerMode *mode) {
    *mode = handle->pointers;
    return SUCCESS;
}

Status cublasSetMathMode(Handle *handle, int mode) {
    handle->math = mode;
    return SUCCESS;
}

Status cublasGetMathMode(const Handle *handle, int *mode) {
    *mode = handle->math;
    return SUCCESS;
}

Status cublasGemmEx(Handle *handle, Operation on_a, Operation on_b, int m, int n, int k, const void *alpha,
                    const void *a, cudaDataType type_a, int lda, const void *b, cudaDataType type_b, int ldb,
                    const void *beta, void *c, cudaDataType type_c, int ldc, ComputeType compute, int) {
    if (type_a != type_b || type_a != type_c) fail("cublasGemmEx: types %d, %d and %d", type_a, type_b, type_c);
    return gemm_of("cublasGemmEx", handle, on_a, on_b, m, n, k, alpha, {a, lda, 0}, {b, ldb, 0}, beta, {c, ldc, 0}, 1,
                   type_a, compute);
}

Status cublasGemmStridedBatchedEx(Handle *handle, Operation on_a, Operation on_b, int m, int n, int k,
                                  const void *alpha, const void *a, cudaDataType type_a, int lda, long long stride_a,
                                  const void *b, cudaDataType type_b, int ldb, long long stride_b, const void *beta,
                                  void *c, cudaDataType type_c, int ldc, long long stride_c, int batches,
                                  ComputeType compute, int) {
    if (type_a != type_b || type_a != type_c)
        fail("cublasGemmStridedBatchedEx: types %d, %d and %d", type_a, type_b, type_c);
    return gemm_of("cublasGemmStridedBatchedEx", handle, on_a, on_b, m, n, k, alpha, {a, lda, stride_a},
                   {b, ldb, stride_b}, beta, {c, ldc, stride_c}, batches, type_a, compute);
}

#define GEMM(NAME, T, COMPUTE)                                                                                         \
    Status NAME(Handle *handle, Operation on_a, Operation on_b, int m, int n, int k, const T *alpha, const T *a,       \
                int lda, const T *b, int ldb, const T *beta, T *c, int ldc) {                                          \
        return gemm_of(#NAME, handle, on_a, on_b, m, n, k, alpha, {a, lda, 0}, {b, ldb, 0}, beta, {c, ldc, 0}, 1,      \
                       TYPE<T>, COMPUTE);                                                                              \
    }
GEMM(cublasSgemm_v2, float, COMPUTE_32F)
GEMM(cublasDgemm_v2, double, COMPUTE_64F)
GEMM(cublasCgemm_v2, Complex32, COMPUTE_32F)
GEMM(cublasCgemm3m, Complex32, COMPUTE_32F)
GEMM(cublasZgemm_v2, Complex64, COMPUTE_64F)
GEMM(cublasZgemm3m, Complex64, COMPUTE_64F)

#define GEMM_BATCHED(NAME, T, COMPUTE)                                                                                 \
    Status NAME(Handle *handle, Operation on_a, Operation on_b, int m, int n, int k, const T *alpha, const T *a,       \
                int lda, long long stride_a, const T *b, int ldb, long long stride_b, const T *beta, T *c, int ldc,    \
                long long stride_c, int batches) {                                                                     \
        return gemm_of(#NAME, handle, on_a, on_b, m, n, k, alpha, {a, lda, stride_a}, {b, ldb, stride_b}, beta,        \
                       {c, ldc, stride_c}, batches, TYPE<T>, COMPUTE);                                                 \
    }
GEMM_BATCHED(cublasSgemmStridedBatched, float, COMPUTE_32F)
GEMM_BATCHED(cublasDgemmStridedBatched, double, COMPUTE_64F)
GEMM_BATCHED(cublasCgemmStridedBatched, Complex32, COMPUTE_32F)
GEMM_BATCHED(cublasCgemm3mStridedBatched, Complex32, COMPUTE_32F)
GEMM_BATCHED(cublasZgemmStridedBatched, Complex64, COMPUTE_64F)

#define HERK(NAME, T, REAL)                                                                                            \
    Status NAME(Handle *handle, Triangle triangle, Operation operation, int n, int k, const REAL *alpha, const T *a,   \
                int lda, const REAL *beta, T *c, int ldc) {                                                            \
        return herk<T>(#NAME, handle, triangle, operation, n, k, alpha, {a, lda, 0}, beta, {c, ldc, 0});               \
    }
HERK(cublasCherk_v2, Complex32, float)
HERK(cublasZherk_v2, Complex64, double)

} // extern "C"
