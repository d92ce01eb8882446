/*
 * Maximum flow over the layered graph of attention (Abnar and Zuidema 2020, section 3.2), by Dinitz' algorithm: levels
 * by breadth-first search, then paths along rising levels until none is left. Every push empties an edge exactly (its
 * residual becomes the difference of two equal numbers), so that the bound on the number of paths, and with it the end
 * of the search, holds in floating point as it does in exact arithmetic.
 *
 * Nodes are (place, token): place 0 are the input tokens, place `count` the last layer's. Layer l's matrix holds the
 * capacities from place l + 1 to place l.
 */
#include "lib/aggregate/layers.h"
#include "lib/tensor/shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Residuals below this are taken for rounding errors of capacities that are at most 1. */
static const double LEAST_RESIDUAL = 1e-16;

struct graph {
    size_t count, length;
    double *forward;  /* (count, L, L): left of each edge's capacity */
    double *backward; /* (count, L, L): flow that can be taken back */
    size_t *level;    /* of each node; 0: not reached, source is 1 */
    size_t *next;     /* of each node: the neighbour to try next */
    size_t *queue;
    size_t *path; /* nodes from the source on */
    size_t path_length;
};

struct flow {
    const double *adjacency;
    size_t count, layer_stride, length;
    double *to;
    struct graph *graphs; /* a lane's */
    const struct attn_execution *execution;
};

static bool graph_init(struct graph *graph, size_t count, size_t length) {
    size_t edges = count * length * length, nodes = (count + 1) * length;
    *graph = (struct graph){.count = count, .length = length};
    graph->forward = malloc(2 * edges * sizeof(double));
    graph->level = malloc(4 * nodes * sizeof(size_t));
    if (graph->forward == NULL || graph->level == NULL)
        return false;
    graph->backward = graph->forward + edges;
    graph->next = graph->level + nodes;
    graph->queue = graph->next + nodes;
    graph->path = graph->queue + nodes;
    return true;
}

static void graph_reset(struct graph *graph) {
    free(graph->forward);
    free(graph->level);
}

/* Neighbours of a node are numbered: 0 .. L-1 the place below, L .. 2L-1 the place above. @return NULL: no such one. */
static double *edge_to(const struct graph *graph, size_t node, size_t neighbour, size_t *other) {
    size_t length = graph->length, place = node / length, token = node % length;
    if (neighbour < length) {
        if (place == 0)
            return NULL;
        *other = (place - 1) * length + neighbour;
        return &graph->forward[((place - 1) * length + token) * length + neighbour];
    }
    if (place == graph->count)
        return NULL;
    *other = (place + 1) * length + (neighbour - length);
    return &graph->backward[(place * length + (neighbour - length)) * length + token];
}

/* Numbers the nodes by their distance from the source. @return whether the target is reached. */
static bool find_levels(struct graph *graph, size_t source, size_t target) {
    size_t head = 0, tail = 0, nodes = (graph->count + 1) * graph->length, other;
    memset(graph->level, 0, nodes * sizeof *graph->level);
    memset(graph->next, 0, nodes * sizeof *graph->next);
    graph->level[source] = 1;
    graph->queue[tail++] = source;
    while (head < tail && graph->level[target] == 0) {
        size_t node = graph->queue[head++];
        for (size_t neighbour = 0; neighbour < 2 * graph->length; neighbour++) {
            const double *residual = edge_to(graph, node, neighbour, &other);
            if (residual == NULL || *residual <= LEAST_RESIDUAL || graph->level[other] != 0)
                continue;
            graph->level[other] = graph->level[node] + 1;
            graph->queue[tail++] = other;
        }
    }
    return graph->level[target] != 0;
}

/* Goes one node further along rising levels. @return false at a dead end. */
static bool advance(struct graph *graph) {
    size_t node = graph->path[graph->path_length - 1], other;
    for (; graph->next[node] < 2 * graph->length; graph->next[node]++) {
        const double *residual = edge_to(graph, node, graph->next[node], &other);
        if (residual == NULL || *residual <= LEAST_RESIDUAL || graph->level[other] != graph->level[node] + 1)
            continue;
        graph->path[graph->path_length++] = other;
        return true;
    }
    return false;
}

