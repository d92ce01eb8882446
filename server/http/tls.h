/** @file tls.h The server's certificate, which can be replaced while connections are open. Any thread. */
#ifndef SERVER_HTTP_TLS_H
#define SERVER_HTTP_TLS_H

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>

/** Hands the library the current certificate; finds its server through the session's connection. */
int tls_retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
                 const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **certificates,
                 unsigned int *certificate_count, gnutls_privkey_t *key);

#endif
