/*
 * Maximum flow over the layered graph of attention (Abnar and Zuidema 2020, section 3), by Dinitz' algorithm: levels
 * by breadth-first search, then paths along falling levels until none is left. Every push empties an edge exactly (its
 * residual becomes the difference of two equal numbers), so that the bound on the number of paths, and with it the end
 * of the search, holds in floating point as it does in exact arithmetic.
 *
 * Nodes are (place, token): place 0 are the input tokens, place `count` the last layer's. Layer l's matrix holds the
 * capacities from place l + 1 to place l. All pairs of tokens are solved one by one on nearly the same dense graph, so:
 *   - which edges have a residual stands in bit sets beside the residuals, by their tails for the paths and by their
 *     heads for the levels, which are counted from the target on: a search reads words and no edges, and a path meets
 *     no node from which the target is out of reach;
 *   - a node tries its own token first: the residual connection makes that edge the widest, so that it is seldom the
 *     one that a path saturates;
 *   - edges that a flow has changed are listed, and only these are put back for the next pair.
 */
#include "lib/aggregate/layers.h"
#include "lib/tensor/shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Residuals below this are taken for rounding errors of capacities that are at most 1. */
static const double LEAST_RESIDUAL = 1e-16;

enum { BITS = 64 };

/* A set of edges of all layers, as (count, L, words) bit sets of tokens. */
enum edge_set {
    DOWN_BY_TAIL, /* [layer][upper token]: lower tokens to which more can flow */
    DOWN_BY_HEAD, /* [layer][lower token]: the same edges, upper tokens */
    UP_BY_TAIL,   /* [layer][lower token]: upper tokens from which flow can be taken back */
    UP_BY_HEAD,   /* [layer][upper token]: the same edges, lower tokens */
    EDGE_SET_COUNT
};

/* A node of the path, and the edge that leads there from the node before: down, or up, taking flow back. */
struct hop {
    size_t place, token, edge;
    bool is_down;
};

struct graph {
    size_t count, length, words;
    const uint64_t *base; /* DOWN_BY_TAIL and DOWN_BY_HEAD without any flow */
    double *forward;      /* (count, L, L): left of each edge's capacity */
    double *backward;     /* (count, L, L): flow that can be taken back */
    uint64_t *sets[EDGE_SET_COUNT];
    uint64_t *alive;  /* (count + 1, words): nodes that may lead to the target */
    size_t *distance; /* of each alive node to the target */
    size_t *next;     /* of each node: the neighbour to try next */
    size_t *queue;
    struct hop *path; /* from the source on */
    size_t path_length;
    size_t *changed; /* edges with a flow, or that had one */
    size_t changed_count;
    uint8_t *is_changed; /* of each edge */
    bool has_up;         /* the sets of edges upwards are not empty */
};

struct flow {
    const double *adjacency;
    size_t count, layer_stride, length;
    double *to;
    uint64_t *base;
    struct graph *graphs; /* a lane's */
    const struct attn_execution *execution;
};

static size_t set_words(size_t count, size_t length) {
    return count * length * ((length + BITS - 1) / BITS);
}

static bool graph_init(struct graph *graph, const struct flow *flow) {
    size_t count = flow->count, length = flow->length, words = (length + BITS - 1) / BITS;
    size_t edges = count * length * length, nodes = (count + 1) * length, set = set_words(count, length);
    *graph = (struct graph){.count = count, .length = length, .words = words, .base = flow->base};
    graph->forward = malloc(2 * edges * sizeof(double));
    graph->sets[0] = calloc(EDGE_SET_COUNT * set + (count + 1) * words, sizeof(uint64_t));
    graph->distance = malloc((3 * nodes + edges) * sizeof(size_t));
    graph->path = malloc(nodes * sizeof *graph->path);
    graph->is_changed = calloc(edges, 1);
    if (graph->forward == NULL || graph->sets[0] == NULL || graph->distance == NULL || graph->path == NULL ||
        graph->is_changed == NULL)
        return false;
    graph->backward = graph->forward + edges;
    for (int i = 1; i < EDGE_SET_COUNT; i++)
        graph->sets[i] = graph->sets[i - 1] + set;
    graph->alive = graph->sets[EDGE_SET_COUNT - 1] + set;
    graph->next = graph->distance + nodes;
    graph->queue = graph->next + nodes;
    graph->changed = graph->queue + nodes;
    for (size_t layer = 0; layer < count; layer++)
        memcpy(graph->forward + layer * length * length, flow->adjacency + layer * flow->layer_stride,
               length * length * sizeof(double));
    memset(graph->backward, 0, edges * sizeof(double));
    return true;
}

