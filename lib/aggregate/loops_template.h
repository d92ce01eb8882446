/* Included by loops.c once for each dtype, with REAL the C type and NAMED(x) the function's name. No include guard. */

CLONES static void NAMED(scale)(void *to_data, const void *row_data, size_t count, double factor) {
    REAL *restrict to = to_data;
    const REAL *restrict row = row_data;
    REAL c = (REAL)factor;
    for (size_t j = 0; j < count; j++)
        to[j] = c * row[j];
}

CLONES static void NAMED(add_scaled)(void *to_data, const void *row_data, size_t count, double factor) {
    REAL *restrict to = to_data;
    const REAL *restrict row = row_data;
    REAL c = (REAL)factor;
    for (size_t j = 0; j < count; j++)
        to[j] += c * row[j];
}

CLONES static void NAMED(maximum)(void *to_data, const void *row_data, size_t count) {
    REAL *restrict to = to_data;
    const REAL *restrict row = row_data;
    for (size_t j = 0; j < count; j++) {
        REAL larger = row[j] > to[j] ? row[j] : to[j];
        to[j] = row[j] != row[j] ? row[j] : larger;
    }
}

CLONES static void NAMED(minimum)(void *to_data, const void *row_data, size_t count) {
    REAL *restrict to = to_data;
    const REAL *restrict row = row_data;
    for (size_t j = 0; j < count; j++) {
        REAL smaller = row[j] < to[j] ? row[j] : to[j];
        to[j] = row[j] != row[j] ? row[j] : smaller;
    }
}

CLONES static void NAMED(norm_product)(void *to_data, const void *row_data, const void *norm_data, size_t count) {
    REAL *restrict to = to_data;
    const REAL *restrict row = row_data, *restrict norms = norm_data;
    for (size_t j = 0; j < count; j++) {
        REAL magnitude = row[j] < 0 ? -row[j] : row[j];
        REAL product = magnitude * norms[j];
        to[j] = row[j] == 0 ? 0 : product;
    }
}

/* (heads, keys) to (keys, heads), some keys at a time so that the rows read from stay in the first-level cache. */
static void NAMED(interleave)(void *to_data, const void *rows_data, size_t heads, size_t keys) {
    enum { TILE = 32 };
    for (size_t begin = 0; begin < keys; begin += TILE) {
        const size_t end = keys - begin < TILE ? keys : begin + TILE;
        for (size_t head = 0; head < heads; head++) {
            const REAL *restrict row = (const REAL *)rows_data + head * keys;
            REAL *restrict to = (REAL *)to_data + head;
            for (size_t j = begin; j < end; j++)
                to[j * heads] = row[j];
        }
    }
}

static void NAMED(from_double)(void *to_data, const double *row, size_t count) {
    REAL *restrict to = to_data;
    for (size_t j = 0; j < count; j++)
        to[j] = (REAL)row[j];
}

static void NAMED(to_double)(double *to, const void *row_data, size_t count) {
    const REAL *restrict row = row_data;
    for (size_t j = 0; j < count; j++)
        to[j] = (double)row[j];
}

CLONES static double NAMED(sum)(const void *row_data, size_t count) {
    const REAL *restrict row = row_data;
    double total = 0;
    for (size_t j = 0; j < count; j++)
        total += (double)row[j];
    return total;
}

CLONES static double NAMED(dot)(const void *left_data, const void *right_data, size_t count) {
    const REAL *left = left_data, *right = right_data;
    double total = 0;
    for (size_t j = 0; j < count; j++)
        total += (double)left[j] * (double)right[j];
    return total;
}

CLONES static double NAMED(largest)(const void *row_data, size_t count) {
    const REAL *restrict row = row_data;
    REAL best = (REAL)-INFINITY;
    for (size_t j = 0; j < count; j++)
        best = row[j] > best ? row[j] : best;
    return (double)best;
}

CLONES static bool NAMED(has_nonzero)(const void *row_data, size_t count) {
    const REAL *restrict row = row_data;
    int found = 0;
    for (size_t j = 0; j < count; j++)
        found |= row[j] != 0;
    return found != 0;
}

CLONES static bool NAMED(has_negative)(const void *row_data, size_t count) {
    const REAL *restrict row = row_data;
    int found = 0;
    for (size_t j = 0; j < count; j++)
        found |= row[j] < 0;
    return found != 0;
}

CLONES static double NAMED(distance)(const void *row_data, size_t count, double first, double place) {
    const REAL *restrict row = row_data;
    enum { PART = 1 << 20 }; /* a vector of int becomes one of double in one instruction, size_t does not */
    double total = 0;
    for (size_t begin = 0; begin < count; begin += PART) {
        const int part = count - begin < PART ? (int)(count - begin) : PART;
        const double from = first - place + (double)begin;
        for (int j = 0; j < part; j++)
            total += (double)row[begin + (size_t)j] * fabs(from + (double)j);
    }
    return total;
}

