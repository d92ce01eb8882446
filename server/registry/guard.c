#include "server/registry/guard.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A slot is free while its length is 0. It is claimed by its length and opened to the handler by its beginning. */
struct guard {
    _Atomic uintptr_t begin;
    _Atomic size_t length;
    _Atomic bool is_broken;
};

/* Mutable and global, against the habit of the house, because a signal's handler has no argument of ours. */
static struct guard guards[GUARD_CAPACITY];
static _Atomic size_t guards_used; /* slots from here on were never claimed */
static uintptr_t page_bytes;

static struct guard *find_guard(uintptr_t address) {
    size_t used = atomic_load(&guards_used);
    for (size_t i = 0; i < used; i++) {
        uintptr_t begin = atomic_load(&guards[i].begin);
        if (begin != 0 && address >= begin && address - begin < atomic_load(&guards[i].length))
            return &guards[i];
    }
    return NULL;
}

/*
 * Puts zero pages from the address to the range's end: its numbers are lost anyway, and one fault is enough. Other
 * threads may be reading there: what they read is thrown away. By the system call itself, since mmap is not among the
 * functions that a signal's handler may call.
 */
static bool replace_pages(struct guard *guard, uintptr_t address) {
    uintptr_t from = address & ~(page_bytes - 1);
    uintptr_t end = (atomic_load(&guard->begin) + atomic_load(&guard->length) + page_bytes - 1) & ~(page_bytes - 1);
    atomic_store(&guard->is_broken, true);
    return syscall(SYS_mmap, from, end - from, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0L) != -1;
}

/* Returning after the default action is restored repeats the fault, and that ends the process with the right signal. */
static void on_bus_error(int number, siginfo_t *about, void *context) {
    (void)context;
    int saved = errno;
    struct guard *guard = about->si_code > 0 ? find_guard((uintptr_t)about->si_addr) : NULL;
    if (guard == NULL || !replace_pages(guard, (uintptr_t)about->si_addr)) {
        signal(number, SIG_DFL);
        if (about->si_code <= 0) /* sent by someone: nothing repeats it */
            raise(number);
    }
    errno = saved;
}

static void install(void) {
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_RESTART};
    page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

static void note_used(size_t count) {
    size_t used = atomic_load(&guards_used);
    while (used < count && !atomic_compare_exchange_weak(&guards_used, &used, count))
        continue;
}

struct guard *guard_add(void *begin, size_t length) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install);
    for (size_t i = 0; i < GUARD_CAPACITY; i++) {
        size_t is_free = 0;
        if (!atomic_compare_exchange_strong(&guards[i].length, &is_free, length))
            continue;
        note_used(i + 1);
        atomic_store(&guards[i].is_broken, false);
        atomic_store(&guards[i].begin, (uintptr_t)begin);
        return &guards[i];
    }
    return NULL;
}

void guard_remove(struct guard *guard) {
    if (guard == NULL)
        return;
    atomic_store(&guard->begin, 0);
    atomic_store(&guard->length, 0);
}

bool guard_is_broken(const struct guard *guard) {
    return guard != NULL && atomic_load(&guard->is_broken);
}
