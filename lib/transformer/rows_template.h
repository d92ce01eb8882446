/* The loops of rows.h for one type: REAL, and ROWS(name), which names them. */

static void ROWS(add)(REAL *row, const REAL *other, size_t count) {
    for (size_t i = 0; i < count; i++)
        row[i] += other[i];
}

static void ROWS(multiply)(REAL *row, const REAL *factors, size_t count) {
    for (size_t i = 0; i < count; i++)
        row[i] *= factors[i];
}

static void ROWS(scale)(REAL *row, REAL factor, size_t count) {
    for (size_t i = 0; i < count; i++)
        row[i] *= factor;
}

static void ROWS(add_scaled)(REAL *row, REAL factor, const REAL *other, size_t count) {
    for (size_t i = 0; i < count; i++)
        row[i] += factor * other[i];
}

static void ROWS(rotate)(REAL *head, const REAL *table, size_t width, bool is_paired) {
    const size_t half = width / 2, step = is_paired ? 2 : 1, apart = is_paired ? 1 : half;
    for (size_t i = 0; i < half; i++) {
        const REAL first = head[i * step], second = head[i * step + apart];
        head[i * step] = first * table[i] - second * table[half + i];
        head[i * step + apart] = second * table[i] + first * table[half + i];
    }
}

static void ROWS(clamped_glu)(REAL *gate, const REAL *up, REAL alpha, REAL limit, size_t count) {
    for (size_t i = 0; i < count; i++) {
        REAL g = gate[i], u = up[i];
        if (limit > 0) {
            g = g > limit ? limit : g;
            u = u > limit ? limit : u < -limit ? -limit : u;
        }
        gate[i] = (u + 1) * (g / (1 + ROWS(exp)(-alpha * g)));
    }
}