CLONES static void NAMED(add_to_sums)(double *restrict sums, const void *row_data, size_t count) {
    const REAL *restrict row = row_data;
    for (size_t j = 0; j < count; j++)
        sums[j] += (double)row[j];
}

CLONES static double NAMED(entropy)(const void *row_data, size_t count) {
    const REAL *restrict row = row_data;
    double total = 0;
    for (size_t j = 0; j < count; j++)
        total -= (double)(row[j] * NAMED(log)(row[j]));
    return total;
}

/* With m the mean of p and q, and d = (q - p) / (p + q): half the sum of m * ((1-d) log(1-d) + (1+d) log(1+d)). */
CLONES static double NAMED(divergence)(const void *left_data, const void *right_data, size_t count, double left_scale,
                                       double right_scale) {
    const REAL *restrict left = left_data, *restrict right = right_data;
    double total = 0;
    for (size_t j = 0; j < count; j++) {
        double p = (double)left[j] * left_scale, q = (double)right[j] * right_scale;
        double both = p + q;
        double ratio = (q - p) / both;
        double d = both > 0 ? ratio : 0;
        total += both * divergence_term(d);
    }
    return total / 4;
}

CLONES static double NAMED(token_sum)(const void *row_data, const int64_t *restrict tokens, size_t count,
                                      int64_t token) {
    const REAL *restrict row = row_data;
    double total = 0;
    for (size_t j = 0; j < count; j++)
        total += tokens[j] == token ? (double)row[j] : 0;
    return total;
}

static double NAMED(at)(const void *row_data, size_t index) {
    return (double)((const REAL *)row_data)[index];
}

/* Whether an entry is kept rather than another one: larger, NaN largest, ties to the lower key. */
static inline bool NAMED(is_ahead)(REAL left, int64_t left_key, REAL right, int64_t right_key) {
    bool left_nan = left != left, right_nan = right != right;
    if (left_nan != right_nan)
        return left_nan;
    if (left_nan || left == right)
        return left_key < right_key;
    return left > right;
}

/* Restores the heap below `at`: the entry that would be dropped first is at the root. */
static void NAMED(sift)(REAL *values, int64_t *keys, size_t count, size_t at) {
    for (;;) {
        size_t last = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++)
            if (NAMED(is_ahead)(values[last], keys[last], values[child], keys[child]))
                last = child;
        if (last == at)
            return;
        REAL value = values[at];
        int64_t key = keys[at];
        values[at] = values[last], keys[at] = keys[last];
        values[last] = value, keys[last] = key;
        at = last;
    }
}

static void NAMED(top)(void *values_data, int64_t *keys, size_t kept, const void *row_data, size_t count,
                       size_t first_key) {
    REAL *values = values_data;
    const REAL *row = row_data;
    for (size_t j = 0; j < kept; j++) {
        values[j] = row[j];
        keys[j] = (int64_t)(first_key + j);
    }
    for (size_t at = kept / 2; at-- > 0;)
        NAMED(sift)(values, keys, kept, at);
    for (size_t j = kept; j < count; j++) {
        if (row[j] <= values[0] || !NAMED(is_ahead)(row[j], (int64_t)(first_key + j), values[0], keys[0]))
            continue;
        values[0] = row[j], keys[0] = (int64_t)(first_key + j);
        NAMED(sift)(values, keys, kept, 0);
    }
    for (size_t left = kept; left-- > 1;) {
        REAL value = values[0];
        int64_t key = keys[0];
        values[0] = values[left], keys[0] = keys[left];
        values[left] = value, keys[left] = key;
        NAMED(sift)(values, keys, left, 0);
    }
}

static const struct attn_loops NAMED(loops) = {
    .scale = NAMED(scale),
    .add_scaled = NAMED(add_scaled),
    .maximum = NAMED(maximum),
    .minimum = NAMED(minimum),
    .norm_product = NAMED(norm_product),
    .interleave = NAMED(interleave),
    .from_double = NAMED(from_double),
    .to_double = NAMED(to_double),
    .sum = NAMED(sum),
    .largest = NAMED(largest),
    .has_nonzero = NAMED(has_nonzero),
    .has_negative = NAMED(has_negative),
    .distance = NAMED(distance),
    .add_to_sums = NAMED(add_to_sums),
    .entropy = NAMED(entropy),
    .divergence = NAMED(divergence),
    .token_sum = NAMED(token_sum),
    .at = NAMED(at),
    .dot = NAMED(dot),
    .top = NAMED(top),
};
