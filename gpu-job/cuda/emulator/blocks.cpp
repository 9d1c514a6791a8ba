#include "blocks.h"
#include "emulator.h"

#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <ucontext.h>
#include <vector>

namespace emulator {

EMULATOR_OF_THREAD Place place;

namespace {

constexpr size_t STACK_BYTES = 256 << 10;

struct Barrier {
    unsigned members = 0, arrived = 0;
    uint64_t generation = 0;
    const char *file = nullptr;
    int line = 0;

    void open() {
        arrived = 0;
        ++generation;
    }

    void leave() {
        --members;
        if (arrived > 0 && arrived == members) open();
    }
};

// A stack on which threads run one after the other, until one waits: then the next thread begins on another stack.
struct Fiber {
    enum { IDLE, WAITING, LAST } state = IDLE;
    const Barrier *barrier = nullptr;
    uint64_t generation = 0;
    uint3 thread = {};
    bool in_thread = false;
    jmp_buf resume;
    ucontext_t entry;
    // None for the first fiber, which is the CPU thread itself.
    std::unique_ptr<char[]> stack;
    bool entered = true;
};

struct Block {
    const Kernel *kernel;
    void **arguments;
    unsigned count, next, alive;
    // The place of thread `next`.
    uint3 begins;
    Barrier all;
    std::vector<Barrier> warps;
    std::vector<uint64_t> slots;
    std::vector<double> shared;
    std::vector<std::unique_ptr<Fiber>> fibers;
    size_t current = 0;

