/* One vector an item from its hidden states (Reimers and Gurevych 2019, section 3). */
#include "lib/aggregate/loops.h"
#include "lib/plan/plan.h"

#include <math.h>
#include <string.h>

static bool exists_at(const uint8_t *exists, size_t at) {
    return exists == NULL || exists[at] != 0;
}

/* The tokens of an item that are pooled: begin .. end-1, those among them that are padding left out. */
static void find_pooled(attn_pooling pooling, const uint8_t *exists, size_t length, size_t *begin, size_t *end) {
    *begin = 0;
    *end = length;
    while (*begin < *end && !exists_at(exists, *begin))
        (*begin)++;
    while (*begin < *end && !exists_at(exists, *end - 1))
        (*end)--;
    if (*begin < *end && pooling == ATTN_POOLING_CLS)
        *end = *begin + 1;
    if (*begin < *end && pooling == ATTN_POOLING_LAST)
        *begin = *end - 1;
}

enum { CHUNK = 256 };

/* The mean of columns first .. first+count-1 over the pooled tokens, 0 where there are none. */
static void find_means(const struct attn_loops *loops, const char *column, size_t row_bytes, const uint8_t *exists,
                       size_t begin, size_t end, double means[CHUNK], size_t count) {
    double tokens = 0;
    memset(means, 0, count * sizeof *means);
    for (size_t token = begin; token < end; token++) {
        if (!exists_at(exists, token))
            continue;
        loops->add_to_sums(means, column + token * row_bytes, count);
        tokens++;
    }
    for (size_t j = 0; j < count && tokens > 0; j++)
        means[j] /= tokens;
}

static void normalize(const struct attn_loops *loops, char *row, size_t width, size_t bytes) {
    const double norm = sqrt(loops->dot(row, row, width));
    for (size_t first = 0; first < width && norm > 0; first += CHUNK) {
        const size_t count = width - first < CHUNK ? width - first : CHUNK;
        double values[CHUNK];
        loops->to_double(values, row + first * bytes, count);
        for (size_t j = 0; j < count; j++)
            values[j] /= norm;
        loops->from_double(row + first * bytes, values, count);
    }
}

void attn_pool(attn_pooling pooling, bool normalizes, const struct attn_view *hidden, const uint8_t *exists,
               const struct attn_view *pooled) {
    const struct attn_loops *loops = attn_loops_of(hidden->dtype);
    const size_t length = hidden->shape[1], width = hidden->shape[2], bytes = attn_dtype_bytes(hidden->dtype);
    for (size_t item = 0; item < hidden->shape[0]; item++) {
        const char *rows = (const char *)hidden->data + item * length * width * bytes;
        const uint8_t *own = exists != NULL ? exists + item * length : NULL;
        char *to = (char *)pooled->data + item * width * bytes;
        size_t begin, end;
        find_pooled(pooling, own, length, &begin, &end);
        for (size_t first = 0; first < width; first += CHUNK) {
            const size_t count = width - first < CHUNK ? width - first : CHUNK;
            double means[CHUNK];
            find_means(loops, rows + first * bytes, width * bytes, own, begin, end, means, count);
            loops->from_double(to + first * bytes, means, count);
        }
        if (normalizes)
            normalize(loops, to, width, bytes);
    }
}
