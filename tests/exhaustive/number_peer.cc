#include "tests/exhaustive/number_peer.h"
#include <charconv>

char *peer_print_f32(char *to, float value) {
    return std::to_chars(to, to + 32, value, std::chars_format::scientific).ptr;
}
