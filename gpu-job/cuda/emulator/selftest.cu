// Kernels that show whether the emulator keeps what CUDA promises, see selftest.cpp.

// Sums of blocks, over a barrier in each round.
extern "C" __global__ void block_sums(const float *from, float *to) {
    __shared__ float sums[128];
    sums[threadIdx.x] = from[blockIdx.x * blockDim.x + threadIdx.x];
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    if (threadIdx.x == 0) to[blockIdx.x] = sums[0];
}

// Counts visits of every place of a grid and blocks of three dimensions.
extern "C" __global__ void visits(unsigned *counts) {
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    atomicAdd(&counts[block * blockDim.x * blockDim.y * blockDim.z + thread], 1u);
}

// The sum over each warp, in all of its lanes.
extern "C" __global__ void warp_sums(float *values) {
    float sum = values[threadIdx.x];
    for (int bits = 16; bits > 0; bits /= 2) sum += __shfl_xor_sync(0xffffffff, sum, bits);
    values[threadIdx.x] = sum;
}

// Through shared memory of the launch; threads beyond `count` leave before the barrier.
extern "C" __global__ void reversal(float *values, unsigned count) {
    extern __shared__ float held[];
    if (threadIdx.x >= count) return;
    held[threadIdx.x] = values[threadIdx.x];
    __syncthreads();
    values[threadIdx.x] = held[count - 1 - threadIdx.x];
}

extern "C" __global__ void write_at(float *values, size_t at) { values[at] = 1.0f; }

extern "C" __global__ void diverging_barriers(float *values) {
    if (threadIdx.x % 2 == 0) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    values[0] = 0.0f;
}
