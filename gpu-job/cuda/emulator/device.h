// Stands before every .cu file: what nvcc knows without being told, for a C++ compiler. A function that is missing here
// is an error of the build.
#pragma once

#include "blocks.h"
#include "emulator.h"

#include <cuda_fp16.h>
#include <vector_functions.h>

// With the functions of floats under the names of those of doubles, as nvcc has them.
#include <math.h>

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __forceinline__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __constant__ static const
// One CPU thread runs one block at a time.
#define __shared__ static thread_local
#define __launch_bounds__(...)

#define threadIdx (emulator::place.threadIdx)
#define blockIdx (emulator::place.blockIdx)
#define blockDim (emulator::place.blockDim)
#define gridDim (emulator::place.gridDim)
#define warpSize (int(emulator::WARP))

#define __syncthreads() emulator::block_barrier(__FILE__, __LINE__)
#define __syncwarp(...) emulator::warp_barrier(__FILE__, __LINE__)
#define __shfl_sync(mask, value, from, ...) emulator::shuffle(value, from, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, value, bits, ...) emulator::shuffle(value, emulator::lane() ^ (bits), __FILE__, __LINE__)
#define __shfl_down_sync(mask, value, by, ...) emulator::shuffle(value, emulator::lane() + (by), __FILE__, __LINE__)
#define __shfl_up_sync(mask, value, by, ...) emulator::shuffle(value, emulator::lane() - (by), __FILE__, __LINE__)

namespace emulator {

// The value of another lane of the whole warp, or the own one where there is no such lane.
template <class T> T shuffle(T value, unsigned from, const char *file, int line) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    memcpy(warp_slot(lane()), &value, sizeof value);
    warp_barrier(file, line);
    if (from < WARP) memcpy(&value, warp_slot(from), sizeof value);
    warp_barrier(file, line);
    return value;
}

// Replaces *at by change(*at), as one operation, and returns what was there. Integers of the size of T carry it.
template <class T, class Change> T atomically(T *at, Change change) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    static_assert(sizeof(T) == sizeof(Bits), "atomic operations are of 4 or 8 bytes");
    Bits *place = reinterpret_cast<Bits *>(at), found = __atomic_load_n(place, __ATOMIC_RELAXED), wanted;
    T value;
    do {
        memcpy(&value, &found, sizeof value);
        T next = change(value);
        memcpy(&wanted, &next, sizeof wanted);
    } while (!__atomic_compare_exchange_n(place, &found, wanted, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return value;
}

// Runs a kernel of any signature with the arguments of cuLaunchKernel.
template <auto KERNEL> struct Signature;
template <class... A, void (*KERNEL)(A...)> struct Signature<KERNEL> {
    static constexpr unsigned COUNT = sizeof...(A);

    template <size_t... I> static void each(void **arguments, std::index_sequence<I...>) {
        while (next_thread()) KERNEL(*static_cast<A *>(arguments[I])...);
    }
    static void threads(void **arguments) { each(arguments, std::index_sequence_for<A...>()); }

    template <class T> static void check_one(const char *name, unsigned at, void *argument) {
        if constexpr (std::is_pointer_v<T>)
            if (!may_be_device(*static_cast<T *>(argument)))
                fail("%s: argument %u is no device memory, or no longer: %p", name, at,
                     (const void *)*static_cast<T *>(argument));
    }
    template <size_t... I> static void check_each(const char *name, void **arguments, std::index_sequence<I...>) {
        (check_one<A>(name, I, arguments[I]), ...);
    }
    static void check(const char *name, void **arguments) {
        check_each(name, arguments, std::index_sequence_for<A...>());
    }
};

} // namespace emulator

#define EMULATED_KERNEL(unit, name)                                                                                    \
    static const emulator::Registration registered_##name({unit, #name, emulator::Signature<&name>::COUNT,             \
                                                           &emulator::Signature<&name>::threads,                       \
                                                           &emulator::Signature<&name>::check});

template <class T> T atomicAdd(T *at, std::common_type_t<T> value) {
    return emulator::atomically(at, [&](T found) { return T(found + value); });
}
template <class T> T atomicMax(T *at, std::common_type_t<T> value) {
    return emulator::atomically(at, [&](T found) { return found < value ? value : found; });
}
template <class T> T atomicMin(T *at, std::common_type_t<T> value) {
    return emulator::atomically(at, [&](T found) { return value < found ? value : found; });
}
template <class T> T atomicExch(T *at, std::common_type_t<T> value) {
    return emulator::atomically(at, [&](T) { return value; });
}
template <class T> T atomicCAS(T *at, std::common_type_t<T> expected, std::common_type_t<T> value) {
    return emulator::atomically(at, [&](T found) { return found == expected ? value : found; });
}
inline void __threadfence() { __atomic_thread_fence(__ATOMIC_SEQ_CST); }
inline void __threadfence_block() {}

template <class A, class B> auto min(A a, B b) {
    return std::common_type_t<A, B>(a) < b ? std::common_type_t<A, B>(a) : b;
}
template <class A, class B> auto max(A a, B b) {
    return std::common_type_t<A, B>(a) > b ? std::common_type_t<A, B>(a) : b;
}
template <class T> T __ldg(const T *at) { return *at; }

inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float sinpif(float x) { return sin(M_PI * std::remainder(double(x), 2.0)); }
inline float cospif(float x) { return cos(M_PI * std::remainder(double(x), 2.0)); }
inline void sincospif(float x, float *sine, float *cosine) {
    double angle = M_PI * std::remainder(double(x), 2.0);
    *sine = sin(angle), *cosine = cos(angle);
}
inline void sincospi(double x, double *sine, double *cosine) {
    double angle = M_PI * std::remainder(x, 2.0);
    *sine = sin(angle), *cosine = cos(angle);
}
inline float __fdividef(float a, float b) { return a / b; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline void __sincosf(float x, float *sine, float *cosine) { sincosf(x, sine, cosine); }
inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int __clz(int bits) { return bits ? __builtin_clz(bits) : 32; }
inline unsigned __float_as_uint(float x) {
    unsigned bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}
inline float __uint_as_float(unsigned bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}