static void graph_reset(struct graph *graph) {
    free(graph->forward);
    free(graph->sets[0]);
    free(graph->distance);
    free(graph->path);
    free(graph->is_changed);
}

static uint64_t *tokens_of(const struct graph *graph, enum edge_set set, size_t layer, size_t token) {
    return graph->sets[set] + (layer * graph->length + token) * graph->words;
}

static bool has_token(const uint64_t *set, size_t token) {
    return (set[token / BITS] >> token % BITS & 1U) != 0;
}

static void put_token(uint64_t *set, size_t token, bool is_member) {
    const uint64_t bit = (uint64_t)1 << token % BITS;
    set[token / BITS] = is_member ? set[token / BITS] | bit : set[token / BITS] & ~bit;
}

/* Takes all flow back. */
static void clear_flow(struct graph *graph, const struct flow *flow) {
    const size_t square = graph->length * graph->length, set = set_words(graph->count, graph->length);
    for (size_t i = 0; i < graph->changed_count; i++) {
        const size_t edge = graph->changed[i];
        graph->forward[edge] = flow->adjacency[edge / square * flow->layer_stride + edge % square];
        graph->backward[edge] = 0;
        graph->is_changed[edge] = 0;
    }
    graph->changed_count = 0;
    memcpy(graph->sets[DOWN_BY_TAIL], graph->base, 2 * set * sizeof(uint64_t));
    if (graph->has_up)
        memset(graph->sets[UP_BY_TAIL], 0, 2 * set * sizeof(uint64_t));
    graph->has_up = false;
}

/*
 * Brings the sets up to date with what has flowed. While paths are sought only edges towards the target count, and of
 * these the saturated ones leave DOWN_BY_TAIL or UP_BY_TAIL at once; the rest can wait until distances are counted.
 */
static void update_sets(struct graph *graph) {
    const size_t length = graph->length;
    for (size_t i = 0; i < graph->changed_count; i++) {
        const size_t edge = graph->changed[i];
        const size_t lower = edge % length, upper = edge / length % length, layer = edge / length / length;
        const bool is_open = graph->forward[edge] > LEAST_RESIDUAL, is_used = graph->backward[edge] > LEAST_RESIDUAL;
        put_token(tokens_of(graph, DOWN_BY_TAIL, layer, upper), lower, is_open);
        put_token(tokens_of(graph, DOWN_BY_HEAD, layer, lower), upper, is_open);
        put_token(tokens_of(graph, UP_BY_TAIL, layer, lower), upper, is_used);
        put_token(tokens_of(graph, UP_BY_HEAD, layer, upper), lower, is_used);
    }
    graph->has_up = graph->changed_count > 0;
}

/* Reaches `from`'s unreached tokens of `place`: they are one step farther away than `node`. */
static size_t reach(struct graph *graph, size_t place, const uint64_t *from, size_t distance, size_t tail) {
    uint64_t *alive = graph->alive + place * graph->words;
    for (size_t word = 0; word < graph->words; word++) {
        uint64_t fresh = from[word] & ~alive[word];
        alive[word] |= fresh;
        for (; fresh != 0; fresh &= fresh - 1) {
            const size_t node = place * graph->length + word * BITS + (size_t)__builtin_ctzll(fresh);
            graph->distance[node] = distance;
            graph->next[node] = 0;
            graph->queue[tail++] = node;
        }
    }
    return tail;
}

/* Numbers the nodes by their distance to the target, as far as the source. @return whether that is reached. */
static bool find_distances(struct graph *graph, size_t token, size_t target) {
    const size_t length = graph->length;
    const uint64_t *source_set = graph->alive + graph->count * graph->words;
    size_t head = 0, tail = 0;
    memset(graph->alive, 0, (graph->count + 1) * graph->words * sizeof(uint64_t));
    put_token(graph->alive, target, true);
    graph->distance[target] = 0;
    graph->queue[tail++] = target;
    while (head < tail && !has_token(source_set, token)) {
        const size_t node = graph->queue[head++], place = node / length, own = node % length;
        const size_t distance = graph->distance[node] + 1;
        if (place < graph->count)
            tail = reach(graph, place + 1, tokens_of(graph, DOWN_BY_HEAD, place, own), distance, tail);
        if (place > 0)
            tail = reach(graph, place - 1, tokens_of(graph, UP_BY_HEAD, place - 1, own), distance, tail);
    }
    return has_token(source_set, token);
}

