/*
 * Every one of the 2^32 floats, and millions of random decimals.
 *
 * Printing. The digits of the portable printer are those of std::to_chars, which prints the fewest digits that read
 * back, and of these the nearest (C++17 [charconv.to.chars]); its implementation, Ryu, shares neither method nor table
 * with ours. So equality for every float proves both. The text in its own notation reads back to the same bits, with
 * every variant's reader; every other variant's text is the portable one's byte for byte; a negative number's text is
 * "-" and the positive one's. For each count of digits that a variant does by itself, its text is the portable one's,
 * which unit tests hold to printf.
 *
 * Reading. Random decimals of mixed shapes are read, by every variant, to the bits that the C library reads.
 */
#include "server/codec/number_internal.h"
#include "tests/exhaustive/number_peer.h"
#include "tests/unit/codec_number_random.h"
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define BLOCK 4096
#define DECIMALS 20000000
#define THREADS_MAX 64
/** Digit counts that are compared; beyond, all variants call the same function. */
#define DIGITS_MAX 7

/** What one thread works with. */
struct worker {
    float values[BLOCK];
    float back[BLOCK];
    double wide[BLOCK];
    char portable[BLOCK * NUMBER_MAX_TEXT];
    char other[BLOCK * NUMBER_MAX_TEXT];
    char negative[BLOCK * NUMBER_MAX_TEXT];
};

static atomic_uint next_block;
static atomic_ullong fault_count;
static unsigned stride = 1;

static void report(const char *what, const char *variant, float value) {
    if (atomic_fetch_add(&fault_count, 1) < 20) {
        printf("%s (%s): %a = %.9g, bits %08x\n", what, variant, (double)value, (double)value, number_bits_f32(value));
    }
}

/** Copies the digits without point, leading and trailing zeros. @return their exponent as in d.ddd */
static int take_digits(const char *text, const char *end, char digits[20]) {
    int count = 0;
    int point = 0;
    bool is_behind_point = false;
    for (; text < end && *text != 'e'; text++) {
        if (*text == '.') {
            is_behind_point = true;
            continue;
        }
        bool is_leading = count == 0 && *text == '0';
        point += is_behind_point ? -is_leading : !is_leading;
        if (!is_leading && count < 19) {
            digits[count++] = *text;
        }
    }
    while (count > 0 && digits[count - 1] == '0') {
        count--;
    }
    digits[count] = '\0';
    return point - 1 + (text < end ? atoi(text + 1) : 0);
}

static void check_digits(const struct worker *worker, const char *end) {
    const char *text = worker->portable;
    for (size_t i = 0; i < BLOCK; i++) {
        const char *comma = memchr(text, ',', (size_t)(end - text));
        comma = comma == NULL ? end : comma;
        char ours[32];
        char theirs[32];
        char copy[40] = {0};
        memcpy(copy, text, (size_t)(comma - text));
        char peer[40] = {0};
        char *peer_end = peer_print_f32(peer, worker->values[i]);
        int our_exponent = take_digits(copy, copy + (comma - text), ours);
        int their_exponent = take_digits(peer, peer_end, theirs);
        if (strcmp(ours, theirs) != 0 || (our_exponent != their_exponent && worker->values[i] != 0)) {
            report("not the shortest", copy, worker->values[i]);
        }
        text = comma + 1;
    }
}

static void check_same(struct worker *worker, const struct number_variant *variant, int digits, const char *end) {
    char *other_end = variant->print_run_f32(worker->other, worker->values, BLOCK, digits);
    size_t length = (size_t)(end - worker->portable);
    if ((size_t)(other_end - worker->other) == length && memcmp(worker->other, worker->portable, length) == 0) {
        return;
    }
    for (size_t i = 0; i < BLOCK; i++) {
        char one[2][NUMBER_MAX_TEXT + 1];
        *number_portable_print_run_f32(one[0], worker->values + i, 1, digits) = '\0';
        *variant->print_run_f32(one[1], worker->values + i, 1, digits) = '\0';
        if (strcmp(one[0], one[1]) != 0) {
            report(one[1], variant->name, worker->values[i]);
        }
    }
}

/** Puts a minus in front of every number of the portable text. */
static char *negate(struct worker *worker, const char *end) {
    char *to = worker->negative;
    *to++ = '-';
    for (const char *p = worker->portable; p < end; p++) {
        *to++ = *p;
        if (*p == ',') {
            *to++ = '-';
        }
    }
    return to;
}

