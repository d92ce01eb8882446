/**
 * @file attention_cost.h
 * The cost model: roughly how long a request will take, so that small ones run to their end where they were read and
 * everything else goes to the pool. A hand-over to a worker costs two wake-ups, about 38 us of processor time.
 */
#ifndef SERVER_ROUTES_ATTENTION_COST_H
#define SERVER_ROUTES_ATTENTION_COST_H

#include <stdbool.h>
#include <stddef.h>

/** Requests that are estimated to take longer go to the pool. */
#define ATTENTION_COST_THRESHOLD_NS 100000.0

/** What the time of a request depends on. */
struct attention_work {
    size_t body_bytes;
    bool body_is_binary;
    double flops, exponentials;
    size_t answer_numbers;
    bool answer_is_binary;
};

/** @return the estimate in nanoseconds; never negative, grows with every member. Thread safe. */
double attention_cost_ns(const struct attention_work *work);

/** @return whether the work is cheaper than handing it over. Thread safe. */
bool attention_cost_is_small(const struct attention_work *work);

#endif
