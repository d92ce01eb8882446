/**
 * @file reader.h
 * What reading a JSON body needs at every place of it: the scanner, the memory, the limits, and where a problem goes.
 */
#ifndef SERVER_CODEC_READER_H
#define SERVER_CODEC_READER_H

#include "server/base/arena.h"
#include "server/base/problem.h"
#include "server/codec/scan.h"
#include <attn/tensor.h>

struct reader {
    struct scan scan;
    struct arena *arena;
    struct problem *problem;
    size_t max_elements; /**< of one tensor */
    attn_dtype dtype;    /**< of floating tensors: ATTN_FLOAT32 or ATTN_FLOAT64 */
};

/** A place in the body, from which a JSON pointer is made when something is wrong there. */
struct place {
    const char *base;   /**< the field's pointer: "/query", "/params/in_proj_weight" */
    const char *member; /**< "data" or "shape" of an object form, or NULL */
    size_t index[ATTN_MAX_RANK + 1];
    int depth; /**< how many indices there are */
};

/** Room for any pointer. */
struct pointer_text {
    char text[sizeof((struct problem *)0)->pointer];
};

struct pointer_text place_pointer(const struct place *place);

/** Turns the scanner's fault into a problem with its offset. @return false, always. */
bool reader_malformed(struct reader *reader, const char *pointer);
/** The same for a fault found by someone else than the scanner. */
bool reader_malformed_at(struct reader *reader, const char *pointer, const char *at, const char *why);
/** A value of the wrong kind stands here: PROBLEM_INVALID, or PROBLEM_MALFORMED where it is not JSON at all.
 * @return false, always. */
bool reader_unexpected(struct reader *reader, const char *pointer, const char *expected);
/** @return false, always, with the problem filled. */
bool reader_out_of_memory(struct reader *reader);
bool reader_too_many(struct reader *reader, const char *pointer);

#endif
