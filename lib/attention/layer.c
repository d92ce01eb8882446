/* A state dict's names, resolved to one attention layer. Families of names are rows of a table. */
#include "lib/tensor/error.h"
#include "lib/tensor/shape.h"
#include <attn/layer.h>

#include <stdio.h>
#include <string.h>

/* What a tensor is to the layer. PACKED is query, key and value in one, along the first axis. */
enum role {
    Q_WEIGHT,
    K_WEIGHT,
    V_WEIGHT,
    OUT_WEIGHT,
    Q_BIAS,
    K_BIAS,
    V_BIAS,
    OUT_BIAS,
    BIAS_K,
    BIAS_V,
    PACKED_WEIGHT,
    PACKED_BIAS,
    ROLE_COUNT
};

struct family {
    const char *name;
    const char *names[ROLE_COUNT];
};

#define LINEAR_FAMILY(title, q, k, v, out)                                                                             \
    {                                                                                                                  \
        .name = (title), .names = {                                                                                    \
            [Q_WEIGHT] = q ".weight",                                                                                  \
            [K_WEIGHT] = k ".weight",                                                                                  \
            [V_WEIGHT] = v ".weight",                                                                                  \
            [OUT_WEIGHT] = out ".weight",                                                                              \
            [Q_BIAS] = q ".bias",                                                                                      \
            [K_BIAS] = k ".bias",                                                                                      \
            [V_BIAS] = v ".bias",                                                                                      \
            [OUT_BIAS] = out ".bias",                                                                                  \
        }                                                                                                              \
    }

static const struct family families[] = {
    {.name = "torch.nn.MultiheadAttention",
     .names = {[Q_WEIGHT] = "q_proj_weight",
               [K_WEIGHT] = "k_proj_weight",
               [V_WEIGHT] = "v_proj_weight",
               [OUT_WEIGHT] = "out_proj.weight",
               [OUT_BIAS] = "out_proj.bias",
               [BIAS_K] = "bias_k",
               [BIAS_V] = "bias_v",
               [PACKED_WEIGHT] = "in_proj_weight",
               [PACKED_BIAS] = "in_proj_bias"}},
    LINEAR_FAMILY("q_linear …", "q_linear", "k_linear", "v_linear", "out_linear"),
    LINEAR_FAMILY("q_proj … out_proj", "q_proj", "k_proj", "v_proj", "out_proj"),
    LINEAR_FAMILY("q_proj … o_proj", "q_proj", "k_proj", "v_proj", "o_proj"),
    LINEAR_FAMILY("wq …", "wq", "wk", "wv", "wo"),
    LINEAR_FAMILY("query …", "query", "key", "value", "out"),
};

enum { FAMILY_COUNT = sizeof families / sizeof *families };

/* The tensors by their roles; data NULL where there is none. */
struct roles {
    const struct family *family;
    struct attn_view views[ROLE_COUNT];
};

static const char *name_of(const struct roles *roles, enum role role) {
    const char *name = roles->family->names[role];
    return name != NULL ? name : "";
}

static bool family_role(const struct family *family, const char *name, enum role *role) {
    for (size_t r = 0; r < ROLE_COUNT; r++) {
        if (family->names[r] == NULL || strcmp(family->names[r], name) != 0)
            continue;
        *role = (enum role)r;
        return true;
    }
    return false;
}

static bool is_known(const char *name) {
    enum role role;
    for (size_t f = 0; f < FAMILY_COUNT; f++)
        if (family_role(&families[f], name, &role))
            return true;
    return false;
}

/* @return the index of the first name that the family does not have, or count. */
static size_t first_stranger(const struct family *family, const struct attn_named_view *tensors, size_t count) {
    enum role role;
    for (size_t i = 0; i < count; i++)
        if (!family_role(family, tensors[i].name, &role))
            return i;
    return count;
}

/* The family that has all the names; else the error names the first tensor that the closest family lacks. */
static attn_status find_family(const struct attn_named_view *tensors, size_t count, const struct family **found,
                               struct attn_error *error) {
    size_t furthest = 0;
    for (size_t i = 0; i < count; i++)
        if (!is_known(tensors[i].name))
            return attn_fail(error, ATTN_ECONFLICT, tensors[i].name,
                             "not a name of an attention layer; expected names such as in_proj_weight, "
                             "q_proj_weight, q_linear.weight, q_proj.weight, wq.weight or query.weight");
    for (size_t f = 0; f < FAMILY_COUNT; f++) {
        size_t stranger = first_stranger(&families[f], tensors, count);
        if (stranger == count) {
            *found = &families[f];
            return ATTN_OK;
        }
        furthest = stranger > furthest ? stranger : furthest;
    }
    return attn_fail(error, ATTN_ECONFLICT, tensors[furthest].name,
                     "names of different families do not go together: found %s beside %s", tensors[furthest].name,
                     tensors[0].name);
}

