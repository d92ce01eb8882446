/** @file address.h Addresses to listen at and to call: 127.0.0.1:8080, [::1]:8080, unix:/path. */
#ifndef SERVER_CONFIG_ADDRESS_H
#define SERVER_CONFIG_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/** What address_parse takes, for messages. */
#define ADDRESS_ALLOWED "ADDR:PORT such as 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080, or unix:/path"

struct address {
    struct sockaddr_storage socket;
    socklen_t length;
};

/** Reads an address written with numbers (names are not looked up). @return false if it is not one. Thread safe. */
bool address_parse(const char *text, struct address *address);

/** Turns "any address" (0.0.0.0, [::]) into the loopback one, so that it can be called. */
void address_make_callable(struct address *address);

#endif
