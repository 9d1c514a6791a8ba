// Complex transforms of cuFFT of any length and rank up to three, unnormalised, in batches and with strides.

#include "emulator.h"

#include <cmath>
#include <complex>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

using emulator::fail;
using Complex32 = std::complex<float>;
using Complex64 = std::complex<double>;

namespace {

// The numbers of cufft.h, which is no part of the compiler.
enum Result { SUCCESS = 0 };
enum Type { C2C = 41, Z2Z = 105 };
constexpr int FORWARD = -1, INVERSE = 1, VERSION = 12000;

// Where samples lie: of the storage sizes only those after the first matter.
struct Layout {
    std::vector<size_t> embed;
    size_t stride, distance;

    // Of the sample of indices `at`.
    size_t place(const std::vector<size_t> &at) const {
        size_t place = 0;
        for (size_t axis = 0; axis < at.size(); ++axis) place = place * (axis > 0 ? embed[axis] : 1) + at[axis];
        return place * stride;
    }
};

struct Plan {
    Type type = C2C;
    std::vector<size_t> sizes;
    Layout input, output;
    size_t batch = 0;
};

std::mutex guard;
std::map<int, Plan> plans;
int last = 0;

// Fills `to` with the transform of n values that lie `stride` apart, by factors of n. `roots` are those of the whole.
template <class T>
void mixed_radix(std::complex<T> *to, const std::complex<T> *from, size_t n, size_t stride,
                 const std::vector<std::complex<T>> &roots) {
    if (n == 1) {
        to[0] = from[0];
        return;
    }
    size_t factor = 2;
    while (n % factor != 0) factor = factor * factor > n ? n : factor + 1;
    size_t part = n / factor, step = roots.size() / n;
    for (size_t p = 0; p < factor; ++p) mixed_radix(to + p * part, from + p * stride, part, factor * stride, roots);
    std::vector<std::complex<T>> sums(factor);
    for (size_t k = 0; k < part; ++k) {
        for (size_t q = 0; q < factor; ++q) {
            sums[q] = 0;
            for (size_t p = 0; p < factor; ++p) sums[q] += to[p * part + k] * roots[p * (k + q * part) % n * step];
        }
        for (size_t q = 0; q < factor; ++q) to[q * part + k] = sums[q];
    }
}

template <class T> std::vector<std::complex<T>> roots(size_t n, int direction) {
    std::vector<std::complex<T>> roots(n);
    for (size_t k = 0; k < n; ++k) roots[k] = std::complex<T>(std::polar(1.0, direction * 2 * M_PI * k / n));
    return roots;
}

// Visits all indices below `sizes`, the last fastest.
template <class Visit> void each(const std::vector<size_t> &sizes, const Visit &visit) {
    std::vector<size_t> at(sizes.size());
    size_t count = 1;
    for (size_t size : sizes) count *= size;
    for (size_t i = 0; i < count; ++i) {
        size_t rest = i;
        for (size_t axis = sizes.size(); axis-- > 0; rest /= sizes[axis]) at[axis] = rest % sizes[axis];
        visit(i, at);
    }
}

template <class T>
void transform_axes(std::vector<std::complex<T>> &values, const std::vector<size_t> &sizes, int direction) {
    size_t inner = values.size(), outer = 1;
    for (size_t n : sizes) {
        inner /= n;
        auto turns = roots<T>(n, direction);
        std::vector<std::complex<T>> line(n);
        for (size_t o = 0; o < outer; ++o)
            for (size_t i = 0; i < inner; ++i) {
                std::complex<T> *start = &values[o * n * inner + i];
                mixed_radix(line.data(), start, n, inner, turns);
                for (size_t k = 0; k < n; ++k) start[k * inner] = line[k];
            }
        outer *= n;
    }
}

Plan find(int handle, const char *name) {
    std::lock_guard lock(guard);
    auto found = plans.find(handle);
    if (found == plans.end()) fail("%s: %d is no plan, or was destroyed", name, handle);
    return found->second;
}

template <class T>
Result execute(const char *name, int handle, Type type, const std::complex<T> *from, std::complex<T> *to,
               int direction) {
    Plan plan = find(handle, name);
    if (plan.sizes.empty() || plan.type != type) fail("%s: a plan of another type, or none was made", name);
    if (direction != FORWARD && direction != INVERSE) fail("%s: a direction of %d", name, direction);
    size_t count = 1;
    std::vector<size_t> ends;
    for (size_t size : plan.sizes) {
        count *= size;
        ends.push_back(size - 1);
    }
    emulator::trace("%s: %zu samples, %zu times", name, count, plan.batch);
    auto check = [&](const void *data, const Layout &layout) {
        size_t extent = (plan.batch - 1) * layout.distance + layout.place(ends) + 1;
        emulator::check_device(data, extent * sizeof(std::complex<T>), name);
    };
    check(from, plan.input);
    check(to, plan.output);
    emulator::parallel(plan.batch, [&](size_t batch) {
        std::vector<std::complex<T>> values(count);
        each(plan.sizes,
             [&](size_t i, const auto &at) { values[i] = from[batch * plan.input.distance + plan.input.place(at)]; });
        transform_axes(values, plan.sizes, direction);
        each(plan.sizes,
             [&](size_t i, const auto &at) { to[batch * plan.output.distance + plan.output.place(at)] = values[i]; });
    });
    return SUCCESS;
}

Layout layout(const std::vector<size_t> &sizes, const int *embed, int stride, int distance) {
    size_t count = 1;
    for (size_t size : sizes) count *= size;
    // Without storage sizes samples lie side by side, whatever strides are given.
    if (!embed) return {sizes, 1, count};
    if (stride < 1 || distance < 0) fail("cufftPlanMany: a stride of %d and a distance of %d", stride, distance);
    return {std::vector<size_t>(embed, embed + sizes.size()), size_t(stride), size_t(distance)};
}

} // namespace

