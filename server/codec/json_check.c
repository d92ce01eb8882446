#include "server/codec/document.h"
#include "server/codec/scan.h"
#include <stdio.h>

bool json_check(const char *bytes, size_t length, size_t max_depth, size_t *offset, char *why, size_t why_capacity) {
    struct scan scan;
    scan_begin(&scan, bytes, length, max_depth);
    if (scan_value(&scan) && scan_end(&scan)) {
        return true;
    }
    *offset = (size_t)(scan.fault - scan.text);
    if (why_capacity > 0) {
        snprintf(why, why_capacity, "%s", scan.why);
    }
    return false;
}
