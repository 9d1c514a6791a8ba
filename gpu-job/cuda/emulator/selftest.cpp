// Holds the emulator against definitions, and sees that it stops programs which do what a GPU would not forgive.

#include <cuda.h>
#include <library_types.h>
#include <vector_types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <complex>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <random>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using Complex = std::complex<float>;

extern "C" {
int cublasCreate_v2(void **);
int cublasGemmStridedBatchedEx(void *, int, int, int, int, int, const void *, const void *, cudaDataType, int,
                               long long, const void *, cudaDataType, int, long long, const void *, void *,
                               cudaDataType, int, long long, int, int, int);
int cublasCherk_v2(void *, int, int, int, int, const float *, const Complex *, int, const float *, Complex *, int);
int cufftPlanMany(int *, int, int *, int *, int, int, int *, int, int, int, int);
int cufftExecC2C(int, Complex *, Complex *, int);
}

namespace {

constexpr int COMPUTE_32F = 68, COMPUTE_TF32 = 77, C2C = 41;
std::mt19937 random_bits(1);
void *blas = nullptr;

void expect(bool right, const std::string &what) {
    if (right) return;
    fprintf(stderr, "wrong: %s\n", what.c_str());
    exit(1);
}

void draw(float &value) { value = std::normal_distribution<float>()(random_bits); }
void draw(Complex &value) {
    float parts[2];
    draw(parts[0]), draw(parts[1]);
    value = {parts[0], parts[1]};
}

template <class T> std::vector<T> random(size_t count) {
    std::vector<T> values(count);
    for (T &value : values) draw(value);
    return values;
}

// Values on the device.
template <class T> struct Device {
    CUdeviceptr pointer = 0;
    size_t count;

    explicit Device(size_t count) : count(count) { cuMemAlloc(&pointer, count * sizeof(T)); }
    explicit Device(const std::vector<T> &values) : Device(values.size()) {
        cuMemcpyHtoD(pointer, values.data(), count * sizeof(T));
    }
    Device(const Device &) = delete;
    ~Device() { cuMemFree(pointer); }
    T *data() const { return reinterpret_cast<T *>(pointer); }
    std::vector<T> read() const {
        std::vector<T> values(count);
        cuMemcpyDtoH(values.data(), pointer, count * sizeof(T));
        return values;
    }
};

template <class A, class B> double difference(const std::vector<A> &found, const std::vector<B> &expected) {
    double error = 0, size = 0;
    for (size_t i = 0; i < expected.size(); ++i) {
        error += std::norm(std::complex<double>(found[i]) - std::complex<double>(expected[i]));
        size += std::norm(std::complex<double>(expected[i]));
    }
    return std::sqrt(error / size);
}

void launch(const char *name, dim3 grid, dim3 block, std::vector<void *> arguments, unsigned shared = 0) {
    std::string parameters;
    for (size_t at = 0; at < arguments.size(); ++at) parameters += ".param ";
    CUmodule module;
    CUfunction function;
    cuModuleLoadData(&module, (".entry " + std::string(name) + "(" + parameters + ")").c_str());
    cuModuleGetFunction(&function, module, name);
    cuLaunchKernel(function, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, nullptr, arguments.data(),
                   nullptr);
    cuModuleUnload(module);
}

void blocks_and_warps() {
    auto values = random<float>(7 * 128);
    Device<float> from(values), sums(7);
    launch("block_sums", 7, 128, {(void *)&from.pointer, &sums.pointer});
    std::vector<double> expected(7);
    for (size_t i = 0; i < values.size(); ++i) expected[i / 128] += values[i];
    expect(difference(sums.read(), expected) < 1e-6, "sums of blocks");

    Device<unsigned> counts(std::vector<unsigned>(3 * 2 * 2 * 7 * 9 * 2));
    launch("visits", dim3(3, 2, 2), dim3(7, 9, 2), {&counts.pointer});
    for (unsigned count : counts.read()) expect(count == 1, "visits of threads");

    auto lanes = std::vector<float>(values.begin(), values.begin() + 64);
    Device<float> warps(lanes);
    launch("warp_sums", 1, 64, {&warps.pointer});
    std::vector<double> of_warps(64);
    for (size_t i = 0; i < 64 * 32; ++i) of_warps[i / 32] += lanes[i / 32 / 32 * 32 + i % 32];
    expect(difference(warps.read(), of_warps) < 1e-6, "sums of warps");

    unsigned count = 50;
    Device<float> turned(lanes);
    launch("reversal", 1, 64, {&turned.pointer, &count}, count * sizeof(float));
    std::reverse(lanes.begin(), lanes.begin() + count);
    expect(turned.read() == lanes, "shared memory of a launch");
}

float turned(float value, int) { return value; }
Complex turned(Complex value, int operation) { return operation == 2 ? std::conj(value) : value; }

// One batch of products of any transposes, with leading dimensions, strides, alpha and beta.
template <class T> double product_error(cudaDataType type, int on_a, int on_b, int m, int n, int k, int compute) {
    const int batches = 3, lda = (on_a ? k : m) + 2, ldb = (on_b ? n : k) + 1, ldc = m + 3;
    const size_t stride_a = size_t(lda) * (on_a ? m : k), stride_b = size_t(ldb) * (on_b ? k : n),
                 stride_c = size_t(ldc) * n;
    auto a = random<T>(batches * stride_a), b = random<T>(batches * stride_b), c = random<T>(batches * stride_c);
    T alpha, beta;
    draw(alpha), draw(beta);
    Device<T> on_device_a(a), on_device_b(b), on_device_c(c);
    cublasGemmStridedBatchedEx(blas, on_a, on_b, m, n, k, &alpha, on_device_a.data(), type, lda, stride_a,
                               on_device_b.data(), type, ldb, stride_b, &beta, on_device_c.data(), type, ldc, stride_c,
                               batches, compute, 0);
    std::vector<std::complex<double>> expected(c.begin(), c.end());
    for (int batch = 0; batch < batches; ++batch)
        for (int i = 0; i < m; ++i)
            for (int j = 0; j < n; ++j) {
                std::complex<double> sum = 0;
                for (int p = 0; p < k; ++p) {
                    T of_a = turned(a[batch * stride_a + (on_a ? size_t(i) * lda + p : size_t(p) * lda + i)], on_a);
                    T of_b = turned(b[batch * stride_b + (on_b ? size_t(p) * ldb + j : size_t(j) * ldb + p)], on_b);
                    sum += std::complex<double>(of_a) * std::complex<double>(of_b);
                }
                auto &to = expected[batch * stride_c + size_t(j) * ldc + i];
                to = std::complex<double>(alpha) * sum + std::complex<double>(beta) * to;
            }
    return difference(on_device_c.read(), expected);
}

void products() {
    for (int on_a = 0; on_a < 3; ++on_a)
        for (int on_b = 0; on_b < 3; ++on_b)
            for (auto [m, n, k] : {std::array{5, 7, 3}, std::array{150, 131, 300}}) {
                expect(product_error<float>(CUDA_R_32F, on_a, on_b, m, n, k, COMPUTE_32F) < 1e-6, "real products");
                expect(product_error<Complex>(CUDA_C_32F, on_a, on_b, m, n, k, COMPUTE_32F) < 1e-6, "complex products");
            }
    double error = product_error<float>(CUDA_R_32F, 0, 0, 20, 20, 100, COMPUTE_TF32);
    bool exact = getenv("CUDA_EMULATOR_TF32") && !atoi(getenv("CUDA_EMULATOR_TF32"));
    expect(exact ? error < 1e-6 : error > 5e-5 && error < 1e-3, "products in TF32");

    const int n = 9, k = 20;
    auto a = random<Complex>(n * k);
    Device<Complex> from(a), to(n * n);
    float one = 1, zero = 0;
    cublasCherk_v2(blas, 0, 0, n, k, &one, from.data(), n, &zero, to.data(), n);
    auto found = to.read();
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j) {
            Complex sum = 0;
            for (int p = 0; p < k; ++p) sum += a[p * n + i] * std::conj(a[p * n + j]);
            expect(i < j ? std::isnan(found[j * n + i].real()) : std::abs(found[j * n + i] - sum) < 1e-4, "a triangle");
        }
}

