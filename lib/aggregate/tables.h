/** @file tables.h What there is to know of each form and analysis besides how it is computed. */
#ifndef LIB_AGGREGATE_TABLES_H
#define LIB_AGGREGATE_TABLES_H

#include <attn/aggregate.h>

/** Shape of a batch item's tensor; H counts the chosen heads, T all columns. */
enum attn_item_shape {
    ATTN_ITEM_LT,
    ATTN_ITEM_HLT,
    ATTN_ITEM_LTH,
    ATTN_ITEM_LT_COMPONENTS,
    ATTN_ITEM_LL,
    ATTN_ITEM_H,
    ATTN_ITEM_HL,
    ATTN_ITEM_HT,
    ATTN_ITEM_HH
};

enum attn_need {
    ATTN_NEEDS_NOTHING = 0,
    ATTN_NEEDS_SOFTMAX = 1,      /**< is of the softmax weights only */
    ATTN_NEEDS_VALUES = 2,       /**< not for weights that were computed elsewhere */
    ATTN_NEEDS_OUT_WEIGHT = 4,   /**< an output projection */
    ATTN_NEEDS_DENSE = 8,        /**< does not go with top_k */
    ATTN_NEEDS_SQUARE = 16,      /**< L = T, no columns behind the keys */
    ATTN_NEEDS_TOKENS = 32,      /**< token numbers */
    ATTN_NEEDS_NON_NEGATIVE = 64 /**< negative weights are an error */
};

struct attn_form_info {
    const char *name;
    enum attn_item_shape shape;
    bool streams; /**< false: the weights of all chosen heads, or a fused matrix, are held */
    unsigned needs;
    const char *source;
};

struct attn_analysis_info {
    const char *name;
    enum attn_item_shape shape;
    unsigned needs;
    const char *source;
};

extern const struct attn_form_info attn_forms[ATTN_FORM_COUNT];
extern const struct attn_analysis_info attn_analyses[ATTN_ANALYSIS_COUNT];

#endif
