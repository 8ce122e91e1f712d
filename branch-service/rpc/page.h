/* One page of a list: room for the records that a service fills and for the messages made of them.
 *
 * Ownership  all of it lives in the arena.
 */
#ifndef ARGON_BRANCH_RPC_PAGE_H
#define ARGON_BRANCH_RPC_PAGE_H

#include "branch-service/rpc/convert.h"

struct page {
    size_t n;        /* how many fit: the page_size that was asked for */
    void *records;   /* n of the service's structs */
    void *messages;  /* n of the generated structs */
    void **pointers; /* to each message, as a repeated field wants them */
};

/* INVALID_ARGUMENT: page_size over the limit. */
CHECKED bool page_begin(uint32_t page_size, size_t record_bytes, size_t message_bytes, struct arena *arena, struct page *page,
                        struct error *err);

#endif
