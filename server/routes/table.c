#include "server/routes/attention.h"
#include "server/routes/context.h"
#include "server/routes/models.h"
#include "server/routes/operations.h"

/* Adding a resource is adding its rows, its file and its part of openapi.yaml. */
const struct route routes[] = {
    /* method, pattern, name, body, scope, write_access, on_admin, is_small, handle */
    {"POST", "/attention", "attention", BODY_MEMORY, SCOPE_INFER, false, false, attention_is_small, attention_handle},
    {"GET", "/livez", "livez", BODY_NONE, SCOPE_NONE, false, true, NULL, livez_get},
    {"GET", "/readyz", "readyz", BODY_NONE, SCOPE_NONE, false, true, NULL, readyz_get},
    {"GET", "/metrics", "metrics", BODY_NONE, SCOPE_NONE, false, true, NULL, metrics_get},
    {"GET", "/version", "version", BODY_NONE, SCOPE_NONE, false, true, NULL, version_get},
    {"GET", "/openapi.yaml", "openapi_yaml", BODY_NONE, SCOPE_NONE, false, false, NULL, openapi_yaml_get},
    {"GET", "/openapi.json", "openapi_json", BODY_NONE, SCOPE_NONE, false, false, NULL, openapi_json_get},
    {"GET", "/models", "models_list", BODY_NONE, SCOPE_INFER, false, false, NULL, models_list},
    {"GET", "/models/{id}", "models_show", BODY_NONE, SCOPE_INFER, false, false, NULL, models_show},
    {"PUT", "/models/{id}", "models_put", BODY_FILE, SCOPE_ADMIN, true, false, models_write_is_small, models_put},
    {"DELETE", "/models/{id}", "models_delete", BODY_NONE, SCOPE_ADMIN, true, false, models_write_is_small,
     models_delete},
    {"GET", "/debug/requests", "debug_requests", BODY_NONE, SCOPE_ADMIN, true, false, NULL, debug_requests_get},
};
const size_t route_count = sizeof routes / sizeof *routes;