static attn_status check_tensor(const struct attn_named_view *tensor, attn_dtype dtype, struct attn_error *error) {
    const struct attn_view *view = &tensor->view;
    char found[ATTN_SHAPE_TEXT];
    if (view->dtype != ATTN_FLOAT32 && view->dtype != ATTN_FLOAT64)
        return attn_fail(error, ATTN_EDTYPE, tensor->name, "expected float32 or float64, found %s",
                         attn_dtype_name(view->dtype));
    if (view->dtype != dtype)
        return attn_fail(error, ATTN_EDTYPE, tensor->name, "expected %s like the tensors before it, found %s",
                         attn_dtype_name(dtype), attn_dtype_name(view->dtype));
    for (int axis = 0; axis < view->rank; axis++)
        if (view->shape[axis] == 0)
            return attn_fail(error, ATTN_ESHAPE, tensor->name, "expected every axis to be at least 1, found %s",
                             attn_shape_text(found, view->rank, view->shape));
    if (view->rank > 0 && view->shape[view->rank - 1] != 1 && view->stride[view->rank - 1] != 1)
        return attn_fail(error, ATTN_ESHAPE, tensor->name, "expected contiguous columns, found a last stride of %td",
                         view->stride[view->rank - 1]);
    return ATTN_OK;
}

static attn_status collect(struct roles *roles, const struct attn_named_view *tensors, size_t count,
                           struct attn_error *error) {
    attn_status status = find_family(tensors, count, &roles->family, error);
    for (size_t i = 0; i < count && status == ATTN_OK; i++) {
        enum role role = Q_WEIGHT;
        family_role(roles->family, tensors[i].name, &role);
        if (roles->views[role].data != NULL)
            return attn_fail(error, ATTN_ECONFLICT, tensors[i].name, "the name was given twice");
        if (tensors[i].view.data == NULL)
            return attn_fail(error, ATTN_ECONFLICT, tensors[i].name, "expected a tensor, found none");
        status = check_tensor(&tensors[i], tensors[0].view.dtype, error);
        roles->views[role] = tensors[i].view;
    }
    return status;
}

static attn_status expect_rank(const struct roles *roles, enum role role, int rank, const char *expected,
                               struct attn_error *error) {
    const struct attn_view *view = &roles->views[role];
    char found[ATTN_SHAPE_TEXT];
    if (view->data == NULL || view->rank == rank)
        return ATTN_OK;
    return attn_fail(error, ATTN_ESHAPE, name_of(roles, role), "expected shape %s, found %s", expected,
                     attn_shape_text(found, view->rank, view->shape));
}

/* bias_k and bias_v are (1, 1, E) in a state dict: leading axes of 1 are dropped. */
static void drop_leading_ones(struct attn_view *view) {
    while (view->data != NULL && view->rank > 1 && view->shape[0] == 1) {
        view->rank--;
        memmove(view->shape, view->shape + 1, (size_t)view->rank * sizeof *view->shape);
        memmove(view->stride, view->stride + 1, (size_t)view->rank * sizeof *view->stride);
    }
}

static attn_status check_ranks(struct roles *roles, struct attn_error *error) {
    static const struct {
        enum role role;
        int rank;
        const char *expected;
    } rows[] = {
        {Q_WEIGHT, 2, "(out, in)"},
        {K_WEIGHT, 2, "(out, in)"},
        {V_WEIGHT, 2, "(out, in)"},
        {OUT_WEIGHT, 2, "(out, in)"},
        {Q_BIAS, 1, "(out)"},
        {K_BIAS, 1, "(out)"},
        {V_BIAS, 1, "(out)"},
        {OUT_BIAS, 1, "(out)"},
        {BIAS_K, 1, "(1, 1, out)"},
        {BIAS_V, 1, "(1, 1, out)"},
        {PACKED_WEIGHT, 2, "(3 * out, in)"},
        {PACKED_BIAS, 1, "(3 * out)"},
    };
    drop_leading_ones(&roles->views[BIAS_K]);
    drop_leading_ones(&roles->views[BIAS_V]);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        attn_status status = expect_rank(roles, rows[i].role, rows[i].rank, rows[i].expected, error);
        if (status != ATTN_OK)
            return status;
    }
    return ATTN_OK;
}

