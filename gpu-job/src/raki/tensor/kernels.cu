// What happens between the matrix products of a training step. Each kernel is one pass over memory; sizes and formulas
// are those of ops.rs. Kernels begin with the tensor they write, its number of elements (see cuda.rs) and the sizes.

struct Arguments {
    unsigned lines, width, step, kernel_1, channels, outputs, networks, columns, first, all_columns;
    float decay_1, new_1, decay_2, new_2, rate, epsilon;
};

typedef unsigned long long Index;

const unsigned TAPS = 6, KERNEL_3 = 3, KERNEL_KY = 2, THREADS = 256;

#define EACH(i, count) (Index i = blockIdx.x * (Index)blockDim.x + threadIdx.x; i < count; i += gridDim.x * (Index)blockDim.x)

__device__ unsigned rows(const Arguments &a) { return a.lines - a.step; }
__device__ Index positions(const Arguments &a) { return (Index)(a.columns + KERNEL_3 - 1) * rows(a); }
__device__ Index samples(const Arguments &a) { return (Index)a.columns * rows(a); }
__device__ Index distance(const Arguments &a, unsigned tap) { return (tap % KERNEL_3) * rows(a) + tap / KERNEL_3 * a.step; }

// The sum of the taps of a network at sample i of [output, column, row].
__device__ float sum(const Arguments &a, const float *taps, Index i) {
    Index all = positions(a), output = i / samples(a), sample = i % samples(a);
    float sum = 0.0f;
    for (unsigned tap = 0; tap < TAPS; ++tap) {
        Index position = sample + distance(a, tap);
        if (position < all) sum += taps[(tap * a.outputs + output) * all + position];
    }
    return sum;
}

extern "C" __global__ void patches(float *to, Index count, Arguments a, const float *planes) {
    Index inputs = (Index)a.channels * KERNEL_KY * a.kernel_1;
    for EACH(i, count) {
        Index input = i % inputs, position = i / inputs % positions(a), problem = i / inputs / positions(a);
        Index channel = problem * a.channels + input / (KERNEL_KY * a.kernel_1);
        Index line = position % rows(a) + input / a.kernel_1 % KERNEL_KY * a.step;
        Index kx = a.first + position / rows(a) + input % a.kernel_1;
        to[i] = planes[(channel * a.lines + line) * a.width + kx];
    }
}

extern "C" __global__ void relu(float *to, Index count, Arguments a) {
    for EACH(i, count) to[i] = fmaxf(to[i], 0.0f);
}

extern "C" __global__ void through_relu(float *to, Index count, Arguments a, const float *gradient) {
    for EACH(i, count) to[i] = to[i] > 0.0f ? gradient[i] : 0.0f;
}

extern "C" __global__ void sum_taps(float *to, Index count, Arguments a, const float *taps) {
    Index one = a.outputs * samples(a);
    for EACH(i, count) to[i] = sum(a, taps + i / one * TAPS * a.outputs * positions(a), i % one);
}

extern "C" __global__ void residual(float *to, Index count, Arguments a, const float *taps, const float *references) {
    __shared__ float squares[THREADS];
    Index network = blockIdx.x, one = a.outputs * samples(a), whole = (Index)a.all_columns * rows(a);
    Index problem = network / a.networks, channel = network % a.networks % a.channels;
    references += problem * (a.channels + 1) * a.outputs * whole + (Index)a.first * rows(a);
    taps += network * TAPS * a.outputs * positions(a);
    to += network * (one + 1);
    float square = 0.0f;
    for (Index i = threadIdx.x; i < one; i += THREADS) {
        Index output = i / samples(a), sample = i % samples(a);
        float target = references[(channel * a.outputs + output) * whole + sample];
        float weight = references[((Index)a.channels * a.outputs + output) * whole + sample];
        float error = weight * (sum(a, taps, i) - target);
        to[i] = weight * error;
        square += error * error;
    }
    squares[threadIdx.x] = square;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) squares[threadIdx.x] += squares[threadIdx.x + half];
    }
    if (threadIdx.x == 0) to[one] = sqrtf(squares[0]);
}

extern "C" __global__ void spread(float *to, Index count, Arguments a, const float *residuals) {
    Index all = positions(a), one = a.outputs * samples(a);
    for EACH(i, count) {
        Index position = i % all, output = i / all % a.outputs, tap = i / all / a.outputs % TAPS;
        Index network = i / all / a.outputs / TAPS, before = distance(a, tap);
        const float *residual = residuals + network * (one + 1);
        bool inside = position >= before && position - before < samples(a) && residual[one] > 0.0f;
        to[i] = inside ? residual[output * samples(a) + position - before] / residual[one] : 0.0f;
    }
}

extern "C" __global__ void adam(float *to, Index count, Arguments a, const float *gradient) {
    for EACH(i, count) {
        float mean = a.decay_1 * to[count + i] + a.new_1 * gradient[i];
        float square = a.decay_2 * to[2 * count + i] + a.new_2 * gradient[i] * gradient[i];
        to[i] -= a.rate * mean / (sqrtf(square) + a.epsilon);
        to[count + i] = mean;
        to[2 * count + i] = square;
    }
}