    Fiber &fiber() { return *fibers[current]; }
};

// Of this CPU thread, made when it first runs one.
EMULATOR_OF_THREAD Block *own = nullptr;

unsigned flat() {
    const uint3 &size = place.blockDim;
    return (place.threadIdx.z * size.y + place.threadIdx.y) * size.x + place.threadIdx.x;
}

// Threads and blocks from the last to the first: what depends on their order shows.
const bool REVERSED = setting("CUDA_EMULATOR_REVERSE", 0) != 0;

void switch_to(size_t at);
void switch_away();

void fiber_main() {
    for (;;) {
        own->kernel->threads(own->arguments);
        own->fiber().state = Fiber::IDLE;
        switch_away();
    }
}

void switch_to(size_t at) {
    Fiber *from = &own->fiber(), *to = own->fibers[at].get();
    own->current = at;
    if (from == to) return;
    // Not swapcontext, which asks the kernel for the signal mask each time.
    if (_setjmp(from->resume) != 0) return;
    if (to->entered) _longjmp(to->resume, 1);
    to->entered = true;
    setcontext(&to->entry);
}

std::unique_ptr<Fiber> new_fiber() {
    auto fiber = std::make_unique<Fiber>();
    fiber->stack.reset(new char[STACK_BYTES]);
    getcontext(&fiber->entry);
    fiber->entry.uc_stack.ss_sp = fiber->stack.get();
    fiber->entry.uc_stack.ss_size = STACK_BYTES;
    fiber->entry.uc_link = nullptr;
    makecontext(&fiber->entry, fiber_main, 0);
    fiber->entered = false;
    return fiber;
}

bool ready(const Fiber &fiber) {
    if (fiber.state == Fiber::LAST) return own->alive == 0;
    return fiber.state == Fiber::WAITING && fiber.barrier->generation != fiber.generation;
}

// Goes on with a thread that has not begun, else with one whose barrier has opened.
void switch_away() {
    size_t fibers = own->fibers.size();
    if (own->next < own->count) {
        for (size_t at = 1; at < fibers; ++at)
            if (own->fibers[at]->state == Fiber::IDLE) return switch_to(at);
        own->fibers.push_back(new_fiber());
        return switch_to(fibers);
    }
    for (size_t step = 1; step <= fibers; ++step) {
        size_t at = (own->current + step) % fibers;
        if (ready(*own->fibers[at])) return switch_to(at);
    }
    fail("%s: some threads of a block wait for the block, others for their warp", own->kernel->name);
}

void wait(Barrier &barrier, const char *file, int line) {
    // Text that the compiler keeps once a file.
    if (barrier.arrived > 0 && (barrier.line != line || barrier.file != file))
        fail("%s: threads meet at different barriers, %s:%d and %s:%d", own->kernel->name, barrier.file, barrier.line,
             file, line);
    barrier.file = file;
    barrier.line = line;
    if (++barrier.arrived == barrier.members) return barrier.open();
    Fiber &mine = own->fiber();
    mine.state = Fiber::WAITING;
    mine.barrier = &barrier;
    mine.generation = barrier.generation;
    mine.thread = place.threadIdx;
    switch_away();
    place.threadIdx = mine.thread;
}

void run_block(const Kernel &kernel, size_t shared_bytes, void **arguments) {
    const uint3 &size = place.blockDim;
    own->kernel = &kernel;
    own->arguments = arguments;
    own->count = own->alive = size.x * size.y * size.z;
    own->next = 0;
    own->begins = {0, 0, 0};
    own->all = {own->count};
    own->warps.assign((own->count + WARP - 1) / WARP, {WARP});
    if (own->count % WARP) own->warps.back().members = own->count % WARP;
    own->slots.assign(own->warps.size() * WARP, 0);
    // Bytes of 0xFF: shared memory begins undefined.
    own->shared.resize((shared_bytes + sizeof(double) - 1) / sizeof(double));
    if (shared_bytes > 0) memset(own->shared.data(), 0xFF, shared_bytes);
    if (own->fibers.empty()) own->fibers.push_back(std::make_unique<Fiber>());
    own->current = 0;
    kernel.threads(arguments);
    own->fiber().state = Fiber::LAST;
    if (own->alive > 0) switch_away();
    own->fiber().state = Fiber::IDLE;
}

} // namespace

bool next_thread() {
    Fiber &mine = own->fiber();
    if (mine.in_thread) {
        --own->alive;
        own->all.leave();
        own->warps[flat() / WARP].leave();
    }
    mine.in_thread = own->next < own->count;
    if (!mine.in_thread) return false;
    const uint3 &size = place.blockDim;
    uint3 &at = own->begins;
    place.threadIdx = REVERSED ? uint3{size.x - 1 - at.x, size.y - 1 - at.y, size.z - 1 - at.z} : at;
    ++own->next;
    // Without the divisions that finding the place of a number takes.
    if (++at.x < size.x) return true;
    at.x = 0;
    if (++at.y < size.y) return true;
    at.y = 0;
    ++at.z;
    return true;
}

void block_barrier(const char *file, int line) { wait(own->all, file, line); }
void warp_barrier(const char *file, int line) { wait(own->warps[flat() / WARP], file, line); }
unsigned lane() { return flat() % WARP; }
void *warp_slot(unsigned lane) { return &own->slots[flat() / WARP * WARP + lane % WARP]; }
void *dynamic_shared() { return own->shared.data(); }

void run(const Kernel &kernel, uint3 grid, uint3 size, size_t shared_bytes, void **arguments) {
    size_t blocks = size_t(grid.x) * grid.y * grid.z;
    // Several blocks a task, since a block can be a matter of nanoseconds.
    size_t share = blocks / 64 + 1;
    parallel((blocks + share - 1) / share, [&](size_t task) {
        running = kernel.name;
        if (!own) own = new Block;
        place.blockDim = size;
        place.gridDim = grid;
        for (size_t done = task * share; done < blocks && done < (task + 1) * share; ++done) {
            size_t at = REVERSED ? blocks - 1 - done : done;
            unsigned x = at % grid.x, y = at / grid.x % grid.y, z = at / grid.x / grid.y;
            place.blockIdx = {x, y, z};
            run_block(kernel, shared_bytes, arguments);
        }
        running = nullptr;
    });
}

} // namespace emulator
