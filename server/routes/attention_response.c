#include "server/routes/attention_response.h"
#include "server/base/clock.h"
#include "server/codec/number.h"
#include "server/codec/single.h"
#include <stdio.h>

/** Answers up to this bound are encoded at once by whoever computed them; larger ones are pulled. */
#define EAGER_BYTES ((size_t)16 << 20)
/** The least that an encoder wants to be given. */
#define ENCODER_CAPACITY 64

const char *const attention_media_types[MEDIA_COUNT] = {"application/json", "application/vnd.safetensors",
                                                        "application/x-npy", "application/octet-stream", "text/csv"};

static size_t pull_json(void *self, char *to, size_t capacity) {
    return encoder_next(self, to, capacity);
}

static size_t pull_binary(void *self, char *to, size_t capacity) {
    return binary_encoder_next(self, to, capacity);
}

/** Pulls everything into one buffer. @return false where there is no memory for it: then it can still be pulled. */
static bool encode_at_once(struct exchange *exchange, const struct body_source *source, size_t bound,
                           const char *content_type) {
    size_t capacity = bound + ENCODER_CAPACITY, used = 0, written;
    if (bound > EAGER_BYTES) {
        return false;
    }
    char *bytes = arena_reserve(exchange->arena, capacity);
    if (bytes == NULL) {
        return false;
    }
    while (capacity - used >= ENCODER_CAPACITY &&
           (written = source->next(source->self, bytes + used, capacity - used)) > 0) {
        used += written;
    }
    arena_commit(exchange->arena, used);
    exchange_reply(exchange, 200, content_type, bytes, used);
    return true;
}

static void respond_with(struct exchange *exchange, const struct body_source *source, size_t bound,
                         enum attention_media media) {
    uint64_t started = clock_ns();
    if (!encode_at_once(exchange, source, bound, attention_media_types[media])) {
        exchange->response.status = 200;
        exchange->response.content_type = attention_media_types[media];
        exchange->response.source = *source;
    }
    exchange->response.may_compress = media == MEDIA_JSON || media == MEDIA_CSV;
    exchange->timings.encode_ms += clock_ms_since(started);
}

static bool respond_json(struct exchange *exchange, const struct attention_answer *answer,
                         struct encode_options options) {
    struct encoder *encoder = attention_encode_json(exchange->arena, answer, &exchange->timings, options);
    if (encoder == NULL) {
        return false;
    }
    struct body_source source = {.next = pull_json, .self = encoder, .length = UINT64_MAX};
    respond_with(exchange, &source, encoder_bound(encoder), MEDIA_JSON);
    return true;
}

static bool respond_safetensors(struct exchange *exchange, const struct attention_answer *answer) {
    struct binary_encoder *encoder = attention_encode_safetensors(exchange->arena, answer, &exchange->timings);
    if (encoder == NULL) {
        return false;
    }
    uint64_t length = binary_encoder_length(encoder);
    struct body_source source = {.next = pull_binary, .self = encoder, .length = length};
    respond_with(exchange, &source, (size_t)length, MEDIA_SAFETENSORS);
    return true;
}

static size_t pull_single(void *self, char *to, size_t capacity) {
    return single_encoder_next(self, to, capacity);
}

/** X-Tensor-Shape: "2,3,3", and X-Tensor-Dtype: what octets do not say of themselves. */
static void describe_octets(struct exchange *exchange, const struct attn_view *view) {
    char shape[ATTN_MAX_RANK * 21 + 1] = "";
    size_t used = 0;
    for (int axis = 0; axis < view->rank && used < sizeof shape; axis++) {
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%zu", axis > 0 ? "," : "", view->shape[axis]);
    }
    exchange_add_header(exchange, "X-Tensor-Shape", shape);
    exchange_add_header(exchange, "X-Tensor-Dtype", attn_dtype_name(view->dtype));
}

static bool respond_single(struct exchange *exchange, const struct attention_answer *answer, enum attention_media media,
                           int digits) {
    static const enum single_format formats[MEDIA_COUNT] = {
        [MEDIA_NPY] = SINGLE_NPY, [MEDIA_OCTETS] = SINGLE_RAW, [MEDIA_CSV] = SINGLE_CSV};
    const struct attn_view *view = &answer->result->tensors[0].values;
    struct single_encoder *encoder = single_encoder_create(exchange->arena, formats[media], view, digits);
    if (encoder == NULL) {
        return false;
    }
    if (media == MEDIA_OCTETS) {
        describe_octets(exchange, view);
    }
    uint64_t length = single_encoder_length(encoder);
    struct body_source source = {.next = pull_single, .self = encoder, .length = length};
    size_t bound = length == UINT64_MAX ? attn_view_elements(view) * NUMBER_MAX_TEXT : (size_t)length;
    respond_with(exchange, &source, bound, media);
    return true;
}

bool attention_respond(struct exchange *exchange, const struct attention_answer *answer, enum attention_media media,
                       struct encode_options options) {
    bool is_made = media == MEDIA_JSON          ? respond_json(exchange, answer, options)
                   : media == MEDIA_SAFETENSORS ? respond_safetensors(exchange, answer)
                                                : respond_single(exchange, answer, media, options.digits);
    if (!is_made) {
        problem_set(&exchange->problem, PROBLEM_BUSY, NULL, "out of memory");
        exchange->problem.retry_after_s = 1;
    }
    return is_made;
}
