// Gathers what the matrix products of the linear kernels multiply, see mod.rs. Matrices are column-major: an equation or a sample to
// predict is a column, so that neighbouring threads write neighbouring numbers.

struct Sizes {
    unsigned coils, lines, points, acceleration, source_lines, taps, shift, places, source, target, before, jump, targets;
};

typedef unsigned long long Index;

#define EACH(i, count) (Index i = blockIdx.x * (Index)blockDim.x + threadIdx.x; i < count; i += gridDim.x * (Index)blockDim.x)

// Equations [source and target, equation] from the shift `shift` on, multiplied by the root of their weight. k-space is [coil, line, point],
// roots are [shift, place].
extern "C" __global__ void equations(double2 *to, Index count, Sizes s, const float2 *kspace, const double *roots) {
    unsigned patch = s.coils * s.source_lines * s.taps, size = patch + s.targets;
    for EACH(i, count) {
        unsigned row = i % size;
        Index equation = i / size;
        unsigned shift = s.shift + equation / s.places, place = equation % s.places;
        unsigned coil, line, point;
        if (row < patch) {
            coil = row / (s.source_lines * s.taps);
            line = shift + s.source + row / s.taps % s.source_lines * s.acceleration;
            point = place + row % s.taps;
        } else {
            coil = (row - patch) % s.coils;
            unsigned output = (row - patch) / s.coils;
            line = shift + s.target + output + (output < s.before ? 0 : s.jump);
            point = place + s.taps / 2;
        }
        float2 value = kspace[((Index)coil * s.lines + line) * s.points + point];
        double root = roots[(Index)shift * s.places + place];
        to[i] = make_double2(value.x * root, value.y * root);
    }
}

// Source samples [source, sample] of samples, each given by its first source line, which may lie outside, and its point. What is not
// there counts as zero.
extern "C" __global__ void sources(
    float2 *to, Index count, Sizes s, const float2 *kspace, const unsigned char *present, const int2 *samples
) {
    unsigned patch = s.coils * s.source_lines * s.taps;
    for EACH(i, count) {
        unsigned row = i % patch;
        int2 sample = samples[i / patch];
        int line = sample.x + (int)(row / s.taps % s.source_lines * s.acceleration);
        int point = sample.y + (int)(row % s.taps) - (int)(s.taps / 2);
        bool there = line >= 0 && line < (int)s.lines && point >= 0 && point < (int)s.points && present[line];
        Index coil = row / (s.source_lines * s.taps);
        to[i] = there ? kspace[(coil * s.lines + line) * s.points + point] : make_float2(0.0f, 0.0f);
    }
}
