// The kernels of candle that gpu-job launches, by the names and arguments of candle-kernels. Its own sources mix in
// types of 8 and 16 bits that only nvcc compiles; the emulator names a kernel that is missing here when it is launched.

#define FOR_EACH(i, count)                                                                                             \
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += blockDim.x * gridDim.x)

// The place in memory of element i, of `info`: sizes, then strides; null where elements lie side by side.
__device__ size_t place(size_t i, size_t rank, const size_t *info) {
    if (!info) return i;
    size_t found = 0;
    for (size_t at = rank; at-- > 0; i /= info[at]) found += i % info[at] * info[rank + at];
    return found;
}

template <class T>
__device__ void copy2d(const T *from, T *to, unsigned rows, unsigned columns, unsigned from_row, unsigned to_row) {
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < rows * columns) to[i / columns * to_row + i % columns] = from[i / columns * from_row + i % columns];
}

template <class T> __device__ void ucopy(size_t count, size_t rank, const size_t *info, const T *from, T *to) {
    FOR_EACH(i, count) to[i] = from[place(i, rank, info)];
}

template <class T> __device__ void const_set(size_t count, size_t rank, const size_t *info, T value, T *to) {
    FOR_EACH(i, count) to[place(i, rank, info)] = value;
}

extern "C" __global__ void copy2d_f32(const float *from, float *to, unsigned rows, unsigned columns, unsigned from_row,
                                      unsigned to_row) {
    copy2d(from, to, rows, columns, from_row, to_row);
}
extern "C" __global__ void copy2d_f64(const double *from, double *to, unsigned rows, unsigned columns,
                                      unsigned from_row, unsigned to_row) {
    copy2d(from, to, rows, columns, from_row, to_row);
}
extern "C" __global__ void ucopy_f32(size_t count, size_t rank, const size_t *info, const float *from, float *to) {
    ucopy(count, rank, info, from, to);
}
extern "C" __global__ void ucopy_f64(size_t count, size_t rank, const size_t *info, const double *from, double *to) {
    ucopy(count, rank, info, from, to);
}
extern "C" __global__ void const_set_f32(size_t count, size_t rank, const size_t *info, float value, float *to) {
    const_set(count, rank, info, value, to);
}