/* The residual of the path's edge behind node `at`, and of its reverse. */
static double *path_edge(const struct graph *graph, size_t at, double **reverse) {
    size_t length = graph->length, node = graph->path[at], other = node, ignored;
    double *residual = edge_to(graph, node, graph->next[node], &other);
    size_t back = node / length < other / length ? node % length : length + node % length;
    *reverse = edge_to(graph, other, back, &ignored);
    return residual;
}

/* Pushes what the path takes, and goes back to where it is saturated first. @return the flow added. */
static double push(struct graph *graph) {
    double least = 2, *reverse;
    for (size_t at = 0; at + 1 < graph->path_length; at++) {
        double residual = *path_edge(graph, at, &reverse);
        least = residual < least ? residual : least;
    }
    size_t keep = graph->path_length;
    for (size_t at = graph->path_length - 1; at-- > 0;) {
        double *residual = path_edge(graph, at, &reverse);
        *residual -= least;
        *reverse += least;
        if (*residual <= LEAST_RESIDUAL)
            keep = at + 1;
    }
    graph->path_length = keep;
    return least;
}

static double blocking_flow(struct graph *graph, size_t source, size_t target) {
    double total = 0;
    graph->path[0] = source;
    graph->path_length = 1;
    while (graph->path_length > 0) {
        size_t node = graph->path[graph->path_length - 1];
        if (node == target)
            total += push(graph);
        else if (!advance(graph)) {
            graph->level[node] = 0;
            graph->path_length--;
            if (graph->path_length > 0)
                graph->next[graph->path[graph->path_length - 1]]++;
        }
    }
    return total;
}

static double maximum_flow(struct graph *graph, const struct flow *flow, size_t source, size_t target) {
    size_t square = flow->length * flow->length;
    double total = 0;
    for (size_t layer = 0; layer < flow->count; layer++)
        memcpy(graph->forward + layer * square, flow->adjacency + layer * flow->layer_stride, square * sizeof(double));
    memset(graph->backward, 0, flow->count * square * sizeof(double));
    while (find_levels(graph, source, target) && !attn_is_cancelled(flow->execution))
        total += blocking_flow(graph, source, target);
    return total;
}

static void flow_row(void *argument, size_t token, size_t lane) {
    const struct flow *flow = argument;
    double *row = flow->to + token * flow->length, sum = 0;
    for (size_t target = 0; target < flow->length; target++) {
        row[target] = 0;
        if (!attn_is_cancelled(flow->execution))
            row[target] = maximum_flow(&flow->graphs[lane], flow, flow->count * flow->length + token, target);
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

attn_status attn_flow(const double *adjacency, size_t count, size_t layer_stride, size_t length, double *to,
                      const struct attn_execution *execution) {
    size_t lanes = attn_lane_count(execution), square = length * length;
    struct flow flow = {.adjacency = adjacency,
                        .count = count,
                        .layer_stride = layer_stride,
                        .length = length,
                        .to = to,
                        .execution = execution};
    if (count > 1 && spread_nan(&flow))
        return ATTN_OK;
    if (count == 1) { /* one edge from each token to each: the flow is its capacity */
        memcpy(to, adjacency, square * sizeof *to);
        return ATTN_OK;
    }
    attn_status status = ATTN_OK;
    flow.graphs = calloc(lanes, sizeof *flow.graphs);
    if (flow.graphs == NULL)
        return ATTN_ENOMEM;
    for (size_t lane = 0; lane < lanes && status == ATTN_OK; lane++)
        if (!graph_init(&flow.graphs[lane], count, length))
            status = ATTN_ENOMEM;
    if (status == ATTN_OK)
        attn_run_tasks(execution, length, flow_row, &flow);
    for (size_t lane = 0; lane < lanes; lane++)
        graph_reset(&flow.graphs[lane]);
    free(flow.graphs);
    return status == ATTN_OK && attn_is_cancelled(execution) ? ATTN_ECANCELLED : status;
}
