/**
 * @file http.h
 * The HTTP server: listeners, event threads, drain. Made, used and destroyed by one thread (main's).
 */
#ifndef SERVER_HTTP_HTTP_H
#define SERVER_HTTP_HTTP_H

#include "server/routes/context.h"
#include <stdio.h>

struct http;

/** Whether --tls-cert and --tls-key, where given, can be served. @return false with one line in `why` */
bool http_certificate_is_good(const struct config *config, char *why, size_t why_capacity);

/** Binds the listeners and starts the event threads; `server` must be complete. @return NULL with one line in `why`. */
struct http *http_create(struct server *server, char *why, size_t why_capacity);
/** Reads the certificate and its key again; on failure the old ones stay. True where there is no TLS. */
bool http_reload_tls(struct http *http, char *why, size_t why_capacity);
/** Refuses new connections from now on, and closes those without a request. */
void http_stop_accepting(struct http *http);
/** Tells the requests in work to stop. */
void http_cancel_all(struct http *http);
/** How many connections are open. */
size_t http_connections(const struct http *http);
/** Whether every event thread has turned within the last `seconds`. */
bool http_is_alive(const struct http *http, double seconds);
/** Writes what is queued and running as a JSON array. */
void http_write_active(struct http *http, FILE *to);
/** Cuts what is left, ends the threads, frees all. No request may be in work. */
void http_destroy(struct http *http);

#endif