// A batch of transforms of `n` samples each third, against the definition.
void transform(int n) {
    int batch = 4, plan, embed = 3 * n;
    auto values = random<Complex>(batch * embed);
    Device<Complex> from(values), to(size_t(batch * n));
    cufftPlanMany(&plan, 1, &n, &embed, 3, embed, &n, 1, n, C2C, batch);
    cufftExecC2C(plan, from.data(), to.data(), -1);
    std::vector<std::complex<double>> expected(batch * n);
    for (int i = 0; i < batch * n; ++i)
        for (int j = 0; j < n; ++j)
            expected[i] += std::complex<double>(values[i / n * embed + 3 * j]) *
                           std::polar(1.0, -2 * M_PI * (long(i % n) * j % n) / n);
    expect(difference(to.read(), expected) < 1e-6, "a transform of " + std::to_string(n));
}

void transforms() {
    for (int n : {1, 2, 7, 8, 30, 97, 192, 250}) transform(n);
    int sizes[] = {6, 10}, plan;
    auto values = random<Complex>(60);
    Device<Complex> data(values);
    cufftPlanMany(&plan, 2, sizes, nullptr, 1, 0, nullptr, 1, 0, C2C, 1);
    cufftExecC2C(plan, data.data(), data.data(), 1);
    std::vector<std::complex<double>> expected(60);
    for (int i = 0; i < 60; ++i)
        for (int j = 0; j < 60; ++j)
            expected[i] += std::complex<double>(values[j]) *
                           std::polar(1.0, 2 * M_PI * (i / 10 * (j / 10) / 6.0 + i % 10 * (j % 10) / 10.0));
    expect(difference(data.read(), expected) < 1e-6, "a transform of two axes");
}

