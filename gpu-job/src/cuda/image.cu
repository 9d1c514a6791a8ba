// From filled k-space to an image, see imaging.rs. Planes are [y, x]; their origin is the first sample, as the plain transform has it, but
// for those that come from the CPU or go there.

struct Sizes {
    unsigned maps, coils, rows, columns;
    // Of the frames of the wavelets, of the part that a level transforms, and the axis that it does it along: 0 for x, 1 for y.
    unsigned tall, broad, level_rows, level_columns, axis;
    // What a plane is shifted by.
    unsigned down, right;
    // Of the eigenproblems, with the steps at the first pixel of a row.
    unsigned lags, steps, first;
    // A scale, a threshold or a part of a change.
    float factor;
    float low[4], high[4];
};

typedef unsigned long long Index;

#define EACH(i, count) (Index i = blockIdx.x * (Index)blockDim.x + threadIdx.x; i < count; i += gridDim.x * (Index)blockDim.x)

__device__ inline float2 sum(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ inline float2 times(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
__device__ inline float2 conjugate_times(float2 a, float2 b) {
    return make_float2(a.x * b.x + a.y * b.y, a.x * b.y - a.y * b.x);
}
__device__ inline float2 scaled(float2 a, float by) { return make_float2(a.x * by, a.y * by); }

// Planes shifted circularly towards their origin, times a factor.
extern "C" __global__ void shift(float2 *to, Index count, Sizes s, const float2 *from) {
    Index area = (Index)s.rows * s.columns;
    for EACH(i, count) {
        unsigned y = (i % area / s.columns + s.down) % s.rows, x = (i % s.columns + s.right) % s.columns;
        to[i] = scaled(from[i / area * area + (Index)y * s.columns + x], s.factor);
    }
}

// Coil images of the images of all maps.
extern "C" __global__ void spread(float2 *to, Index count, Sizes s, const float2 *maps, const float2 *image) {
    Index area = (Index)s.rows * s.columns;
    for EACH(i, count) {
        float2 value = make_float2(0.0f, 0.0f);
        for (unsigned map = 0; map < s.maps; ++map) value = sum(value, times(maps[map * count + i], image[map * area + i % area]));
        to[i] = value;
    }
}

// What the acquired samples and those of the image differ by, as far as each can be trusted. Both transforms are unscaled; trust has its
// origin at the centre.
extern "C" __global__ void residual(float2 *to, Index count, Sizes s, const float2 *samples, const float *trust) {
    Index area = (Index)s.rows * s.columns;
    for EACH(i, count) {
        unsigned y = (i % area / s.columns + s.down) % s.rows, x = (i % s.columns + s.right) % s.columns;
        float2 value = sum(samples[i], scaled(to[i], -s.factor));
        to[i] = scaled(value, trust[(Index)y * s.columns + x] * s.factor);
    }
}

// Sums of the squared magnitudes of each row, [plane, row].
extern "C" __global__ void energy(float *to, Index count, Sizes s, const float2 *planes) {
    for EACH(i, count) {
        float value = 0.0f;
        for (unsigned x = 0; x < s.columns; ++x) {
            float2 sample = planes[i * s.columns + x];
            value += sample.x * sample.x + sample.y * sample.y;
        }
        to[i] = value;
    }
}

// Images and what coil images add to them.
extern "C" __global__ void gather(float2 *to, Index count, Sizes s, const float2 *image, const float2 *maps, const float2 *planes) {
    Index area = (Index)s.rows * s.columns;
    for EACH(i, count) {
        Index map = i / area, at = i % area;
        float2 value = make_float2(0.0f, 0.0f);
        for (unsigned coil = 0; coil < s.coils; ++coil) {
            value = sum(value, conjugate_times(maps[(map * s.coils + coil) * area + at], planes[coil * area + at]));
        }
        to[i] = sum(image[i], value);
    }
}

// Images shifted circularly into the frames of the wavelets.
extern "C" __global__ void load(float2 *to, Index count, Sizes s, const float2 *image) {
    Index frame = (Index)s.tall * s.broad;
    for EACH(i, count) {
        unsigned y = (i % frame / s.broad + s.tall - s.down) % s.tall, x = (i % s.broad + s.broad - s.right) % s.broad;
        bool inside = y < s.rows && x < s.columns;
        to[i] = inside ? image[(i / frame * s.rows + y) * s.columns + x] : make_float2(0.0f, 0.0f);
    }
}

// Where a sample of a level lies and its line along the axis begins.
struct Line {
    Index at, start;
    unsigned place, length, stride;
};

__device__ inline Line line_of(Index i, const Sizes &s) {
    unsigned x = i % s.level_columns, y = i / s.level_columns % s.level_rows;
    Index frame = i / ((Index)s.level_rows * s.level_columns) * s.tall * s.broad;
    Line line;
    line.at = frame + (Index)y * s.broad + x;
    line.place = s.axis ? y : x;
    line.length = s.axis ? s.level_rows : s.level_columns;
    line.stride = s.axis ? s.broad : 1;
    line.start = line.at - (Index)line.place * line.stride;
    return line;
}

// A level of the wavelet transform along an axis.
extern "C" __global__ void split(float2 *to, Index count, Sizes s, const float2 *from) {
    for EACH(i, count) {
        Line line = line_of(i, s);
        bool smooth = line.place < line.length / 2;
        unsigned first = 2 * (smooth ? line.place : line.place - line.length / 2);
        float2 value = make_float2(0.0f, 0.0f);
        for (unsigned tap = 0; tap < 4; ++tap) {
            float2 sample = from[line.start + (Index)((first + tap) % line.length) * line.stride];
            value = sum(value, scaled(sample, smooth ? s.low[tap] : s.high[tap]));
        }
        to[line.at] = value;
    }
}

// Undoes it: of each half two coefficients reach a sample.
extern "C" __global__ void join(float2 *to, Index count, Sizes s, const float2 *from) {
    for EACH(i, count) {
        Line line = line_of(i, s);
        unsigned half = line.length / 2;
        float2 value = make_float2(0.0f, 0.0f);
        for (unsigned tap = line.place % 2; tap < 4; tap += 2) {
            unsigned at = (line.place + 2 * line.length - tap) / 2 % half;
            value = sum(value, scaled(from[line.start + (Index)at * line.stride], s.low[tap]));
            value = sum(value, scaled(from[line.start + (Index)(half + at) * line.stride], s.high[tap]));
        }
        to[line.at] = value;
    }
}

// Details of all maps shrink together; the smooth part is what the last level left.
extern "C" __global__ void shrink(float2 *frames, Index count, Sizes s) {
    for EACH(i, count) {
        if (i / s.broad < s.level_rows && i % s.broad < s.level_columns) continue;
        float energy = 0.0f;
        for (unsigned map = 0; map < s.maps; ++map) {
            float2 value = frames[map * count + i];
            energy += value.x * value.x + value.y * value.y;
        }
        float size = sqrtf(energy), by = size > s.factor ? 1.0f - s.factor / size : 0.0f;
        for (unsigned map = 0; map < s.maps; ++map) frames[map * count + i] = scaled(frames[map * count + i], by);
    }
}

// The next images, and where the step after them begins.
extern "C" __global__ void advance(float2 *image, float2 *ahead, Index count, Sizes s, const float2 *frames) {
    Index area = (Index)s.rows * s.columns;
    for EACH(i, count) {
        unsigned y = (i % area / s.columns + s.down) % s.tall, x = (i % s.columns + s.right) % s.broad;
        float2 next = frames[(i / area * s.tall + y) * s.broad + x];
        ahead[i] = sum(next, scaled(sum(next, scaled(image[i], -1.0f)), s.factor));
        image[i] = next;
    }
}

__device__ inline float length(const float2 *vector, unsigned coils) {
    float energy = 0.0f;
    for (unsigned coil = 0; coil < coils; ++coil) energy += vector[coil].x * vector[coil].x + vector[coil].y * vector[coil].y;
    return sqrtf(energy);
}

__device__ inline float2 inner(const float2 *a, const float2 *b, unsigned coils) {
    float2 value = make_float2(0.0f, 0.0f);
    for (unsigned coil = 0; coil < coils; ++coil) value = sum(value, conjugate_times(a[coil], b[coil]));
    return value;
}

// 1 / length, and 1 for what has none.
__device__ inline float inverse(float length) { return length > 1.17549435e-38f ? 1.0f / length : 1.0f; }

// Eigenvectors [map, coil, y, x] and values [map, y, x]. A block walks along a row of pixels; a thread has an entry of a vector. lags are
// [x, pair, lag], phases [y, lag], start is [map, coil].
extern "C" __global__ void eigenvectors(
    float2 *vectors, float *values, Index rows, Sizes s, const float2 *lags, const float2 *phases, const float2 *start, const float2 *reference
) {
    extern __shared__ float2 shared[];
    unsigned coils = s.coils, pairs = coils * (coils + 1) / 2, mine = threadIdx.x;
    unsigned map = mine / coils, coil = mine % coils;
    bool entry = map < s.maps;
    float2 *matrix = shared, *vector = matrix + coils * coils, *image = vector + s.maps * coils;
    const float2 *phase = phases + blockIdx.x * (Index)s.lags;
    if (entry) vector[mine] = start[mine];
    for (unsigned column = 0; column < s.columns; ++column) {
        const float2 *of = lags + (Index)column * pairs * s.lags;
        for (unsigned pair = mine; pair < pairs; pair += blockDim.x) {
            // The row of a triangle that the pair is in; the root may be off by one.
            unsigned c = (unsigned)((sqrtf(8.0f * pair + 1.0f) - 1.0f) / 2.0f);
            while (c * (c + 1) / 2 > pair) --c;
            while ((c + 1) * (c + 2) / 2 <= pair) ++c;
            unsigned d = pair - c * (c + 1) / 2;
            float2 value = make_float2(0.0f, 0.0f);
            for (unsigned lag = 0; lag < s.lags; ++lag) value = sum(value, times(phase[lag], of[(Index)pair * s.lags + lag]));
            if (d < c) matrix[c * coils + d] = make_float2(value.x, -value.y);
            matrix[d * coils + c] = value;
        }
        __syncthreads();
        float lengths[2] = {0.0f, 0.0f};
        unsigned steps = column == 0 ? s.first : s.steps;
        for (unsigned step = 0; step < steps; ++step) {
            if (entry) {
                float2 value = make_float2(0.0f, 0.0f);
                for (unsigned d = 0; d < coils; ++d) value = sum(value, times(matrix[d * coils + coil], vector[map * coils + d]));
                image[mine] = value;
            }
            __syncthreads();
            lengths[0] = length(image, coils);
            float by = inverse(lengths[0]);
            if (s.maps == 1) {
                if (entry) vector[mine] = scaled(image[mine], by);
            } else {
                float2 along = scaled(inner(image, image + coils, coils), by), unit = scaled(image[coil], by);
                if (entry) vector[mine] = map == 0 ? unit : sum(image[mine], scaled(times(along, unit), -1.0f));
                __syncthreads();
                lengths[1] = length(vector + coils, coils);
                __syncthreads();
                if (entry && map == 1) vector[mine] = scaled(vector[mine], inverse(lengths[1]));
            }
            __syncthreads();
        }
        if (entry) {
            float2 along = inner(vector + map * coils, reference, coils);
            float size = hypotf(along.x, along.y);
            float2 turn = size > 1.17549435e-38f ? scaled(along, 1.0f / size) : make_float2(1.0f, 0.0f);
            Index plane = rows * s.columns, at = blockIdx.x * (Index)s.columns + column;
            vectors[mine * plane + at] = times(vector[mine], turn);
            if (coil == 0) values[map * plane + at] = lengths[map];
        }
    }
}
