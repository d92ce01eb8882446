#include "server/http/tls.h"
#include "server/http/internal.h"
#include <stdlib.h>
#include <string.h>

#define CHAIN_MAX 16

/** A certificate chain and its key. Old ones are kept to the end: handshakes may still use them, and reloads are few.
 */
struct identity {
    gnutls_pcert_st chain[CHAIN_MAX];
    unsigned int count;
    gnutls_privkey_t key;
    struct identity *older;
};

struct tls {
    char *cert_path, *key_path;
    _Atomic(struct identity *) current;
};

static void identity_destroy(struct identity *identity) {
    for (unsigned int i = 0; i < identity->count; i++) {
        gnutls_pcert_deinit(&identity->chain[i]);
    }
    if (identity->key != NULL) {
        gnutls_privkey_deinit(identity->key);
    }
    free(identity);
}

/** @return GNUTLS_E_SUCCESS or what failed. */
static int identity_read(struct identity *identity, const char *cert_path, const char *key_path) {
    gnutls_datum_t certificate = {0}, key = {0};
    unsigned int count = CHAIN_MAX;
    int status = gnutls_load_file(cert_path, &certificate);
    if (status == GNUTLS_E_SUCCESS) {
        status = gnutls_load_file(key_path, &key);
    }
    if (status == GNUTLS_E_SUCCESS) {
        status = gnutls_pcert_list_import_x509_raw(identity->chain, &count, &certificate, GNUTLS_X509_FMT_PEM, 0);
    }
    if (status == GNUTLS_E_SUCCESS) {
        identity->count = count;
        status = gnutls_privkey_init(&identity->key);
    }
    if (status == GNUTLS_E_SUCCESS) {
        status = gnutls_privkey_import_x509_raw(identity->key, &key, GNUTLS_X509_FMT_PEM, NULL, 0);
    }
    gnutls_free(certificate.data);
    if (key.data != NULL) {
        gnutls_memset(key.data, 0, key.size);
    }
    gnutls_free(key.data);
    return status;
}

/** Whether the key belongs to the certificate. */
static bool identity_fits(const struct identity *identity) {
    unsigned char of_certificate[64], of_key[64];
    size_t certificate_length = sizeof of_certificate, key_length = sizeof of_key;
    gnutls_pubkey_t public_key = NULL;
    bool fits = gnutls_pubkey_init(&public_key) == GNUTLS_E_SUCCESS &&
                gnutls_pubkey_import_privkey(public_key, identity->key, 0, 0) == GNUTLS_E_SUCCESS &&
                gnutls_pubkey_get_key_id(public_key, 0, of_key, &key_length) == GNUTLS_E_SUCCESS &&
                gnutls_pubkey_get_key_id(identity->chain[0].pubkey, 0, of_certificate, &certificate_length) ==
                    GNUTLS_E_SUCCESS &&
                key_length == certificate_length && memcmp(of_key, of_certificate, key_length) == 0;
    gnutls_pubkey_deinit(public_key);
    return fits;
}

bool tls_reload(struct tls *tls, char *why, size_t why_capacity) {
    struct identity *identity = calloc(1, sizeof *identity);
    int status = identity == NULL ? GNUTLS_E_MEMORY_ERROR : identity_read(identity, tls->cert_path, tls->key_path);
    bool is_good = status == GNUTLS_E_SUCCESS && identity_fits(identity);
    if (!is_good) {
        snprintf(why, why_capacity,
                 "--tls-cert %s and --tls-key %s: %s; allowed are a PEM chain and the key that belongs to it",
                 tls->cert_path, tls->key_path,
                 status == GNUTLS_E_SUCCESS ? "the key is not the certificate's" : gnutls_strerror(status));
        if (identity != NULL) {
            identity_destroy(identity);
        }
        return false;
    }
    identity->older = atomic_load(&tls->current);
    atomic_store(&tls->current, identity);
    return true;
}

struct tls *tls_create(const char *cert_path, const char *key_path, char *why, size_t why_capacity) {
    struct tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL || (tls->cert_path = strdup(cert_path)) == NULL || (tls->key_path = strdup(key_path)) == NULL) {
        snprintf(why, why_capacity, "out of memory");
        tls_destroy(tls);
        return NULL;
    }
    if (!tls_reload(tls, why, why_capacity)) {
        tls_destroy(tls);
        return NULL;
    }
    return tls;
}

void tls_destroy(struct tls *tls) {
    if (tls == NULL) {
        return;
    }
    struct identity *identity = atomic_load(&tls->current);
    while (identity != NULL) {
        struct identity *older = identity->older;
        identity_destroy(identity);
        identity = older;
    }
    free(tls->cert_path);
    free(tls->key_path);
    free(tls);
}

int tls_retrieve(gnutls_session_t session, const gnutls_datum_t *authorities, int authority_count,
                 const gnutls_pk_algorithm_t *algorithms, int algorithm_count, gnutls_pcert_st **certificates,
                 unsigned int *certificate_count, gnutls_privkey_t *key) {
    struct MHD_Connection *connection = gnutls_session_get_ptr(session);
    struct identity *identity = atomic_load(&request_socket(connection)->loop->http->tls->current);
    (void)authorities;
    (void)authority_count;
    (void)algorithms;
    (void)algorithm_count;
    *certificates = identity->chain;
    *certificate_count = identity->count;
    *key = identity->key;
    return 0;
}