// In a process of its own, before this one has threads.
void stopped(const char *what, const std::function<void()> &misdeed) {
    fflush(nullptr);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(1);
        misdeed();
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, std::string(what) + " was not noticed");
}

void misdeeds() {
    Device<float> ten(10);
    for (float value : ten.read()) expect(std::isnan(value), "fresh memory is not NaN");
    auto write = [&](size_t at) { launch("write_at", 1, 1, {&ten.pointer, &at}); };
    write(9);
    stopped("a write behind the end", [&] { write(12); });
    stopped("a write before the start", [&] { write(-2000); });
    stopped("memory that was freed", [&] {
        cuMemFree(ten.pointer);
        write(0);
    });
    stopped("a copy that is too long", [&] {
        float host[11];
        cuMemcpyDtoH(host, ten.pointer, sizeof host);
    });
    stopped("a grid without blocks", [&] { launch("visits", 0, 1, {&ten.pointer}); });
    stopped("a block of 2000 threads", [&] { launch("visits", 1, 2000, {&ten.pointer}); });
    stopped("an unknown kernel", [&] { launch("nothing", 1, 1, {&ten.pointer}); });
    stopped("another number of parameters", [&] { launch("visits", 1, 1, {&ten.pointer, &ten.pointer}); });
    stopped("different barriers", [&] { launch("diverging_barriers", 1, 64, {&ten.pointer}); });
    stopped("a product beyond a tensor", [&] {
        float one = 1;
        cublasGemmStridedBatchedEx(blas, 0, 0, 2, 2, 2, &one, ten.data(), CUDA_R_32F, 2, 4, ten.data(), CUDA_R_32F, 2,
                                   4, &one, ten.data(), CUDA_R_32F, 2, 4, 3, COMPUTE_32F, 0);
    });
}

} // namespace

int main() {
    CUcontext context;
    cuInit(0);
    cuDevicePrimaryCtxRetain(&context, 0);
    cuCtxSetCurrent(context);
    cublasCreate_v2(&blas);
    misdeeds();
    blocks_and_warps();
    products();
    transforms();
    puts("the emulator keeps its promises");
}