#pragma GCC visibility push(default)
extern "C" {

Result cufftGetVersion(int *version) {
    *version = VERSION;
    return SUCCESS;
}

Result cufftCreate(int *plan) {
    std::lock_guard lock(guard);
    *plan = ++last;
    plans[last] = {};
    return SUCCESS;
}

Result cufftDestroy(int plan) {
    find(plan, "cufftDestroy");
    std::lock_guard lock(guard);
    plans.erase(plan);
    return SUCCESS;
}

Result cufftMakePlanMany(int plan, int rank, int *n, int *inembed, int istride, int idist, int *onembed, int ostride,
                         int odist, Type type, int batch, size_t *work_bytes) {
    find(plan, "cufftMakePlanMany");
    if (rank < 1 || rank > 3 || batch < 1) fail("cufftMakePlanMany: a rank of %d, a batch of %d", rank, batch);
    if (type != C2C && type != Z2Z) fail("cufftMakePlanMany: the type %d is not emulated", type);
    if (!inembed != !onembed) fail("cufftMakePlanMany: storage sizes of one side only");
    for (int axis = 0; axis < rank; ++axis)
        if (n[axis] < 1) fail("cufftMakePlanMany: a length of %d", n[axis]);
    std::vector<size_t> sizes(n, n + rank);
    Layout input = layout(sizes, inembed, istride, idist), output = layout(sizes, onembed, ostride, odist);
    std::lock_guard lock(guard);
    plans[plan] = {type, sizes, input, output, size_t(batch)};
    if (work_bytes) *work_bytes = 0;
    return SUCCESS;
}

Result cufftMakePlan1d(int plan, int n, Type type, int batch, size_t *work_bytes) {
    return cufftMakePlanMany(plan, 1, &n, nullptr, 1, 0, nullptr, 1, 0, type, batch, work_bytes);
}

Result cufftMakePlan2d(int plan, int nx, int ny, Type type, size_t *work_bytes) {
    int n[] = {nx, ny};
    return cufftMakePlanMany(plan, 2, n, nullptr, 1, 0, nullptr, 1, 0, type, 1, work_bytes);
}

Result cufftPlanMany(int *plan, int rank, int *n, int *inembed, int istride, int idist, int *onembed, int ostride,
                     int odist, Type type, int batch) {
    cufftCreate(plan);
    return cufftMakePlanMany(*plan, rank, n, inembed, istride, idist, onembed, ostride, odist, type, batch, nullptr);
}

Result cufftPlan1d(int *plan, int n, Type type, int batch) {
    cufftCreate(plan);
    return cufftMakePlan1d(*plan, n, type, batch, nullptr);
}

Result cufftPlan2d(int *plan, int nx, int ny, Type type) {
    cufftCreate(plan);
    return cufftMakePlan2d(*plan, nx, ny, type, nullptr);
}

Result cufftGetSize(int plan, size_t *work_bytes) {
    find(plan, "cufftGetSize");
    *work_bytes = 0;
    return SUCCESS;
}

Result cufftSetAutoAllocation(int plan, int) {
    find(plan, "cufftSetAutoAllocation");
    return SUCCESS;
}

Result cufftSetWorkArea(int plan, void *) {
    find(plan, "cufftSetWorkArea");
    return SUCCESS;
}

Result cufftSetStream(int plan, const void *stream) {
    find(plan, "cufftSetStream");
    emulator::check_stream(stream, "cufftSetStream");
    return SUCCESS;
}

Result cufftExecC2C(int plan, Complex32 *from, Complex32 *to, int direction) {
    return execute("cufftExecC2C", plan, C2C, from, to, direction);
}

Result cufftExecZ2Z(int plan, Complex64 *from, Complex64 *to, int direction) {
    return execute("cufftExecZ2Z", plan, Z2Z, from, to, direction);
}

} // extern "C"