/* The first token from `first` on that is in the set, alive at `place` and at that distance; L if there is none. */
static size_t find_token(const struct graph *graph, const uint64_t *set, size_t place, size_t distance, size_t first) {
    const uint64_t *alive = graph->alive + place * graph->words;
    for (size_t word = first / BITS; word < graph->words; word++) {
        uint64_t found = set[word] & alive[word];
        if (word == first / BITS)
            found &= ~(uint64_t)0 << first % BITS;
        for (; found != 0; found &= found - 1) {
            const size_t token = word * BITS + (size_t)__builtin_ctzll(found);
            if (graph->distance[place * graph->length + token] == distance)
                return token;
        }
    }
    return graph->length;
}

static void append_hop(struct graph *graph, size_t layer, size_t upper, size_t lower, bool is_down) {
    graph->path[graph->path_length++] = (struct hop){
        .place = is_down ? layer : layer + 1,
        .token = is_down ? lower : upper,
        .edge = (layer * graph->length + upper) * graph->length + lower,
        .is_down = is_down,
    };
}

/*
 * The neighbours of a node are numbered: 0 its own token in the place below, 1 .. L that place, L+1 .. 2L the place
 * above.
 *
 * Goes down, one node nearer to the target. @return false if there is no such way left.
 */
static bool go_down(struct graph *graph, size_t place, size_t token, size_t distance, size_t *next) {
    const size_t length = graph->length, below = place - 1;
    const uint64_t *down = tokens_of(graph, DOWN_BY_TAIL, below, token);
    size_t found = token;
    if (*next > 0 || !has_token(down, token) || !has_token(graph->alive + below * graph->words, token) ||
        graph->distance[below * length + token] != distance) {
        found = find_token(graph, down, below, distance, *next > 0 ? *next - 1 : 0);
        *next = found + 1;
    }
    if (found < length)
        append_hop(graph, below, token, found, true);
    return found < length;
}

static bool go_up(struct graph *graph, size_t place, size_t token, size_t distance, size_t *next) {
    const size_t length = graph->length, first = *next > length ? *next - length - 1 : 0;
    const size_t found = find_token(graph, tokens_of(graph, UP_BY_TAIL, place, token), place + 1, distance, first);
    *next = length + 1 + found;
    if (found < length)
        append_hop(graph, place, found, token, false);
    return found < length;
}

/* Goes one node nearer to the target. @return false at a dead end. */
static bool advance(struct graph *graph) {
    const size_t place = graph->path[graph->path_length - 1].place, token = graph->path[graph->path_length - 1].token;
    const size_t node = place * graph->length + token, distance = graph->distance[node] - 1;
    size_t *next = &graph->next[node];
    if (place > 0 && *next <= graph->length && go_down(graph, place, token, distance, next))
        return true;
    return place < graph->count && graph->has_up && go_up(graph, place, token, distance, next);
}

/* Lets the amount flow along the edge to path node `at`. @return whether that saturates the edge. */
static bool push_edge(struct graph *graph, size_t at, double amount) {
    const struct hop *hop = &graph->path[at];
    double *residual = &graph->forward[hop->edge], *reverse = &graph->backward[hop->edge];
    if (graph->is_changed[hop->edge] == 0) {
        graph->is_changed[hop->edge] = 1;
        graph->changed[graph->changed_count++] = hop->edge;
    }
    if (!hop->is_down) {
        residual = &graph->backward[hop->edge];
        reverse = &graph->forward[hop->edge];
    }
    *residual -= amount;
    *reverse += amount;
    if (*residual > LEAST_RESIDUAL)
        return false;
    const struct hop *from = &graph->path[at - 1];
    if (hop->is_down)
        put_token(tokens_of(graph, DOWN_BY_TAIL, hop->place, from->token), hop->token, false);
    else
        put_token(tokens_of(graph, UP_BY_TAIL, from->place, from->token), hop->token, false);
    return true;
}

/* Pushes what the path takes, and goes back to where it is saturated first. @return the flow added. */
static double push(struct graph *graph) {
    double least = INFINITY;
    for (size_t at = 1; at < graph->path_length; at++) {
        const struct hop *hop = &graph->path[at];
        const double residual = hop->is_down ? graph->forward[hop->edge] : graph->backward[hop->edge];
        least = residual < least ? residual : least;
    }
    size_t keep = graph->path_length;
    for (size_t at = graph->path_length; at-- > 1;)
        if (push_edge(graph, at, least))
            keep = at;
    graph->path_length = keep;
    return least;
}

