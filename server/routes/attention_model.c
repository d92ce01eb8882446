#include "server/routes/attention_request.h"
#include "server/routes/json_value.h"
#include <stdio.h>
#include <string.h>

static bool check_status(const struct model *model, struct problem *problem) {
    if (model->status == MODEL_LOADING) {
        problem_set(problem, PROBLEM_MODEL_LOADING, "/model", "model \"%s\" is loading", model->id);
        problem->retry_after_s = 1;
        return false;
    }
    if (model->status == MODEL_FAILED) {
        problem_set(problem, PROBLEM_MODEL_FAILED, "/model", "model \"%s\" cannot be used: %s", model->id,
                    model->reason != NULL ? model->reason : "it failed to load");
        return false;
    }
    if (registry_model_is_broken(model)) {
        problem_set(problem, PROBLEM_MODEL_FAILED, "/model", "model \"%s\" cannot be used: its file was cut short",
                    model->id);
        return false;
    }
    return true;
}

bool attention_acquire_model(struct attention_request *request, struct problem *problem) {
    const json_t *model = attention_json(request, "model");
    const char *id = json_value_text(model, "/model", problem);
    if (id == NULL) {
        return false;
    }
    if (strlen(id) != json_string_length(model)) {
        problem_set(problem, PROBLEM_INVALID, "/model", "expected the id of a model, found a string with a NUL in it");
        return false;
    }
    if (!registry_id_check(id, "/model", problem)) {
        return false;
    }
    request->model = registry_acquire(request->registry, id, problem);
    if (request->model == NULL) {
        snprintf(problem->pointer, sizeof problem->pointer, "/model");
        return false;
    }
    if (!check_status(request->model, problem)) {
        return false;
    }
    request->mode = request->model->transformer != NULL ? ATTENTION_TRANSFORMER : ATTENTION_MODEL;
    return true;
}
