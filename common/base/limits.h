/* Limits that both services and the clients agree on; docs/limits.md is their table. */
#ifndef ARGON_BASE_LIMITS_H
#define ARGON_BASE_LIMITS_H

#define MIB (1024u * 1024u)

enum {
    MAX_DOCUMENT_BYTES = 16 * 1024 * 1024,
    MAX_NESTING = 100,
    MAX_DOCUMENT_ID_BYTES = 2048, /* encoded */
    MAX_BATCH_ENTRIES = 100000,
    MAX_BATCH_BYTES = 48 * 1024 * 1024,
    /* a batch and what is around it: keys, ids, message framing */
    MAX_MESSAGE_BYTES = 64 * 1024 * 1024,
    /* of a service: rpc.h says for what */
    MIN_REQUEST_MEMORY = 6 * MAX_MESSAGE_BYTES,
    MAX_INDEX_DEFINITIONS = 64,
    MAX_INDEX_DEFINITION_BYTES = 1024 * 1024, /* of a collection's together */
    MAX_NAME_BYTES = 128,
    MAX_ACTOR_BYTES = 128,
    MAX_REQUEST_ID_BYTES = 64,
    MAX_REQUEST_HASH_BYTES = 32,
    MAX_REQUEST_ANSWER_BYTES = 4096,
    MAX_PAGE_SIZE = 1000,
    DEFAULT_PAGE_SIZE = 100,
};

#endif
