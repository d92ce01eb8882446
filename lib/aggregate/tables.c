#include "lib/aggregate/tables.h"

/* clang-format off */
const struct attn_form_info attn_forms[ATTN_FORM_COUNT] = {
    /*                            name            shape of an item         streams  needs  source */
    [ATTN_FORM_AVERAGE]       = { "average",       ATTN_ITEM_LT,            true,   ATTN_NEEDS_NOTHING,
                                  "arithmetic mean over heads" },
    [ATTN_FORM_PER_HEAD]      = { "per_head",      ATTN_ITEM_HLT,           true,   ATTN_NEEDS_NOTHING,
                                  "Vaswani et al. 2017, section 3.2.2" },
    [ATTN_FORM_CONCAT]        = { "concat",        ATTN_ITEM_LTH,           true,   ATTN_NEEDS_DENSE,
                                  "heads as the last axis" },
    [ATTN_FORM_MAX]           = { "max",           ATTN_ITEM_LT,            true,   ATTN_NEEDS_NOTHING,
                                  "elementwise maximum over heads" },
    [ATTN_FORM_MIN]           = { "min",           ATTN_ITEM_LT,            true,   ATTN_NEEDS_NOTHING,
                                  "elementwise minimum over heads" },
    [ATTN_FORM_HEAD_WEIGHTED] = { "head_weighted", ATTN_ITEM_LT,            true,   ATTN_NEEDS_NOTHING,
                                  "weighted mean over heads" },
    [ATTN_FORM_PCA]           = { "pca",           ATTN_ITEM_LT_COMPONENTS, false,  ATTN_NEEDS_SOFTMAX | ATTN_NEEDS_DENSE,
                                  "Pearson 1901; Hotelling 1933" },
    [ATTN_FORM_VALUE_NORM]    = { "value_norm",    ATTN_ITEM_HLT,           true,   ATTN_NEEDS_SOFTMAX | ATTN_NEEDS_VALUES,
                                  "Kobayashi et al. 2020" },
    [ATTN_FORM_OUTPUT_NORM]   = { "output_norm",   ATTN_ITEM_HLT,           true,
                                  ATTN_NEEDS_SOFTMAX | ATTN_NEEDS_VALUES | ATTN_NEEDS_OUT_WEIGHT,
                                  "Kobayashi et al. 2020" },
    [ATTN_FORM_ROLLOUT]       = { "rollout",       ATTN_ITEM_LL,            false,  ATTN_NEEDS_SOFTMAX | ATTN_NEEDS_SQUARE,
                                  "Abnar and Zuidema 2020, attention rollout" },
    [ATTN_FORM_FLOW]          = { "flow",          ATTN_ITEM_LL,            false,
                                  ATTN_NEEDS_SOFTMAX | ATTN_NEEDS_SQUARE | ATTN_NEEDS_NON_NEGATIVE,
                                  "Abnar and Zuidema 2020, attention flow; Dinitz 1970" },
};

const struct attn_analysis_info attn_analyses[ATTN_ANALYSIS_COUNT] = {
    /*                                 name               shape         needs                    source */
    [ATTN_ANALYSIS_ENTROPY]         = { "entropy",         ATTN_ITEM_HL, ATTN_NEEDS_NON_NEGATIVE, "Shannon 1948" },
    [ATTN_ANALYSIS_MEAN_DISTANCE]   = { "mean_distance",   ATTN_ITEM_H,  ATTN_NEEDS_NOTHING,      "Vig and Belinkov 2019" },
    [ATTN_ANALYSIS_HEAD_DISTANCE]   = { "head_distance",   ATTN_ITEM_HH, ATTN_NEEDS_NON_NEGATIVE,
                                        "Clark et al. 2019; Endres and Schindelin 2003" },
    [ATTN_ANALYSIS_HEAD_CONFIDENCE] = { "head_confidence", ATTN_ITEM_H,  ATTN_NEEDS_NOTHING,      "Voita et al. 2019" },
    [ATTN_ANALYSIS_RECEIVED]        = { "received",        ATTN_ITEM_HT, ATTN_NEEDS_NOTHING,      "column means" },
    [ATTN_ANALYSIS_SINK]            = { "sink",            ATTN_ITEM_H,  ATTN_NEEDS_NOTHING,      "Xiao et al. 2024" },
    [ATTN_ANALYSIS_SINK_MASS]       = { "sink_mass",       ATTN_ITEM_HL, ATTN_NEEDS_NOTHING,      "gpt-oss" },
    [ATTN_ANALYSIS_DIAGONAL]        = { "diagonal",        ATTN_ITEM_H,  ATTN_NEEDS_NOTHING,      "Clark et al. 2019" },
    [ATTN_ANALYSIS_PREVIOUS]        = { "previous",        ATTN_ITEM_H,  ATTN_NEEDS_NOTHING,      "Clark et al. 2019" },
    [ATTN_ANALYSIS_NEXT]            = { "next",            ATTN_ITEM_H,  ATTN_NEEDS_NOTHING,      "Clark et al. 2019" },
    [ATTN_ANALYSIS_DUPLICATE]       = { "duplicate",       ATTN_ITEM_H,  ATTN_NEEDS_TOKENS,       "Wang et al. 2022" },
    [ATTN_ANALYSIS_INDUCTION]       = { "induction",       ATTN_ITEM_H,  ATTN_NEEDS_TOKENS,       "Olsson et al. 2022" },
};

static const char *const internal_names[] = {
    [ATTN_INTERNAL_QUERY] = "query",           [ATTN_INTERNAL_KEY] = "key",
    [ATTN_INTERNAL_VALUE] = "value",           [ATTN_INTERNAL_CONTEXT] = "context",
    [ATTN_INTERNAL_LOGSUMEXP] = "logsumexp",   [ATTN_INTERNAL_MAX_SCORE] = "max_score",
};

static const char *const stage_names[] = {
    [ATTN_STAGE_RAW] = "raw",       [ATTN_STAGE_SOFTCAPPED] = "softcapped",
    [ATTN_STAGE_MASKED] = "masked", [ATTN_STAGE_SOFTMAX] = "softmax",
};

static const char *const fusion_names[] = {
    [ATTN_FUSION_MEAN] = "mean", [ATTN_FUSION_MAX] = "max", [ATTN_FUSION_MIN] = "min",
};
/* clang-format on */

const char *attn_form_name(attn_form form) {
    return (unsigned)form < ATTN_FORM_COUNT ? attn_forms[form].name : NULL;
}

const char *attn_analysis_name(attn_analysis analysis) {
    return (unsigned)analysis < ATTN_ANALYSIS_COUNT ? attn_analyses[analysis].name : NULL;
}

const char *attn_internal_name(attn_internal internal) {
    return (unsigned)internal < ATTN_INTERNAL_COUNT ? internal_names[internal] : NULL;
}

const char *attn_stage_name(attn_stage stage) {
    return (unsigned)stage < ATTN_STAGE_COUNT ? stage_names[stage] : NULL;
}

const char *attn_fusion_name(attn_fusion fusion) {
    return (unsigned)fusion < ATTN_FUSION_COUNT ? fusion_names[fusion] : NULL;
}