/* Cuts a packed tensor into query's, key's and value's rows; where heads are grouped the last two are narrower. */
static attn_status unpack(struct roles *roles, enum role packed, enum role first,
                          const struct attn_layer_config *config, struct attn_error *error) {
    struct attn_view *view = &roles->views[packed];
    if (view->data == NULL)
        return ATTN_OK;
    if (roles->views[first].data != NULL || roles->views[first + 1].data != NULL ||
        roles->views[first + 2].data != NULL)
        return attn_fail(error, ATTN_ECONFLICT, name_of(roles, packed), "%s and %s do not go together",
                         name_of(roles, packed), name_of(roles, first));
    const size_t kv_heads = config->num_kv_heads != 0 ? config->num_kv_heads : config->num_heads;
    const size_t rows = view->shape[0], all_heads = config->num_heads + 2 * kv_heads;
    char found[ATTN_SHAPE_TEXT];
    if (rows % all_heads != 0)
        return attn_fail(error, ATTN_ESHAPE, name_of(roles, packed),
                         "expected a first axis that divides into %zu query and 2 times %zu key/value heads, found %s",
                         config->num_heads, kv_heads, attn_shape_text(found, view->rank, view->shape));
    const size_t dim = rows / all_heads, query_rows = config->num_heads * dim, key_rows = kv_heads * dim;
    roles->views[first] = attn_view_part(view, 0, 0, query_rows);
    roles->views[first + 1] = attn_view_part(view, 0, query_rows, key_rows);
    roles->views[first + 2] = attn_view_part(view, 0, query_rows + key_rows, key_rows);
    return ATTN_OK;
}

/* The unpacked in_proj_bias stands for q, k and v also where the weights came apart. */
static attn_status unpack_all(struct roles *roles, const struct attn_layer_config *config, struct attn_error *error) {
    attn_status status = unpack(roles, PACKED_WEIGHT, Q_WEIGHT, config, error);
    return status != ATTN_OK ? status : unpack(roles, PACKED_BIAS, Q_BIAS, config, error);
}

static attn_status check_config(const struct attn_layer_config *config, struct attn_error *error) {
    if (config->num_heads == 0 || config->num_heads > SIZE_MAX / 4)
        return attn_fail(error, ATTN_ERANGE, "num_heads", "expected a number of heads of at least 1, found %zu",
                         config->num_heads);
    if (config->num_kv_heads != 0 && config->num_heads % config->num_kv_heads != 0)
        return attn_fail(error, ATTN_ERANGE, "num_kv_heads", "expected a divisor of the %zu heads, found %zu",
                         config->num_heads, config->num_kv_heads);
    return ATTN_OK;
}

static attn_status require_weights(const struct roles *roles, struct attn_error *error) {
    for (size_t role = Q_WEIGHT; role <= V_WEIGHT; role++)
        if (roles->views[role].data == NULL)
            return attn_fail(error, ATTN_ECONFLICT, name_of(roles, (enum role)role), "the tensor is missing");
    if (roles->views[OUT_BIAS].data != NULL && roles->views[OUT_WEIGHT].data == NULL)
        return attn_fail(error, ATTN_ECONFLICT, name_of(roles, OUT_BIAS), "an output bias needs an output weight");
    if ((roles->views[BIAS_K].data == NULL) != (roles->views[BIAS_V].data == NULL))
        return attn_fail(error, ATTN_ECONFLICT, roles->views[BIAS_K].data != NULL ? "bias_k" : "bias_v",
                         "bias_k and bias_v go together");
    return ATTN_OK;
}

static attn_status expect_first_axis(const struct roles *roles, enum role role, size_t expected,
                                     struct attn_error *error) {
    const struct attn_view *view = &roles->views[role];
    char found[ATTN_SHAPE_TEXT];
    if (view->data == NULL || view->shape[0] == expected)
        return ATTN_OK;
    return attn_fail(error, ATTN_ESHAPE, name_of(roles, role), "expected a first axis of %zu, found %s", expected,
                     attn_shape_text(found, view->rank, view->shape));
}

