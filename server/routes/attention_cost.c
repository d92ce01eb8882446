#include "server/routes/attention_cost.h"

/*
 * Nanoseconds a unit, one core, rounded up: an estimate too high costs a hand-over, one too low makes every client of
 * the event thread wait. Small matrix products run far from a BLAS's peak, hence 20 GFLOP/s and not 100.
 */
#define NS_FIXED 5000.0
#define NS_A_JSON_BYTE 1.0
#define NS_A_BINARY_BYTE 0.05
#define NS_A_FLOP 0.05
#define NS_AN_EXPONENTIAL 1.5
#define NS_A_JSON_NUMBER 16.0
#define NS_A_BINARY_NUMBER 0.2

double attention_cost_ns(const struct attention_work *work) {
    double a_byte = work->body_is_binary ? NS_A_BINARY_BYTE : NS_A_JSON_BYTE;
    double a_number = work->answer_is_binary ? NS_A_BINARY_NUMBER : NS_A_JSON_NUMBER;
    return NS_FIXED + a_byte * (double)work->body_bytes + NS_A_FLOP * work->flops +
           NS_AN_EXPONENTIAL * work->exponentials + a_number * (double)work->answer_numbers;
}

bool attention_cost_is_small(const struct attention_work *work) {
    return attention_cost_ns(work) <= ATTENTION_COST_THRESHOLD_NS;
}