static double blocking_flow(struct graph *graph, size_t token, size_t target) {
    double total = 0;
    graph->path[0] = (struct hop){.place = graph->count, .token = token};
    graph->path_length = 1;
    while (graph->path_length > 0) {
        const struct hop *hop = &graph->path[graph->path_length - 1];
        if (hop->place == 0 && hop->token == target)
            total += push(graph);
        else if (!advance(graph)) {
            put_token(graph->alive + hop->place * graph->words, hop->token, false);
            graph->path_length--;
        }
    }
    return total;
}

static bool is_empty(const uint64_t *set, size_t words) {
    for (size_t word = 0; word < words; word++)
        if (set[word] != 0)
            return false;
    return true;
}

static double maximum_flow(struct graph *graph, const struct flow *flow, size_t token, size_t target) {
    const uint64_t *outgoing = tokens_of(graph, DOWN_BY_TAIL, graph->count - 1, token);
    double total = 0;
    clear_flow(graph, flow);
    while (!is_empty(outgoing, graph->words) && !attn_is_cancelled(flow->execution)) {
        update_sets(graph);
        if (!find_distances(graph, token, target))
            break;
        total += blocking_flow(graph, token, target);
    }
    return total;
}

static void flow_row(void *argument, size_t token, size_t lane) {
    const struct flow *flow = argument;
    double *row = flow->to + token * flow->length, sum = 0;
    for (size_t target = 0; target < flow->length; target++) {
        row[target] = 0;
        if (!attn_is_cancelled(flow->execution))
            row[target] = maximum_flow(&flow->graphs[lane], flow, token, target);
        sum += row[target];
    }
    for (size_t target = 0; target < flow->length && sum > 0; target++)
        row[target] /= sum;
}

/* A flow through capacities that are not numbers is none: all of it is NaN. @return whether it was so. */
static bool spread_nan(const struct flow *flow) {
    size_t square = flow->length * flow->length;
    double sum = 0;
    for (size_t layer = 0; layer < flow->count; layer++)
        for (size_t i = 0; i < square; i++)
            sum += flow->adjacency[layer * flow->layer_stride + i];
    for (size_t i = 0; i < square && isnan(sum); i++)
        flow->to[i] = NAN;
    return isnan(sum);
}

static uint64_t *make_base(const struct flow *flow) {
    const size_t length = flow->length, words = (length + BITS - 1) / BITS, set = set_words(flow->count, length);
    uint64_t *by_tail = calloc(2 * set, sizeof *by_tail);
    for (size_t layer = 0; layer < flow->count && by_tail != NULL; layer++) {
        uint64_t *tails = by_tail + layer * length * words, *heads = tails + set;
        const double *capacities = flow->adjacency + layer * flow->layer_stride;
        for (size_t upper = 0; upper < length; upper++)
            for (size_t lower = 0; lower < length; lower++)
                if (capacities[upper * length + lower] > LEAST_RESIDUAL) {
                    put_token(tails + upper * words, lower, true);
                    put_token(heads + lower * words, upper, true);
                }
    }
    return by_tail;
}

static attn_status flow_through(struct flow *flow) {
    const size_t lanes = attn_lane_count(flow->execution);
    attn_status status = ATTN_OK;
    flow->base = make_base(flow);
    flow->graphs = calloc(lanes, sizeof *flow->graphs);
    if (flow->base == NULL || flow->graphs == NULL)
        status = ATTN_ENOMEM;
    for (size_t lane = 0; lane < lanes && status == ATTN_OK; lane++)
        if (!graph_init(&flow->graphs[lane], flow))
            status = ATTN_ENOMEM;
    if (status == ATTN_OK)
        attn_run_tasks(flow->execution, flow->length, flow_row, flow);
    for (size_t lane = 0; lane < lanes && flow->graphs != NULL; lane++)
        graph_reset(&flow->graphs[lane]);
    free(flow->graphs);
    free(flow->base);
    return status == ATTN_OK && attn_is_cancelled(flow->execution) ? ATTN_ECANCELLED : status;
}

attn_status attn_flow(const double *adjacency, size_t count, size_t layer_stride, size_t length, double *to,
                      const struct attn_execution *execution) {
    struct flow flow = {.adjacency = adjacency,
                        .count = count,
                        .layer_stride = layer_stride,
                        .length = length,
                        .to = to,
                        .execution = execution};
    if (count > 1 && spread_nan(&flow))
        return ATTN_OK;
    if (count > 1)
        return flow_through(&flow);
    memcpy(to, adjacency, length * length * sizeof *to); /* one edge from each token to each: its capacity */
    return ATTN_OK;
}
