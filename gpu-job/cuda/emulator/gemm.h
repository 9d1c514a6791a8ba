// Matrix products in tiles that fit caches and registers, on all CPU threads.
#pragma once

#include "emulator.h"

#include <algorithm>
#include <complex>
#include <cstdint>
#include <cstring>
#include <vector>

namespace emulator {

// What the tensor cores read of a float: ten bits of the mantissa, to the nearest.
inline float to_tf32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7F800000) != 0x7F800000) bits = (bits + 0x1000) & ~0x1FFFu;
    memcpy(&value, &bits, sizeof bits);
    return value;
}
inline double to_tf32(double value) { return value; }

// A matrix with any distances between rows and columns.
template <class T> struct Operand {
    const T *data;
    size_t row, column;
    bool conjugate, tf32;

    static constexpr size_t PARTS = 1;
    T part(size_t i, size_t j) const {
        T value = data[i * row + j * column];
        return tf32 ? to_tf32(value) : value;
    }
};

// Rows of complex matrices are taken as two rows, of real and of imaginary parts, so that real products do it all.
template <class T> struct Operand<std::complex<T>> {
    const std::complex<T> *data;
    size_t row, column;
    bool conjugate, tf32;

    static constexpr size_t PARTS = 2;
    T part(size_t i, size_t j) const {
        const std::complex<T> &value = data[i / 2 * row + j * column];
        T part = i % 2 == 0 ? value.real() : conjugate ? -value.imag() : value.imag();
        return tf32 ? to_tf32(part) : part;
    }
};

template <class T> struct Real {
    using Type = T;
};
template <class T> struct Real<std::complex<T>> {
    using Type = T;
};

// Products of tiles of `T`, which is float or double.
template <class T> class Tile {
    typedef T Vector __attribute__((vector_size(32)));
    static constexpr size_t LANES = sizeof(Vector) / sizeof(T), PANEL_A = 2 * LANES, PANEL_B = 6;
    static constexpr size_t DEPTH = 256;

    std::vector<T> packed_a = std::vector<T>(ROWS * DEPTH), packed_b = std::vector<T>(COLUMNS * DEPTH);

    // Panels of PANEL rows, each [depth, row]; rows beyond the last are zeros.
    template <size_t PANEL, class Part> static void pack(T *to, size_t rows, size_t depth, const Part &part) {
        for (size_t panel = 0; panel < rows; panel += PANEL)
            for (size_t p = 0; p < depth; ++p)
                for (size_t r = 0; r < PANEL; ++r, ++to) *to = panel + r < rows ? part(panel + r, p) : T(0);
    }

    static void add_product(T *sum, const T *a, const T *b, size_t depth) {
        Vector c[PANEL_B][2] = {};
        for (size_t p = 0; p < depth; ++p, a += PANEL_A, b += PANEL_B) {
            Vector first, second;
            memcpy(&first, a, sizeof first);
            memcpy(&second, a + LANES, sizeof second);
            for (size_t j = 0; j < PANEL_B; ++j) {
                c[j][0] += first * b[j];
                c[j][1] += second * b[j];
            }
        }
        for (size_t j = 0; j < PANEL_B; ++j)
            for (size_t i = 0; i < PANEL_A; ++i) sum[j * ROWS + i] += c[j][i / LANES][i % LANES];
    }

  public:
    // Multiples of the panels for float and double, and even.
    static constexpr size_t ROWS = 128, COLUMNS = 120;
    // Column by column.
    std::vector<T> sum = std::vector<T>(ROWS * COLUMNS);

    // Parts of a[i, p] times parts of b[p, j], summed over p.
    template <class A, class B> void multiply(size_t m, size_t n, size_t k, const A &a, const B &b) {
        std::fill(sum.begin(), sum.end(), T(0));
        for (size_t start = 0; start < k; start += DEPTH) {
            size_t depth = std::min(DEPTH, k - start);
            pack<PANEL_A>(packed_a.data(), m, depth, [&](size_t i, size_t p) { return a(i, start + p); });
            pack<PANEL_B>(packed_b.data(), n, depth, [&](size_t j, size_t p) { return b(start + p, j); });
            for (size_t j = 0; j < n; j += PANEL_B)
                for (size_t i = 0; i < m; i += PANEL_A)
                    add_product(&sum[j * ROWS + i], &packed_a[i * depth], &packed_b[j * depth], depth);
        }
    }
};

// store(batch, i, j, value) for every element of the products of matrices a(batch), [m, k], and b(batch), [k, n].
template <class T, class A, class B, class Store>
void multiply(size_t batches, size_t m, size_t n, size_t k, const A &a, const B &b, const Store &store) {
    using Part = typename Real<T>::Type;
    constexpr size_t PARTS = Operand<T>::PARTS, ROWS = Tile<Part>::ROWS / PARTS, COLUMNS = Tile<Part>::COLUMNS / PARTS;
    size_t down = (m + ROWS - 1) / ROWS, across = (n + COLUMNS - 1) / COLUMNS;
    parallel(batches * down * across, [&](size_t task) {
        thread_local Tile<Part> tile;
        size_t batch = task / (down * across), top = task % down * ROWS, left = task / down % across * COLUMNS;
        size_t rows = std::min(ROWS, m - top), columns = std::min(COLUMNS, n - left);
        Operand<T> from_a = a(batch), from_b = b(batch);
        // Columns of b are rows of its transpose.
        std::swap(from_b.row, from_b.column);
        tile.multiply(
            PARTS * rows, PARTS * columns, k, [&](size_t i, size_t p) { return from_a.part(PARTS * top + i, p); },
            [&](size_t p, size_t j) { return from_b.part(PARTS * left + j, p); });
        for (size_t j = 0; j < columns; ++j)
            for (size_t i = 0; i < rows; ++i) {
                const Part *at = &tile.sum[PARTS * j * Tile<Part>::ROWS + PARTS * i];
                if constexpr (PARTS == 1) {
                    store(batch, top + i, left + j, at[0]);
                } else {
                    const Part *imaginary = at + Tile<Part>::ROWS;
                    store(batch, top + i, left + j, T(at[0] - imaginary[1], at[1] + imaginary[0]));
                }
            }
    });
}

} // namespace emulator
