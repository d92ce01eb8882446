/**
 * @file number_peer.h
 * libstdc++'s std::to_chars (Ryu, Adams 2018), which owes nothing to the code under test.
 */
#ifndef TESTS_EXHAUSTIVE_NUMBER_PEER_H
#define TESTS_EXHAUSTIVE_NUMBER_PEER_H

#ifdef __cplusplus
extern "C" {
#endif

/** Writes the shortest digits as "d.dddde+XX", no NUL. @return the byte behind the last */
char *peer_print_f32(char *to, float value);

#ifdef __cplusplus
}
#endif

#endif