static void check_reads_back(struct worker *worker, const struct number_variant *variant, const char *text,
                             const char *end) {
    size_t count;
    const char *after;
    enum number_status status = variant->read_run_f32(text, end, worker->back, BLOCK, &count, &after);
    if (status != NUMBER_OK || count != BLOCK || after != end) {
        report("not read", variant->name, worker->values[count < BLOCK ? count : 0]);
        return;
    }
    for (size_t i = 0; i < BLOCK && memcmp(worker->back, worker->values, sizeof worker->values) != 0; i++) {
        if (number_bits_f32(worker->back[i]) != number_bits_f32(worker->values[i])) {
            report("does not read back", variant->name, worker->values[i]);
        }
    }
}

static void fill(struct worker *worker, uint32_t first) {
    for (uint32_t i = 0; i < BLOCK; i++) {
        uint32_t bits = first + i;
        memcpy(worker->values + i, &bits, sizeof bits);
    }
}

/** The variants that this machine can run, portable first. @return how many */
static size_t usable_variants(const struct number_variant *usable[8]) {
    size_t count;
    size_t usable_count = 0;
    const struct number_variant *const *variants = number_variants(&count);
    while (count-- > 0) {
        if (variants[count]->is_supported()) {
            usable[usable_count++] = variants[count];
        }
    }
    return usable_count;
}

/** Reads the text with every reader there is: variants may share one. */
static void check_all_read_back(struct worker *worker, const char *text, const char *end) {
    const struct number_variant *variants[8];
    size_t count = usable_variants(variants);
    for (size_t v = 0; v < count; v++) {
        if (v == 0 || variants[v]->read_run_f32 != variants[0]->read_run_f32) {
            check_reads_back(worker, variants[v], text, end);
        }
    }
}

/** All that is claimed of the shortest text of the finite floats from `first` on, and of their negatives'. */
static void check_shortest(struct worker *worker, uint32_t first) {
    const struct number_variant *variants[8];
    size_t count = usable_variants(variants);
    fill(worker, first);
    char *end = number_portable_print_run_f32(worker->portable, worker->values, BLOCK, 0);
    check_digits(worker, end);
    check_all_read_back(worker, worker->portable, end);
    for (size_t v = 1; v < count; v++) {
        check_same(worker, variants[v], 0, end);
    }
    char *negative_end = negate(worker, end);
    size_t length = (size_t)(negative_end - worker->negative);
    fill(worker, first | 0x80000000);
    check_all_read_back(worker, worker->negative, negative_end);
    for (size_t v = 0; v < count; v++) {
        char *own_end = variants[v]->print_run_f32(worker->other, worker->values, BLOCK, 0);
        if ((size_t)(own_end - worker->other) != length || memcmp(worker->other, worker->negative, length) != 0) {
            report("negatives differ", variants[v]->name, worker->values[0]);
        }
    }
}

/** Every count of digits that the variants do by themselves. */
static void check_digit_counts(struct worker *worker, uint32_t first) {
    const struct number_variant *variants[8];
    size_t count = usable_variants(variants);
    fill(worker, first);
    for (int digits = 1; digits <= DIGITS_MAX; digits++) {
        char *end = number_portable_print_run_f32(worker->portable, worker->values, BLOCK, digits);
        for (size_t v = 1; v < count; v++) {
            check_same(worker, variants[v], digits, end);
        }
    }
}

/** What is not finite is one of three texts. */
static void check_not_finite(struct worker *worker, uint32_t first) {
    const struct number_variant *variants[8];
    size_t count = usable_variants(variants);
    fill(worker, first);
    for (size_t v = 0; v < count; v++) {
        const char *text = worker->other;
        char *end = variants[v]->print_run_f32(worker->other, worker->values, BLOCK, 0);
        *end = ',';
        for (uint32_t i = 0; i < BLOCK; i++) {
            const char *wanted = isnan(worker->values[i]) ? "\"NaN\","
                                 : worker->values[i] > 0  ? "\"Infinity\","
                                                          : "\"-Infinity\",";
            if (strncmp(text, wanted, strlen(wanted)) != 0) {
                report("not finite", variants[v]->name, worker->values[i]);
                break;
            }
            text += strlen(wanted);
        }
    }
}

