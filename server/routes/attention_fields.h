/**
 * @file attention_fields.h
 * The fields of POST /attention: one row a field, with how it is read and which modes take it.
 */
#ifndef SERVER_ROUTES_ATTENTION_FIELDS_H
#define SERVER_ROUTES_ATTENTION_FIELDS_H

#include "server/codec/document.h"

/** What attends; a request is in exactly one mode. Bits, so that a field can say which modes take it. */
enum attention_mode {
    ATTENTION_RAW = 1,         /**< scaled dot-product attention, no projections */
    ATTENTION_PARAMS = 2,      /**< multi-head attention with weights in the request */
    ATTENTION_MODEL = 4,       /**< an attention layer of the registry */
    ATTENTION_GIVEN = 8,       /**< `attention_weights`: computed elsewhere */
    ATTENTION_TRANSFORMER = 16 /**< a whole model of the registry */
};

/** The table as the document reader takes it. */
extern const struct field_spec attention_field_specs[];
extern const size_t attention_field_count;

/** @return "raw", "params", "model (attention layer)", "attention_weights" or "model (transformer)". */
const char *attention_mode_name(enum attention_mode mode);

/** Modes between which only the registry can tell: which kind of model it is. */
#define ATTENTION_ANY_MODEL (ATTENTION_MODEL | ATTENTION_TRANSFORMER)

/**
 * Decides the mode by which of `params`, `model` and `attention_weights` is there; ATTENTION_MODEL stands for
 * both kinds of models.
 * @return false with PROBLEM_INVALID where there is more than one.
 */
bool attention_mode_find(const struct document *document, enum attention_mode *mode, struct problem *problem);

/** @return false with PROBLEM_INVALID naming the first field that goes with none of a set of modes. */
bool attention_fields_check(const struct document *document, unsigned modes, struct problem *problem);

/** Adds "did you mean" to a problem about an unknown field whose name is nearly one of the table, and what to do about
 * rows of ids that are uneven. */
void attention_fields_hint(struct problem *problem);

#endif
