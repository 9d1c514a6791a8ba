// Generators of cuRAND, which candle makes with every device. No numbers: gpu-job draws its own on the CPU.

#include "emulator.h"

namespace {
enum Status { SUCCESS = 0 };
struct Generator {};
} // namespace

#pragma GCC visibility push(default)
extern "C" {

Status curandCreateGenerator(Generator **generator, int) {
    *generator = new Generator;
    return SUCCESS;
}

Status curandDestroyGenerator(Generator *generator) {
    delete generator;
    return SUCCESS;
}

Status curandSetPseudoRandomGeneratorSeed(Generator *, unsigned long long) { return SUCCESS; }
Status curandSetGeneratorOffset(Generator *, unsigned long long) { return SUCCESS; }

Status curandSetStream(Generator *, const void *stream) {
    emulator::check_stream(stream, "curandSetStream");
    return SUCCESS;
}

} // extern "C"