/* A width that a number of heads divides; gives the head's width. */
static attn_status divide(const struct roles *roles, enum role role, size_t heads, size_t *dim,
                          struct attn_error *error) {
    const struct attn_view *view = &roles->views[role];
    char found[ATTN_SHAPE_TEXT];
    *dim = view->shape[0] / heads;
    if (view->shape[0] % heads == 0)
        return ATTN_OK;
    return attn_fail(error, ATTN_ESHAPE, "num_heads", "expected a divisor of the first axis of %s, %s, found %zu heads",
                     name_of(roles, role), attn_shape_text(found, view->rank, view->shape), heads);
}

static attn_status check_sizes(const struct roles *roles, struct attn_layer *layer, struct attn_error *error) {
    attn_status status;
    if ((status = divide(roles, Q_WEIGHT, layer->num_heads, &layer->head_dim, error)) != ATTN_OK ||
        (status = expect_first_axis(roles, K_WEIGHT, layer->num_kv_heads * layer->head_dim, error)) != ATTN_OK ||
        (status = divide(roles, V_WEIGHT, layer->num_kv_heads, &layer->value_head_dim, error)) != ATTN_OK)
        return status;
    const size_t query = roles->views[Q_WEIGHT].shape[0], key = roles->views[K_WEIGHT].shape[0];
    const size_t value = roles->views[V_WEIGHT].shape[0], context = layer->num_heads * layer->value_head_dim;
    const struct attn_view *out = &roles->views[OUT_WEIGHT];
    if (out->data != NULL && out->shape[1] != context) {
        char found[ATTN_SHAPE_TEXT];
        return attn_fail(error, ATTN_ESHAPE, name_of(roles, OUT_WEIGHT), "expected a last axis of %zu, found %s",
                         context, attn_shape_text(found, out->rank, out->shape));
    }
    layer->output_width = out->data != NULL ? out->shape[0] : context;
    if ((status = expect_first_axis(roles, Q_BIAS, query, error)) != ATTN_OK ||
        (status = expect_first_axis(roles, K_BIAS, key, error)) != ATTN_OK ||
        (status = expect_first_axis(roles, V_BIAS, value, error)) != ATTN_OK ||
        (status = expect_first_axis(roles, OUT_BIAS, layer->output_width, error)) != ATTN_OK ||
        (status = expect_first_axis(roles, BIAS_K, key, error)) != ATTN_OK)
        return status;
    return expect_first_axis(roles, BIAS_V, value, error);
}

static void fill_layer(const struct roles *roles, struct attn_layer *layer) {
    layer->q_weight = roles->views[Q_WEIGHT];
    layer->k_weight = roles->views[K_WEIGHT];
    layer->v_weight = roles->views[V_WEIGHT];
    layer->out_weight = roles->views[OUT_WEIGHT];
    layer->q_bias = roles->views[Q_BIAS];
    layer->k_bias = roles->views[K_BIAS];
    layer->v_bias = roles->views[V_BIAS];
    layer->out_bias = roles->views[OUT_BIAS];
    layer->bias_k = roles->views[BIAS_K];
    layer->bias_v = roles->views[BIAS_V];
    layer->query_width = layer->q_weight.shape[1];
    layer->key_width = layer->k_weight.shape[1];
    layer->value_width = layer->v_weight.shape[1];
}

attn_status attn_layer_resolve(const struct attn_named_view *tensors, size_t count,
                               const struct attn_layer_config *config, struct attn_layer *layer,
                               struct attn_error *error) {
    struct roles roles = {.family = &families[0]};
    struct attn_layer result = {.num_heads = config->num_heads, .add_zero_attn = config->add_zero_attn};
    result.num_kv_heads = config->num_kv_heads != 0 ? config->num_kv_heads : config->num_heads;
    attn_status status;
    if ((status = check_config(config, error)) != ATTN_OK ||
        (status = collect(&roles, tensors, count, error)) != ATTN_OK ||
        (status = check_ranks(&roles, error)) != ATTN_OK || (status = unpack_all(&roles, config, error)) != ATTN_OK ||
        (status = require_weights(&roles, error)) != ATTN_OK ||
        (status = check_sizes(&roles, &result, error)) != ATTN_OK)
        return status;
    fill_layer(&roles, &result);
    *layer = result;
    return ATTN_OK;
}
