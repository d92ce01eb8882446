/**
 * @file attention_response.h
 * Turns a result into a response: JSON or safetensors pulled from the result's own memory, or one tensor by itself.
 */
#ifndef SERVER_ROUTES_ATTENTION_RESPONSE_H
#define SERVER_ROUTES_ATTENTION_RESPONSE_H

#include "server/codec/encode.h"
#include "server/http/exchange.h"
#include "server/routes/attention_answer.h"

/** The media types of an answer, the default first. */
enum attention_media { MEDIA_JSON, MEDIA_SAFETENSORS, MEDIA_NPY, MEDIA_OCTETS, MEDIA_CSV, MEDIA_COUNT };

/** @return "application/json" and so on. */
extern const char *const attention_media_types[MEDIA_COUNT];

/**
 * Answers. Small answers are encoded at once; large ones are pulled while the socket takes them, so that the answer
 * must live as long as the exchange.
 * @return false with exchange->problem filled.
 */
bool attention_respond(struct exchange *exchange, const struct attention_answer *answer, enum attention_media media,
                       struct encode_options options);

/** The parts of it. All return NULL out of memory. */
struct encoder *attention_encode_json(struct arena *arena, const struct attention_answer *answer,
                                      const struct exchange_timings *timings, struct encode_options options);
struct binary_encoder *attention_encode_safetensors(struct arena *arena, const struct attention_answer *answer,
                                                    const struct exchange_timings *timings);

#endif
