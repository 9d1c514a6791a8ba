// Device memory: each allocation lies between two pages that nobody may touch, and ends where the second begins, so
// that a kernel that reads or writes past the end of a tensor stops there, as does one that uses memory after it was
// freed.

#include "emulator.h"

#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

namespace emulator {

thread_local const char *running = nullptr;

namespace {

// Vectors of 16 bytes keep their alignment; the 256 bytes of a real device would hide what lies behind the end.
constexpr size_t ALIGNMENT = 16;
constexpr unsigned char FRESH = 0xFF;

struct Allocation {
    size_t bytes;
    // All pages with the two guards.
    char *pages;
    size_t pages_bytes;
};

std::mutex guard;
// By address.
std::map<uintptr_t, Allocation> allocations;
size_t used = 0;
struct sigaction former;

size_t page() {
    static const size_t size = sysconf(_SC_PAGESIZE);
    return size;
}

size_t rounded(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

// The allocation that begins at or before the address, or the end of the map.
auto before(uintptr_t address) {
    auto next = allocations.upper_bound(address);
    return next == allocations.begin() ? allocations.end() : std::prev(next);
}

// Tells an access to a guard page from other faults, which are left to whoever handled them before.
void on_fault(int signal, siginfo_t *info, void *) {
    uintptr_t address = reinterpret_cast<uintptr_t>(info->si_addr);
    const char *who = running ? running : "the program";
    // No access under the lock faults. Of several threads that fault, the first keeps it until the end.
    std::unique_lock lock(guard);
    for (const auto &[start, allocation] : allocations) {
        uintptr_t pages = reinterpret_cast<uintptr_t>(allocation.pages);
        if (address < pages || address >= pages + allocation.pages_bytes) continue;
        bool behind = address >= start;
        fail("%s touched memory %zu bytes %s an allocation of %zu bytes", who,
             behind ? address - start - allocation.bytes : start - address, behind ? "behind the end of" : "before",
             allocation.bytes);
    }
    if (running) fail("%s touched address %p, which is no device memory, or no longer", who, info->si_addr);
    lock.unlock();
    sigaction(signal, &former, nullptr);
}

void watch_faults() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        // Not on the stack that Rust sets aside for signals, which is too small for a message.
        action.sa_flags = SA_SIGINFO;
        sigaction(SIGSEGV, &action, &former);
    });
}

// Bytes of the pages that belong to no tensor are still as they were.
void check_margins(const Allocation &allocation, const char *start) {
    auto check = [&](const char *from, const char *to, const char *where) {
        for (; from < to; ++from)
            if (static_cast<unsigned char>(*from) != FRESH)
                fail("something was written %s an allocation of %zu bytes", where, allocation.bytes);
    };
    check(allocation.pages + page(), start, "before");
    check(start + allocation.bytes, allocation.pages + allocation.pages_bytes - page(), "behind");
}

// A whole line at once, so that those of several threads do not mix.
void print(const char *before, const char *format, va_list arguments) {
    char line[512];
    vsnprintf(line, sizeof line, format, arguments);
    fprintf(stderr, "%s%s\n", before, line);
}

} // namespace

void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    print("CUDA emulator: ", format, arguments);
    abort();
}

void trace(const char *format, ...) {
    static const bool on = setting("CUDA_EMULATOR_TRACE", 0) != 0;
    if (!on) return;
    va_list arguments;
    va_start(arguments, format);
    print("", format, arguments);
    va_end(arguments);
}

double setting(const char *name, double otherwise) {
    const char *value = getenv(name);
    if (!value || !*value) return otherwise;
    char *end;
    double number = strtod(value, &end);
    if (*end) fail("%s is %s, which is no number", name, value);
    return number;
}

size_t memory_total() {
    static const size_t total = setting("CUDA_EMULATOR_GIB", 139) * (size_t(1) << 30);
    return total;
}

size_t memory_free() {
    std::lock_guard lock(guard);
    return memory_total() - used;
}

void *allocate(size_t bytes) {
    watch_faults();
    size_t body = rounded(bytes, ALIGNMENT), span = rounded(body, page());
    std::lock_guard lock(guard);
    if (bytes > memory_total() - used) return nullptr;
    void *mapped = mmap(nullptr, span + 2 * page(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    char *pages = static_cast<char *>(mapped), *inside = pages + page();
    if (mprotect(inside, span, PROT_READ | PROT_WRITE) != 0) fail("mprotect refused %zu bytes", span);
    memset(inside, FRESH, span);
    char *start = inside + span - body;
    allocations[reinterpret_cast<uintptr_t>(start)] = {bytes, pages, span + 2 * page()};
    used += bytes;
    return start;
}

void release(void *pointer) {
    if (!pointer) return;
    std::lock_guard lock(guard);
    auto found = allocations.find(reinterpret_cast<uintptr_t>(pointer));
    if (found == allocations.end()) fail("%p was freed, but is no allocation, or was freed before", pointer);
    check_margins(found->second, static_cast<char *>(pointer));
    used -= found->second.bytes;
    munmap(found->second.pages, found->second.pages_bytes);
    allocations.erase(found);
}

void check_device(const void *pointer, size_t bytes, const char *what) {
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    std::lock_guard lock(guard);
    auto found = before(address);
    if (found == allocations.end() || address > found->first + found->second.bytes)
        fail("%s: %p is no device memory, or no longer", what, pointer);
    size_t left = found->first + found->second.bytes - address;
    if (bytes > left) fail("%s: %zu bytes at %p, but the allocation ends after %zu", what, bytes, pointer, left);
}

void check_host(const void *pointer, const char *what) {
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    std::lock_guard lock(guard);
    auto found = before(address);
    if (found != allocations.end() && address < found->first + found->second.bytes)
        fail("%s: %p is device memory, where host memory is expected", what, pointer);
}

bool may_be_device(const void *pointer) {
    uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
    std::lock_guard lock(guard);
    auto found = before(address);
    return !pointer || (found != allocations.end() && address <= found->first + found->second.bytes);
}

} // namespace emulator