static struct worker *create_worker(void) {
    struct worker *worker = malloc(sizeof *worker);
    if (worker == NULL) {
        abort();
    }
    return worker;
}

/** Takes blocks of the floats that are not negative until there are none left. */
static void *work_shortest(void *unused) {
    (void)unused;
    struct worker *worker = create_worker();
    uint64_t first;
    while ((first = (uint64_t)atomic_fetch_add(&next_block, 1) * stride * BLOCK) <= INT32_MAX) {
        if (first < 0x7f800000) {
            check_shortest(worker, (uint32_t)first);
        } else {
            check_not_finite(worker, (uint32_t)first);
            check_not_finite(worker, (uint32_t)first | 0x80000000);
        }
    }
    free(worker);
    return NULL;
}

static void *work_digit_counts(void *unused) {
    (void)unused;
    struct worker *worker = create_worker();
    uint64_t first;
    while ((first = (uint64_t)atomic_fetch_add(&next_block, 1) * stride * BLOCK) < 0x7f800000) {
        check_digit_counts(worker, (uint32_t)first);
    }
    free(worker);
    return NULL;
}

/** Fills worker->portable with 64 random decimals that no type overflows on. @return its end */
static char *fill_decimals(struct worker *worker, size_t starts[64], uint64_t *state) {
    char *to = worker->portable;
    for (size_t i = 0; i < 64; i++) {
        starts[i] = (size_t)(to - worker->portable);
        int written = random_number(to, state);
        while (isinf(strtof(to, NULL))) {
            written = random_number(to, state);
        }
        to += written;
        *to++ = ',';
    }
    return to - 1;
}

/** One run of random decimals, read by every variant and by the C library. */
static void check_decimals(struct worker *worker, uint64_t *state) {
    const struct number_variant *variants[8];
    size_t variant_count = usable_variants(variants);
    size_t starts[64];
    char *end = fill_decimals(worker, starts, state);
    for (size_t v = 0; v < variant_count; v++) {
        size_t counts[2];
        const char *after;
        variants[v]->read_run_f32(worker->portable, end, worker->back, 64, &counts[0], &after);
        variants[v]->read_run_f64(worker->portable, end, worker->wide, 64, &counts[1], &after);
        for (size_t i = 0; i < 64; i++) {
            float narrow = strtof(worker->portable + starts[i], NULL);
            double wide = strtod(worker->portable + starts[i], NULL);
            if (counts[0] != 64 || number_bits_f32(narrow) != number_bits_f32(worker->back[i])) {
                report("decimal misread", variants[v]->name, narrow);
            }
            if (counts[1] != 64 || number_bits_f64(wide) != number_bits_f64(worker->wide[i])) {
                report("decimal misread as double", variants[v]->name, (float)wide);
            }
        }
    }
}

static void *work_decimals(void *seed) {
    struct worker *worker = create_worker();
    uint64_t state = *(uint64_t *)seed;
    while (atomic_fetch_add(&next_block, 1) < DECIMALS / 64) {
        check_decimals(worker, &state);
    }
    free(worker);
    return NULL;
}

/** Runs a part on so many threads, and says how it went. */
static void run(const char *name, int threads, void *(*what)(void *)) {
    struct timespec start;
    struct timespec end;
    pthread_t ids[THREADS_MAX];
    uint64_t seeds[THREADS_MAX];
    atomic_store(&next_block, 0);
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < threads; i++) {
        seeds[i] = (uint64_t)i + 1;
        if (pthread_create(&ids[i], NULL, what, &seeds[i]) != 0) {
            abort();
        }
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
    printf("%s: %.0f s, %llu faults\n", name, seconds, atomic_load(&fault_count));
    fflush(stdout);
}

/** number_exhaustive [THREADS [STRIDE]]: with a stride, every STRIDE-th block of 4096 floats. */
int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 2;
    threads = threads < 1 ? 1 : threads > THREADS_MAX ? THREADS_MAX : threads;
    stride = argc > 2 ? (unsigned)atoi(argv[2]) : 1;
    stride = stride < 1 ? 1 : stride;
    run("20 million random decimals", threads, work_decimals);
    run(stride == 1 ? "shortest text of all 2^32 floats" : "shortest text of some floats", threads, work_shortest);
    run(stride == 1 ? "1 to 7 digits of all floats" : "1 to 7 digits of some floats", threads, work_digit_counts);
    return atomic_load(&fault_count) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
